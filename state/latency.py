"""Hour-of-week latency: who waits how long at which hour.

Owns each org's lines (replies by channel or team, measures by name), each a `Waits`: by quarter of an hour, so that
any period and zone can be read from it. Bounded: `max_lines` an org, `keep_months` back. Invariant: a reply counts in
the line and the hour of its *parent*, in exactly one of each.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from state.activity import Correction
from state.cells import Counts
from state.lines import MEASURE, REPLIES, is_part_of, line_of_place
from state.waits import Waits, week_of_lines
from state.week import HOUR_MS, month_of, month_start_ms
from state.week_grid import Longs, WeekGrid

ALL_ORGS = "all"
_DAY_ANYWHERE_MS = (-14 * HOUR_MS, 38 * HOUR_MS)
"""From the start of a day in UTC: what its hours may be called elsewhere."""
OTHER_PLACES = "replies/(other)"
"""The line of channels beyond `max_lines`."""


class Latency:
    """The lines of one partition's orgs."""

    def __init__(self, max_lines: int = 64) -> None:
        self._max_lines = max_lines
        self._orgs: dict[str, dict[str, Waits]] = {}
        self._untold: dict[str, set[int]] = {}  # org → months (UTC) that changed since they were told
        self._untold_overall: set[int] = set()  # months, in whatever zone, that changed since the whole was told
        self._changed: set[str] = set()  # orgs with a line that may have been added to since `_gather`
        self._told_overall: set[int] = set()  # months that the whole was told to have anything in

    def line(self, org: str, line: str) -> Waits:
        """Return a line to add to; beyond `max_lines` channels share one."""
        self._changed.add(org)
        lines = self._orgs.setdefault(org, {})
        found = lines.get(line)
        if found is None:
            if len(lines) >= self._max_lines and not line.startswith(MEASURE):
                line = OTHER_PLACES
            found = lines.setdefault(line, Waits())
        return found

    def add_message(self, org: str, place: str, time_ms: int, weight: int = 1) -> None:
        """Count a message where and when it was written (*weight* −1: take it back)."""
        self.line(org, line_of_place(place)).add_event(time_ms, weight)

    def add_reply(self, org: str, place: str, parent_ms: int, latency_ms: int, *, first: bool, weight: int = 1) -> None:
        """Count a reply to a message at *place*; *first* = it is the first one (*weight* −1: take it back)."""
        self.line(org, line_of_place(place)).add_wait(parent_ms, latency_ms, first=first, weight=weight)

    def correct(self, org: str, record: Correction) -> None:
        """Add messages and replies, or take them back, as *record* says."""
        for time_ms, place, times in record.messages:
            self.add_message(org, record.places[place], time_ms, times)
        for parent_ms, latency_ms, first, place, times in record.latencies:
            self.add_reply(org, record.places[place], parent_ms, latency_ms, first=first, weight=times)

    def grid(self, org: str, zone: str, months: range | None = None, line: str = REPLIES) -> WeekGrid:
        """Return the week of an org over calendar *months* in *zone* (None = all there are)."""
        parts = [waits for name, waits in self._orgs.get(org, {}).items() if is_part_of(name, line)]
        return week_of_lines(parts, zone, months)

    def waits_between(self, org: str, start_ms: int, stop_ms: int) -> tuple[Longs, Counts]:
        """Return how long replies took (ms) to messages of *org* from *start_ms* to before *stop_ms*, and how many."""
        lines = self._orgs.get(org, {}).items()
        parts = [waits.waits_between(start_ms, stop_ms) for name, waits in lines if is_part_of(name, REPLIES)]
        if not parts:
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        return np.concatenate([waits for waits, _ in parts]), np.concatenate([counts for _, counts in parts])

    def has(self, org: str, month: int | None = None) -> bool:
        """Say whether *org* has a line, or anything in a month (UTC)."""
        return org in self._orgs and (month is None or month in self.months(org))

    def orgs(self) -> list[str]:
        """Return the orgs that have a line."""
        return sorted(self._orgs)

    def lines(self, org: str) -> list[str]:
        """Return an org's lines."""
        return sorted(self._orgs.get(org, {}))

    def months(self, org: str) -> list[int]:
        """Return the months (UTC) in which anything happened in *org*, ascending."""
        return sorted({month for waits in self._orgs.get(org, {}).values() for month in waits.months("UTC")})

    def month(self, org: str, month: int) -> dict[str, bytes]:
        """Return an org's lines of one month (UTC), each as bytes that `Waits.load` reads; empty ones are left out."""
        parts = {
            name: waits.slice("UTC", range(month, month + 1)).settled()
            for name, waits in sorted(self._orgs.get(org, {}).items())
        }
        return {name: part.dump() for name, part in parts.items() if not part.is_empty}

    def take_untold(self) -> dict[str, list[int]]:
        """Return which months (UTC) of which orgs changed since last asked."""
        self._gather()
        untold, self._untold = self._untold, {}
        return {org: sorted(months) for org, months in sorted(untold.items())}

    def zone_changed(self, org: str) -> None:
        """Note that an org's hours are others now."""
        if org in self._orgs:
            self._untold.setdefault(org, set())
            self._untold_overall.update(near for month in self.months(org) for near in (month - 1, month, month + 1))

    def take_overall(self, zones: Mapping[str, str]) -> dict[int, dict[str, bytes]]:
        """Return all orgs together, each in its zone, by line, of the months that changed since last asked."""
        self._gather()
        changed, self._untold_overall = self._untold_overall, set()
        found = {month: self._overall(month, zones) for month in sorted(changed)}
        found = {month: lines for month, lines in found.items() if lines or month in self._told_overall}
        self._told_overall = (self._told_overall - found.keys()) | {month for month, lines in found.items() if lines}
        return found

    def _overall(self, month: int, zones: Mapping[str, str]) -> dict[str, bytes]:
        """Return one month of all orgs together; channels are not told apart."""
        by_zone: dict[tuple[str, str], list[Waits]] = {}
        for org, lines in self._orgs.items():
            for name, waits in lines.items():
                line = name if name.startswith(MEASURE) else REPLIES
                by_zone.setdefault((line, zones.get(org, "UTC")), []).append(waits)
        grids: dict[str, list[WeekGrid]] = {}
        for (line, zone), parts in sorted(by_zone.items(), key=lambda each: each[0]):
            grids.setdefault(line, []).append(week_of_lines(parts, zone, range(month, month + 1)))
        merged = {line: WeekGrid.merged(found).bounded() for line, found in grids.items()}
        return {line: grid.dump() for line, grid in sorted(merged.items()) if not grid.is_empty}

    def drop_before(self, month: int) -> None:
        """Forget what is older than *month* (UTC); that it is gone is told like any change."""
        edge_ms = month_start_ms(month, "UTC")
        for org, lines in list(self._orgs.items()):
            gone = [old for old in self.months(org) if old < month]
            if gone:
                self._untold.setdefault(org, set()).update(gone)
                self._untold_overall.update(gone, [month])  # whose last day begins in the month before, in the west
            for name, waits in list(lines.items()):
                waits.drop_before(edge_ms)
                if waits.is_empty:
                    del lines[name]
            if not lines:
                del self._orgs[org]

    @property
    def size_bytes(self) -> int:
        """Memory held by the lines, in bytes."""
        return sum(waits.size_bytes for lines in self._orgs.values() for waits in lines.values())

    def segments(self) -> dict[str, Any]:
        """Return the content for a checkpoint: one segment an org."""
        self._gather()
        found: dict[str, Any] = {
            f"latency/{org}": {name: waits.dump() for name, waits in sorted(lines.items())}
            for org, lines in sorted(self._orgs.items())
        }
        found["untold"] = [
            {org: sorted(months) for org, months in sorted(self._untold.items())},
            sorted(self._untold_overall),
            sorted(self._told_overall),
        ]
        return found

    def restore(self, segments: dict[str, Any]) -> None:
        """Take over what `segments` returned."""
        for name, lines in segments.items():
            if name.startswith("latency/"):
                self._orgs[name[8:]] = {line: Waits.load(raw) for line, raw in lines.items()}
        untold, overall, told = segments.get("untold", ({}, (), ()))
        self._untold = {org: set(months) for org, months in untold.items()}
        self._untold_overall, self._told_overall = set(overall), set(told)

    def _gather(self) -> None:
        """Note which months changed."""
        changed, self._changed = self._changed, set()
        for org in sorted(changed):
            for waits in self._orgs.get(org, {}).values():
                for start_ms in waits.take_touched_days():
                    self._untold.setdefault(org, set()).add(month_of(start_ms, "UTC"))
                    self._untold_overall |= {month_of(start_ms + at, "UTC") for at in _DAY_ANYWHERE_MS}
