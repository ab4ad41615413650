"""What the `activities` log carries, and how it is packed.

Owns the records of the log: `Rows` (a packed chunk of activities) and `Bundle` (several of them, taken in as one),
`Tick` (time passed), `Calibration` (new cut points), `Member` and `Org` (the directory, as far as one org's shard
needs it), `Forget` (somebody is to be forgotten). Invariant: a record says everything its effect depends on, so that a
shard's state is a function of its log alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from state.records import record_of

SEPARATOR = "\x1f"  # between org and user in a subject's name; ids never contain it
_NAMED = "!"


def subject_of(org: str, user: str, via: str = "", *, named: bool = False) -> str:
    """Return the name of a subject in `Rows`: "org␟user", and how its activities came to it where that may change.

    *via* is the alias by which the user was found (left out when it is their id), *named* says that the message named
    the org.

    >>> subject_of("a", "8", "ann").split(SEPARATOR), subject_of("a", "8", "8", named=True).split(SEPARATOR)
    (['a', '8', 'ann'], ['a', '8', '', '!'])
    """
    other = via if via != user else ""
    if not user:
        return org + SEPARATOR
    if named:
        return SEPARATOR.join((org, user, other, _NAMED))
    return SEPARATOR.join((org, user, other) if other else (org, user))


def origin_of(subject: str) -> tuple[str, str, str, bool]:
    """Return org, user, the alias by which they were found, and whether the message named the org.

    >>> origin_of(subject_of("a", "8", "ann")), origin_of(subject_of("a", "8"))
    (('a', '8', 'ann', False), ('a', '8', '8', False))
    """
    org, user, *more = subject.split(SEPARATOR)
    return org, user, (more[0] if more else "") or user, len(more) > 1


class Rows(msgspec.Struct, array_like=True, tag="r", frozen=True):
    """Activities of one source chunk that belong to one partition, by columns.

    Columns are little-endian arrays of equal length; `amounts`, `refs` and
    `actors` may be empty (all zero).
    """

    topic: str
    partition: int
    first_offset: int
    subjects: list[str]  # see `subject_of`; "org␟" is the org itself
    measures: list[str]
    subject: bytes  # uint16 index into subjects
    measure: bytes  # uint8 index into measures
    time_ms: bytes  # int64
    amount: bytes  # int64: bytes, cents, people online, ms
    id: bytes  # uint64 hash of the event id
    ref: bytes  # uint64: hash of the parent message; transaction: hash of its id
    at: bytes  # uint32: source offset − first_offset
    arrived: float = 0.0  # when the chunk's first message reached Kafka (epoch seconds); only for latency figures
    before: int = -1  # how many activities its source partition had sent to this partition before; -1 = not counted
    places: list[str] = []  # channels and teams of messages; the first is "", no place
    place: bytes = b""  # uint16 index into places; empty = all of none


class Bundle(msgspec.Struct, array_like=True, tag="b", frozen=True):
    """Rows of several source chunks that were committed together: one record, its rows in this order.

    Taking a record in costs much the same for one row and for fifty.
    """

    rows: list[Rows]


class Tick(msgspec.Struct, array_like=True, tag="t", frozen=True):
    """Time passed: evaluate now. `time_ms` 0 = the data's own clock; a new `round` asks for a summary."""

    time_ms: int
    round: int
    catching_up: bool = False
    """Input waits to be read, so what is known of the last hours is not all there is."""
    orgs: bool | None = None
    """Whether figures of orgs are due; None = every few ticks."""
    maps: bool | None = None
    """Whether maps of the week, chat and a shadow model are due; None = every so many ticks."""


class Calibration(msgspec.Struct, array_like=True, tag="c", frozen=True):
    """Cut points (attribute name → 9 ascending integers) of one generation."""

    generation: int
    population: int
    cuts: dict[str, list[int]]
    model: str = ""  # of which shadow model; empty = the live one
    peers: str = ""  # what makes users peers (see `state.population`); empty = there are no groups
    groups: dict[str, dict[str, list[int]]] = {}  # peer group → its own cut points
    since_ms: int = 0
    """Weeks that end from then on are closed by them, and live scores are not; 0 = for live scores."""


