"""What becomes of activities before they count: accepted, a duplicate, late, or refused for want of room.

Owns the counts of these outcomes, and of what was lost on the way (`Receipts`). Invariant: every activity that reaches
the shard has exactly one outcome, and what is refused is told.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from state.activity import Rows
from state.dedupe import Dedupe
from state.effects import TOO_LATE, TOO_MANY, Effect, Gap, Late
from state.inflow import Inflow
from state.limits import Limits
from state.measures import Catalogue
from state.packing import Columns, unpack
from state.receipts import Receipts
from state.subjects import Subjects
from state.week import HOUR_MS


class Reception:
    """The outcomes of one shard's activities."""

    def __init__(
        self, catalogue: Catalogue, subjects: Subjects, dedupe: Dedupe, inflow: Inflow, limits: Limits
    ) -> None:
        self._catalogue, self._subjects, self._dedupe, self._inflow = catalogue, subjects, dedupe, inflow
        self._limits = limits
        self.outcomes: dict[tuple[str, int], list[int]] = {}
        """Source (topic, partition) → [accepted, duplicate, late]."""
        self.receipts = Receipts()
        self._said: list[Effect] = []

    def take(self, bundle: Sequence[Rows]) -> tuple[list[Columns], list[Effect]]:
        """Return what is accepted of packed chunks, with slots and this model's measures, and what is to be told.

        Those who were never seen get a slot by it.
        """
        on_time = []
        for at, rows in enumerate(bundle := list(bundle)):
            bundle[at], columns = self._with_room(rows, self._on_time(rows))
            on_time.append(columns)
        ids, times = (np.concatenate([getattr(part, name) for part in on_time]) for name in ("id", "time_ms"))
        new = np.split(self._dedupe.learn(ids, times), np.cumsum([len(part.at) for part in on_time])[:-1])
        accepted = []
        for rows, columns, fresh in zip(bundle, on_time, new, strict=True):
            outcome = self.outcomes[rows.topic, rows.partition]
            outcome[0] += (number := int(fresh.sum()))
            outcome[1] += len(fresh) - number
            if number:
                accepted.append((rows, columns if number == len(fresh) else columns.take(fresh)))
        said, self._said = self._said, []
        return self._placed(accepted), said

    def segments(self) -> dict[str, Any]:
        """Return the counts for a checkpoint."""
        return {
            "outcomes": [[topic, partition, counts] for (topic, partition), counts in sorted(self.outcomes.items())],
            "receipts": self.receipts.dump(),
        }

    def restore(self, segments: dict[str, Any]) -> None:
        """Take over what `segments` returned."""
        self.outcomes = {(topic, partition): counts for topic, partition, counts in segments["outcomes"]}
        self.receipts.load(segments.get("receipts"))

    def _on_time(self, rows: Rows) -> Columns:
        """Return what is not late in *rows*, and note what is, and what is missing before them."""
        columns, source = unpack(rows), (rows.topic, rows.partition)
        self.outcomes.setdefault(source, [0, 0, 0])
        missing = self.receipts.take(source, rows.before, len(columns.at))
        if missing:
            self._said.append(Gap(*source, rows.first_offset, missing))
        return self._refuse(rows, columns, columns.time_ms < self._dedupe.floor_ms, TOO_LATE)

    def _with_room(self, rows: Rows, columns: Columns) -> tuple[Rows, Columns]:
        """Return *rows* and *columns* without the subjects for which there is no room, and note what they did."""
        limits = self._limits
        refused = self._subjects.refused(rows.subjects, limits.max_created_per_org, limits.max_created)
        if not refused:
            return rows, columns
        columns = self._refuse(rows, columns, np.isin(columns.subject, refused), TOO_MANY)
        stays = np.ones(len(rows.subjects), bool)
        stays[refused] = False
        columns.subject = (np.cumsum(stays) - 1)[columns.subject]
        names = [name for name, stay in zip(rows.subjects, stays.tolist(), strict=True) if stay]
        return msgspec.structs.replace(rows, subjects=names), columns

    def _refuse(self, rows: Rows, columns: Columns, those: NDArray[np.bool_], reason: str) -> Columns:
        """Return *columns* of *rows* without *those*, which are counted and told."""
        if not those.any():
            return columns
        refused = columns.take(those)
        self.outcomes[rows.topic, rows.partition][2] += len(refused.at)
        self._said.append(Late(rows.topic, rows.partition, (refused.at + rows.first_offset).tolist(), reason))
        return columns.take(~those)

    def _placed(self, accepted: Sequence[tuple[Rows, Columns]]) -> list[Columns]:
        """Return the columns of each with slots and this model's measures, but for those who were forgotten."""
        # All at once: to look up sixty names takes hardly longer than to look up three.
        slots = self._subjects.slots([name for rows, _ in accepted for name in rows.subjects])
        catalogue, found, begin = self._catalogue, list[Columns](), 0
        for rows, columns in accepted:
            mine, begin = slots[begin : begin + len(rows.subjects)], begin + len(rows.subjects)
            measures = np.array([catalogue.index(name) for name in rows.measures], np.int64)
            columns.subject, columns.measure = mine[columns.subject], measures[columns.measure]
            if forgotten := self._subjects.forgotten:  # they were under way when somebody was forgotten
                columns = columns.take(~np.isin(columns.subject, forgotten))
            if len(columns.at):
                self._inflow.add(rows.topic, columns.time_ms // HOUR_MS)
                found.append(columns)
        return found
