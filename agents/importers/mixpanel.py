"""Owns the import of Mixpanel's export day by day: which days are done, and the days' rows.

Invariant: a day is done when Kafka has all of it and nothing can be added to it any more; until then all of it comes
again, with the same ids.
"""

from __future__ import annotations

import asyncio
import hashlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import IO, Any, cast
from zoneinfo import ZoneInfo

import msgspec

from agents.importers.mixpanel_api import ExportClient
from agents.importers.progress_file import ProgressFile
from agents.importers.source import Source, open_stream

_SETTLED_HOURS = 24
"""A day is over everywhere 12 hours after it is in UTC; as long again for what comes late."""
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001  # a clock on a wall somewhere, which is what the export tells
_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])
_number = msgspec.json.Decoder(int | float)
_encoder = msgspec.json.Encoder()


def days_between(first: date, last: date) -> list[date]:
    """Return all days from *first* to *last*, both included."""
    return [first + timedelta(days=number) for number in range((last - first).days + 1)]


def settled(day: date, now_seconds: float) -> bool:
    """Say whether nothing is added to a day any more.

    >>> settled(date(2024, 1, 1), datetime(2024, 1, 3, tzinfo=UTC).timestamp())
    True
    """
    end = datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1, hours=_SETTLED_HOURS)
    return end.timestamp() <= now_seconds


class DayBook:
    """Remembers which days of one import are done: one small file."""

    def __init__(self, folder: Path, purpose: str) -> None:
        """Open the memory of the import that *purpose* describes (account, topic with its id, options)."""
        self._location = folder / f"mixpanel.{hashlib.sha256(purpose.encode()).hexdigest()[:16]}.json"

    def done(self) -> dict[str, int]:
        """Return day → rows of those that are done."""
        try:
            return msgspec.json.decode(self._location.read_bytes(), type=dict[str, int])
        except (FileNotFoundError, msgspec.DecodeError):
            return {}

    def add(self, day: str, rows: int) -> None:
        """Note a day as done; readers see the old or the new book, never half of one."""
        self._location.parent.mkdir(parents=True, exist_ok=True)
        draft = self._location.with_suffix(".draft")
        draft.write_bytes(msgspec.json.encode(self.done() | {day: rows}))
        draft.replace(self._location)

    def forget(self) -> None:
        """Start from the beginning."""
        self._location.unlink(missing_ok=True)


@dataclass(frozen=True)
class DayProgress(ProgressFile):
    """What a run of an import needs to know of a day: nothing is done before all of it is."""

    book: DayBook | None = None
    settled: bool = False

    def recall(self) -> int:
        """Return no rows: a day begins anew."""
        return 0

    def remember(self, rows: int) -> None:
        """Keep nothing: half a day is none."""

    def finish(self, rows: int) -> None:
        """Note the day as done, if nothing can be added to it."""
        if self.book is not None and self.settled:
            self.book.add(self.path, rows)


class DaySource(Source):
    """A day's rows; *zone* is where the clock hangs that its times were read from, None where they are UTC."""

    zone: ZoneInfo | None = None

    def lines(self) -> Iterator[bytes | None]:
        """Yield each line, its time in UTC."""
        for line in super().lines():
            yield line if line is None or self.zone is None else in_utc(line, self.zone)


def in_utc(line: bytes, zone: ZoneInfo) -> bytes:
    """Return an exported event whose time was told by a clock in *zone*, with its time in UTC (milliseconds).

    >>> in_utc(b'{"event":"a","properties":{"time":1704067200}}', ZoneInfo("Europe/Vienna"))
    b'{"event":"a","properties":{"time":1704063600000}}'
    """
    try:
        fields: dict[str, Any] = dict(_fields.decode(line))
        properties: dict[str, Any] = dict(_fields.decode(fields["properties"]))
        told = _number.decode(properties["time"])
        milliseconds = round(told * 1000) if abs(told) < 1e11 else int(told)
        local = (_EPOCH + timedelta(milliseconds=milliseconds)).replace(tzinfo=zone)
    except (msgspec.DecodeError, KeyError, OverflowError, RecursionError):
        return line  # the readers say what is wrong with it
    properties["time"] = (local - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
    fields["properties"] = properties
    return _encoder.encode(fields)


class Days:
    """Opens days: fetches each whole into a file without a name, which is gone when it is closed."""

    def __init__(self, client: ExportClient, folder: Path, zone: ZoneInfo | None, limit: int) -> None:
        self._client, self._folder, self._zone, self._limit = client, folder, zone, limit

    def open(self, day: str) -> Source:
        """Fetch a day.

        Raises:
            InputError: If it can't be had.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        file = cast(IO[bytes], tempfile.TemporaryFile(dir=self._folder, buffering=1 << 20))  # noqa: SIM115 - Source closes it
        try:
            asyncio.run(self._client.fetch(date.fromisoformat(day), file, self._limit))
            plain = open_stream(file, f"mixpanel {day}", file.seek(0, 2))
        except BaseException:
            file.close()
            raise
        found = DaySource(plain.name, plain.stream, plain.raw, plain.size_bytes)
        found.zone = self._zone
        return found