class Member(msgspec.Struct, array_like=True, tag="m", frozen=True):
    """A directory user as their org's shard knows them; `gone` = no longer a member, at no time."""

    org: str
    user: str
    licensed: bool
    job_type: str
    gone: bool = False
    since_ms: int = 0
    until_ms: int = 0
    """A member from `since_ms` until before `until_ms`; 0 = without end."""
    display_name: str = ""
    """What people call them; empty = not known."""


class Org(msgspec.Struct, array_like=True, tag="o", frozen=True):
    """A directory org; `gone` = no longer in the directory."""

    org: str
    name: str
    timezone: str
    group_type: str
    gone: bool = False


class Note(msgspec.Struct, array_like=True, tag="n", frozen=True):
    """What somebody said of an org's alerts; empty or None = nothing said of it."""

    org: str
    acknowledged_by: str = ""
    muted_until_ms: int | None = None
    episode: list[Any] | None = None
    """What was told of the org before a rebuild, as its checkpoint has it (`state.alerts.Episode`); empty = nothing."""


Row = tuple[int, int, int, int, int, int]
"""Place in `subjects`, place in `measures`, time (ms), weight, amount (signed like the weight), and the time (ms) of
the oldest event that it depends on."""
Answers = list[tuple[int, int, int]]
"""Replies: when each was written (ms), its id, and by whom (place in `subjects`)."""
Opened = tuple[int, int, int, int, int, Answers]
"""A message that may be answered: its id, who wrote it (place in `subjects`), when (ms), where (place in `places`), the
id of what it answers (0 = nothing), and its replies."""
Awaiting = tuple[int, Answers]
"""An id, and the replies to it that came before it."""


class Correction(msgspec.Struct, array_like=True, tag="x", frozen=True):
    """What one org's activities should have been counted as, less what they were (see `state.mending`)."""

    org: str
    subjects: list[str]
    measures: list[str]
    rows: list[Row]
    ids: list[tuple[int, int]] = []
    """Id and time (ms) of events that are this org's now, and would be duplicates if they came again."""
    places: list[str] = []
    """Channels and teams."""
    messages: list[tuple[int, int, int]] = []
    """Time (ms) of a message, where it was written (place in `places`), and +1 or −1."""
    latencies: list[tuple[int, int, bool, int, int]] = []
    """Time (ms) of the parent, latency (ms), whether it was the first reply, where the parent was written, +1 or −1."""
    opened: list[Opened] = []
    awaiting: list[Awaiting] = []
    forgotten: list[tuple[int, int]] = []
    """Ids of messages, or of parents of waiting replies, that are not this org's any more, and their times (ms)."""
    deleted: list[tuple[int, int]] = []
    """Ids of messages that were deleted, and when (ms); −1 = they were not."""
    since: list[tuple[int, int]] = []
    """Place in `subjects`, and hour of their first activity; −1 = they never did anything."""
    known_from_ms: int = 0
    """Events before that are left as they were: the log no longer told all of them. 0 = it told everything."""
    about: list[str] = []
    """Aliases whose activities were looked at."""

    @property
    def span_ms(self) -> tuple[int, int]:
        """Times (ms) of the oldest and the newest activity that it adds; 0 = it adds none."""
        added = [time_ms for _, _, time_ms, weight, _, _ in self.rows if weight > 0]
        return (min(added), max(added)) if added else (0, 0)


class Forget(msgspec.Struct, array_like=True, tag="f", frozen=True):
    """Users of one org who are to be forgotten (see `state.forgetting`). It does not name them, so that the log does
    not either."""

    org: str
    salt: bytes
    digests: list[bytes]
    """`state.forgotten.digest_of` of each user's id."""
    until_ms: int
    """No record that names them comes in after this (event time): so long they are not let in again."""


