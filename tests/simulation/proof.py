"""What must hold when a simulated world has come to rest.

Owns the promises, one function each; each returns what is wrong, as text. Invariant: looks at committed records and
at Redis only, never at a worker's memory.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec
import orjson
from faust.types import TP

from agents.alert_documents import AlertDocuments
from agents.documents import Documents
from agents.ledger import OUTCOMES_OF
from agents.manifest import whole
from reports.compare import Comparison, compare_documents, expected_documents
from reports.compare_chat import compare_chat
from reports.compare_lines import compare_lines
from reports.recount import recount
from state.activity import decode_record
from state.effects import Alert, WeekRow
from state.ledger import SourceLedger, load_shares
from state.shard import Shard
from streams.parked import Parked
from tests.end_to_end.durable import documents_of
from tests.simulation.ground import LIMITS, MODEL, NAMES, OPTIONS, PARTITIONS, SETTINGS, SHARD_MODEL, SOURCES
from tests.simulation.messages import APART, DEAD, TAKEN
from tests.simulation.world import World

_PAST = (
    "previous", "band", "window_end", "calibration", "fence", "change", "history", "trend", "movers", "alert_since",
)  # fmt: skip
"""Fields that depend on when something was looked at."""
_OF_THE_CLOSE = ("state", "score", "score_licensed", "score_median", "contributions", "calibration")
_COUNTED = ("consumed", "forwarded", "dead_lettered", "parked", "apart")
_OF_THE_MOMENT = ("updated", "since", "messages_10m", "rate_per_minute", "online")
"""Fields of chat activity that change as time passes."""


class Replayed:
    """One partition's log, applied from its beginning to where it is committed by a shard that never crashed."""

    def __init__(self, world: World, partition: int) -> None:
        tp = TP(NAMES.activities, partition)
        self.shard = Shard(partition, SHARD_MODEL, LIMITS)
        self.weeks: list[tuple[bytes, bytes]] = []
        self.alerts: list[bytes] = []
        spell = Documents(SHARD_MODEL, NAMES, 0, SETTINGS.latency.min_count)
        committed = world.broker.committed(tp)
        for record in world.broker.read(tp, 0)[0]:
            if record.offset < committed:
                self._hear(self.shard.apply(decode_record(record.value or b""), record.offset) or [], spell)
        self.shard.position = max(self.shard.position, committed)

    def _hear(self, effects: list[Any], spell: Documents) -> None:
        for effect in effects:
            if isinstance(effect, WeekRow):
                found = spell.week(effect, self.shard.partition)
                self.weeks.append((found.key or b"", found.value or b""))
            elif isinstance(effect, Alert):
                told = AlertDocuments(spell).record(effect, self.shard.position, self.shard.partition)
                self.alerts.append(told.value or b"")


def differences(world: World, *, recounted: bool) -> list[str]:
    """Return everything that is wrong with *world* at rest; *recounted* asks the independent recount too (slow)."""
    replayed = [Replayed(world, partition) for partition in range(PARTITIONS)]
    found = {
        "ledger": ledger(world, replayed),
        "dead letters": dead_letters(world),
        "replay": replay(world, replayed),
        "redis": redis(world, replayed),
        "scores": scores(world),
        "changes": changes(world),
        "watermarks": watermarks(world, replayed),
        "without faults": against(world, world.without_faults()),
        "recount": recounts(world) if recounted else [],
    }
    return [f"{name}: {line}" for name, lines in found.items() for line in lines]


def last_of(world: World, topic: str, partition: int) -> dict[bytes, bytes]:
    """Return key → last value of a compacted topic's partition."""
    last = {record.key or b"": record.value for record in world.broker.read(TP(topic, partition), 0)[0]}
    return {key: value for key, value in last.items() if value is not None}


