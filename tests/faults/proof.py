"""Says what is wrong with an installation at rest: everything it shows and keeps, against the recount.

Owns the list of promises that are checked after a fault. Invariant: each check counts what it looked at.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import orjson

from agents.ledger_sum import accounts_of
from reports.collect import read_changes, read_raw
from reports.compare import Comparison, compare, compare_documents, expected_documents
from reports.compare_alerts import compare_alerts
from reports.compare_chat import compare_chat, compare_chat_metrics
from reports.compare_latency_metrics import compare_latency_metrics
from reports.compare_lines import compare_lines
from streams.letters import NOTE_KEY
from streams.topic_specs import topic_names
from tests.end_to_end.durable import documents_of, ledger_of, org_weeks
from tests.faults.hard_talk import KINDS, kinds_in
from tests.faults.system import MODEL, System
from tests.streams import kafka_topics

_MOST_SHOWN = 25
UNSHOWN = ("lost", "twice")
APART = ("ghost", "system", "edit", "bot", "directory", "identity", "suppressed")
MEASURED = {f"measure/{name}" for name, entry in MODEL["measures"].items() if entry.get("hours")}


def differences(system: System) -> list[str]:
    """Return every difference, and print what was compared.

    Raises:
        AssertionError: If a check found nothing to look at.
    """
    found: dict[str, list[str]] = {
        # First, for a recount takes minutes: what is told in another hour than was looked at is no difference.
        "scores": scores(system),
        "alerts": alerts(system),
        "Redis and Prometheus": shown(system),
        "tables": kept(system),
        "ledger": ledger(system),
        "live ledger": live_ledger(system),
        "weeks": weeks(system),
        "dead letters": dead_letters(system),
    }
    print({name: len(lines) for name, lines in found.items()}, dict(system.workers.done))
    return [f"{name}: {line}" for name, lines in found.items() for line in lines[:_MOST_SHOWN]]


def shown(system: System) -> list[str]:
    """Compare what Redis and the metrics show."""
    result = compare(system.recount, system.at_rest, MODEL)
    result.add(compare_lines(system.recount.lines, system.at_rest.documents))
    result.add(compare_chat(system.recount.chat, system.at_rest.documents, system.at_rest.as_of_ms))
    rest = system.at_rest
    result.add(compare_chat_metrics(system.recount.chat, rest.metrics, rest.as_of_ms, rest.documents))
    result.add(compare_latency_metrics(system.recount, rest.metrics))
    print(f"{result.keys} keys, {result.fields} fields compared: {dict(result.kinds)}")
    size = system.size
    assert result.kinds["chat"] and result.kinds["user"] > size.users / 2 and result.kinds["latency"] > size.orgs / 2
    assert result.kinds["metric"] > 4 * size.orgs and result.kinds["totals"] and result.kinds["latency month"]
    assert set(system.recount.lines.index.unique("line")) >= MEASURED and result.kinds["measure month"] > size.orgs
    kinds = kinds_in(system.raw) if system.talks else {}
    assert not kinds or all(kinds[kind] for kind in KINDS), kinds
    return [str(difference) for difference in result.differences]


def kept(system: System) -> list[str]:
    """Compare what the durable tables alone give, without any running worker."""
    documents: dict[str, dict[str, Any]] = {}
    for shard in system.shards:
        for key, fields in documents_of(shard, system.settings).items():
            documents.setdefault(key, {}).update(fields)
    found = system.recount_as_of(min(shard.watermark_ms for shard in system.shards if shard.watermark_ms))
    expected = expected_documents(found, MODEL, 0.8, 1)
    del expected["latency:{all}"]  # not a shard's
    result = Comparison()
    compare_documents(result, documents, expected, found, MODEL)
    assert result.kinds["user"] == len(found.users)
    return [str(difference) for difference in result.differences]


def ledger(system: System) -> list[str]:
    """Compare, by source partition, what became of every message."""
    ours, theirs = ledger_of(system.settings), system.recount.ledger.to_dict("index")
    wrong = [] if ours.keys() == theirs.keys() else [f"partitions {ours.keys() ^ theirs.keys()}"]
    for source in ours.keys() & theirs.keys():
        mine, other = ours[source], theirs[source]
        settled = mine["accepted"] + mine["duplicate"] + mine["late"] + mine["waiting"] + mine["dropped"]
        apart = mine["apart"] + mine["bot"] + mine["suppressed"]
        if mine["lost"] or mine["twice"]:
            wrong.append(f"{source} has a gap: {dict(mine)}")
        if mine["consumed"] != settled + apart + mine["dead_lettered"]:
            wrong.append(f"{source} does not close: {dict(mine)}")
        if mine["forwarded"] + mine["parked"] != settled + mine["bot"] + mine["suppressed"]:
            wrong.append(f"{source} forwards more or less than arrives: {dict(mine)}")
        for name in ("consumed", "accepted", "duplicate", "late", "dead_lettered", "waiting"):
            if mine[name] != other.get(name, 0):
                wrong.append(f"{source} {name}: {mine[name]} instead of {other.get(name, 0)}")
        if apart != sum(other[name] for name in APART):
            wrong.append(f"{source} apart: {apart}")
    consumed = sum(mine["consumed"] for mine in ours.values())
    return wrong if consumed == system.sent else [*wrong, f"{consumed} consumed of {system.sent} sent"]


def live_ledger(system: System) -> list[str]:
    """Compare what `orgpulse ledger` sums up and what the workers' gauges showed with the tables."""
    kept, shown, gaps = ledger_of(system.settings), Counter[tuple[str, int, str]](), Counter[tuple[str, int]]()
    for page in system.at_rest.metrics:
        for labels, number in page.get("orgpulse_ledger_messages", {}).items():
            found = dict(labels)
            shown[found["topic"], int(found["partition"]), found["outcome"]] += int(number)
        for labels, number in page.get("orgpulse_ledger_gap_messages", {}).items():
            found = dict(labels)
            gaps[found["topic"], int(found["partition"])] += int(number)
    expected = {(*s, name): n for s, counts in kept.items() for name, n in counts.items() if name not in UNSHOWN}
    assert expected and gaps
    wrong = [
        f"{series}: shown {shown.get(series)}, kept {expected.get(series)}"
        for series in sorted(expected.keys() | shown.keys())
        if expected.get(series) != shown.get(series)
    ]
    wrong += [f"{source}: gap of {number}" for source, number in gaps.items() if number]
    accounts = asyncio.run(accounts_of(system.settings, 0.0))
    assert sum(account.consumed for account in accounts) == system.sent
    return wrong + [f"does not close: {account}" for account in accounts if account.gap or account.in_flight]


