"""Hand-sized messages, and what must become of each.

Owns the model's own expectation of the ledger, which shares nothing with agents and recount. Invariant: what is
expected of a message does not depend on when or in which order anything is read.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import orjson

from tests.simulation.ground import HOUR_MS, MINUTE_MS, NAMES

TAKEN, DEAD, APART = "taken", "dead", "apart"


class Message(NamedTuple):
    """A raw message; `waits_for` is the alias or org without which it is parked.

    One that `stays` is not sent again elsewhere: what it says depends on what comes before it in its partition.
    """

    topic: str
    value: bytes
    fate: str = TAKEN
    reason: str = ""
    id: str = ""
    waits_for: str = ""
    stays: bool = False


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
    return _made(NAMES.chat_messages, fields | reply, f"{PEOPLE[who]} m{number}")


def trade(number: int, who: str, time_ms: int) -> Message:
    """Return a payment of the org of *who*; every third takes the former one back."""
    name, back = PEOPLE.get(who) or LATER[who], number % 3 == 2
    status, trade_id = ("R", number - 1) if back else ("A", number)
    # The same transaction twice at one moment would be decided by chance, so numbers move it on.
    fields = {"transaction_id": f"t{trade_id}", "org_id": name, "amount": f"{number}.50", "status": status}
    waits_for = name if name not in ORGS else ""
    return _made(NAMES.transactions, fields | {"time": time_ms - number}, f"t{number}", waits_for)


TIMED = 6
"""Consecutive numbers that make one of each kind of `timed`."""


def timed(number: int, who: str, time_ms: int) -> Message:
    """Return an event that counts by the hour of the week: at its own or another time, or as long as it took."""
    name, more = (
        ("Order", {"quantity": number}),
        ("Ack", {"properties": {"created_at": time_ms - number * 77_777}}),
        ("Served", {"quantity": number * 7}),
        ("Signup", {"properties": {"signed_up_at": time_ms - number * HOUR_MS}}),
        ("Ack", {"properties": {"created_at": time_ms + 1}}),  # clocks that don't agree: a duration nobody knows
        ("Served", {"quantity": -1}),
    )[number % TIMED]
    fields = {"event_id": f"e{number}", "name": name, "distinct_id": f"{who}@example.org", "time": time_ms}
    return _made(NAMES.product_events, fields | more, f"e{number}")


KINDS = {"event": event, "login": login, "chat": chat, "trade": trade}


class Talk:
    """One conversation of two people of acme and one of brie, whose messages are numbered from *number* on.

    Each method returns one in the order of sending. A question is asked at *time_ms*.
    """

    def __init__(self, number: int, time_ms: int) -> None:
        self._number, self._time_ms = number, time_ms

    def _said(self, which: int, who: str, minutes: int, parent: int | None = None, **more: object) -> Message:
        id_ = f"m{self._number + which}"
        reply = {} if parent is None else {"in_reply_to": f"m{self._number + parent}"}
        fields = {"message_id": id_, "author": who, "time": self._time_ms + minutes * MINUTE_MS, "channel": "help"}
        return _made(NAMES.chat_messages, fields | {"org_id": PEOPLE[who]} | reply | more, f"{PEOPLE[who]} {id_}")

    def _ended(self, which: int, kind: str, who: str = "ann") -> Message:
        made = self._said(which, who, 500, type=kind, channel="dev")
        return made._replace(fate=APART) if kind == "edit" else made._replace(id=f"{made.id} deleted")

    def several_answers(self) -> list[Message]:
        """Return answers in one channel of a team and in another channel, the earliest one last."""
        answers = [self._said(1, "bob", 50, 0, channel="desk"), self._said(2, "bob", 90, 0, channel="dev")]
        return [self._said(0, "ann", 0), *answers, self._said(3, "bob", 20, 0)]

    def deleted_question(self) -> list[Message]:
        """Return a question that is deleted between two answers."""
        answers = [self._said(1, "bob", 5, 0), self._said(2, "bob", 9, 0)]
        return [self._said(0, "ann", 0), answers[0], self._ended(0, "delete"), answers[1]]

    def deleted_before(self) -> list[Message]:
        """Return an answer that is deleted before it comes, and the one that is left."""
        answers = [self._said(1, "bob", 5, 0), self._said(2, "bob", 9, 0)]
        return [self._ended(1, "delete", "bob"), self._said(0, "ann", 0), *answers]

    def deleted_first_answer(self) -> list[Message]:
        """Return two answers, of which the earlier one is deleted."""
        answers = [self._said(1, "bob", 5, 0), self._said(2, "bob", 300, 0)]
        return [self._said(0, "ann", 0), *answers, self._ended(1, "delete", "bob")]

    def deleted_elsewhere(self) -> list[Message]:
        """Return a question that another org deletes among its own, where there is none."""
        return [self._said(0, "ann", 0), self._ended(0, "delete", "cat"), self._said(1, "bob", 6, 0)]

    def edited(self) -> list[Message]:
        """Return a question and its answer that are edited."""
        return [self._said(0, "ann", 0), self._ended(0, "edit"), self._said(1, "bob", 15, 0), self._ended(1, "edit")]

    def again_otherwise(self) -> list[Message]:
        """Return a message whose id comes again, as if it answered something."""
        again = self._said(0, "bob", 60, 1, channel="dev")._replace(stays=True)
        return [self._said(0, "ann", 0), again, self._said(1, "bob", 30, 0)]

    def to_oneself(self) -> list[Message]:
        """Return an answer to one's own question, and an answer to that."""
        return [self._said(0, "ann", 0), self._said(1, "ann", 1, 0), self._said(2, "bob", 40, 1)]

    def earlier(self) -> list[Message]:
        """Return an answer that is older than its question by the clocks."""
        return [self._said(0, "ann", 0), self._said(1, "bob", -1, 0), self._said(2, "bob", 0, 0)]

    def early(self) -> list[Message]:
        """Return answers that come before their question."""
        return [self._said(1, "bob", 25, 0, channel="dev"), self._said(2, "bob", 5, 0), self._said(0, "ann", 0)]

    def slow(self) -> list[Message]:
        """Return an answer after 50 hours."""
        return [self._said(0, "ann", 0), self._said(1, "bob", 50 * 60, 0)]

    def elsewhere(self) -> list[Message]:
        """Return an answer from another org, in which the same id is another message."""
        return [self._said(0, "ann", 0), self._said(1, "cat", 4, 0), self._said(1, "bob", 16, 0)]


TALKS: dict[str, Callable[[Talk], list[Message]]] = {
    name: talk for name, talk in vars(Talk).items() if not name.startswith("_")
}
"""Conversations by name."""
MOST_MESSAGES = 4
"""Numbers that a conversation takes."""


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
