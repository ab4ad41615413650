"""A made-up base with the shape of a known one: 5,042 orgs and 18,382 users with activity, 90,225 user-weeks and 82,725
org-weeks with transactions in the 46 weeks from 2020-12-07 on.

Two forms of it: raw rows, as an activity log and a list of transactions have them, and rows of the topic `weeks`, as
the system tells them. Invariant: a pure function of its seed and sizes, and both forms tell of the same; what does
not count (ghosts, org 0, transactions that are not approved) is in the raw rows only.

Heavy tails everywhere: orgs by users, users by activities, orgs and weeks by transactions, amounts. Activities of a
user are scaled down against the known base (about 80 a user instead of 1,900), so that their log has two million
rows, not fifty.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
import pandas as pd

from state.week import monday_of, week_label, week_of_day

FIRST_MONDAY = "2020-12-07"
_WEEK_SECONDS = 7 * 86_400
_CONTRIBUTIONS = orjson.Fragment(orjson.dumps({f"attribute_{n}": f"{1.25 * n:.2f}" for n in range(1, 20)}))
_ATTRIBUTES = orjson.Fragment(orjson.dumps({f"attribute_{n}": 17 * n for n in range(1, 31)}))
"""The same in all rows: nobody looks at them, but they are most of a row's bytes."""
_BANDS = ((1, 10), (11, 20), (21, 30), (31, 40), (41, 50))  # activities in all; over 50 is the rest
_EXTRA_WEEKS = (0.06, 0.36, 0.84, 1.17, 1.74, 6.96)  # mean weeks of each band, less the first


@dataclass(frozen=True)
class Sizes:
    """How large it is; the default is the known base."""

    orgs: int = 5_042
    users: int = 18_382
    pairs: int = 25_680
    user_weeks: int = 90_225
    trading_orgs: int = 3_703
    org_weeks: int = 82_725
    weeks: int = 46
    by_band: tuple[int, ...] = (11_852, 3_292, 998, 463, 386)


SMALL = Sizes(120, 400, 560, 2_000, 90, 1_500, 20, (250, 80, 25, 15, 10))


@dataclass(frozen=True)
class Base:
    """The base, by numbers.

    Attributes:
        first: Number of the first week.
        user_weeks: `org`, `user`, `week`, `activities`, `score` (basis points).
        org_weeks: `org`, `week`, `activities`, `active_users`, `transactions_count`, `transactions_cents`, `score` (-1
        = none).
        activity: Raw: `id`, `org`, `userid`, `created` (seconds), `ghost`.
        transactions: Raw: `id`, `org`, `date` (seconds), `amount_cents`, `status`.
    """

    first: int
    user_weeks: pd.DataFrame
    org_weeks: pd.DataFrame
    activity: pd.DataFrame
    transactions: pd.DataFrame


def make(sizes: Sizes | None = None, seed: int = 2021) -> Base:
    """Return the base of *sizes*."""
    sizes, rng = sizes or Sizes(), np.random.default_rng(seed)
    first = week_of_day(pd.Timestamp(FIRST_MONDAY).date())
    pairs = _pairs(sizes, rng)
    user_weeks = _user_weeks(pairs, sizes, rng, first)
    trade = _trade(pairs, user_weeks.groupby("org")["activities"].sum(), sizes, rng, first)
    org_weeks = _org_weeks(user_weeks, trade, rng)
    return Base(first, user_weeks, org_weeks, _activity(user_weeks, rng), _transactions(org_weeks, rng))


