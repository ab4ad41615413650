"""Chat activity: who is online, and how many messages are written, by windows of ten minutes.

Owns what was written and sampled in the last days, per org. A server counts with its newest sample of a window, an
org with the sum over its servers. Invariant: what is told follows from the set of messages and samples, the directory
and the watermark, in whatever order they came, as long as no limit is reached; what a limit cost is said by `since_ms`.

          since_ms (whole hour)                                 watermark
    ── gone ──┤ window │ window │ …  the last days …  │ whole │ running │
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from state.activity import Columns, Correction
from state.arrays import grown
from state.chat_store import WINDOW_MS, Messages, Numbers, Samples
from state.effects import ChatActivity
from state.limits import Limits
from state.measures import Catalogue
from state.subjects import Subjects
from state.week import HOUR_MS

ONLINE_MS = 2 * WINDOW_MS
"""A server counts as long as its newest sample is at most so much older than the org's newest."""
KNOWN_MS = 3 * WINDOW_MS
"""Who is online is known for so long after the newest sample."""
_SETTLED_WINDOWS = 4  # so long after its last message or sample an org's figures go on changing by themselves
_PIECE = 64  # orgs told at a time, when everything is


class Chat:
    """The chat activity of one partition's orgs."""

    def __init__(self, subjects: Subjects, catalogue: Catalogue, limits: Limits) -> None:
        self._subjects, self._limits = subjects, limits
        self._message, self._presence = catalogue.index("message"), catalogue.index("presence")
        self._messages, self._samples = Messages(), Samples()
        self.floor_ms = 0
        """What is older is not counted."""
        self._unchecked = 0  # added since the limits were last looked at
        # By org number: told something of; changed since told; changing by itself as windows pass.
        self._told, self._changed, self._settling = (np.zeros(0, bool) for _ in range(3))
        self._told_window = 0

    def take(self, columns: Columns) -> None:
        """Count accepted activities (slots and measure indices in place); the time was advanced past them already."""
        recent = columns.time_ms >= self.floor_ms
        rows = np.flatnonzero(recent & (columns.measure == self._message))
        if len(rows):
            self._add(columns.time_ms[rows], columns.subject[rows], np.ones(len(rows), np.int64))
        rows = np.flatnonzero(recent & (columns.measure == self._presence))
        if len(rows):
            slots = columns.subject[rows]
            self._samples.add(columns.time_ms[rows], slots, columns.ref[rows], columns.amount[rows])
            self._note(slots)
            if self._samples.is_full:
                self._merge()

    def correct(self, record: Correction, slots: Numbers) -> None:
        """Count messages that turned out to be somebody else's; *slots* are those of the record's subjects."""
        written = [n for n, name in enumerate(record.measures) if name == "message"]
        rows = np.array([row[:4] for row in record.rows if row[1] in written], np.int64).reshape(-1, 4)
        rows = rows[rows[:, 2] >= self.floor_ms]
        if len(rows):
            self._add(rows[:, 2], slots[rows[:, 0]], rows[:, 3])

    def advance(self, watermark_ms: int) -> None:
        """Go on to *watermark_ms*; what is older than the horizon counts no more, hour by hour."""
        hours = watermark_ms // HOUR_MS - 24 * self._limits.chat_days
        self.floor_ms = max(self.floor_ms, hours * HOUR_MS)

    def touch(self, number: int) -> None:
        """Note that an org's name for somebody, or its zone, may have changed."""
        if number < len(self._told) and self._told[number]:
            self._changed[number] = True

    def due(self, watermark_ms: int) -> list[ChatActivity]:
        """Return what is to be told as of *watermark_ms*: of orgs whose figures changed since the last time."""
        self._merge()
        wanted = self._changed.copy()
        if watermark_ms // WINDOW_MS != self._told_window:
            wanted |= self._settling
        numbers = np.flatnonzero(wanted)
        found = self._tell(numbers, watermark_ms)
        self._told_window = watermark_ms // WINDOW_MS
        self._changed[:] = False
        self._settling[numbers], self._told[numbers] = False, False
        for number, each in zip(numbers.tolist(), found, strict=True):
            newest = max(each.last_message_ms, each.online_at_ms)
            self._settling[number] = newest // WINDOW_MS + _SETTLED_WINDOWS > self._told_window
            self._told[number] = bool(each.windows)
        return found

    def pieces(self, watermark_ms: Callable[[], int]) -> Iterator[list[ChatActivity]]:
        """Yield what there is to tell of every org, some at a time, each piece as of when it is asked for."""
        numbers = np.flatnonzero(self._told)
        for at in range(0, len(numbers), _PIECE):
            self._merge()
            yield [each for each in self._tell(numbers[at : at + _PIECE], watermark_ms()) if each.windows]

    def has(self, org: str) -> bool:
        """Say whether anything is told of *org*, or will be."""
        slot = self._subjects.find(org, "")
        number = -1 if slot is None else int(self._subjects.org_of[slot])
        return 0 <= number < len(self._told) and bool(self._told[number] | self._changed[number])

    def segments(self) -> dict[str, Any]:
        """Return the content for a checkpoint."""
        self._merge()
        flags = [np.flatnonzero(each).tolist() for each in (self._told, self._changed, self._settling)]
        state = {"state": [self.floor_ms, self._unchecked, self._told_window, *flags]}
        return state | self._messages.segments() | self._samples.segments()

    def restore(self, segments: dict[str, Any], watermark_ms: int) -> None:
        """Take over what `segments` returned; without any, what was before *watermark_ms* stays unknown."""
        if "state" not in segments:
            self.floor_ms = watermark_ms
            return
        self.floor_ms, self._unchecked, self._told_window, *flags = segments["state"]
        self._grow()
        for array, numbers in zip((self._told, self._changed, self._settling), flags, strict=True):
            array[numbers] = True
        self._messages.restore(segments)
        self._samples.restore(segments)

    def _add(self, times_ms: Numbers, slots: Numbers, weights: Numbers) -> None:
        self._messages.add(times_ms, slots, weights)
        self._note(slots)
        if self._messages.is_full:
            self._merge()

    def _note(self, slots: Numbers) -> None:
        self._grow()
        self._changed[self._subjects.org_of[slots]] = True
        self._unchecked += len(slots)
        if self._unchecked * 4 > min(self._limits.max_chat_messages, self._limits.max_chat_samples):
            self._bound()

    def _grow(self) -> None:
        orgs = len(self._subjects.orgs)
        self._told, self._changed = grown(self._told, orgs), grown(self._changed, orgs)
        self._settling = grown(self._settling, orgs)

    def _merge(self) -> None:
        """Bring everything in order; an org that something of was forgotten has changed."""
        for gone in (self._messages.merge(self.floor_ms), self._samples.merge(self.floor_ms)):
            self._changed[self._subjects.org_of[gone]] = True

    def _bound(self) -> None:
        """Forget whole windows, the oldest first, while there is more than the limits allow."""
        self._unchecked = 0
        self._merge()
        limits = (self._limits.max_chat_messages, self._limits.max_chat_samples)
        for times, limit in zip((self._messages.times, self._samples.times), limits, strict=True):
            if len(times) > limit:
                first = int(np.sort(times)[len(times) - limit - 1])
                self.floor_ms = max(self.floor_ms, (first // WINDOW_MS + 1) * WINDOW_MS)
        self._merge()

    def _tell(self, numbers: Numbers, watermark_ms: int) -> list[ChatActivity]:
        """Return what is known of the orgs *numbers* (ascending); everything was merged before."""
        if not len(numbers):
            return []
        messages, samples, subjects = self._messages, self._samples, self._subjects
        wanted = np.zeros(len(subjects.orgs), bool)
        wanted[numbers] = True
        written = np.flatnonzero(wanted[subjects.org_of[messages.slots]] & (messages.counts > 0))
        written = written[np.argsort(subjects.org_of[messages.slots[written]], kind="stable")]
        sampled = np.flatnonzero(wanted[subjects.org_of[samples.slots]])
        sampled = sampled[np.argsort(subjects.org_of[samples.slots[sampled]], kind="stable")]
        rows, lines = (
            np.searchsorted(subjects.org_of[slots], np.stack([numbers, numbers + 1], axis=1)).tolist()
            for slots in (messages.slots[written], samples.slots[sampled])
        )
        return [
            self._tell_org(number, written[first:end], sampled[start:stop], watermark_ms)
            for number, (first, end), (start, stop) in zip(numbers.tolist(), rows, lines, strict=True)
        ]

    def _tell_org(self, number: int, rows: Numbers, lines: Numbers, watermark_ms: int) -> ChatActivity:
        """Return what *rows* of messages and *lines* of samples, in order of time, say of one org."""
        entry, store = self._subjects.orgs[number], self._messages
        times, counts = store.times[rows], store.counts[rows]
        windows, first = np.unique(times // WINDOW_MS, return_index=True)
        written = dict(zip(windows.tolist(), np.add.reduceat(counts, first).tolist() if len(rows) else (), strict=True))
        sampled = self._online_by_window(lines)
        people, left_out = self._people(store.slots[rows], counts)
        newest_ms = int(self._samples.times[lines].max(initial=0))
        return ChatActivity(
            entry.name,
            entry.zone,
            self.floor_ms,
            watermark_ms,
            self._online(lines, newest_ms) if newest_ms > watermark_ms - KNOWN_MS else None,
            newest_ms,
            int(times[-1]) if len(rows) else 0,
            int(counts.sum()),
            [(window, written.get(window, 0), sampled.get(window)) for window in sorted({*written, *sampled})],
            people,
            left_out,
        )

    def _online_by_window(self, lines: Numbers) -> dict[int, int]:
        """Return by window how many were online: each server's newest sample in it."""
        windows, places = np.unique(self._samples.times[lines] // WINDOW_MS, return_inverse=True)
        sums = np.zeros(len(windows), np.int64)
        np.add.at(sums, places, self._samples.online[lines])
        return dict(zip(windows.tolist(), sums.tolist(), strict=True))

    def _online(self, lines: Numbers, newest_ms: int) -> int:
        """Return how many are online: the newest sample of each server that was heard of lately."""
        lines = lines[self._samples.times[lines] > newest_ms - ONLINE_MS]
        lines = lines[np.argsort(self._samples.times[lines], kind="stable")]
        latest = dict(zip(self._samples.servers[lines].tolist(), self._samples.online[lines].tolist(), strict=True))
        return sum(latest.values())

    def _people(self, slots: Numbers, counts: NDArray[np.int64]) -> tuple[list[tuple[str, str, int]], int]:
        """Return who wrote most (id, name, messages), and how many others wrote."""
        people, places = np.unique(slots, return_inverse=True)
        sums = np.zeros(len(people), np.int64)
        np.add.at(sums, places, counts)
        subjects = self._subjects
        ranked = sorted(
            ((subjects.user(slot), slot, n) for slot, n in zip(people.tolist(), sums.tolist(), strict=True)),
            key=lambda each: (-each[2], each[0]),
        )
        shown = ranked[: self._limits.max_chat_people]
        return [(user, subjects.display_name(slot), n) for user, slot, n in shown], len(ranked) - len(shown)
