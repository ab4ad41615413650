"""Folding rows into the rolling week, calendar weeks and latency grids.

Owns what an accepted activity does: most just count; messages are matched with
their replies; a transaction counts while its latest status is approved.
Invariant: the outcome depends on the set of rows, not on their order (except
that a message outside the reply horizon is forgotten).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from state.activity import Correction
from state.arrays import SchemaError, distinct
from state.history import History
from state.hour_lines import Activities, HourLines
from state.latency import Latency
from state.measures import Catalogue
from state.packing import Columns
from state.replies import WAITING, Match, Replies
from state.ring import RollingWeek, Slots
from state.subjects import Subjects
from state.week import HOUR_MS
from state.week_hours import places_in_week

Derived = list[tuple[int, int, int, int, int, int]]  # slot, measure, time_ms, weight, amount, time_ms of the cause


@dataclass(frozen=True, slots=True)
class Spoken:
    """A message of *slot*, or the end of one (*ref*)."""

    id: int
    ref: int
    slot: int
    time_ms: int
    place: str
    deletes: bool = False


def spoken(columns: Columns, row: int, deletes: bool) -> Spoken:
    """Return what a row of *columns* says."""
    return Spoken(
        int(columns.id[row]), int(columns.ref[row]), int(columns.subject[row]), int(columns.time_ms[row]),
        columns.places[columns.place[row]], deletes,
    )  # fmt: skip


class Folder:
    """Applies rows of one partition. `apart` counts replies and events that are no measure of a duration."""

    def __init__(
        self,
        catalogue: Catalogue,
        subjects: Subjects,
        week: RollingWeek,
        history: History,
        latency: Latency,
        replies: Replies,
    ) -> None:
        self._catalogue, self._subjects, self._week, self._history = catalogue, subjects, week, history
        self._latency, self._replies = latency, replies
        self._hour_lines = HourLines(catalogue.measures, lambda number: subjects.orgs[number].name, latency.line)
        self._message, self._deleted, self._given, self._received, self._approved, self._other = map(
            catalogue.index,
            ("message", "message_deleted", "reply_given", "reply_received", "transaction", "transaction_other"),
        )
        # transaction → (time, counts, cents, slot) of its latest status
        self._transactions: dict[int, tuple[int, bool, int, int]] = {}
        self.apart = {"self_reply": 0, "negative_latency": 0, "negative_duration": 0}

    def fold(self, columns: Columns, floor_ms: int) -> tuple[Slots, Slots]:
        """Fold *columns* (slots and measure indices in place); return slots and hours touched.

        The rolling week must have been advanced past every row already.
        """
        measure = columns.measure
        derived: Derived = []
        for row in np.flatnonzero((measure == self._message) | (measure == self._deleted)).tolist():
            derived += self.take_message(spoken(columns, row, bool(measure[row] == self._deleted)), floor_ms)
        status = (measure == self._approved) | (measure == self._other)
        for row in np.flatnonzero(status).tolist():
            derived += self._take_transaction(columns, row, floor_ms)
        plain = ~status
        extra = np.array(derived, np.int64).reshape(-1, 6)
        slots = np.concatenate([columns.subject[plain], extra[:, 0]])
        measures = np.concatenate([measure[plain], extra[:, 1]])
        times = np.concatenate([columns.time_ms[plain], extra[:, 2]])
        weights = np.concatenate([np.ones(int(plain.sum()), np.int64), extra[:, 3]])
        amounts = np.concatenate([columns.amount[plain], extra[:, 4]])
        self._count_hours(slots, measures, times, weights, amounts)
        return slots, self._count(slots, measures, times, weights, amounts)

    def correct(self, record: Correction, floor_ms: int) -> tuple[Slots, Slots]:
        """Count what *record* says; return slots and hours touched."""
        entry = self._subjects.orgs[self._subjects.org_number(record.org)]
        slots = self._subjects.slots(record.subjects)
        for kind, more in self._replies.correct(record, slots).items():
            self.apart[kind] += more
        self._latency.correct(entry.name, record)
        rows = np.array(record.rows, np.int64).reshape(-1, 6)
        measures = np.array([self._catalogue.index(name) for name in record.measures], np.int64)
        self._count_hours(slots[rows[:, 0]], measures[rows[:, 1]], rows[:, 2], rows[:, 3], rows[:, 4])
        rows = rows[rows[:, 2] >= floor_ms]  # weeks before it are told for good
        touched = slots[rows[:, 0]]
        return touched, self._count(touched, measures[rows[:, 1]], rows[:, 2], rows[:, 3], rows[:, 4])

    def _count(self, slots: Slots, measures: Slots, times: Slots, weights: Slots, amounts: Slots) -> Slots:
        """Count activities (all of shape n) in the rolling and the calendar week; return their hours."""
        lacking = self._hour_lines.lacking(measures, weights, amounts)
        if lacking is not None:
            amounts = np.where(lacking, 0, amounts)
        self._week.add(slots, measures, times, weights, amounts, lacking)
        weeks, hours_there = self._weeks(slots, times)
        self._history.add(slots, measures, weeks, weights, amounts, hours_there, times, lacking)
        return times // HOUR_MS

    def _count_hours(self, slots: Slots, measures: Slots, times: Slots, weights: Slots, amounts: Slots) -> None:
        """Count activities (all of shape n) in the hours of the week of their measures."""
        orgs = self._subjects.org_of[slots].astype(np.int64)
        self._hour_lines.add(Activities(orgs, measures, times, weights, amounts))
        lacking = self._hour_lines.lacking(measures, weights, amounts)
        self.apart["negative_duration"] += 0 if lacking is None else int(weights[lacking].sum())

    def advance(self, floor_ms: int) -> None:
        """Forget transactions whose status can no longer change."""
        while self._transactions:
            oldest = next(iter(self._transactions))
            if self._transactions[oldest][0] >= floor_ms:
                break
            del self._transactions[oldest]

    def segments(self) -> dict[str, Any]:
        """Return the content for a checkpoint."""
        rows = [[id_, *entry] for id_, entry in self._transactions.items()]
        by_hour = self._catalogue.by_hour
        return {"transactions": rows, "apart": self.apart} | ({"by-hour": by_hour} if by_hour else {})

    def restore(self, segments: dict[str, Any]) -> None:
        """Take over what `segments` returned.

        Raises:
            SchemaError: If other measures were kept by hour of the week, or of other times.
        """
        if segments.get("by-hour", []) != self._catalogue.by_hour:
            raise SchemaError("the model keeps other measures by hour of the week; run `orgpulse rebuild`")
        self._transactions = {e[0]: (e[1], e[2], e[3], e[4]) for e in segments["transactions"]}
        self.apart |= segments["apart"]

    def _weeks(self, slots: Slots, times: Slots) -> tuple[Slots, Slots]:
        """Return each row's calendar week in its org's zone, and its hour there (`places_in_week`)."""
        zones = self._subjects.zone_of[self._subjects.org_of[slots]]
        weeks, hours = np.empty(len(slots), np.int64), np.empty(len(slots), np.int64)
        for zone in distinct(zones).tolist():
            here = zones == zone
            weeks[here], hours[here] = places_in_week(times[here], self._subjects.zone_names[zone])
        return weeks, hours

    def take_message(self, what: Spoken, floor_ms: int) -> Derived:
        """Take in a message or a deletion; return what is counted of replies."""
        org = self._subjects.orgs[self._subjects.org_of[what.slot]].name
        if what.deletes:
            gone, found = self._replies.delete(what.ref, what.time_ms)
            if gone is not None:
                self._latency.add_message(org, gone.place, gone.time_ms, -1)
        else:
            answers = self._replies.message(what.id, what.ref, what.slot, what.time_ms, what.place)
            if answers is None:
                return []  # an id that came before, or was deleted already
            found = answers
            self._latency.add_message(org, what.place, what.time_ms)
        derived: Derived = []
        for match in found:
            derived += self._take_match(match, org, floor_ms)
        return derived

    def _take_match(self, match: Match, org: str, floor_ms: int) -> Derived:
        weight, latency_ms = match.weight, match.reply_ms - match.parent_ms
        if match.kind != WAITING:
            self.apart[match.kind] += weight
            return []
        self._latency.add_reply(org, match.place, match.parent_ms, latency_ms, first=match.first, weight=weight)
        if match.again or match.reply_ms < floor_ms:
            return []  # told before, or it waited for its parent beyond its week's close
        heir = self._subjects.heir  # what is left of somebody who was forgotten is their org's
        replier, asker = heir(match.reply_slot), heir(match.parent_slot)
        return [
            (replier, self._given, match.reply_ms, weight, weight * (latency_ms // 1000), match.parent_ms),
            (asker, self._received, match.reply_ms, weight, 0, match.parent_ms),
        ]

    def _take_transaction(self, columns: Columns, row: int, floor_ms: int) -> Derived:
        """Count a transaction while its latest status (by time, then arrival) is approved.

        What was approved before the floor stays: its week may be forgotten already.
        """
        id_, time_ms = int(columns.ref[row]), int(columns.time_ms[row])
        slot, cents = int(columns.subject[row]), int(columns.amount[row])
        counts = int(columns.measure[row]) == self._approved
        former = self._transactions.get(id_)
        if former is not None and former[0] > time_ms:
            return []
        derived: Derived = []
        if former is not None and former[1] and former[0] >= floor_ms:
            derived.append((self._subjects.heir(former[3]), self._approved, former[0], -1, -former[2], former[0]))
        if counts:
            derived.append((slot, self._approved, time_ms, 1, cents, time_ms))
        self._transactions.pop(id_, None)  # to the end, so that the oldest stay in front
        self._transactions[id_] = (time_ms, counts, cents, slot)
        return derived