def week_rows(base: Base) -> Iterator[tuple[bytes, bytes | None]]:
    """Yield key and value of each record of `weeks`, as a topic that was compacted only in part has them.

    Among the rows that count there are former ones, rows of the open week, tombstones with what they took away, a row
    of org 0, and one that can't be read.
    """
    last = int(base.org_weeks["week"].max())
    labels = {n: week_label(n) for n in range(base.first, last + 2)}
    yield b"org:4|" + labels[last + 1].encode(), _org_value("4", labels[last + 1], "provisional", 5, 1, 2, 300, 5_000)
    yield b"org:gone|2021-W05", _org_value("gone", "2021-W05", "final", 9, 9, 9, 999, 9_999)
    yield b"org:0|" + labels[last].encode(), _org_value("0", labels[last], "final", 77, 7, 7, 777, 7_777)
    yield b"org:torn|2021-W05", b'{"org": "torn", "week": '
    for n, (org, user, week, activities, score) in enumerate(base.user_weeks.itertuples(index=False, name=None)):
        key = f"user:{org}/{user}|{labels[week]}".encode()
        if n % 97 == 0:
            yield key, _user_value(str(org), str(user), labels[week], "final", activities + 3, score)
            yield key, _user_value(str(org), str(user), labels[week], "restated", activities, score)
        else:
            yield key, _user_value(str(org), str(user), labels[week], "final", activities, score)
    columns = ["org", "week", "activities", "active_users", "transactions_count", "transactions_cents", "score"]
    for org, week, *figures in base.org_weeks[columns].itertuples(index=False, name=None):
        yield f"org:{org}|{labels[week]}".encode(), _org_value(str(org), labels[week], "final", *figures)
    yield b"org:gone|2021-W05", None


def _pairs(sizes: Sizes, rng: Any) -> pd.DataFrame:
    """Return who is where: every org has a user, every user an org; most orgs have one or two, a few have hundreds."""
    spread = rng.pareto(1.1, sizes.orgs) + 0.35
    more = rng.multinomial(sizes.pairs - sizes.orgs, spread / spread.sum())
    org = np.repeat(np.arange(1, sizes.orgs + 1), 1 + more)
    rng.shuffle(org)
    user = np.concatenate([np.arange(sizes.users), np.zeros(sizes.pairs - sizes.users, np.int64)])
    taken = set(zip(org[: sizes.users].tolist(), user[: sizes.users].tolist(), strict=True))
    for place in range(sizes.users, sizes.pairs):
        while (pair := (int(org[place]), int(rng.integers(sizes.users)))) in taken:
            pass
        taken.add(pair)
        user[place] = pair[1]
    return pd.DataFrame({"org": org, "user": user + 11_379})


def _user_weeks(pairs: pd.DataFrame, sizes: Sizes, rng: Any, first: int) -> pd.DataFrame:
    count = len(pairs)
    band = np.full(count, len(_BANDS))
    order = rng.permutation(count)
    for number, size in enumerate(sizes.by_band):
        band[order[:size]], order = number, order[size:]
    weeks = 1 + rng.poisson(rng.gamma(0.7, 1 / 0.7, count) * np.array(_EXTRA_WEEKS)[band])
    totals = 50 + np.ceil(rng.lognormal(4.4, 1.2, count)).astype(np.int64)
    for number, (low, high) in enumerate(_BANDS):
        here = band == number
        totals[here] = rng.integers(low, high + 1, int(here.sum()))
    weeks = np.minimum(np.minimum(weeks, totals), sizes.weeks)
    busy = np.flatnonzero(band == len(_BANDS))
    while (missing := sizes.user_weeks - int(weeks.sum())) != 0:  # those with many activities make up the difference
        some = rng.choice(busy, min(abs(missing), len(busy)), replace=False)
        moved = weeks[some] + np.sign(missing)
        weeks[some] = np.clip(moved, 1, min(sizes.weeks, 50))
    pair = np.repeat(np.arange(count), weeks)
    nth = np.arange(len(pair)) - np.repeat(np.cumsum(weeks) - weeks, weeks)
    keys = rng.random((count, sizes.weeks))  # which weeks: those with the smallest keys
    week = np.argsort(keys, axis=1)[pair, nth]
    activities = 1 + _shared(totals - weeks, weeks, rng)
    found = pd.DataFrame(
        {
            "org": pairs["org"].to_numpy()[pair],
            "user": pairs["user"].to_numpy()[pair],
            "week": week + first,
            "activities": activities,
            "score": rng.integers(0, 10_001, len(pair)),
        }
    )
    return found.sort_values(["week", "org", "user"], ignore_index=True)


