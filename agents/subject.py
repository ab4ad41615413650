"""Gathers everything that is held about a person, as plain data.

Owns what `orgpulse subject` shows. Invariant: it only reads; the same names and the same places are searched as when
somebody is forgotten, so what one shows is what the other removes.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterable
from typing import Any

import msgspec
import numpy as np
import orjson

from agents.cli_identity import document
from agents.cli_progress import Tell
from agents.forget_names import Names
from agents.forget_places import in_parquet, in_redis, redis_values, rows_in_postgres
from agents.forget_search import PARQUET, POSTGRES, topics_of
from agents.members import ROW_OF_USER, decode_user
from agents.read_shards import read_shards
from agents.wiring import limits_of
from state.activity import decode_record, origin_of, rows_of
from state.health import BAND_NAMES
from state.identity import Directory
from state.packing import unpack
from state.shard import Shard
from state.subjects import GONE, LICENSED, UNLICENSED
from state.week import HOUR_MS, iso_time, week_label
from streams.model_file import load_model
from streams.parked import Parked, read_claims
from streams.raw_scan import extents_of, raw_records
from streams.settings import Settings
from streams.topic_specs import topic_names

MOST_MESSAGES = 100_000
"""Records of one topic that are shown whole; of further ones only how many there are."""
_MEMBERSHIP = {LICENSED: "licensed", UNLICENSED: "unlicensed", GONE: "gone"}
_parked = msgspec.msgpack.Decoder(list[Parked])


async def subject_of(
    settings: Settings, directory: Directory, names: Names, tell: Tell, sinks: Iterable[str]
) -> dict[str, Any]:
    """Return everything about the person whose *names* these are.

    Raises:
        OperatorError: If a topic is missing or could not be read to its end.
    """
    records = await _records(settings, names, tell)
    topics = topic_names(settings)
    shards = await read_shards(settings, load_model(settings.model.file), limits_of(settings), lambda done, total: None)
    found: dict[str, Any] = {
        "user": names.user,
        "names": sorted(names.all),
        "directory": {
            **(document(directory, names.user) if names.known else {}),
            "entries": [_json(each) for each in _last(records.get(topics.users, []))],
            "links": [_json(each) for each in _last(records.get(topics.identities, []))],
            "remembered": _remembered(records.get(topics.members_changelog, [])),
        },
        "orgs": [found for shard in shards for name in sorted(names.all) for found in in_shard(shard, name)],
        "scores": [_json(each) for each in _last(records.get(topics.scores, []))],
        "history": [_json(each) for each in _last(records.get(topics.weeks, []))],
        "waiting": _waiting(records.get(topics.park_changelog, []), names),
        "alerts": [_json(each) for each in records.get(topics.alerts, [])],
        "dead_letters": [_letter(each) for each in records.get(topics.dead_letters, [])],
        "messages": {topic: _messages(records.get(topic, [])) for topic in topics.sources},
        "counted": _counted(records.get(topics.activities, []), names),
    }
    keys, _ = await asyncio.to_thread(in_redis, settings, names)
    found["redis"] = await asyncio.to_thread(redis_values, settings, keys)
    for sink in sinks:
        if sink == POSTGRES:
            found[sink] = await rows_in_postgres(settings, names)
        elif sink == PARQUET:
            found[sink] = sorted(set((await in_parquet(settings, names))[0]))
    return found


async def _records(settings: Settings, names: Names, tell: Tell) -> dict[str, list[Any]]:
    """Return the records that hold a name, by topic."""
    extents = await extents_of(settings.kafka, topics_of(settings))
    found: dict[str, list[Any]] = {}
    async for tp, records in raw_records(settings.kafka, extents, tell):
        mine = [r for r in records if names.is_in_record(r.key, r.value, r.headers or ())]
        found.setdefault(tp.topic, []).extend(mine)
    return found


def in_shard(shard: Shard, user: str) -> list[dict[str, Any]]:
    """Return what a partition's state holds of *user*, by org."""
    return [
        _in_org(shard, entry.name, slot)
        for entry in shard.subjects.orgs
        if (slot := shard.subjects.find(entry.name, user)) is not None
    ]


