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

from state.activity import Correction
from state.arrays import grown
from state.cells import sum_by_key
from state.chat_store import WINDOW_MS, Messages, Numbers, Samples
from state.effects import ChatCounts
from state.limits import Limits
from state.measures import Catalogue
from state.packing import Columns
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

    def hand_over(self, slot: int, heir: int) -> None:
        """Let nobody (*heir*, the org itself) have written the messages of *slot*: they count, but are no person's."""
        self._merge()
        if (self._messages.slots == slot).any():
            self._messages.hand_over(slot, heir)
        self.touch(int(self._subjects.org_of[slot]))

    def due(self, watermark_ms: int) -> list[ChatCounts]:
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

    def pieces(self, watermark_ms: Callable[[], int]) -> Iterator[list[ChatCounts]]:
        """Yield what there is to tell of every org, some at a time, each piece as of when it is asked for."""
        numbers = np.flatnonzero(self._told)
        for at in range(0, len(numbers), _PIECE):
            self._merge()
            yield [each for each in self._tell(numbers[at : at + _PIECE], watermark_ms()) if each.windows]

    def messages_of(self, slot: int) -> int:
        """Return how many messages of *slot* are counted."""
        self._merge()
        return int(self._messages.counts[self._messages.slots == slot].sum())

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

    def _tell(self, numbers: Numbers, watermark_ms: int) -> list[ChatCounts]:
        """Return what is known of the orgs *numbers* (ascending); everything was merged before."""
        if not len(numbers):
            return []
        messages, org_of = self._messages, self._subjects.org_of
        wanted = np.zeros(len(self._subjects.orgs), bool)
        wanted[numbers] = True
        rows = np.flatnonzero(wanted[org_of[messages.slots]] & (messages.counts > 0))
        slots, times, counts = messages.slots[rows], messages.times[rows], messages.counts[rows]
        orgs = org_of[slots].astype(np.int64)
        last_ms = np.zeros(len(wanted), np.int64)
        np.maximum.at(last_ms, orgs, times)
        parts = zip(
            numbers.tolist(),
            _sums_by_org(numbers, orgs, times // WINDOW_MS, counts),
            _sums_by_org(numbers, orgs, slots, counts),
            self._tell_online(numbers, wanted, watermark_ms),
            last_ms[numbers].tolist(),
            strict=True,
        )
        return [self._tell_org(*part, watermark_ms) for part in parts]

    def _tell_online(
        self, numbers: Numbers, wanted: NDArray[np.bool_], watermark_ms: int
    ) -> list[tuple[dict[int, int], int | None, int]]:
        """Return of each org who was online by window, who is now (None = not known), and the newest sample's time."""
        samples = self._samples
        lines = np.flatnonzero(wanted[self._subjects.org_of[samples.slots]])
        times, servers, online = samples.times[lines], samples.servers[lines], samples.online[lines]
        orgs = self._subjects.org_of[samples.slots[lines]].astype(np.int64)
        newest, now = np.zeros(len(wanted), np.int64), np.zeros(len(wanted), np.int64)
        np.maximum.at(newest, orgs, times)
        lately = np.flatnonzero(times > newest[orgs] - ONLINE_MS)
        lately = lately[np.lexsort((times[lately], servers[lately], orgs[lately]))]
        last = np.ones(len(lately), bool)  # of each server
        former, later = lately[:-1], lately[1:]
        last[:-1] = (orgs[former] != orgs[later]) | (servers[former] != servers[later])
        np.add.at(now, orgs[lately[last]], online[lately[last]])
        by_window = _sums_by_org(numbers, orgs, times // WINDOW_MS, online)
        return [
            (seen, n if at_ms > watermark_ms - KNOWN_MS else None, at_ms)
            for seen, n, at_ms in zip(by_window, now[numbers].tolist(), newest[numbers].tolist(), strict=True)
        ]

    def _tell_org(
        self, number: int, written: dict[int, int], people: dict[int, int],
        online: tuple[dict[int, int], int | None, int], last_ms: int, watermark_ms: int,
    ) -> ChatCounts:  # fmt: skip
        """Return the activity of one org, given messages by window and by slot, and what `_tell_online` says."""
        subjects, entry, (seen, now, newest_ms) = self._subjects, self._subjects.orgs[number], online
        ranked = sorted((-n, subjects.user(slot), slot) for slot, n in people.items() if slot != entry.slot)
        shown = ranked[: self._limits.max_chat_people]
        return ChatCounts(
            entry.name,
            entry.zone,
            self.floor_ms,
            watermark_ms,
            now,
            newest_ms,
            last_ms,
            sum(written.values()),
            [(window, written.get(window, 0), seen.get(window)) for window in sorted({*written, *seen})],
            [(user, subjects.display_name(slot), -n) for n, user, slot in shown],
            len(ranked) - len(shown),
        )


def _sums_by_org(numbers: Numbers, orgs: Numbers, places: Numbers, values: Numbers) -> list[dict[int, int]]:
    """Return of each org of *numbers* (ascending) the sum of *values* by place (below 2³²); the others have shape n."""
    keys, sums = sum_by_key((orgs << 32 | places).astype(np.uint64), values)
    found, totals = (keys & np.uint64((1 << 32) - 1)).tolist(), sums.tolist()
    edges = np.searchsorted(keys, np.stack([numbers, numbers + 1], axis=1).astype(np.uint64) << np.uint64(32)).tolist()
    return [dict(zip(found[first:end], totals[first:end], strict=True)) for first, end in edges]
