"""Cuts a shard's checkpoint into table records and puts it together again.

Owns the keys of the table `shard`: segment name and part number. Only parts
whose content changed since the last checkpoint are written, so arrays that grow
at their end cost what was added. Invariant: a partition's parts always belong
to one position, because they leave in one transaction.
"""

from __future__ import annotations

from collections.abc import Callable

from agents.manifest import KEY, DamagedCheckpointError, Digests, digest_of, manifest_of, part_key, whole
from state.arrays import SchemaError
from state.shard import Shard
from streams.errors import StateUnusableError
from streams.tables import ChunkTable
from streams.transactions import Outgoing

_UNKNOWN = -1  # the digest of a part that must be written again
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
        self._digests: dict[int, Digests] = {}
        self._rows: dict[int, int] = {}
        self._last: dict[int, float] = {}

    def count(self, partition: int, rows: int) -> None:
        """Count activities folded since the last checkpoint."""
        self._rows[partition] = self._rows.get(partition, 0) + rows

    def hasten(self, partition: int) -> None:
        """Have a checkpoint made as soon as there is something to commit."""
        self._rows[partition] = self._every_rows

    def is_due(self, partition: int) -> bool:
        """Whether it is time for a checkpoint."""
        rows = self._rows.get(partition, 0)
        aged = self._now() - self._last.get(partition, 0.0) >= self._every_seconds
        return rows >= self._every_rows or (rows > 0 and aged)

    def make(self, shard: Shard) -> list[Outgoing]:
        """Return the records that bring the table to the shard's present state."""
        partition = shard.partition
        known = self._digests.setdefault(partition, {})
        out: list[Outgoing] = []
        written: dict[str, list[int]] = {}
        for name, raw in shard.checkpoint().items():
            written[name] = digests = []
            for number in range(max(1, -(-len(raw) // PART_BYTES))):
                part = raw[number * PART_BYTES : (number + 1) * PART_BYTES]
                digests.append(digest_of(part))
                out += self._changed(partition, part_key(name, number), part, known, digests[-1])
        manifest = manifest_of(shard.position, written).dump()
        out += self._changed(partition, KEY, manifest, known, digest_of(manifest))
        present = {part_key(name, number) for name, digests in written.items() for number in range(len(digests))}
        for gone in known.keys() - present - {KEY}:
            del known[gone]
            out.append(self._table.stage(partition, gone, None, keep=False))
        self._rows[partition], self._last[partition] = 0, self._now()
        self._written(sum(len(r.key or b"") + len(r.value or b"") for r in out))
        return out

    def _changed(self, partition: int, key: bytes, raw: bytes, known: Digests, digest: int) -> list[Outgoing]:
        """Return the record of *key*, none if the table has it like this."""
        if known.get(key) == digest:
            return []
        known[key] = digest
        return [self._table.stage(partition, key, raw, keep=False)]

    def load(self, shard: Shard) -> None:
        """Restore *shard* from the table, which then forgets the partition's bytes: the shard has them.

        Raises:
            DamagedCheckpointError: If it is not whole. The next checkpoint writes everything anew, and is due.
            StateUnusableError: If another version or another health model wrote it.
        """
        partition = shard.partition
        content = dict(self._table.items(partition))
        self._digests[partition] = {key: digest_of(raw) for key, raw in content.items()}
        self._rows[partition], self._last[partition] = 0, self._now()
        try:
            if content:
                shard.restore(whole(content))
        except SchemaError as error:
            raise StateUnusableError(f"checkpoint of partition {partition}: {error}") from error
        except DamagedCheckpointError:
            self._digests[partition] = dict.fromkeys(content, _UNKNOWN)
            self._rows[partition] = self._every_rows
            raise
        finally:
            self._table.clear(partition)
