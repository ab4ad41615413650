"""Owns the bad messages of the simulation: one of each kind that the contract promises to survive.

Invariant: every one of them belongs in the dead letters; none can be accepted by a correct reader.
"""

from __future__ import annotations

from agents.simulate_base import Message

_EVENT = '{"name":"Search","distinct_id":"nobody@homebase.example","time":'
_TALK = '{"message_id":"m","author":"a","channel":"homebase-general","org_id":"homebase","time":'
_SALE = '{"transaction_id":"t","org_id":"northwind","status":"A","time":"2026-01-05T10:00:00Z","amount":'

BAD_EVENTS = (
    b"not json at all",
    b'{"name":"Search","distinct_id":',
    b"\xff\xfe\x00binary",
    b"[]",
    _EVENT.encode() + b'"yesterday"}',
    _EVENT.encode() + b'"1999-12-31T23:59:59Z"}',
    _EVENT.encode() + b'"2095-01-01T00:00:00Z"}',
    _EVENT.encode() + b"NaN}",
    _EVENT.encode() + b"1e400}",
    _EVENT.encode() + b"123456789012345678901234567890}",
    _EVENT.encode() + b'"2026-01-05T10:00:00Z","quantity":true}',
    _EVENT.encode() + b'"2026-01-05T10:00:00Z","event_id":"\\ud800"}',
    _EVENT.encode() + b'"2026-01-05T10:00:00Z","properties":' + b'{"a":' * 3_000 + b"1" + b"}" * 3_000 + b"}",
    b'{"name":"Search","time":"2026-01-05T10:00:00Z"}',
    b'{"name":"Search","distinct_id":"   ","time":"2026-01-05T10:00:00Z"}',
    b'{"name":"Search","distinct_id":"' + b"x" * 1_000 + b'","time":"2026-01-05T10:00:00Z"}',
)
BAD_SYSLOG = (b"\x00\x01\x02", b"{", b'{"id":1,"org":"northwind","created":"2026-01-05T10:00:00Z","action":"view"}')
BAD_CHAT = (
    _TALK.encode() + b"null}",
    b'{"message_id":"m","time":"2026-01-05T10:00:00Z","channel":"homebase-general","org_id":"homebase"}',
    b'{"type":"presence","server":"homebase","time":"2026-01-05T10:00:00Z","online":"many"}',
)
BAD_TRANSACTIONS = (
    _SALE.encode() + b'"12,3x"}',
    _SALE.encode() + b"1e400}",
    _SALE.encode() + b"true}",
    _SALE.encode() + b'"5.00","currency":"ZZZ"}',
)
_BY_TOPIC = {
    "product-events": BAD_EVENTS,
    "syslog-activities": BAD_SYSLOG,
    "chat-messages": BAD_CHAT,
    "transactions": BAD_TRANSACTIONS,
}


def bad_message(topic: str, number: int) -> Message:
    """Return the *number*-th bad message of a topic; the kinds take turns."""
    kinds = _BY_TOPIC[topic]
    return Message(topic, b"bad", kinds[number % len(kinds)])
