"""How activities are packed into `Rows`, and unpacked into columns of numpy.

Owns the columns and their types. Invariant: what was packed comes back, row by row in its order, whichever partitions
it was dealt out to.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from state.activity import Rows
from state.arrays import distinct


@dataclass(slots=True)
class Columns:
    """Unpacked `Rows`, every column of shape (n,)."""

    subject: NDArray[np.int64]
    measure: NDArray[np.int64]
    time_ms: NDArray[np.int64]
    amount: NDArray[np.int64]
    id: NDArray[np.uint64]
    ref: NDArray[np.uint64]
    at: NDArray[np.int64]
    place: NDArray[np.int64]
    places: list[str]
    """What `place` is an index into."""

    def take(self, kept: NDArray[np.bool_]) -> Columns:
        """Return the rows where *kept* is true."""
        return replace(self, **{name: getattr(self, name)[kept] for name in _ARRAYS})


_ARRAYS = ("subject", "measure", "time_ms", "amount", "id", "ref", "at", "place")


def joined(parts: Sequence[Columns]) -> Columns:
    """Return the rows of all *parts* (at least one), in their order, with one list of places."""
    if len(parts) == 1:
        return parts[0]
    arrays = {name: np.concatenate([getattr(part, name) for part in parts]) for name in _ARRAYS}
    places: dict[str, int] = {}
    index = [[places.setdefault(name, len(places)) for name in part.places] for part in parts]
    arrays["place"] = np.concatenate(
        [np.array(new, np.int64)[part.place] for new, part in zip(index, parts, strict=True)]
    )
    return Columns(places=list(places), **arrays)


def unpack(rows: Rows) -> Columns:
    """Return the columns of *rows*; missing ones come back as zeros."""
    subject = np.frombuffer(rows.subject, "<u2").astype(np.int64)
    n = len(subject)

    def column(raw: bytes, kind: str) -> NDArray[np.uint64]:
        return np.frombuffer(raw, kind) if raw else np.zeros(n, kind)

    return Columns(
        subject=subject,
        measure=np.frombuffer(rows.measure, "u1").astype(np.int64),
        time_ms=np.frombuffer(rows.time_ms, "<i8"),
        amount=column(rows.amount, "<i8").astype(np.int64),
        id=np.frombuffer(rows.id, "<u8"),
        ref=column(rows.ref, "<u8"),
        at=np.frombuffer(rows.at, "<u4").astype(np.int64),
        place=column(rows.place, "<u2").astype(np.int64),
        places=rows.places or [""],
    )


def only_used(places: list[str], place: NDArray[Any]) -> tuple[list[str], NDArray[Any]]:
    """Return those of *places* that *place* (indices, shape n) uses, and the indices into them; none is the first.

    >>> only_used(["", "#a", "#b"], np.array([2, 0, 2]))[0], only_used(["", "#a"], np.array([0]))[0]
    (['', '#b'], [])
    """
    if not place.any():
        return [], np.zeros(len(place), "<u2")
    used = distinct(np.concatenate([np.zeros(1, np.int64), place]))
    return [places[at] for at in used.tolist()], np.searchsorted(used, place).astype("<u2")


_SPARSE = {"amount": "<i8", "ref": "<u8", "place": "<u2"}  # mostly zero, and left out when all are
MAX_ROWS = 65_535
"""Most rows (and subjects) one `Rows` may hold: its subject index has 16 bits."""


@dataclass(slots=True)
class Packer:
    """Collects the activities of one source chunk; `split` deals them out to partitions."""

    subjects: dict[str, int] = field(default_factory=dict)
    measures: dict[str, int] = field(default_factory=dict)
    subject: array[int] = field(default_factory=lambda: array("H"))
    measure: array[int] = field(default_factory=lambda: array("B"))
    time_ms: array[int] = field(default_factory=lambda: array("q"))
    id: array[int] = field(default_factory=lambda: array("Q"))
    at: array[int] = field(default_factory=lambda: array("I"))
    places: dict[str, int] = field(default_factory=lambda: {"": 0})
    sparse: dict[str, list[tuple[int, int]]] = field(default_factory=lambda: {name: [] for name in _SPARSE})
    """Amounts, references and indices into `places` that are not zero, with their rows."""

    def add(
        self, subject: str, measure: str, time_ms: int, amount: int, id_: int, ref: int, at: int, place: str = ""
    ) -> None:
        """Append one activity. *id_* and *ref* are unsigned 64-bit, *amount* signed 64-bit; *place* is where a
        message was written, a channel or team."""
        if amount or ref or place:
            self._put(amount, ref, place)
        self.subject.append(self.subjects.setdefault(subject, len(self.subjects)))
        self.measure.append(self.measures.setdefault(measure, len(self.measures)))
        self.time_ms.append(time_ms)
        self.id.append(id_)
        self.at.append(at)

    def _put(self, amount: int, ref: int, place: str) -> None:
        """Say of the activity that is appended next what most have none of."""
        row = len(self.at)
        if amount:
            self.sparse["amount"].append((row, amount))
        if ref:
            self.sparse["ref"].append((row, ref))
        if place:
            self.sparse["place"].append((row, self.places.setdefault(place, len(self.places))))

    def rows(self, topic: str, partition: int, first_offset: int, arrived: float = 0.0) -> Rows:
        """Return everything collected, packed into one."""
        return self.split(lambda _: 0, topic, partition, first_offset, arrived)[0]

    def split(
        self, target_of: Callable[[str], int], topic: str, partition: int, first_offset: int, arrived: float = 0.0
    ) -> dict[int, Rows]:
        """Return everything collected, packed by the partition that *target_of* gives each subject."""
        assert len(self.subjects) <= MAX_ROWS, "chunks are cut below this: the index would begin anew"
        names = list(self.subjects)
        targets = np.array([target_of(name) for name in names], np.int64)
        subject = np.array(self.subject, np.int64)
        columns: dict[str, NDArray[Any]] = {
            "measure": np.array(self.measure, "u1"),
            "time_ms": np.array(self.time_ms, "<i8"),
            "id": np.array(self.id, "<u8"),
            "at": np.array(self.at, "<u4"),
        }
        for name, kind in _SPARSE.items():
            columns[name] = np.zeros(len(self.at), kind)
            for row, value in self.sparse[name]:
                columns[name][row] = value
        measures, places = list(self.measures), list(self.places)
        of_row = targets[subject] if len(subject) else subject
        found = {}
        for target in distinct(targets).tolist():
            here = of_row == target
            mine = np.flatnonzero(targets == target)
            renumbered = np.zeros(len(names), "<u2")
            renumbered[mine] = np.arange(len(mine))
            raw = {name: column[here] for name, column in columns.items()}
            mentioned, raw["place"] = only_used(places, raw["place"])
            packed: dict[str, Any] = {
                name: b"" if name in _SPARSE and not part.any() else part.tobytes() for name, part in raw.items()
            }
            found[target] = Rows(
                topic,
                partition,
                first_offset,
                [names[i] for i in mine.tolist()],
                measures,
                renumbered[subject[here]].tobytes(),
                arrived=arrived,
                places=mentioned,
                **packed,
            )
        return found
