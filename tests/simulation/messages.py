"""Hand-sized messages, and what must become of each.

Owns the model's own expectation of the ledger, which shares nothing with agents and recount. Invariant: what is
expected of a message does not depend on when or in which order anything is read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import orjson

from tests.simulation.ground import HOUR_MS, NAMES

TAKEN, DEAD, APART = "taken", "dead", "apart"


class Message(NamedTuple):
    """A raw message; `waits_for` is the alias or org without which it is parked."""

    topic: str
    value: bytes
    fate: str = TAKEN
    reason: str = ""
    id: str = ""
    waits_for: str = ""


@dataclass(frozen=True)
class Sent:
    """A message and where it was put."""

    message: Message
    partition: int
    offset: int


ORGS = {"acme": "Europe/Berlin", "brie": "UTC", "corp": "UTC"}
PEOPLE = {"ann": "acme", "bob": "acme", "cat": "brie", "dan": "corp"}
LATER = {"eve": "acme", "fay": "brie", "gus": "dune"}
"""People (and an org, dune) that the directory learns in the course of a run, if at all."""


def person(user: str, *, licensed: bool = True) -> bytes:
    """Return a record of `users`."""
    org = PEOPLE.get(user) or LATER[user]
    return orjson.dumps({"user_id": user, "org_id": org, "email": f"{user}@example.org", "licensed": licensed})


def org(name: str) -> bytes:
    """Return a record of `orgs`."""
    return orjson.dumps({"org_id": name, "name": name.title(), "timezone": ORGS.get(name, "UTC")})


def _made(topic: str, fields: dict[str, object], id_: str, waits_for: str = "") -> Message:
    return Message(topic, orjson.dumps(fields), id=id_, waits_for=waits_for)


def event(number: int, who: str, time_ms: int) -> Message:
    """Return a product event of *who*."""
    name, waits_for = ("Search", "Upload")[number % 2], who if who in LATER else ""
    fields = {"event_id": f"e{number}", "name": name, "distinct_id": f"{who}@example.org", "time": time_ms}
    return _made(NAMES.product_events, fields | {"quantity": number}, f"e{number}", waits_for)


def login(number: int, who: str, time_ms: int) -> Message:
    """Return a line of the activity log, by an operator for every fifth."""
    ghost = int(number % 5 == 0)
    fields = {"id": number, "org": PEOPLE[who], "userid": who, "created": time_ms, "ghost": ghost, "action": "login"}
    made = _made(NAMES.syslog_activities, fields, f"s{number}")
    return made._replace(fate=APART) if ghost else made


def chat(number: int, who: str, time_ms: int) -> Message:
    """Return a chat message by *who*, to the former one in the same org for every second."""
    fields = {"message_id": f"m{number}", "author": who, "time": time_ms, "org_id": PEOPLE[who], "channel": "c"}
    reply = {"in_reply_to": f"m{number - 1}"} if number % 2 else {}
    return _made(NAMES.chat_messages, fields | reply, f"m{number}")


def trade(number: int, who: str, time_ms: int) -> Message:
    """Return a payment of the org of *who*; every third takes the former one back."""
    name, back = PEOPLE.get(who) or LATER[who], number % 3 == 2
    status, trade_id = ("R", number - 1) if back else ("A", number)
    # The same transaction twice at one moment would be decided by chance, so numbers move it on.
    fields = {"transaction_id": f"t{trade_id}", "org_id": name, "amount": f"{number}.50", "status": status}
    waits_for = name if name not in ORGS else ""
    return _made(NAMES.transactions, fields | {"time": time_ms - number}, f"t{number}", waits_for)


KINDS = {"event": event, "login": login, "chat": chat, "trade": trade}


def garbage(number: int) -> Message:
    """Return a message that no reader accepts."""
    return (
        Message(NAMES.product_events, b'{"name": "Search", "dist', DEAD, "not_json"),
        Message(NAMES.chat_messages, b'{"message_id": "x", "time": 1774728000000}', DEAD, "missing_field"),
        Message(NAMES.syslog_activities, b"neither JSON nor a line", DEAD, "not_syslog"),
        Message(NAMES.transactions, b'{"transaction_id":"x","org_id":"acme","amount":"1.001","status":"A",'
                b'"time":1774728000000}', DEAD, "bad_amount"),
    )[number % 4]  # fmt: skip


def from_2099(number: int) -> Message:
    """Return an event of the year 2099."""
    return event(number, "ann", 4_086_000_000_000)._replace(fate=DEAD, reason="bad_time")


def too_late(number: int, newest_ms: int, lateness_hours: int) -> Message:
    """Return an event beyond the allowed lateness of a source partition whose newest event is of *newest_ms*."""
    late = event(number, "ann", newest_ms - (lateness_hours + 1) * HOUR_MS)
    return late._replace(fate=DEAD, reason="too_late")
