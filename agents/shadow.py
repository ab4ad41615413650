"""Shows the scores of a shadow model: Redis keys and metrics of their own, and a census of its own.

Owns everything of a shadow model outside of the shards. Invariant: whatever is told here has `shadow` in its name; no
ranking, change, alert, band or cut point of the live model comes from it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import msgspec

from agents.documents import Documents
from state.activity import Calibration, decode_record, encode_record
from state.effects import OrgScore, Summary, UserScore
from state.telling import decode_summary
from streams.fenced_write import Write
from streams.metrics import Metrics
from streams.tables import ChunkTable
from streams.transactions import Outgoing

if TYPE_CHECKING:
    from state.census import Census
    from state.shard import Shard

KEY_PREFIX = "shadow:"
SUMMARY, CALIBRATION = b"x:", b"xc"
"""Keys in the table `census`; those of the live model begin otherwise."""


class ShadowTeller:
    """Spells what the shards' shadow boards say."""

    def __init__(self, documents: Documents, metrics: Metrics) -> None:
        self._documents, self._metrics = documents, metrics

    def changed(self, shard: Shard) -> list[Write]:
        """Return the writes of what changed since last time, and show the figures."""
        if shard.shadow is None:
            return []
        found = [self._write(each, shard) for each in shard.shadow.take_stale(shard.watermark_ms)]
        if found:
            self.show(shard)
        return found

    def everything(self, shard: Shard) -> Iterator[list[Write]]:
        """Yield the writes of every current document, each piece as of when it is asked for."""
        if shard.shadow is not None:
            for piece in shard.shadow.pieces(shard.watermark_ms):
                yield [self._write(each, shard) for each in piece]

    def gone(self, live: Write) -> Write:
        """Return the end of a document whose *live* one ends."""
        return msgspec.structs.replace(live, key=KEY_PREFIX + live.key, ranks=())

    def show(self, shard: Shard) -> None:
        """Set the metrics of a partition."""
        if shard.shadow is None:
            return
        partition, board = shard.partition, shard.shadow.board
        for band, users in board.bands().items():
            self._metrics.shadow_users.set(users, partition, band)
        moved, changed = shard.shadow.difference()
        self._metrics.shadow_difference.set(moved / 10_000, partition)
        self._metrics.shadow_band_changes.set(changed, partition)
        self._metrics.shadow_calibration.set(board.calibration)

    def _write(self, found: UserScore | OrgScore, shard: Shard) -> Write:
        """Spell a document under a key of its own, without rank and change."""
        spell = self._documents.user if isinstance(found, UserScore) else self._documents.org
        write = spell(found, shard.position, shard.partition)[1]  # type: ignore[arg-type]
        assert shard.shadow is not None
        fields = {**write.fields, "model": shard.shadow.id}
        return msgspec.structs.replace(
            write, key=KEY_PREFIX + write.key, fields=fields, ranks=(), change=None, missed=None
        )


class ShadowCensus:
    """The population as the shadow model *model* (its id) counts it; kept in the table `census` beside the live one."""

    def __init__(
        self, model: str, new_census: Callable[[], Census], table: ChunkTable, topic: str, partitions: int
    ) -> None:
        self._model, self._new_census, self._table = model, new_census, table
        self._topic, self._partitions = topic, partitions
        self._census = new_census()

    def restore(self, content: dict[bytes, bytes]) -> None:
        """Take over what the table holds of this model; what is of another one is left to be overwritten."""
        self._census = self._new_census()
        for key, raw in content.items():
            if key.startswith(SUMMARY):
                summary = decode_summary(raw)
                if summary.model == self._model:
                    self._census.learn(summary)
        kept = content.get(CALIBRATION)
        if kept is not None:
            found = decode_record(kept)
            if isinstance(found, Calibration) and found.model == self._model:
                self._census.calibration = found

    def handle(self, summaries: list[Summary], partition: int) -> list[Outgoing]:
        """Return what leaves for new *summaries* of shadow models: rows of the table, cut points for every shard."""
        mine = {summary.partition: summary for summary in summaries if summary.model == self._model}
        for summary in mine.values():
            self._census.learn(summary)
        out = [
            self._table.stage(partition, SUMMARY + str(number).encode(), self._census.dump(number))
            for number in sorted(mine)
        ]
        found = self._census.calibrate() if mine else None
        if found is not None:
            raw = encode_record(msgspec.structs.replace(found, model=self._model))
            out += [Outgoing(self._topic, number, None, raw) for number in range(self._partitions)]
            out.append(self._table.stage(partition, CALIBRATION, raw))
        return out