def ledger(world: World, replayed: list[Replayed]) -> list[str]:
    """Hold what tables and shards say of every source against what was sent."""
    found: dict[str, Counter[str]] = {topic: Counter() for topic in SOURCES}
    for partition in range(PARTITIONS):
        table = last_of(world, NAMES.ledger_changelog, partition)
        for topic in SOURCES:
            counts = SourceLedger.load(table.get(topic.encode()))
            found[topic].update({name: getattr(counts, name) for name in _COUNTED})
        for agent, outcomes in OUTCOMES_OF.items():
            for (topic, _), numbers in load_shares(table.get(agent.encode()), outcomes).items():
                found[topic].update(dict(zip(outcomes, numbers, strict=True)))
        for key, raw in last_of(world, NAMES.park_changelog, partition).items():
            if key.startswith(b"p:"):
                for parked in msgspec.msgpack.decode(raw, type=list[Parked]):
                    found[parked.topic]["in the park"] += 1
    for one in replayed:
        for (topic, _), (accepted, *_) in one.shard.reception.outcomes.items():
            found[topic]["accepted by replay"] += accepted
    wrong = []
    for topic, counts in found.items():
        closes = sum(counts[n] for n in ("accepted", "duplicate", "late", "waiting", "dead_lettered", "apart"))
        if counts["consumed"] != closes:
            wrong.append(f"{topic} does not close: {dict(counts)}")
        expected = expected_ledger(world, topic)
        mine = {name: counts[name] for name in expected}
        if mine != expected:
            wrong.append(f"{topic}: {mine} instead of {expected}")
    return wrong


def expected_ledger(world: World, topic: str) -> dict[str, int]:
    """Return what must have become of the messages of *topic*."""
    sent = [s.message for s in world.sent if s.message.topic == topic]
    fates = Counter(m.fate for m in sent)
    known = [m.id for m in sent if m.fate == TAKEN and (not m.waits_for or m.waits_for in world.learnt)]
    return {
        "consumed": len(sent),
        "accepted": len(set(known)),
        "duplicate": len(known) - len(set(known)),
        "accepted by replay": len(set(known)),
        "late": 0,
        "lost": 0,
        "twice": 0,
        "waiting": fates[TAKEN] - len(known),
        "in the park": fates[TAKEN] - len(known),
        "dead_lettered": fates[DEAD],
        "apart": fates[APART],
    }


def dead_letters(world: World) -> list[str]:
    """Look for each refused message exactly once, with its reason and bytes."""
    found = Counter[tuple[str, int, int, str]]()
    for partition in range(PARTITIONS):
        for record in world.broker.read(TP(NAMES.dead_letters, partition), 0)[0]:
            letter = orjson.loads(record.value or b"")
            found[letter["topic"], letter["partition"], letter["offset"], letter["reason"]] += 1
    expected = Counter(
        (s.message.topic, s.partition, s.offset, s.message.reason) for s in world.sent if s.message.fate == DEAD
    )
    return [
        f"{place}: {found[place]} times" for place in found.keys() | expected.keys() if found[place] != expected[place]
    ]


def replay(world: World, replayed: list[Replayed]) -> list[str]:
    """Hold weeks, alerts and checkpoints, byte for byte, against those of a shard that read the same log at once."""
    wrong = []
    for number, one in enumerate(replayed):
        told = [(r.key or b"", r.value or b"") for r in world.broker.read(TP(NAMES.weeks, number), 0)[0]]
        if told != one.weeks:
            wrong.append(f"weeks of partition {number}: {len(told)} told, {len(one.weeks)} by replay, or other bytes")
        alerts = [r.value or b"" for r in world.broker.read(TP(NAMES.alerts, number), 0)[0]]
        if alerts != one.alerts:
            wrong.append(f"alerts of partition {number}: {alerts} instead of {one.alerts}")
        restored = Shard(number, SHARD_MODEL, LIMITS)
        parts = sorted(last_of(world, NAMES.shard_changelog, number).items())
        if parts:
            restored.restore(whole(dict(parts)))
        for record in world.broker.read(TP(NAMES.activities, number), restored.position)[0]:
            if record.offset < one.shard.position:
                restored.apply(decode_record(record.value or b""), record.offset)
        restored.position = one.shard.position
        mine, other = restored.checkpoint(), one.shard.checkpoint()
        wrong += [
            f"checkpoint of partition {number}: {n}" for n in mine.keys() | other.keys() if mine.get(n) != other.get(n)
        ]
    return wrong


def redis(world: World, replayed: list[Replayed]) -> list[str]:
    """Hold what Redis shows against what the replayed shards say."""
    expected: dict[str, dict[str, Any]] = {}
    for one in replayed:
        for key, fields in documents_of(one.shard, SETTINGS).items():
            expected.setdefault(key, {}).update(fields)
    shown = {
        key: fields
        for key, fields in world.redis.content().items()
        if key != "totals" and not key.startswith("latency:{all}")
    }
    return _unlike(
        _without(shown, "fence", "window_end", "calibration"), _without(expected, "fence", "window_end", "calibration")
    )


