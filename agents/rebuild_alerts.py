"""Carries over what a rebuild can't compute: which alerts were told, who saw to them, which orgs are muted.

Owns the reading of it from what is live, and its writing into the log of the generation that takes over. Invariant:
what was told stands, and it can be carried over again: the last record of an org decides.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime
from typing import Any

import msgspec
import orjson

from agents.manifest import DamagedCheckpointError, whole
from agents.routing import router_of
from state.activity import SEPARATOR, Note, decode_record
from state.alerts import RAISED, Episode
from state.arrays import decode
from streams.kafka_access import Brokers
from streams.log_state import content_of, ends_of, starts_of, stretches
from streams.model_file import load_model
from streams.plain_sender import send_all
from streams.settings import Settings
from streams.topic_specs import topic_names


async def carry_alerts(live: Settings, aside: Settings) -> str:
    """Write what was told and noted under *live* into the logs of the generation of *aside*; say what it was.

    Raises:
        KafkaError: If a record was not taken.
        OperatorError: If a topic is missing or could not be read to its end.
    """
    brokers, names = aside.kafka, topic_names(aside)
    needed = load_model(live.model.file).alerts.fall_points
    told = {org: _episode(record, needed) for org, record in (await _last_told(brokers, topic_names(live))).items()}
    muted = await _muted(live)
    only_computed = (await _last_told(brokers, names)).keys() - told.keys()
    notes = [Note(org, episode=msgspec.to_builtins(found)) for org, found in sorted(told.items())]
    notes += [Note(org, episode=[]) for org in sorted(only_computed)]
    notes += [Note(org, muted_until_ms=until) for org, until in sorted(muted.items())]
    router = router_of(aside)
    await send_all(aside, [router.activity(note.org, note) for note in notes])
    opened = sum(found.kind == RAISED for found in told.values())
    return f"{names.activities}: {opened} open alerts and {len(muted)} mutes carried over"


async def _last_told(brokers: Brokers, names: Any) -> dict[str, dict[str, str]]:
    """Return the last record of each org in the topic of alerts."""
    ends = await ends_of(brokers, [names.alerts])
    found: dict[str, dict[str, str]] = {}
    async for _, record in stretches(brokers, dict.fromkeys(ends, 0), ends, whole=True):
        if record.value is not None:
            alert = orjson.loads(record.value)
            found[alert["org"]] = alert
    return found


def _episode(told: dict[str, str], needed: int) -> Episode:
    """Return the episode that a record tells of; *needed* (basis points) is for one that does not say it."""
    since, until = _ms(told["since"]), _ms(told["until"]) if told["until"] else 0
    needed = _points(told.get("needed", "")) or needed
    return Episode(told["kind"], told["rule"], since, _points(told["from"]), needed, until, told["acknowledged_by"])


def _ms(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp()) * 1000


def _points(percent: str) -> int:
    """Return basis points.

    >>> _points("7.05"), _points("")
    (705, 0)
    """
    return int(percent.replace(".", "")) if percent else 0


async def _muted(live: Settings) -> dict[str, int]:
    """Return until when (ms) orgs are muted: from the checkpoints and the notes in the logs after them.

    What a damaged checkpoint knew is as old as the notes that the log still has.
    """
    brokers, names = live.kafka, topic_names(live)
    places, ends = await starts_of(brokers, [names.activities]), await ends_of(brokers, [names.activities])
    checkpoints = await content_of(brokers, names.shard_changelog)
    muted: dict[str, int] = {}
    for tp, first in places.items():
        with suppress(DamagedCheckpointError):
            position, found = _muted_of(whole(checkpoints[tp.partition]))
            places[tp], muted = max(first, position), muted | found
    async for _, record in stretches(brokers, places, ends, whole=True):
        with suppress(msgspec.DecodeError):  # of a version whose log this one can't read; the sources are what counts
            note = decode_record(record.value or b"")
            if isinstance(note, Note) and note.muted_until_ms is not None:
                muted[note.org] = note.muted_until_ms
    return {org: until for org, until in muted.items() if until}


def _muted_of(segments: dict[str, bytes]) -> tuple[int, dict[str, int]]:
    """Return a checkpoint's position in the log and until when orgs are muted, whatever model it is of."""
    names: list[str] = decode(segments["subjects:subjects"])
    orgs = list(dict.fromkeys(name.partition(SEPARATOR)[0] for name in names))  # they are numbered as they come
    pending: list[Any] = decode(segments["alerts:pending"]) if "alerts:pending" in segments else [0, [], [], []]
    muted = {orgs[number]: until for number, until in pending[3]}
    return decode(segments["meta"])[1], muted
