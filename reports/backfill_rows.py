"""Holds the weeks of a backfill against those that were published, row by row and field by field.

Owns what counts as equal. Invariant: pure; a row that only one side has is a difference, but for rows of nothing (what
was taken back leaves one), and `final` and `restated` are one state: both are told after the week's end.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

HERE, THERE = "here", "there"
"""The backfill, and what was published."""
_NAMES = ("subject", "org", "user", "week")
PROVISIONAL = "provisional"

Row = Mapping[str, Any]
"""A document of the topic `weeks`."""
Fields = dict[str, tuple[Any, Any]]
"""Field → (here, there)."""


@dataclass(slots=True)
class RowDifference:
    """One subject's week that differs."""

    key: str
    here: Row | None
    there: Row | None
    fields: Fields
    causes: list[str] = field(default_factory=list)
    """Kinds of causes, the most important first; filled by `backfill_causes`."""
    why: list[str] = field(default_factory=list)
    """The evidence, in words."""

    @property
    def row(self) -> Row:
        """The row of whichever side has one."""
        found = self.here if self.here is not None else self.there
        assert found is not None
        return found

    @property
    def org(self) -> str:
        """Of the subject."""
        return str(self.row["org"])

    @property
    def user(self) -> str:
        """Of the subject; empty = the org itself."""
        return self.row["user"] or ""

    @property
    def week(self) -> str:
        """The ISO week."""
        return str(self.row["week"])

    @property
    def size(self) -> float:
        """How large it is, for an order: points of score, then activities."""
        points = abs(number(self.here, "score") - number(self.there, "score"))
        return points * 1000 + abs(number(self.here, "activities") - number(self.there, "activities"))


@dataclass(slots=True)
class Compared:
    """All weeks that were compared."""

    equal: int = 0
    differences: list[RowDifference] = field(default_factory=list)
    by_field: dict[str, Counter[str]] = field(default_factory=dict)
    """Field → equal, different, only here, only there."""


def number(row: Row | None, name: str) -> float:
    """Return a figure of *row* as a number, 0 where there is none.

    >>> number({"score": "63.41"}, "score"), number(None, "score"), number({"score": None}, "score")
    (63.41, 0.0, 0.0)
    """
    return float((row or {}).get(name) or 0)


def compare_rows(here: Mapping[str, Row], there: Mapping[str, Row], model_differs: bool = False) -> Compared:
    """Return how the rows of a backfill (*here*) differ from published ones (*there*), both by key.

    With another model attributes that only one of them has are none of the differences, but scores are.
    """
    found = Compared()
    for key in sorted(here.keys() | there.keys()):
        ours, theirs = here.get(key), there.get(key)
        if _is_nothing(ours) and _is_nothing(theirs):
            continue
        fields = _fields_of(ours or {}, theirs or {}, found.by_field, model_differs)
        if ours is not None and theirs is not None and not fields:
            found.equal += 1
        else:
            found.differences.append(RowDifference(key, ours, theirs, fields))
    return found


def _is_nothing(row: Row | None) -> bool:
    return row is None or (not row["counts"] and not row["activities"])


def _fields_of(ours: Row, theirs: Row, by_field: dict[str, Counter[str]], model_differs: bool) -> Fields:
    """Return what differs between two rows, and count every field."""
    found: Fields = {}
    for name in [*ours, *(name for name in theirs if name not in ours)]:
        if name in _NAMES:
            continue
        mine, other = (_told(side.get(name), name) for side in (ours, theirs))
        if model_differs and name == "attributes" and mine and other:
            shared = mine.keys() & other.keys()
            mine, other = ({key: value for key, value in side.items() if key in shared} for side in (mine, other))
        counts = by_field.setdefault(name, Counter())
        if mine == other:
            counts["equal"] += 1
            continue
        counts["only here" if not theirs else "only there" if not ours else "different"] += 1
        found[name] = (mine, other)
    return found


def _told(value: Any, name: str) -> Any:
    """Return a field's value for the comparison."""
    if name == "state":
        return PROVISIONAL if value == PROVISIONAL else "final" if value else value
    return value
