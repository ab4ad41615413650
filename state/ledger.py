"""What became of every message of a source partition.

Owns the forms in which the agents keep their parts of the ledger: ingest a
`SourceLedger` (how many messages were consumed and what became of them before
they left for their shard), park and the shards their `Shares` of other
partitions' messages. Invariant: consumed = forwarded + dead-lettered + parked
+ set apart. Of the forwarded (and of the parked, once they are back) the
shards say which were accepted, duplicate or late.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from state.records import record_of

APART = ("ghost", "system", "bot", "directory", "identity", "edit", "suppressed")
"""Messages that count in no score: an operator's, the system's own, a bot's, the directory itself, those that only say
who is who, later versions of chat messages, and what comes of somebody who was forgotten."""


class SourceLedger(msgspec.Struct, array_like=True, frozen=True):
    """The ledger of one source partition, and its newest event time (ms)."""

    consumed: int = 0
    forwarded: int = 0
    dead_lettered: int = 0
    parked: int = 0
    apart: int = 0
    watermark_ms: int = 0
    sent: dict[int, int] = {}
    """Forwarded activities by the partition of `activities` they went to."""

    @classmethod
    def load(cls, raw: bytes | None) -> SourceLedger:
        """Return what `dump` wrote; an empty ledger for None.

        Raises:
            msgspec.DecodeError: If *raw* is no ledger.
        """
        return cls() if raw is None else record_of(_decoder, raw)

    def dump(self) -> bytes:
        """Return the ledger as bytes."""
        return msgspec.msgpack.encode(self)

    def after(
        self, consumed: int, counts: Mapping[str, int], newest_ms: int, sent: Mapping[int, int] | None = None
    ) -> SourceLedger:
        """Return the ledger after a chunk of *consumed* messages; *sent* of them went to each partition.

        Raises:
            ValueError: If *counts* do not account for every message.
        """
        apart = sum(counts.get(kind, 0) for kind in APART)
        forwarded, dead, parked = (counts.get(k, 0) for k in ("forwarded", "dead_lettered", "parked"))
        if forwarded + dead + parked + apart != consumed:
            raise ValueError(f"{consumed} messages, but {dict(counts)}")
        return SourceLedger(
            self.consumed + consumed,
            self.forwarded + forwarded,
            self.dead_lettered + dead,
            self.parked + parked,
            self.apart + apart,
            max(self.watermark_ms, newest_ms),
            self.sent | {target: self.sent.get(target, 0) + number for target, number in (sent or {}).items()},
        )


SourcePlace = tuple[str, int]
"""Source topic (without prefix) and partition."""
Shares = dict[SourcePlace, list[int]]
"""What one partition of park or fold did with each source partition's messages, in the order of the names below."""
PARK_OUTCOMES = ("waiting", "released", "bot", "dropped", "suppressed")
SHARD_OUTCOMES = ("accepted", "duplicate", "late", "lost", "twice")


def load_shares(raw: bytes | None, outcomes: Sequence[str]) -> Shares:
    """Return what `dump_shares` wrote, with a number for each of *outcomes*; nothing for None.

    Raises:
        msgspec.DecodeError: If *raw* holds no shares.

    >>> load_shares(dump_shares({("users", 1): [2]}), ("waiting", "released"))
    {('users', 1): [2, 0]}
    """
    rows = [] if raw is None else record_of(_shares_decoder, raw)
    return {(topic, at): (counts + [0] * len(outcomes))[: len(outcomes)] for topic, at, counts in rows}


def dump_shares(shares: Shares) -> bytes:
    """Return *shares* as bytes; equal shares give equal bytes."""
    return msgspec.msgpack.encode([(topic, at, shares[topic, at]) for topic, at in sorted(shares)])


_decoder = msgspec.msgpack.Decoder(SourceLedger)
_shares_decoder = msgspec.msgpack.Decoder(list[tuple[str, int, list[int]]])