Record = Rows | Bundle | Tick | Calibration | Member | Org | Note | Correction | Forget
_decoder: msgspec.msgpack.Decoder[Record] = msgspec.msgpack.Decoder(Record)
_encoder = msgspec.msgpack.Encoder()


def encode_record(record: Record) -> bytes:
    """Return the bytes of *record* for the log."""
    return _encoder.encode(record)


def decode_record(raw: bytes) -> Record:
    """Return the record in *raw*.

    Raises:
        msgspec.DecodeError: If *raw* is no record of the log.
    """
    return record_of(_decoder, raw)


def rows_of(record: Record) -> Sequence[Rows]:
    """Return the packed chunks in *record*; none if it is of another kind."""
    return record.rows if isinstance(record, Bundle) else (record,) if isinstance(record, Rows) else ()


_ROWS_HEAD = encode_record(Rows("", 0, 0, [], [], b"", b"", b"", b"", b"", b"", b""))[:5]


def are_rows(raw: bytes) -> bool:
    """Say whether *raw*, a record of the log, is one packed chunk.

    >>> are_rows(encode_record(Tick(0, 1)))
    False
    """
    return raw.startswith(_ROWS_HEAD)


def encode_bundle(rows: Sequence[bytes]) -> bytes:
    """Return the bytes of a `Bundle` of encoded *rows*; of a single one they are its own."""
    return rows[0] if len(rows) == 1 else _encoder.encode(("b", [msgspec.Raw(raw) for raw in rows]))


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
    used = np.union1d(np.zeros(1, np.int64), place)
    return [places[at] for at in used.tolist()], np.searchsorted(used, place).astype("<u2")


_SPARSE = ("amount", "ref", "place")  # left out when all zero
MAX_ROWS = 65_535
"""Most rows (and subjects) one `Rows` may hold: its subject index has 16 bits."""


@dataclass(slots=True)
class Packer:
    """Collects the activities of one source chunk; `split` deals them out to partitions."""

    subjects: dict[str, int] = field(default_factory=dict)
    measures: dict[str, int] = field(default_factory=dict)
    subject: list[int] = field(default_factory=list)
    measure: list[int] = field(default_factory=list)
    time_ms: list[int] = field(default_factory=list)
    amount: list[int] = field(default_factory=list)
    id: list[int] = field(default_factory=list)
    ref: list[int] = field(default_factory=list)
    at: list[int] = field(default_factory=list)
    places: dict[str, int] = field(default_factory=lambda: {"": 0})
    placed: list[tuple[int, int]] = field(default_factory=list)
    """Rows with a place, and their index into `places`."""

    def put(self, place: str) -> None:
        """Say of the last activity where it was: a channel or team."""
        if place:
            self.placed.append((len(self.at) - 1, self.places.setdefault(place, len(self.places))))

    def add(self, subject: str, measure: str, time_ms: int, amount: int, id_: int, ref: int, at: int) -> None:
        """Append one activity. *id_* and *ref* are unsigned 64-bit, *amount* signed 64-bit."""
        self.subject.append(self.subjects.setdefault(subject, len(self.subjects)))
        self.measure.append(self.measures.setdefault(measure, len(self.measures)))
        self.time_ms.append(time_ms)
        self.amount.append(amount)
        self.id.append(id_)
        self.ref.append(ref)
        self.at.append(at)

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
        columns = {
            "measure": np.array(self.measure, "u1"),
            "time_ms": np.array(self.time_ms, "<i8"),
            "amount": np.array(self.amount, "<i8"),
            "id": np.array(self.id, "<u8"),
            "ref": np.array(self.ref, "<u8"),
            "at": np.array(self.at, "<u4"),
            "place": np.zeros(len(self.at), "<u2"),
        }
        for row, place in self.placed:
            columns["place"][row] = place
        measures, places = list(self.measures), list(self.places)
        of_row = targets[subject] if len(subject) else subject
        found = {}
        for target in np.unique(targets).tolist():
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