def _in_org(shard: Shard, org: str, slot: int) -> dict[str, Any]:
    measures, board, week, subjects = shard.model.catalogue.measures, shard.board, shard.week, shard.subjects
    slots, summed = np.array([slot]), [m.summed for m in measures]
    since = int(board.since[slot])
    attributes = [attribute.name for attribute in shard.model.attributes]
    weeks = {}
    for number in shard.history.weeks():
        counts, sums = shard.history.cells(number, slots)
        if len(counts[0]):
            weeks[week_label(number)] = {
                "counts": {measures[m].name: int(n) for m, n in zip(*counts[1:], strict=True)},
                "sums": {measures[m].name: int(n) for m, n in zip(*sums[1:], strict=True)},
            }
    return {
        "org": org,
        "membership": _MEMBERSHIP.get(int(subjects.membership[slot]), "not in the directory"),
        "display_name": subjects.display_name(slot) or None,
        "job_type": subjects.job_types.names[int(subjects.job_of[slot])] or None,
        "first_activity": iso_time(since * HOUR_MS) if since >= 0 else None,
        "rolling_week": {
            "counts": {m.name: int(n) for m, n in zip(measures, week.counts_of(slots)[0].tolist(), strict=True) if n},
            "sums": {m.name: int(n) for i, m in enumerate(measures) if summed[i] and (n := week.sum_of(i)[slot])},
        },
        "score": {
            "points": int(board.score[slot]) / 100,
            "previous": int(board.previous[slot]) / 100 if board.previous[slot] >= 0 else None,
            "band": BAND_NAMES[int(board.band[slot])] if board.band[slot] >= 0 else None,
            "contributions": {n: int(p) / 100 for n, p in zip(attributes, board.parts[slot], strict=True) if p},
        },
        "weeks": weeks,
        "replies": _replies(shard, slot),
        "chat_messages": int(shard.chat.messages_of(slot)),
    }  # fmt: skip


def _replies(shard: Shard, slot: int) -> dict[str, Any]:
    """Return their messages that may still be answered, their answers to others, and those that wait for a parent."""
    messages, given, waiting = [], list[str](), list[str]()
    for id_ in shard.replies.ids():
        entry, rest = shard.replies.known(id_)
        if entry is not None and entry.slot == slot:
            messages.append({"at": iso_time(entry.time_ms), "place": entry.place, "answers": len(entry.answers)})
        given += [iso_time(at) for at, _, who in (entry.answers if entry is not None else ()) if who == slot]
        waiting += [iso_time(at) for at, _, who in rest if who == slot]
    messages.sort(key=lambda each: str(each["at"]))
    return {"open_messages": messages, "answers_to_open_messages": sorted(given), "waiting_for_parent": sorted(waiting)}


def _last(records: list[Any]) -> list[Any]:
    """Return the last record of each key that is not its end."""
    last = {record.key: record for record in records}
    return [record for record in last.values() if record.value is not None]


def _json(record: Any) -> Any:
    """Return a record's value, as JSON where it is, with where it lies."""
    try:
        value = orjson.loads(record.value)
    except (orjson.JSONDecodeError, TypeError):
        value = None if record.value is None else record.value.decode("utf-8", "backslashreplace")
    return {"at": iso_time(record.timestamp), "partition": record.partition, "offset": record.offset, "value": value}


def _letter(record: Any) -> Any:
    """Return a dead letter with its bytes as text."""
    found = _json(record)
    if isinstance(found["value"], dict):
        for field in ("key", "value"):
            text = found["value"].get(field)
            if text:
                found["value"][field] = base64.b64decode(text).decode("utf-8", "backslashreplace")
    return found


def _messages(records: list[Any]) -> dict[str, Any]:
    return {"number": len(records), "records": [_json(record) for record in records[:MOST_MESSAGES]]}


def _remembered(records: list[Any]) -> list[Any]:
    """Return what the members' table remembers of their entries, memberships among them."""
    rows = [each for each in _last(records) if each.key.startswith(ROW_OF_USER)]
    return [msgspec.structs.asdict(decode_user(each.value)) for each in rows]


def _waiting(records: list[Any], names: Names) -> list[dict[str, Any]]:
    """Return what waits under one of the names, and who claims it."""
    found = []
    for record in _last(records):
        kind, alias = record.key[:2], record.key[2:].decode("utf-8", "replace")
        rows: list[Any] = _parked.decode(record.value) if kind == b"p:" else read_claims(record.value)
        found.append({"alias": alias, "rows": [msgspec.structs.asdict(row) for row in rows]})
    return [each for each in found if each["rows"]]


def _counted(records: list[Any], names: Names) -> dict[str, int]:
    """Return how many activities the log still holds that were counted as theirs, by source."""
    found: dict[str, int] = {}
    for record in records:
        for rows in rows_of(decode_record(record.value)):
            mine = np.array([origin_of(subject)[1] in names.all for subject in rows.subjects], bool)
            number = int(mine[unpack(rows).subject].sum())
            found[rows.topic] = found.get(rows.topic, 0) + number
    return {topic: number for topic, number in sorted(found.items()) if number}
