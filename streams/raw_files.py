"""Owns the files that raw topics are kept in: their form, and what makes sure that they are whole.

    DIR/manifest.json                              which segments there are, with checksums
    DIR/product-events/0-000000000000.jsonl.gz     one message a line, in the order of a partition

A line is `{"offset": 7, "time_ms": 1767225600000, "key": "a", "value": "{…}"}`; a key or value that is no UTF-8 text
stands as `key_base64` or `value_base64`, and null means that there is none. Invariant: what the manifest names is whole
on disk, so a run that was cut off leaves the former state and at most files that nobody names.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import orjson

from streams.errors import OperatorError

MANIFEST = "manifest.json"
SEGMENT_RECORDS = 200_000
SEGMENT_BYTES = 64 * 1024 * 1024
"""A segment ends at either: a run that is cut off has that much to do again."""
FORMAT = 1


class RawFilesError(OperatorError):
    """The files are damaged, or not of what they should be."""


class RawRecord(NamedTuple):
    """One message of a raw topic."""

    source: str
    """The topic's name without prefix, such as `product-events`."""
    partition: int | None
    """None = that of its key."""
    offset: int
    stamp_ms: int
    """When it came to Kafka, or as its sender stamped it."""
    key: bytes | None
    value: bytes | None


class Segment(msgspec.Struct, frozen=True):
    """A stretch of a partition in one file."""

    file: str
    records: int
    first_offset: int
    next_offset: int
    oldest_ms: int
    newest_ms: int
    raw_bytes: int
    """Of keys and values."""
    sha256: str


class Partition(msgspec.Struct):
    """What is kept of a partition, in the order of the log."""

    first_offset: int = -1
    """Where the log began when it was first saved."""
    segments: list[Segment] = []

    @property
    def next_offset(self) -> int:
        """Return from where to go on; -1 = from the beginning."""
        return self.segments[-1].next_offset if self.segments else -1


class Kept(msgspec.Struct):
    """What is kept of a topic."""

    topic: str
    topic_id: str
    partitions: list[Partition]


class Manifest(msgspec.Struct):
    """What a folder holds, by source."""

    format: int = FORMAT
    sources: dict[str, Kept] = {}

    def segments(self, source: str) -> list[tuple[int, Segment]]:
        """Return (partition, segment) of a source, the oldest message first."""
        kept = self.sources.get(source)
        found = [(n, segment) for n, part in enumerate(kept.partitions) for segment in part.segments] if kept else []
        return sorted(found, key=lambda each: (each[1].oldest_ms, each[0], each[1].first_offset))


def read_manifest(folder: Path) -> Manifest | None:
    """Return what *folder* says that it holds; None = it is no folder of saved topics.

    Raises:
        RawFilesError: If it can't be read.
    """
    path = folder / MANIFEST
    if not path.exists():
        return None
    try:
        found = msgspec.json.decode(path.read_bytes(), type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RawFilesError(f"{path} can't be read: {error}", "Save into another folder, or mend the file.") from error
    if found.format != FORMAT:
        raise RawFilesError(f"{path} is of format {found.format}", f"This version reads format {FORMAT}.")
    return found


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Put *manifest* in place; readers see the former one or this one."""
    draft = folder / f"{MANIFEST}.draft"
    draft.write_bytes(orjson.dumps(msgspec.to_builtins(manifest), option=orjson.OPT_INDENT_2))
    _put(draft, folder / MANIFEST)


def write_segment(folder: Path, source: str, partition: int, records: Sequence[RawRecord], next_offset: int) -> Segment:
    """Write *records*, at least one, of one partition to a file of their own, and return what the manifest says of it.

    *next_offset* is where the log goes on: after the last record, or after what lies empty behind it.
    """
    first = records[0].offset
    name = f"{source}/{partition}-{first:012d}.jsonl.gz"
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".draft")
    with draft.open("wb") as raw, gzip.GzipFile(filename="", fileobj=raw, mode="wb", compresslevel=6, mtime=0) as file:
        file.write(b"".join(_line(record) for record in records))
    digest = hashlib.sha256(draft.read_bytes()).hexdigest()
    _put(draft, path)
    stamps = [record.stamp_ms for record in records]
    size = sum(len(record.key or b"") + len(record.value or b"") for record in records)
    return Segment(name, len(records), first, next_offset, min(stamps), max(stamps), size, digest)


def read_segment(folder: Path, source: str, partition: int, segment: Segment) -> Iterator[RawRecord]:
    """Yield the records of *segment*, after a look at its checksum.

    Raises:
        RawFilesError: If the file is not the one that was written.
    """
    path = folder / segment.file
    again = "Fetch the file from your copy; without it, take a week that does not need it."
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise RawFilesError(f"{path} can't be read: {error.strerror or error}", again) from error
    if hashlib.sha256(raw).hexdigest() != segment.sha256:
        raise RawFilesError(f"{path} is not what was written: its SHA-256 is another one", again)
    for line in gzip.decompress(raw).splitlines():
        found = orjson.loads(line)
        key, value = _bytes_of(found, "key"), _bytes_of(found, "value")
        yield RawRecord(source, partition, found["offset"], found["time_ms"], key, value)


def _put(draft: Path, path: Path) -> None:
    """Let *draft* take the place of *path* once it is on the disk."""
    with draft.open("rb") as file:
        os.fsync(file.fileno())
    draft.replace(path)


def _line(record: RawRecord) -> bytes:
    said: dict[str, Any] = {"offset": record.offset, "time_ms": record.stamp_ms}
    for name, raw in (("key", record.key), ("value", record.value)):
        try:
            said[name] = None if raw is None else raw.decode()
        except UnicodeDecodeError:
            said[f"{name}_base64"] = base64.b64encode(raw or b"").decode()
    return orjson.dumps(said) + b"\n"


def _bytes_of(found: dict[str, Any], name: str) -> bytes | None:
    """Return a key or value as it was.

    >>> _bytes_of({"key": "a", "value_base64": "/w=="}, "value"), _bytes_of({"key": None}, "key")
    (b'\\xff', None)
    """
    text = found.get(name)
    if text is not None:
        return str(text).encode()
    encoded = found.get(f"{name}_base64")
    return None if encoded is None else base64.b64decode(encoded)
