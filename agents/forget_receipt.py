"""The receipt of a person who was forgotten: what was searched, found, removed, and what remains until when.

Owns its form and the rule by which something that is still found is excused. Invariant: a trace is excused only by a
remainder that the receipt names, and only until the moment that it names.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from reports.whole_file import replacing

VERSION = 1
SOURCE, LOG, TABLE = "source", "log", "compacted"
"""What a topic is: raw messages from outside; a log whose records go by age; one that keeps the last of each key."""


class Searched(msgspec.Struct, frozen=True):
    """A partition, table, file or server that was looked at: from where to where, and how many records of theirs."""

    place: str
    partition: int = -1
    start: int = 0
    end: int = 0
    records: int = 0
    found: int = 0


class Remains(msgspec.Struct, frozen=True):
    """What may still be found in a topic, and until when (epoch seconds)."""

    place: str
    kind: str
    why: str
    until: float
    """When the broker has let go of the last of it."""
    keep_seconds: float = 0.0
    """How long each record stays; of a source, also one that a producer sends from now on."""
    ends: dict[str, int] = {}
    """By partition, after the last record that may hold them; a source has none."""


class Receipt(msgspec.Struct):
    """See the module. Names are in it because nothing could be searched for without them."""

    user: str
    aliases: list[str]
    at: str
    generation: int
    orgs: list[str]
    version: int = VERSION
    state: str = "done"
    """done; or waiting = workers had not taken it in yet."""
    searched: list[Searched] = []
    removed: dict[str, int] = {}
    """What was removed or overwritten, by place."""
    remains: list[Remains] = []
    outside: list[str] = []
    """What this house can't reach."""
    problems: list[str] = []


class Trace(msgspec.Struct, frozen=True):
    """A place that still holds a name."""

    place: str
    partition: int = -1
    offset: int = -1
    stamp: float = 0.0
    """Of the record (epoch seconds)."""


def excuse_of(trace: Trace, receipt: Receipt, now: float) -> Remains | None:
    """Return why *trace* may still be there, None = it may not."""
    for each in receipt.remains:
        if each.place != trace.place:
            continue
        if each.kind == SOURCE:
            return each if now < max(each.until, trace.stamp + each.keep_seconds) else None
        within = trace.partition < 0 or trace.offset < each.ends.get(str(trace.partition), 0)
        return each if within and now < each.until else None
    return None


def write_receipt(receipt: Receipt, path: Path) -> None:
    """Write *receipt* for its owner alone, all of it or nothing."""
    with replacing(path) as new:
        new.touch(mode=0o600)
        new.write_text(json_of(receipt) + "\n", "utf-8")


def read_receipt(path: Path) -> Receipt:
    """Return the receipt in a file.

    Raises:
        ValueError: If it is none, or of a later version.
    """
    try:
        found = msgspec.json.decode(path.read_bytes(), type=Receipt)
    except msgspec.DecodeError as error:
        raise ValueError(str(error)) from None
    if found.version > VERSION:
        raise ValueError(f"version {found.version}, this one reads up to {VERSION}")
    return found


def json_of(found: Any) -> str:
    """Return *found* as readable JSON."""
    return msgspec.json.format(msgspec.json.encode(found), indent=2).decode()
