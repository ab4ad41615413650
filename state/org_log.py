"""What the log of a partition tells of some of its orgs.

Owns the replay of a retained log for a comparison. Invariant: an activity is there if its shard accepted it: not
late by then, and not seen before.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from state.activity import SEPARATOR, Bundle, Correction, Org, Record, Rows, Tick, rows_of
from state.intake import Intake, Taken
from state.limits import Limits
from state.packing import Columns


@dataclass(slots=True)
class Batch:
    """Accepted activities of one org from one record; `columns.subject` is a place in `origins`."""

    source: str
    origins: list[str]
    measures: list[str]
    columns: Columns
    floor_ms: int
    watermark_ms: int


@dataclass(slots=True)
class OrgLog:
    """What a partition's log tells of one org, in its order."""

    org: str
    zone: str = "UTC"
    entries: list[Batch | Correction] = field(default_factory=list)

    @property
    def ids(self) -> set[int]:
        """Ids of the activities."""
        return {id_ for batch in self.batches for id_ in batch.columns.id.tolist()}

    @property
    def batches(self) -> list[Batch]:
        """The activities."""
        return [entry for entry in self.entries if isinstance(entry, Batch)]

    @property
    def corrections(self) -> list[Correction]:
        """What was corrected already."""
        return [entry for entry in self.entries if isinstance(entry, Correction)]


class Scan:
    """Reads one partition's log and keeps what was accepted of *orgs*, as their shard did."""

    def __init__(self, orgs: Iterable[str], limits: Limits, from_ms: int = 0) -> None:
        """Begin; events before *from_ms* are left out."""
        self.logs = {org: OrgLog(org) for org in orgs}
        self._intake, self._from_ms = Intake(limits), from_ms

    def take(self, record: Record) -> None:
        """Take in the next record."""
        match record:
            case Rows() | Bundle():
                for taken in self._intake.take(rows_of(record)):
                    self._keep(taken)
            case Tick():
                self._intake.pass_time(record)
            case Org() if record.org in self.logs and not record.gone:
                self.logs[record.org].zone = record.timezone or "UTC"
            case Correction():
                self._intake.correct(record)
                if record.org in self.logs:
                    self.logs[record.org].entries.append(record)

    def _keep(self, taken: Taken) -> None:
        rows, columns = taken.rows, taken.columns.take(taken.new)
        if not len(columns.at):
            return
        intake = self._intake
        orgs = [subject.partition(SEPARATOR)[0] for subject in rows.subjects]
        for org in self.logs.keys() & set(orgs):
            mine = np.array([each == org for each in orgs], bool)[columns.subject] & (columns.time_ms >= self._from_ms)
            if mine.any():
                log = self.logs[org]
                log.entries.append(
                    Batch(
                        rows.topic,
                        rows.subjects,
                        rows.measures,
                        columns.take(mine),
                        intake.floor_ms,
                        intake.watermark_ms,
                    )
                )