def _shared(amounts: Any, parts: Any, rng: Any) -> Any:
    """Return how each of *amounts* is shared out among so many *parts*, one after the other."""
    ends = np.cumsum(parts)
    weights = rng.random(int(ends[-1]))
    so_far = np.concatenate(([0.0], np.cumsum(weights)))
    begins = np.repeat(so_far[ends - parts], parts)
    whole = np.repeat(so_far[ends] - so_far[ends - parts], parts)
    many = np.repeat(amounts, parts)
    upper = np.floor((so_far[1:] - begins) / whole * many + 1e-9)
    upper[ends - 1] = amounts
    lower = np.concatenate(([0.0], upper[:-1]))
    lower[ends - parts] = 0.0
    return (upper - lower).astype(np.int64)


def _trade(pairs: pd.DataFrame, activities: Any, sizes: Sizes, rng: Any, first: int) -> pd.DataFrame:
    """Return transactions by org and week; more in orgs with more users who do more; one org in twenty has no users."""
    known = np.unique(pairs["org"])
    without = sizes.trading_orgs // 20
    own = rng.choice(known, sizes.trading_orgs - without, replace=False)
    orgs = np.concatenate([own, sizes.orgs + 1 + np.arange(without)])
    users = pairs["org"].value_counts().reindex(orgs).fillna(1).to_numpy()
    doing = np.log(activities.reindex(orgs).fillna(1).to_numpy() / users)
    many = np.clip(np.round(rng.beta(0.9, 0.95, len(orgs)) * sizes.weeks), 1, sizes.weeks).astype(np.int64)
    while (missing := sizes.org_weeks - int(many.sum())) != 0:
        some = rng.choice(len(orgs), min(abs(missing), len(orgs)), replace=False)
        many[some] = np.clip(many[some] + np.sign(missing), 1, sizes.weeks)
    place = np.repeat(np.arange(len(orgs)), many)
    nth = np.arange(len(place)) - np.repeat(np.cumsum(many) - many, many)
    week = np.argsort(rng.random((len(orgs), sizes.weeks)), axis=1)[place, nth]
    typical = rng.lognormal(0.35, 1.35, len(orgs)) * users**0.5 * np.exp(0.3 * doing)
    count = 1 + rng.poisson(np.minimum(typical[place] * rng.lognormal(0, 0.3, len(place)), 4_000))
    amount = rng.lognormal(4.4, 1.3, len(orgs))[place] * rng.lognormal(0, 0.35, len(place))
    cents = np.round(100 * amount * count).astype(np.int64)
    cents[rng.random(len(cents)) < 0.002] *= -1  # more was given back than taken
    return pd.DataFrame(
        {"org": orgs[place], "week": week + first, "transactions_count": count, "transactions_cents": cents}
    )


def _org_weeks(user_weeks: pd.DataFrame, trade: pd.DataFrame, rng: Any) -> pd.DataFrame:
    own = user_weeks.groupby(["org", "week"]).agg(activities=("activities", "sum"), active_users=("user", "size"))
    found = own.reset_index().merge(trade, on=["org", "week"], how="outer").fillna(0)
    found = found.astype(np.int64).sort_values(["week", "org"], ignore_index=True)
    score = np.clip(rng.normal(4_000, 1_800, len(found)) + 60 * found["active_users"], 0, 10_000).astype(np.int64)
    return found.assign(score=np.where(found["active_users"] > 0, score, -1))


