"""Owns simulated transactions: heavy-tailed amounts in exact cents, refunds, and statuses that change later.

Invariant: a changed status comes as a second message with the same id, amount and time, never before the first.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from agents.simulate_base import Base, Floats, Ints, Message
from agents.simulate_events import Encode
from agents.simulate_rhythm import iso_times

_STATUSES = ("A", "D", "P")  # approved, declined, pending
_SHARES = (0.9, 0.06, 0.04)
_DAY_SECONDS = 86_400.0


@dataclass(frozen=True)
class Trade:
    """Transactions as columns: which org, when, how much (cents), first status, and when another status follows."""

    orgs: Ints
    times: Floats
    cents: Ints
    status: Ints
    changed_at: Floats
    """When the second message is sent (epoch seconds; `nan`: never): pending ones get approved, approved ones void."""


def draw_trade(base: Base, rng: np.random.Generator, orgs: Ints, times: Floats) -> Trade:
    """Return a transaction for each of *orgs* at *times*."""
    count = len(orgs)
    usual = rng.lognormal(4.2, 1.2, len(base.orgs))  # an org's usual amount, dollars
    cents = np.maximum(1, np.floor(usual[orgs] * rng.lognormal(0.0, 1.0, count) * 100)).astype(np.int64)
    cents[rng.random(count) < 0.02] *= -1
    status = rng.choice(len(_STATUSES), count, p=_SHARES)
    changes = rng.random(count) < np.where(status == 2, 0.6, np.where(status == 0, 0.03, 0.0))
    changed_at = np.where(changes, times + rng.exponential(1.5 * _DAY_SECONDS, count), np.nan)
    return Trade(orgs, times, cents, status, changed_at)


def transaction_messages(base: Base, rng: np.random.Generator, trade: Trade, ids: str) -> Encode:
    """Return what makes message *i*: the first of transaction *i*, or past their number *n* the second of *i - n*."""
    count = len(trade.orgs)
    form = rng.random(count).tolist()
    iso, orgs = iso_times(trade.times), trade.orgs.tolist()
    cents, status = trade.cents.tolist(), trade.status.tolist()

    def encode(i: int) -> Message:
        second, i = i >= count, i % count
        org = base.orgs[orgs[i]].id
        sign, whole = ("-" if cents[i] < 0 else ""), abs(cents[i])
        amount = f"{sign}{whole // 100}.{whole % 100:02d}"
        amount = amount if form[i] < 0.3 else f'"{amount}"'
        currency = ',"currency":"USD"' if form[i] < 0.8 else ""
        state = _STATUSES[status[i]] if not second else "A" if status[i] == 2 else "V"
        text = (
            f'{{"transaction_id":"{ids}{i:x}","org_id":"{org}","amount":{amount}{currency},"status":"{state}",'
            f'"time":"{iso[i]}"}}'
        )
        return Message("transactions", org.encode(), text.encode())

    return encode
