"""The whole pipeline in one process, which looks at everything that an agent makes of a chunk.

Owns the accounting of fuzzed messages. Invariant: each record of a source is found again in exactly one place, an
activity, a parked activity or a dead letter, or the ledger says that it was set apart.
"""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Iterable
from typing import Any

import orjson
from faust.types import TP

from agents.alert_documents import AlertDocuments
from agents.documents import Documents
from agents.wiring import limits_of
from reports.recount import Raw
from state.activity import Rows, Tick, decode_record
from state.effects import Alert, LatencyMap, OrgScore, UserScore, WeekRow
from state.packing import unpack
from state.shard import Shard
from streams.dead_letters import MAX_DETAIL_CHARS, MAX_KEY_BYTES
from streams.parked import Parked, decode_parked
from streams.reading import REASONS
from streams.topic_specs import topic_names
from tests.agents.by_hand import all_records
from tests.end_to_end.house import House, Record
from tests.fuzz.mangle import SOURCES, Pair

Place = tuple[str, int, int]
"""Topic, partition, offset."""


class StrictHouse(House):
    """A house that checks the books after each chunk; `reasons` maps each refused message to why."""

    def __init__(self, now_ms: int, max_record_bytes: int = 1_048_576) -> None:
        super().__init__(now_ms)
        self.now_ms, self._max_record_bytes = now_ms, max_record_bytes
        self.reasons: dict[Place, str] = {}
        self.outcomes: Counter[str] = Counter()
        self.spelled = 0
        self._next: Counter[TP] = Counter()
        self._documents = Documents(self.shards[0].model, topic_names(self.settings), 0, 1)

    def take(self, topic: str, partition: int, pairs: Iterable[Pair]) -> None:
        """Let consecutive records of one partition be handled as one chunk."""
        first = self._next[TP(topic, partition)]
        raw: list[Raw] = [
            (topic, partition, first + n, key, value, self.now_ms) for n, (key, value) in enumerate(pairs)
        ]
        self._next[TP(topic, partition)] += len(raw)
        self.handle(topic, partition, raw)

    def settle(self) -> None:
        """Tick, and spell every effect and every current document."""
        self._round += 1
        for shard in self.shards:
            for effect in [*(shard.apply(Tick(0, self._round), shard.position) or []), *shard.documents()]:
                self._spell(effect, shard.position, shard.partition)
                self.spelled += 1
            measures, week = shard.model.catalogue.measures, shard.week
            totals = [week.count_of(i) for i in range(len(measures))]
            totals += [week.sum_of(i) for i, measure in enumerate(measures) if measure.summed]
            for each in totals:  # amounts may add up far, but not around the corner
                assert abs(each.astype(float)).max(initial=0) < 2**62

    def check_restored(self) -> None:
        """Check that what was folded comes back from a checkpoint, whatever the subjects are called."""
        for shard in self.shards:
            kept = shard.checkpoint()
            again = Shard(shard.partition, shard.model, limits_of(self.settings))
            again.restore(kept)
            assert again.checkpoint() == kept

    def _spell(self, effect: Any, position: int, partition: int) -> None:
        if isinstance(effect, UserScore):
            record, write = self._documents.user(effect, position, partition)
            assert orjson.loads(record.value)["score"] == write.fields["score"]
        elif isinstance(effect, OrgScore):
            record, write = self._documents.org(effect, position, partition)
            assert orjson.loads(record.value)["name"] == write.fields["name"]
        elif isinstance(effect, Alert):
            AlertDocuments(self._documents).record(effect, position, partition)
            AlertDocuments(self._documents).write(effect, position, partition)
        elif isinstance(effect, LatencyMap):
            self._documents.latency(effect, position, partition)
        elif isinstance(effect, WeekRow):
            orjson.loads(self._documents.week(effect, partition).value or b"")

    def _run(self, agent: Any, tp: TP, records: list[Record]) -> None:
        kept: list[Any] = []

        class Watched:
            def handle(self, chunk: Any) -> Any:
                outcome = agent.handle(chunk)
                kept.append(outcome)
                return outcome

        before = Counter(self.counted)
        super()._run(Watched(), tp, records)
        (outcome,) = kept
        for out in all_records(outcome):
            size = len(out.key or b"") + len(out.value or b"")
            assert size < self._max_record_bytes, f"{out.topic}: a record of {size} bytes would stop the worker"
        if tp.topic in (*SOURCES, "users", "orgs"):
            self._account(tp, records, outcome, self.counted - before)

    def _account(self, tp: TP, records: list[Record], outcome: Any, counts: Counter[str]) -> None:
        """Find every record again; *counts* is what the agent (and who heard of it at once) told the metrics."""
        found: Counter[int] = Counter()
        for out in all_records(outcome):
            if out.topic == "activities" and tp.topic in SOURCES:
                rows = decode_record(out.value)
                assert isinstance(rows, Rows) and (rows.topic, rows.partition) == tp
                found.update((unpack(rows).at + rows.first_offset).tolist())
            elif out.topic == "unresolved" and isinstance(parked := decode_parked(out.value), Parked):
                assert (parked.topic, parked.partition) == tp
                found[parked.offset] += 1
            elif out.topic == "dead-letters":
                found[self._refuse(tp, records, orjson.loads(out.value))] += 1
        offsets = {record.offset for record in records}
        assert max(found.values(), default=1) == 1 and found.keys() <= offsets
        assert len(records) - len(found) == sum(counts[kind] for kind in ("ghost", "system", "bot", "directory"))
        self.outcomes.update(counts)

    def _refuse(self, tp: TP, records: list[Record], letter: dict[str, Any]) -> int:
        """Check a dead letter against its message and note it; return the offset."""
        record = records[letter["offset"] - records[0].offset]
        assert (letter["topic"], letter["partition"], letter["offset"]) == (*tp, record.offset)
        check_letter(letter, record.key, record.value)
        self.reasons[tp.topic, tp.partition, record.offset] = letter["reason"]
        return int(record.offset)


def check_letter(letter: dict[str, Any], key: bytes | None, value: bytes | None) -> None:
    """Check that a dead letter tells why, and holds the bytes of its message as far as they fit, or where they are."""
    assert letter["reason"] in REASONS and len(letter["detail"]) < MAX_DETAIL_CHARS + 200
    if letter["value"] is None and letter["detail"].endswith("read the bytes at this offset of the source topic"):
        return
    kept = None if letter["value"] is None else base64.b64decode(letter["value"])
    assert kept == (None if value is None else value[:65_536])
    assert len(value or b"") <= 65_536 or "first 65536 bytes are kept" in letter["detail"]
    told_key = None if letter["key"] is None else base64.b64decode(letter["key"])
    assert told_key == (None if key is None else key[:MAX_KEY_BYTES])