def _activity(user_weeks: pd.DataFrame, rng: Any) -> pd.DataFrame:
    """Return the log: each activity at some second of its week, then ghosts and the system's own."""
    row = np.repeat(np.arange(len(user_weeks)), user_weeks["activities"])
    week, org, user = (user_weeks[name].to_numpy()[row] for name in ("week", "org", "user"))
    apart = rng.choice(len(row), len(row) // 20, replace=False)
    half = len(apart) // 2
    ghosts, system = apart[:half], apart[half:]
    places = np.concatenate([np.arange(len(row)), ghosts, system])
    ghost = np.zeros(len(places), np.int64)
    ghost[len(row) : len(row) + half] = 1
    orgs = org[places]
    orgs[len(row) + half :] = 0
    created = _start(week[places]) + rng.integers(0, _WEEK_SECONDS, len(places))
    shown = pd.DataFrame({"id": np.arange(len(places)), "org": orgs, "userid": user[places], "created": created})
    return shown.assign(ghost=ghost)


def _transactions(org_weeks: pd.DataFrame, rng: Any) -> pd.DataFrame:
    """Return the list: amounts of a week add up to the cent; one in ten was not approved."""
    traded = org_weeks[org_weeks["transactions_count"] > 0].reset_index(drop=True)
    count = traded["transactions_count"].to_numpy()
    row = np.repeat(np.arange(len(traded)), count)
    cents = traded["transactions_cents"].to_numpy()
    amounts = (cents // count)[row]
    amounts[np.cumsum(count) - 1] += cents - cents // count * count
    other = rng.choice(len(row), len(row) // 10, replace=False)
    places = np.concatenate([np.arange(len(row)), other])
    status = np.where(np.arange(len(places)) < len(row), "A", rng.choice(["D", "P", "R"], len(places)))
    date = _start(traded["week"].to_numpy()[row][places]) + rng.integers(0, _WEEK_SECONDS, len(places))
    org = traded["org"].to_numpy()[row][places]
    return pd.DataFrame(
        {"id": np.arange(len(places)), "org": org, "date": date, "amount_cents": amounts[places], "status": status}
    )


def _start(weeks: Any) -> Any:
    """Return the second (UTC) at which each of *weeks* begins."""
    opening = {int(n): int(pd.Timestamp(monday_of(int(n)), tz="UTC").timestamp()) for n in np.unique(weeks)}
    return np.vectorize(opening.__getitem__, otypes=[np.int64])(weeks)


def _user_value(org: str, user: str, week: str, state: str, activities: int, score: int) -> bytes:
    counts = {"search": activities - activities // 3, "dashboard_view": activities // 3}
    return _value(
        f"user:{org}/{user}", org, user, week, state, activities=activities, active_users=int(activities > 0),
        counts=counts, score=f"{score / 100:.2f}", contributions=_CONTRIBUTIONS, attributes=_ATTRIBUTES,
    )  # fmt: skip


def _org_value(
    org: str, week: str, state: str, activities: int, active_users: int, count: int, cents: int, score: int
) -> bytes:
    known = None if score < 0 else f"{score / 100:.2f}"
    return _value(
        f"org:{org}", org, None, week, state, activities=activities, active_users=active_users,
        transactions_count=count, transactions_cents=cents, counts={"transaction": count},
        sums={"transaction": cents}, score=known, score_licensed=known, score_median=known,
        contributions=_CONTRIBUTIONS,
    )  # fmt: skip


def _value(subject: str, org: str, user: str | None, week: str, state: str, **figures: Any) -> bytes:
    """Return a row as the system spells it."""
    row: dict[str, Any] = {
        "subject": subject, "org": org, "user": user, "week": week, "state": state, "activities": 0, "active_users": 0,
        "transactions_count": 0, "transactions_cents": 0, "replies": 0, "reply_latency_seconds_sum": 0, "counts": {},
        "sums": {}, "score": None, "score_licensed": None, "score_median": None, "contributions": None,
        "calibration": 3, "attributes": None,
    }  # fmt: skip
    return orjson.dumps(row | figures)
