"""Cuts a shard's checkpoint into table records and puts it together again.

Owns the keys of the table `shard`: segment name and part number. Only parts
whose content changed since the last checkpoint are written, so arrays that grow
at their end cost what was added. Invariant: a partition's parts always belong
to one position, because they leave in one transaction.
"""

from __future__ import annotations

from collections.abc import Callable

import xxhash

from state.arrays import SchemaError
from state.shard import Shard
from streams.errors import StateUnusableError
from streams.tables import ChunkTable
from streams.transactions import Outgoing

PART_BYTES = 256 * 1024
"""Largest part; well below the broker's limit for a message."""


class Checkpoints:
    """Checkpoints of the owned partitions. *now* is a monotonic clock (seconds)."""

    def __init__(
        self,
        table: ChunkTable,
        now: Callable[[], float],
        every_seconds: float,
        every_rows: int,
        written: Callable[[int], None],
    ) -> None:
        self._table, self._now, self._written = table, now, written
        self._every_seconds, self._every_rows = every_seconds, every_rows
        self._digests: dict[int, dict[bytes, int]] = {}
        self._rows: dict[int, int] = {}
        self._last: dict[int, float] = {}

    def count(self, partition: int, rows: int) -> None:
        """Count activities folded since the last checkpoint."""
        self._rows[partition] = self._rows.get(partition, 0) + rows

    def is_due(self, partition: int) -> bool:
        """Whether it is time for a checkpoint."""
        rows = self._rows.get(partition, 0)
        aged = self._now() - self._last.get(partition, 0.0) >= self._every_seconds
        return rows >= self._every_rows or (rows > 0 and aged)

    def make(self, shard: Shard) -> list[Outgoing]:
        """Return the records that bring the table to the shard's present state."""
        partition = shard.partition
        known = self._digests.setdefault(partition, {})
        out, present = [], set()
        for name, raw in shard.checkpoint().items():
            for number in range(max(1, -(-len(raw) // PART_BYTES))):
                key = f"{name}#{number:06d}".encode()
                part = raw[number * PART_BYTES : (number + 1) * PART_BYTES]
                digest = xxhash.xxh3_64_intdigest(part)
                present.add(key)
                if known.get(key) != digest:
                    known[key] = digest
                    out.append(self._table.stage(partition, key, part, keep=False))
        for gone in [key for key in known if key not in present]:
            del known[gone]
            out.append(self._table.stage(partition, gone, None, keep=False))
        self._rows[partition], self._last[partition] = 0, self._now()
        self._written(sum(len(r.key or b"") + len(r.value or b"") for r in out))
        return out

    def load(self, shard: Shard) -> None:
        """Restore *shard* from the table, which then forgets the partition's bytes: the shard has them.

        Raises:
            StateUnusableError: If another version or another health model wrote it.
        """
        partition = shard.partition
        parts = sorted(self._table.items(partition))
        self._digests[partition] = {key: xxhash.xxh3_64_intdigest(raw) for key, raw in parts}
        self._rows[partition], self._last[partition] = 0, self._now()
        if parts:
            try:
                shard.restore(joined(parts))
            except SchemaError as error:
                raise StateUnusableError(f"checkpoint of partition {partition}: {error}") from error
        self._table.clear(partition)


def joined(parts: list[tuple[bytes, bytes]]) -> dict[str, bytes]:
    """Return segment name → bytes from parts in the order of their keys."""
    segments: dict[str, list[bytes]] = {}
    for key, raw in parts:
        segments.setdefault(key.decode().rpartition("#")[0], []).append(raw)
    return {name: b"".join(raws) for name, raws in segments.items()}
