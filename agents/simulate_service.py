"""Owns simulated events that are about other times than their own: tickets, requests, orders, people who signed up.

Invariant: pure. Each kind has the few defects that the contract names: clocks that disagree, properties that are
missing, and times and durations that can't be.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.resources import files

import numpy as np

from agents.simulate_base import Base, Floats, Ints, Message
from agents.simulate_events import Encode
from agents.simulate_rhythm import iso_times, milliseconds, reply_latency_seconds

SERVICE_NAMES = ("Ticket Acknowledged", "Request Served", "Order Placed", "Signed Up")
MEASURES = """\
# What simulated events and transactions add by hour of the week: a measure of each sort.
ticket_acknowledged = { events = ["Ticket Acknowledged"], hours = true, since = "created_at" }
request_served = { events = ["Request Served"], hours = true, duration = "ms", passive = true }
order = { events = ["Order Placed"], hours = true }
signup = { events = ["Signed Up"], hours = true, time = "signed_up_at" }
transaction = { hours = true }
message = { hours = true }
"""
_HOUR_MS = 3_600_000
_CLOCK_IS_WRONG, _LACKING, _IMPOSSIBLE = 0.03, 0.02, 0.02
_YEAR_2001_MS = 978_307_200_000
_TOO_LONG_MS = 2**40


def model_text() -> str:
    """Return the shipped model as TOML, with MEASURES."""
    text = (files("state") / "health.toml").read_text("utf-8")
    head, section, rest = text.partition("\n[measures]\n")
    return head + section + MEASURES + rest


def service_messages(base: Base, rng: np.random.Generator, users: Ints, hours: Ints, times: Floats, ids: str) -> Encode:
    """Return what makes event *i*.

    Args:
        base: The people.
        rng: Where chance comes from.
        users: Who, by event.
        hours: Local hour of the week, by event.
        times: Event time by event, epoch seconds.
        ids: Prefix of event ids.
    """
    count = len(users)
    kinds, form = np.arange(count) % len(SERVICE_NAMES), rng.random(count) < 0.3
    # Not by chance, so that even a few events of a kind have all its defects.
    luck = [((i // len(SERVICE_NAMES) * 37) % 100 + 0.5) / 100 for i in range(count)]
    waits_ms = milliseconds(reply_latency_seconds(rng, hours))
    served_ms = np.floor(rng.lognormal(6.0, 2.0, count)).astype(np.int64)
    stamps, who, number = milliseconds(times).tolist(), users.tolist(), kinds.tolist()
    said_ms = np.where(kinds == 1, served_ms, waits_ms).tolist()
    details = (_acknowledged, _served, _ordered, _signed_up)

    def encode(i: int) -> Message:
        name, person = SERVICE_NAMES[number[i]], base.users[who[i]].id
        quantity, properties = details[number[i]](stamps[i], said_ms[i], luck[i])
        if form[i]:
            more = [f'"distinct_id":"{person}","time":{stamps[i]},"$insert_id":"{ids}v{i:x}"', quantity, properties]
            text = f'{{"event":"{name}","properties":{{{",".join(filter(None, more))}}}}}'
        else:
            fields = [f'"event_id":"{ids}v{i:x}","name":"{name}","distinct_id":"{person}","time":{stamps[i]}', quantity]
            fields.append(f'"properties":{{{properties}}}')
            text = f"{{{','.join(filter(None, fields))}}}"
        return Message("product-events", person.encode(), text.encode())

    return encode


_Details = Callable[[int, int, float], tuple[str, str]]
"""Gets an event's time and how long it took (ms), and chance; gives its quantity and its properties as JSON."""


def _acknowledged(time_ms: int, lasted_ms: int, luck: float) -> tuple[str, str]:
    if luck < _LACKING:
        return "", '"created_at":null'
    if luck < _LACKING + _IMPOSSIBLE:
        return "", f'"created_at":{_YEAR_2001_MS}'
    if luck > 1 - _CLOCK_IS_WRONG:
        lasted_ms = -lasted_ms
    began_ms = time_ms - lasted_ms
    iso = iso_times(np.array([began_ms / 1000]))[0]
    return "", f'"created_at":"{iso}"' if luck < 0.5 else f'"created_at":{began_ms}'


def _served(_: int, lasted_ms: int, luck: float) -> tuple[str, str]:
    if luck < _LACKING:
        return "", ""
    if luck < _LACKING + _IMPOSSIBLE:
        return f'"quantity":{_TOO_LONG_MS}', ""
    return f'"quantity":{-1 if luck > 1 - _CLOCK_IS_WRONG else lasted_ms}', '"path":"/"'


def _ordered(_: int, lasted_ms: int, __: float) -> tuple[str, str]:
    return f'"quantity":{1 + lasted_ms % 5}', ""


def _signed_up(time_ms: int, lasted_ms: int, luck: float) -> tuple[str, str]:
    if luck < _LACKING:
        return "", '"signed_up_at":true'
    if luck < _LACKING + _IMPOSSIBLE:
        return "", f'"signed_up_at":{time_ms + 2 * _HOUR_MS}'
    if luck > 1 - _CLOCK_IS_WRONG:
        return "", f'"signed_up_at":{time_ms + lasted_ms % _HOUR_MS}'
    return "", f'"signed_up_at":{time_ms - lasted_ms}'
