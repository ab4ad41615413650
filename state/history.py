"""Calendar weeks: what each subject did, week by week.

Owns one bucket of counts, sums, active hours and single amounts per calendar week (of the org's zone) within
the history horizon, and which of them have something new to tell. Invariant: a
week's content depends only on the set of its events, not on their order.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import numpy as np
from numpy.typing import NDArray

from state.active_hours import Words
from state.amounts import Answer, Bag, bags_in, medians, newest, segments_of
from state.arrays import distinct, packed, unpacked
from state.cells import Cells, Counts, Keys
from state.measures import MAX_MEASURES
from state.ring import Slots
from state.week import DAY_MS
from state.week_hours import WeekHours

_AMOUNTS = "week-amounts/"  # prefix of segments


class History:
    """Weeks of one partition: week → (counts, sums), active hours, amounts, and the slots touched since last told."""

    def __init__(
        self,
        summed: NDArray[np.bool_],
        active: NDArray[np.bool_],
        single: Collection[int] = (),
        kept: int = 0,
        spread: int = 0,
    ) -> None:
        """Begin without any.

        Args:
            summed: Which measures keep sums.
            active: Which measures make a user active.
            single: Those that keep their amounts one by one.
            kept: Weeks that stay longer than they can be told anew, because later ones are scored by them.
            spread: Weeks after one whose scores may depend on it.
        """
        self._summed, self._active, self._single = summed, active, np.array(sorted(single), np.int64)
        self._weeks: dict[int, tuple[Cells, Cells]] = {}
        self._hours: dict[int, WeekHours] = {}
        self._amounts: dict[int, Bag] = {}
        self._dirty: dict[int, list[Slots]] = {}
        self._kept, self._spread = kept, spread
        self._watchers: list[Callable[[int, Slots], None]] = []
        self._scores: dict[int, tuple[NDArray[np.uint32], NDArray[np.int16]]] = {}  # by slot, ascending
        self._former: dict[int, dict[int, int]] = {}  # week → heir's slot → active users whom it stands for

    def add(
        self,
        slots: Slots,
        measures: Slots,
        weeks: Slots,
        weights: Counts,
        amounts: Counts,
        hours: Slots,
        times_ms: Slots,
        lacking: NDArray[np.bool_] | None = None,
    ) -> None:
        """Fold activities (all of shape n) into their weeks.

        *weights*, *amounts* and *lacking* are those of `RollingWeek.add`, *hours* those of
        `week_hours.places_in_week`.
        """
        single = np.isin(measures, self._single)
        if lacking is not None:
            single &= ~lacking
        keys = (slots * MAX_MEASURES + measures).astype(np.uint64)
        summed, active = self._summed[measures], self._active[measures]
        for week in distinct(weeks).tolist():
            here = weeks == week
            counts, sums = self._weeks.setdefault(week, (Cells(), Cells()))
            counts.add(keys[here], weights[here])
            sums.add(keys[here & summed], amounts[here & summed])
            self.add_hours(week, slots[here & active], hours[here & active], weights[here & active])
            if (kept := here & single).any():
                of_then, weight = amounts[kept] * weights[kept], weights[kept]
                bag = self._amounts.setdefault(week, Bag())
                bag.add(slots[kept], measures[kept], times_ms[kept] - _origin_ms(week), of_then, weight)
            self._touch(week, distinct(slots[here]))

    def watch(self, see: Callable[[int, Slots], None]) -> None:
        """Have *see* called with a week and slots (distinct) whenever something of theirs changed in it."""
        self._watchers.append(see)

    def _touch(self, week: int, slots: Slots) -> None:
        """Note that something of *slots* (ascending) in *week* changed, and with it what later weeks of theirs say."""
        self._dirty.setdefault(week, []).append(slots)
        for see in self._watchers:
            see(week, slots)
        for later in range(week + 1, week + 1 + self._spread):
            if later in self._weeks:
                starts = slots * MAX_MEASURES
                which, _, _ = self._weeks[later][0].between(starts, starts + MAX_MEASURES)
                self._dirty.setdefault(later, []).append(slots[distinct(which)])

    def add_hours(self, week: int, slots: Slots, hours: Slots, weights: Counts) -> None:
        """Note activities (all of shape n) in hours of *week*."""
        self._hours.setdefault(week, WeekHours()).add(slots, hours, weights)

    def cells(self, week: int, slots: Slots) -> tuple[tuple[Counts, Counts, Counts], tuple[Counts, Counts, Counts]]:
        """Return the counts and the sums of *slots* (shape n) in *week*: which of them, measure, value by cell."""
        starts = slots * MAX_MEASURES
        found = []
        for cells in self._weeks.get(week, (Cells(), Cells())):
            where, keys, values = cells.between(starts, starts + MAX_MEASURES)
            found.append((where, keys % MAX_MEASURES, values))
        return found[0], found[1]

    def active_hours(self, week: int, slots: Slots) -> Words:
        """Return in which hours of *week* each of *slots* was active, oldest first, as bits (see `active_hours`)."""
        return self._hours.get(week, WeekHours()).of(slots)

    def medians(self, week: int, measures: tuple[int, ...], slots: Slots) -> Answer:
        """Return the lower median of the amounts of *measures* in *week* of each of *slots*, and where there is one."""
        return medians(self._bag(week), measures, slots)

    def newest(self, week: int, measure: int, slots: Slots) -> Answer:
        """Return the newest amount of *measure* in *week* of each of *slots*, and where there is one."""
        return newest(self._bag(week), measure, slots)

    def _bag(self, week: int) -> dict[int, Bag]:
        return {_origin_ms(week): self._amounts[week]} if week in self._amounts else {}

    def weeks(self) -> list[int]:
        """Return the weeks held, oldest first."""
        return sorted(self._weeks)

    def read(self, week: int) -> tuple[Keys, Counts, Keys, Counts]:
        """Return cell keys and counts, and cell keys and sums, of *week*."""
        counts, sums = self._weeks[week]
        return (*counts.read(), *sums.read())

    def dirty_weeks(self) -> list[int]:
        """Return the weeks with something new to tell, oldest first."""
        return sorted(self._dirty)

    def take_dirty(self, week: int, among: NDArray[np.bool_]) -> Slots:
        """Return the slots touched in *week* since last taken (ascending) that are true in *among*.

        The others stay touched.
        """
        touched = self._dirty.pop(week, [])
        slots = distinct(np.concatenate(touched)) if touched else np.empty(0, np.int64)
        if not among[slots].all():
            self._dirty[week] = [slots[~among[slots]]]
        return slots[among[slots]]

    def hand_over(self, slot: int, heir: int) -> None:
        """Let *heir* have the counts and sums of *slot*, of whom nothing else stays; nothing is to be told anew."""
        for week, cells in self._weeks.items():
            for number, each in enumerate(cells):
                keys, values = each.take(slot * MAX_MEASURES, (slot + 1) * MAX_MEASURES)
                if number == 0 and self._active[(keys % np.uint64(MAX_MEASURES)).astype(np.int64)].any():
                    former = self._former.setdefault(week, {})
                    former[heir] = former.get(heir, 0) + 1
                if len(keys):
                    each.add(keys % np.uint64(MAX_MEASURES) + np.uint64(heir * MAX_MEASURES), values)
        for hours in self._hours.values():
            hours.forget(slot)
        for bag in self._amounts.values():
            bag.drop(slot)
        for week, touched in list(self._dirty.items()):
            left = distinct(np.concatenate(touched))
            left = left[left != slot]
            self._dirty[week] = [left]
            if not len(left):
                del self._dirty[week]
        for week, (slots, scores) in list(self._scores.items()):
            self._scores[week] = (slots[slots != slot], scores[slots != slot])

    def former_active(self, week: int, heirs: Slots) -> NDArray[np.int64]:
        """Return for how many users who were active in *week* each of *heirs* stands."""
        former = self._former.get(week, {})
        return np.array([former.get(heir, 0) for heir in heirs.tolist()], np.int64)

    def keep_scores(self, week: int, slots: Slots, scores: Counts) -> None:
        """Keep the scores (basis points, negative = none) that *slots* had when *week* closed."""
        here = scores >= 0
        before, points = self._scores.get(week, (np.empty(0, np.uint32), np.empty(0, np.int16)))
        kept = ~np.isin(before, slots)
        every = np.concatenate([before[kept], slots[here].astype(np.uint32)])
        values = np.concatenate([points[kept], scores[here].astype(np.int16)])
        order = np.argsort(every, kind="stable")
        self._scores[week] = (every[order], values[order])

    def scores_at(self, week: int, slots: Slots) -> NDArray[np.int64]:
        """Return the scores that *slots* (shape n) had when *week* closed, -1 where there was none."""
        known, scores = self._scores.get(week, (np.empty(0, np.uint32), np.empty(0, np.int16)))
        if not len(known):
            return np.full(len(slots), -1, np.int64)
        at = np.minimum(np.searchsorted(known, slots), len(known) - 1)
        return np.where(known[at] == slots, scores[at], -1).astype(np.int64)

    def drop_before(self, week: int, scores_before: int) -> None:
        """Forget the weeks before *week* that nothing depends on any more, but scores only before *scores_before*."""
        week -= self._kept
        # Each by itself: a week in which nothing happened has scores all the same.
        held: tuple[tuple[dict[int, Any], int], ...] = (
            (self._weeks, week), (self._hours, week), (self._amounts, week), (self._dirty, week), (self._former, week),
            (self._scores, min(week, scores_before)),
        )  # fmt: skip
        for weeks, first in held:
            for old in [w for w in weeks if w < first]:
                del weeks[old]

    def squeeze_before(self, week: int) -> None:
        """Keep the weeks before *week* compressed until somebody looks into them."""
        for held in [w for w in self._weeks if w < week]:
            for cells in self._weeks[held]:
                cells.squeeze()
        for held in [w for w in self._hours if w < week]:
            self._hours[held].squeeze()

    @property
    def size_bytes(self) -> int:
        """Memory held, in bytes."""
        hours = sum(hours.size_bytes for hours in self._hours.values())
        amounts = sum(bag.size_bytes for bag in self._amounts.values())
        return hours + amounts + sum(c.size_bytes + s.size_bytes for c, s in self._weeks.values())

    def segments(self) -> dict[str, Any]:
        """Return the content for a checkpoint: one segment a week."""
        found: dict[str, Any] = {}
        for week in self.weeks():
            found[f"week/{week}"] = [packed(array) for cells in self._weeks[week] for array in cells.columns()]
            if week in self._dirty:
                found[f"week-dirty/{week}"] = packed(distinct(np.concatenate(self._dirty[week])))
        for week, hours in sorted(self._hours.items()):
            found[f"week-hours/{week}"] = hours.segment()
        found |= segments_of(self._amounts, _AMOUNTS)
        for week, former in sorted(self._former.items()):
            found[f"week-former/{week}"] = sorted(former.items())
        for week, scores in sorted(self._scores.items()):
            found[f"week-scores/{week}"] = [packed(array) for array in scores]
        return found

    def restore(self, segments: dict[str, Any]) -> None:
        """Take over what `segments` returned."""
        self._amounts = bags_in(segments, _AMOUNTS, self._single)
        for name, value in segments.items():
            if name.startswith("week/"):
                keys, counts, sum_keys, sums = (unpacked(v) for v in value)
                self._weeks[int(name[5:])] = (
                    Cells(keys.astype(np.uint32), counts),
                    Cells(sum_keys.astype(np.uint32), sums),
                )
            elif name.startswith("week-dirty/"):
                self._dirty[int(name[11:])] = [unpacked(value)]
            elif name.startswith("week-hours/"):
                self._hours[int(name[11:])] = WeekHours.restored(value)
            elif name.startswith("week-former/"):
                self._former[int(name[12:])] = dict(value)
            elif name.startswith("week-scores/"):
                slots, scores = (unpacked(v) for v in value)
                self._scores[int(name[12:])] = (slots, scores)


def _origin_ms(week: int) -> int:
    """Return an instant before *week* begins in any zone, within the span of a bag."""
    return (7 * week - 4) * DAY_MS
