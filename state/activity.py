"""What the `activities` log carries.

Owns the records of the log: `Rows` (a packed chunk of activities) and `Bundle` (several of them, taken in as one),
`Tick` (time passed), `Calibration` (new cut points), `Member` and `Org` (the directory, as far as one org's shard
needs it), `Forget` (somebody is to be forgotten). Invariant: a record says everything its effect depends on, so that a
shard's state is a function of its log alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

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
