"""Makes hostile messages from a seed: right ones, with odd values, with broken bytes, and nothing of the sort.

Owns the shapes of right messages and the ways to break them. Invariant: the same seed gives the same messages; only
the mangler's own `random.Random` is asked.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Final

from tests.fuzz import odd_values as odd

SOURCES: Final = ("product-events", "syslog-activities", "chat-messages", "transactions")
TOPICS: Final = (*SOURCES, "users", "orgs")
Pair = tuple[bytes | None, bytes | None]
"""A record's key and value."""

_EXTRA: Final = (b"properties", b"type", b"online", b"server", b"org_id", b"unit", b"event", b"$insert_id", b"since",
                 b"licenses", b"x", b"", b"\\u0000", b"name", b"time")  # fmt: skip
_RECENT_HOURS = 2000  # some of it beyond the allowed lateness of 1344 hours
_REMEMBERED = 64
_BIG_EVERY = 4000  # messages between two that are over a limit of Kafka's or ours


class Mangler:
    """A stream of messages for one seed; *now_ms* is about when they are read."""

    def __init__(self, seed: int, now_ms: int) -> None:
        self._chance, self._now_ms = random.Random(seed), now_ms
        self._former: list[bytes] = [b"{}"]

    def messages(self, topic: str, count: int) -> Iterator[Pair]:
        """Yield *count* records for *topic*."""
        chance = self._chance
        for _ in range(count):
            key: bytes | None = b"%d" % chance.randrange(40)
            draw = chance.random()
            value = (
                self.right(topic) if draw < 0.45
                else self.odd(topic) if draw < 0.7
                else self.broken(topic) if draw < 0.94
                else self.nothing_of_the_sort()
            )  # fmt: skip
            if chance.random() < 0.03:
                key = self._odd_key(topic)
            if chance.randrange(_BIG_EVERY) == 0:
                key, value = b"k" * 400_000, b"{" + b" " * chance.randrange(60_000, 70_000) + value[1:]
            gone = chance.random() < 0.01
            yield key, None if gone else value
            if len(value) < 2000:
                if len(self._former) < _REMEMBERED:
                    self._former.append(value)
                else:
                    self._former[chance.randrange(_REMEMBERED)] = value

    def fields(self, topic: str) -> dict[bytes, bytes]:
        """Return the raw JSON fields of a right message."""
        pick = self._chance.randrange
        known = topic in ("users", "orgs")  # others tell of people too that no directory knows
        org = self._of(b"0", b'"org9"', b'"org8"') if not known and pick(20) == 0 else b'"org%d"' % pick(5)
        user, number = b'"user%d"' % pick(30 if known else 45), b"%d" % pick(10**6)
        if topic == "product-events" and pick(4) == 0:
            inner = {b"distinct_id": user, b"time": self._time(), b"$insert_id": number, b"org_id": org}
            return {b"event": b'"Search"', b"properties": written(inner)}
        if topic == "chat-messages" and pick(4) == 0:
            return {b"type": b'"presence"', b"server": org, b"time": self._time(), b"online": b"%d" % pick(9)}
        return {
            "product-events": {b"name": self._of(b'"Search"', b'"File Uploaded"', b'"New"'), b"distinct_id": user,
                               b"time": self._time(), b"org_id": org, b"event_id": number, b"quantity": b"5"},
            "syslog-activities": {b"id": number, b"org": org, b"userid": user, b"created": self._time(),
                                  b"ghost": self._of(b"0", b"0", b"1"), b"action": self._of(b'"login"', b'"odd"')},
            "chat-messages": {b"message_id": b"%d" % pick(500), b"author": user, b"time": self._time(),
                              b"in_reply_to": b"%d" % pick(500), b"org_id": org, b"channel": b'"c"'},
            "transactions": {b"transaction_id": b"%d" % pick(300), b"org_id": org, b"amount": b'"%d.5"' % pick(999),
                             b"status": self._of(b'"A"', b'"D"'), b"time": self._time(),
                             b"currency": self._of(b'"USD"', b"null", b'"usd"')},
            "users": {b"user_id": user, b"org_id": org, b"email": b'"u%d@x.example"' % pick(30), b"aliases": b'["al%d"]'
                      % pick(30), b"bot": self._of(b"true", b"false", b"false"), b"licensed": b"true"},
            "orgs": {b"org_id": org, b"name": b'"Org"', b"timezone": self._of(b'"UTC"', b'"Asia/Kolkata"'),
                     b"account_value_usd": b"5000"},
        }[topic]  # fmt: skip

    def right(self, topic: str) -> bytes:
        """Return a message as it should be."""
        if topic == "syslog-activities" and self._chance.random() < 0.3:
            return self._line(odd.STAMPS[:1], odd.PRIORITIES[:1], odd.DATA[1:3])
        return written(self.fields(topic))

    def odd(self, topic: str) -> bytes:
        """Return a message with one to three odd values, odd fields or a field twice."""
        chance = self._chance
        if topic == "syslog-activities" and chance.random() < 0.5:
            return self._line(odd.STAMPS, odd.PRIORITIES, odd.DATA)
        fields, twice = self.fields(topic), b""
        if topic == "product-events" and chance.random() < 0.05:
            fields[b"quantity"] = chance.choice((b"4611686018427387904", b"-4611686018427387904"))  # huge
        for _ in range(chance.randrange(1, 4)):
            name = chance.choice([*fields] if fields and chance.random() < 0.8 else _EXTRA)
            kind = chance.choice((odd.NUMBERS, odd.TEXTS, odd.TEXTS, odd.TIMES, odd.SHAPES))
            value = chance.choice(kind)
            draw = chance.random()
            if draw < 0.08:
                fields.pop(name, None)
            elif draw < 0.14:
                twice += b',"' + name + b'":' + value
            elif name == b"aliases":
                fields[name] = b"[" + b",".join(chance.choices(odd.TEXTS, k=chance.randrange(25))) + b"]"
            else:
                fields[name] = value
        return written(fields)[:-1] + twice + b"}"

    def broken(self, topic: str) -> bytes:
        """Return a message whose bytes were changed: flipped, cut, doubled, spliced with another."""
        chance = self._chance
        raw = bytearray(self.odd(topic) if chance.random() < 0.3 else self.right(topic))
        for _ in range(chance.randrange(1, 4)):
            at = chance.randrange(len(raw) + 1)
            end = min(len(raw), at + chance.randrange(1, 12))
            draw = chance.randrange(7)
            if draw == 0 and at < len(raw):
                raw[at] ^= 1 << chance.randrange(8)
            elif draw == 1:
                raw[at:at] = chance.randbytes(chance.randrange(1, 5))
            elif draw == 2:
                del raw[at:]
            elif draw == 3:
                del raw[at:end]
            elif draw == 4:
                raw[at:at] = raw[at:end] * chance.randrange(1, 4)
            elif draw == 5:
                other = chance.choice(self._former)
                raw[at:] = other[chance.randrange(len(other) + 1) :]
            else:
                raw[at:end] = chance.choice((b"\x00", b"\xff", b"\x1f", b'"', b"}", b"\\", b"\xef\xbb\xbf", b"-", b"e"))
        return bytes(raw)

    def nothing_of_the_sort(self) -> bytes:
        """Return bytes that are no message of ours at all."""
        chance = self._chance
        if chance.random() < 0.4:
            return chance.randbytes(chance.randrange(60))
        return chance.choice(odd.WHOLES)

    def _odd_key(self, topic: str) -> bytes | None:
        chance = self._chance
        odd_keys = (b"", b"\xff", b"\x00", b" ", b"\x1f", b"\n", b"x" * 300, b"{", b"org1", b"user1")
        # Compacted topics take no record without a key.
        return chance.choice(odd_keys if topic in ("users", "orgs") else (None, *odd_keys))

    def _line(self, stamps: tuple[str, ...], priorities: tuple[str, ...], data: tuple[str, ...]) -> bytes:
        """Return an RFC 5424 or 3164 line of the given parts."""
        chance = self._chance
        stamp, priority, rest = chance.choice(stamps), chance.choice(priorities), chance.choice(data)
        host, program = (
            chance.choice(("host", "-", "", "h\u00f6st", "{h}", "a/b")),
            chance.choice(("app", "-", "app[1]", "a:")),
        )
        if chance.random() < 0.5:
            line = f"{priority} {stamp} {host} {program} {chance.choice(('1', '-', ''))} ID {rest}"
        else:
            line = f"{priority}{stamp} {host} {program}: {rest}"
        return line.encode("utf-8", "surrogateescape") + chance.choice((b"", b"", b"\n", b"\r\n", b"\x00"))

    def _time(self) -> bytes:
        seconds = self._now_ms // 1000 - int(3600 * _RECENT_HOURS * self._chance.random() ** 4) - 60
        return self._of(b"%d" % seconds, b"%d000" % seconds, b"%d.5" % seconds)

    def _of(self, *choices: bytes) -> bytes:
        return self._chance.choice(choices)


def written(fields: dict[bytes, bytes]) -> bytes:
    """Return raw fields as a JSON object."""
    return b"{" + b",".join([b'"' + name + b'":' + value for name, value in fields.items()]) + b"}"