def scores(world: World) -> list[str]:
    """Hold the last document of each subject in Kafka against the one in Redis."""
    told = {}
    for partition in range(PARTITIONS):
        for key, value in last_of(world, NAMES.scores, partition).items():
            kind, _, name = key.decode().partition(":")
            org, _, user = name.partition("/")
            told[f"user:{{{org}}}:{user}" if kind == "user" else f"org:{{{org}}}"] = orjson.loads(value)
    shown = {k: v for k, v in world.redis.content().items() if k.startswith(("user:", "org:")) and ":by-score" not in k}
    return _unlike(
        _without(shown, "fence", "window_end", "calibration"),
        _without(told, "subject", "fence", "window_end", "calibration"),
    )


def changes(world: World) -> list[str]:
    """Look for entries of the stream of changes that are missing, came twice, or differ from what is shown."""
    wrong, last = [], dict[str, str]()
    for key, entry in world.redis.changes:
        if entry["from"] != last.get(key, entry["from"]) or entry["from"] == entry["to"]:
            wrong.append(f"{key}: {entry} after {last.get(key)}")
        last[key] = entry["to"]
    return wrong + [f"{k}: {b} is not shown" for k, b in last.items() if world.redis.hashes[k].get("band") != b]


def watermarks(world: World, replayed: list[Replayed]) -> list[str]:
    """Look at the watermarks: the present, wherever anything happened, whatever other partitions do."""
    marks = [
        (f"shard {one.shard.partition}", one.shard.watermark_ms, world.now_ms)
        for one in replayed
        if one.shard.reception.outcomes
    ]
    return [f"watermark of {name}: {mark} instead of {expected}" for name, mark, expected in marks if mark != expected]


def against(world: World, plain: World) -> list[str]:
    """Hold documents and history against those of the world without faults, but for what depends on the past."""
    return _unlike(_timeless(world), _timeless(plain)) + _unlike(_weeks(world), _weeks(plain))


def recounts(world: World) -> list[str]:
    """Hold documents and history against the recount."""
    found = recount(world.raw, MODEL, world.now_ms, OPTIONS)
    result = Comparison()
    expected = expected_documents(found, MODEL, SETTINGS.latency.quantile, SETTINGS.latency.min_count)
    compare_documents(result, world.redis.content(), expected, found, MODEL)
    result.add(compare_lines(found.lines, world.redis.content()))
    world.happened["measures compared"] += result.kinds["measure month"]
    result.add(compare_chat(found.chat, world.redis.content(), world.now_ms))
    told = {
        tuple(key.removeprefix("org:").split("|")): row for key, row in _weeks(world).items() if key.startswith("org:")
    }
    names = list(found.weeks.columns)
    counted = {place: row for place, row in found.weeks.to_dict("index").items() if any(row.values())}
    ours = {place: {name: row[name] for name in names} for place, row in told.items()}
    return [str(d) for d in result.differences] + _unlike(ours, counted)


def _timeless(world: World) -> dict[str, dict[str, Any]]:
    content = _without(world.redis.content(), *_PAST)
    for fields in content.values():
        if "reasons" in fields:
            reasons = orjson.loads(fields["reasons"])
            fields["reasons"] = {r["attribute"]: r["points"] for r in reasons if r["points"] != "0.00"}
    content["totals"] = {name: content.get("totals", {}).get(name) for name in ("orgs", "users_active")}
    return content


def _weeks(world: World) -> dict[str, dict[str, Any]]:
    """Return what happened in each week by the last row told, without what depends on the cut points of its close."""
    found = {}
    for partition in range(PARTITIONS):
        for key, value in last_of(world, NAMES.weeks, partition).items():
            row = orjson.loads(value)
            if row["activities"] or row["counts"]:
                found[key.decode()] = {n: v for n, v in row.items() if n not in _OF_THE_CLOSE}
    return found


def _without(documents: dict[str, dict[str, Any]], *names: str) -> dict[str, dict[str, Any]]:
    """Return *documents* without the fields *names*, and chat activity without what changes as time passes.

    Chat that has left its window is a tombstone for whoever told of it before, and nothing for others.
    """
    of_chat = {*names, *_OF_THE_MOMENT}
    return {
        key: {n: v for n, v in fields.items() if n not in (of_chat if key.startswith("chat:") else names)}
        for key, fields in documents.items()
        if not (key.startswith("chat:") and "deleted" in fields)
    }


def _unlike(mine: dict[Any, Any], other: dict[Any, Any]) -> list[str]:
    keys = sorted(mine.keys() | other.keys(), key=str)
    return [f"{key}: {mine.get(key)} instead of {other.get(key)}" for key in keys if mine.get(key) != other.get(key)]
