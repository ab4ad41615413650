"""The topic `weeks` as data frames.

Owns which rows count. Invariant: of each key the last record counts, a tombstone takes its row away, and rows of open
weeks, of org 0 (the system itself) and rows that can't be read are counted and left out. Activities of operators who
act as a user (ghosts) never reach `weeks`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import pandas as pd

from state.week import week_label, week_number

SYSTEM_ORG = "0"
_CLOSED = ("final", "restated")


class _Row(msgspec.Struct):
    """What reports need of a row; the rest of it is passed over."""

    org: str
    week: str
    state: str
    activities: int
    user: str | None = None
    active_users: int = 0
    transactions_count: int = 0
    transactions_cents: int = 0
    score: float | None = None


@dataclass(frozen=True)
class History:
    """Closed weeks *first* to *last*, both included.

    Attributes:
        users: Sorted by org, user, week: `org` str, `user` str, `week` int64 (number, see `state.week`), `activities`
            int64 (at least 1), `score` float64 (percent; NaN = none).
        orgs: Sorted by org, week: `org` str, `week` int64, `activities` int64, `active_users` int64,
            `transactions_count` int64, `transactions_cents` int64, `score` float64 (mean over active users, percent;
            NaN = none). Rows of weeks from which everything was taken back have zeros.
        first: Number of the first week; with `last` before it there is none.
        restated: How many of the rows were restated after their week's close.
        provisional: Rows of open weeks, left out.
        system: Rows of org 0, left out.
        unreadable: Rows that could not be read, of any week, left out.
        known: First and last closed week that the topic has at all; None = no closed week.
    """

    users: pd.DataFrame
    orgs: pd.DataFrame
    first: int
    last: int
    restated: int = 0
    provisional: int = 0
    system: int = 0
    unreadable: int = 0
    known: tuple[int, int] | None = None

    @property
    def weeks(self) -> int:
        """How many weeks it covers."""
        return max(self.last - self.first + 1, 0)

    @property
    def period(self) -> str:
        """The weeks in words."""
        return "no weeks" if not self.weeks else f"{week_label(self.first)} to {week_label(self.last)}"


class HistoryReader:
    """Takes the records of `weeks` in the order of their partitions."""

    def __init__(self) -> None:
        self._rows: dict[bytes, _Row | None] = {}
        self._decode = msgspec.json.Decoder(_Row, strict=False).decode  # scores are decimal text
        self._texts: dict[str, str] = {}

    def add(self, key: bytes | None, value: bytes | None) -> None:
        """Take one record."""
        if key is None:
            return
        if value is None:
            self._rows.pop(key, None)
            return
        try:
            row = self._decode(value)
            week_number(row.week)
        except (msgspec.DecodeError, ValueError):
            self._rows[key] = None
            return
        # The same few thousand names come again and again.
        row.org = self._texts.setdefault(row.org, row.org)
        row.week = self._texts.setdefault(row.week, row.week)
        row.state = self._texts.setdefault(row.state, row.state)
        self._rows[key] = row

    def history(self, first: int | None = None, last: int | None = None) -> History:
        """Return the closed weeks from *first* to *last* (numbers, both included; None = as far as there are any)."""
        numbers = {row.week: 0 for row in self._rows.values() if row is not None}
        numbers = {label: week_number(label) for label in numbers}
        rows = [row for row in self._rows.values() if row is not None]
        closed = [numbers[row.week] for row in rows if row.state in _CLOSED]
        known = (min(closed), max(closed)) if closed else None
        if known is None:
            first, last = 0, -1
        else:
            first = known[0] if first is None else max(first, known[0])
            last = known[1] if last is None else min(last, known[1])
        within = [row for row in rows if first <= numbers[row.week] <= last]
        ours = [row for row in within if row.org != SYSTEM_ORG]
        counted = [row for row in ours if row.state in _CLOSED]
        open_weeks = sum(row.state not in _CLOSED for row in rows)
        return History(
            users=_users([row for row in counted if row.user and row.activities > 0], numbers),
            orgs=_orgs([row for row in counted if not row.user], numbers),
            first=first,
            last=last,
            restated=sum(row.state == "restated" for row in counted),
            provisional=open_weeks,
            system=len(within) - len(ours),
            unreadable=sum(row is None for row in self._rows.values()),
            known=known,
        )


def _users(rows: list[_Row], numbers: dict[str, int]) -> pd.DataFrame:
    found = _frame(rows, numbers, ("activities",))
    found.insert(1, "user", pd.Series([row.user for row in rows], dtype="str"))
    return found.sort_values(["org", "user", "week"], ignore_index=True)


def _orgs(rows: list[_Row], numbers: dict[str, int]) -> pd.DataFrame:
    whole = ("activities", "active_users", "transactions_count", "transactions_cents")
    return _frame(rows, numbers, whole).sort_values(["org", "week"], ignore_index=True)


def _frame(rows: list[_Row], numbers: dict[str, int], whole: tuple[str, ...]) -> pd.DataFrame:
    columns: dict[str, Any] = {
        "org": pd.Series([row.org for row in rows], dtype="str"),
        "week": np.array([numbers[row.week] for row in rows], np.int64),
    }
    for name in whole:
        columns[name] = np.array([getattr(row, name) for row in rows], np.int64)
    columns["score"] = np.array([np.nan if row.score is None else row.score for row in rows], np.float64)
    return pd.DataFrame(columns)