def weeks(system: System) -> list[str]:
    """Compare the history of every org."""
    told, table = org_weeks(system.settings), system.recount.weeks
    expected = {place: row for place, row in table.to_dict("index").items() if any(row.values())}
    figures = {place: {name: row[name] for name in table.columns} for place, row in told.items()}
    figures = {place: row for place, row in figures.items() if any(row.values())}
    assert len(expected) >= system.size.orgs
    return [
        f"{place}: {figures.get(place)} instead of {expected.get(place)}"
        for place in sorted(figures.keys() | expected.keys())
        if figures.get(place) != expected.get(place)
    ]


def scores(system: System) -> list[str]:
    """Compare the last document of each subject in Kafka with the one in Redis."""
    wrong, looked = [], 0
    for records in _read(system, "scores"):
        for key, value in {key: value for _, key, value in records}.items():
            kind, _, name = (key or b"").decode().partition(":")
            org, _, user = name.partition("/")
            place = f"user:{{{org}}}:{user}" if kind == "user" else f"org:{{{org}}}"
            document = orjson.loads(value or b"{}")
            document.pop("subject", None)
            looked += 1
            shown = system.at_rest.documents.get(place, {})
            if _without_time(document) != _without_time({} if "deleted" in shown else shown):
                wrong.append(f"{place}: Kafka {document}, Redis {shown}")
    assert looked >= system.size.orgs
    return wrong


def _without_time(document: dict[str, Any]) -> dict[str, Any]:
    """Leave out what only says when it was written: Redis is told everything again after a recovery."""
    return {name: value for name, value in document.items() if name not in ("fence", "window_end", "calibration")}


def letters_of(system: System, topic: str = "") -> list[dict[str, Any]]:
    """Return the dead letters of messages, of all topics or of one (without prefix)."""
    found = []
    for records in _read(system, "dead_letters"):
        for _, key, value in records:
            if key == NOTE_KEY:
                continue  # says that a letter was sent again
            letter = orjson.loads(value or b"{}")
            # What is said of a row of a table is about no message.
            if letter["reason"] != "bad_state" and topic in ("", letter["topic"]):
                found.append(letter)
    return found


def dead_letters(system: System) -> list[str]:
    """Compare the dead letters: each refused message exactly once, with its bytes."""
    letters = Counter[tuple[str, int, int]]()
    for letter in letters_of(system):
        letters[letter["topic"], letter["partition"], letter["offset"]] += 1
    expected = Counter[tuple[str, int]]()
    for source, row in system.recount.ledger.to_dict("index").items():
        expected[source] = int(row["dead_lettered"])
    found = Counter[tuple[str, int]]()
    for (topic, partition, _), number in letters.items():
        found[topic, partition] += number
    assert found.total()
    twice = [f"{place} {number} times" for place, number in letters.items() if number > 1]
    return twice + [
        f"{source}: {found[source]} instead of {expected[source]}"
        for source in sorted(found.keys() | expected.keys())
        if found[source] != expected[source]
    ]


def alerts(system: System) -> list[str]:
    """Compare what topic, Redis, its changes and the metrics say of alerts."""
    kafka, redis = system.settings.kafka, system.settings.redis
    told = read_raw(kafka.brokers, kafka.prefix, ("alerts",))
    result = compare_alerts(system.at_rest, told, read_changes(redis.url, redis.prefix))
    return [str(difference) for difference in result.differences]


def _read(system: System, topic: str) -> list[list[tuple[int, bytes | None, bytes | None]]]:
    kafka, name = system.settings.kafka, getattr(topic_names(system.settings), topic)
    return asyncio.run(kafka_topics.read_all(kafka.brokers, name, kafka.partitions))
