"""Owns the import of Mixpanel's export day by day: which days are done, and the days' rows.

Invariant: a day is done when Kafka has all of it and nothing can be added to it any more; until then it is fetched
again, and what of it is in Kafka already comes with the same ids.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import IO, Any
from zoneinfo import ZoneInfo

import msgspec

from agents.importers.mixpanel_api import ExportClient
from agents.importers.source import Source, unpacked

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


class DayEntry:
    """One day as an input of an import: fetched whole into a file without a name, which is gone when it is closed."""

    def __init__(
        self,
        client: ExportClient,
        day: date,
        folder: Path,
        zone: ZoneInfo | None,
        *,
        limit: int,
        final: bool,
        keep: bool,
    ) -> None:
        """Describe it; nothing is asked yet.

        Args:
            client: Whom to ask.
            day: Which day.
            folder: Where the file lies meanwhile.
            zone: Where the clock hangs that the times were read from; None: they are in UTC.
            limit: Most rows to ask for; 0: all.
            final: Whether nothing is added to the day any more.
            keep: Whether it is opened a second time.
        """
        self._client, self._day, self._folder, self._zone, self._limit = client, day, folder, zone, limit
        self.final, self._keep = final, keep
        self._kept: IO[bytes] | None = None
        self.key = f"mixpanel {client.url} {client.account.project_id} {day}"

    def open(self) -> Source:
        """Fetch the day, or open what was fetched before.

        Raises:
            InputError: If it can't be had.
        """
        file, self._kept = self._kept or self._fetched(), None
        if self._keep:  # the second opening is the last one
            self._kept, self._keep = os.fdopen(os.dup(file.fileno()), "rb"), False
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        found = DaySource(f"mixpanel {self._day}", file, file, size)
        found.zone = self._zone
        return unpacked(found)

    def _fetched(self) -> IO[bytes]:
        self._folder.mkdir(parents=True, exist_ok=True)
        file = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115 - the source closes it
        try:
            asyncio.run(self._client.fetch(self._day, file, self._limit))
        except BaseException:
            file.close()
            raise
        return file
