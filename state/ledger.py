"""What became of every message of a source partition.

Owns ingest's side of the ledger: how many messages were consumed and what
became of them before they left for their shard. Invariant:
consumed = forwarded + dead-lettered + parked + set apart. Of the forwarded
(and of the parked, once they are back) the shards say which were accepted,
duplicate or late.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from state.records import record_of

APART = ("ghost", "system", "bot", "directory")
"""Messages that count in no score: an operator's, the system's own, a bot's, the directory itself."""


class SourceLedger(msgspec.Struct, array_like=True, frozen=True):
    """The ledger of one source partition, and its newest event time (ms)."""

    consumed: int = 0
    forwarded: int = 0
    dead_lettered: int = 0
    parked: int = 0
    apart: int = 0
    watermark_ms: int = 0

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

    def after(self, consumed: int, counts: Mapping[str, int], newest_ms: int) -> SourceLedger:
        """Return the ledger after a chunk of *consumed* messages.

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
        )


_decoder = msgspec.msgpack.Decoder(SourceLedger)
