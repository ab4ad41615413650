"""Owns what a raw message becomes when it was read, and the checks all sources share.

Invariant: a message either gives a `Reading` or raises `Rejected` with a reason of
the contract; nothing else comes out of a source, whatever its bytes are.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from state.latency import ALL_ORGS
from streams.batch_bounds import Skipped

REASONS: Final = (
    "too_big",
    "batch_too_big",
    "not_json",
    "too_deep",
    "not_syslog",
    "wrong_type",
    "missing_field",
    "bad_id",
    "blank_id",
    "long_id",
    "bad_time",
    "bad_amount",
    "bad_quantity",
    "bad_zone",
    "unknown_currency",
    "too_late",
    "park_full",
    "too_many_users",
    "bad_state",
)
"""Why a message may end in the dead letters."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_OLDEST_MS = 946_684_800_000  # 2000-01-01
_LARGEST_QUANTITY = (2**63 - 1) // 1_000_000  # a million of them still have a sum of 64 bits
# Control characters (the separator of subjects among them), line separators, turns of direction, half characters.
_UNFIT = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_UNFIT_ORG = frozenset("{}/")  # the hash tag of Redis keys, and what stands between org and user in Kafka's
_TIME_PLACES = ("`$.time`", "`$.created`")


class Rejected(Exception):  # noqa: N818  # it is an outcome, not a fault of the program
    """The message can't be read; `reason` is one of REASONS."""

    def __init__(self, reason: str, detail: str, messages: int = 1) -> None:
        """Refuse *messages* at once, which is one but for a batch that can't be unpacked."""
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail, self.messages = reason, detail, messages


class Reading(msgspec.Struct, gc=False):
    """One message, read but not resolved.

    `org` empty = the message doesn't say; `who` empty = the org itself; `apart`
    names what is counted apart and in no score (ghost, system). `link` is another
    alias of `who`: the message says only that. `place` is the channel or team of a message.
    """

    org: str
    who: str
    measure: str
    time_ms: int
    amount: int
    id: str
    ref: str
    apart: str = ""
    link: str = ""
    place: str = ""


Reader = Callable[[bytes], Reading]


def check_unpacked(record: Any) -> None:
    """Check that *record*, which has no value, is one and not what stands for a batch that was skipped.

    Raises:
        Rejected: batch_too_big, for all messages of the batch.
    """
    if isinstance(record, Skipped):
        raise Rejected("batch_too_big", record.detail, record.messages)


def decoded(decoder: Any, value: bytes, *time_places: str) -> Any:
    """Return *value* decoded by a strict msgspec JSON decoder; *time_places* are further places of times.

    Raises:
        Rejected: not_json, too_deep, missing_field or wrong_type.
    """
    try:
        return decoder.decode(value)
    except msgspec.ValidationError as error:
        text = str(error)
        if "missing required" in text:
            reason = "missing_field"
        elif "out of range" in text and text.endswith((*_TIME_PLACES, *time_places)):
            reason = "bad_time"
        else:
            reason = "wrong_type"
        raise Rejected(reason, text) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Rejected("not_json", str(error)) from None
    except RecursionError:
        raise Rejected("too_deep", "nested deeper than can be read") from None


def checked_id(value: str | int | None, field: str, longest: int) -> str:
    """Return an id as text.

    Raises:
        Rejected: missing_field, wrong_type, blank_id, long_id or bad_id.
    """
    # The usual case first: this runs several times a message.
    if type(value) is str and 0 < len(value) <= longest and value.isprintable() and value[0] != " ":
        return value
    if value is None:
        raise Rejected("missing_field", f"no `{field}`")
    if type(value) is int and not -(2**63) <= value < 2**64:
        raise Rejected("wrong_type", f"`{field}` is an integer beyond 64 bits")
    text = value if type(value) is str else str(value)
    if len(text) > longest:
        raise Rejected("long_id", f"`{field}` has {len(text)} characters, at most {longest}")
    if not text or text.isspace():
        raise Rejected("blank_id", f"`{field}` is blank")
    if _UNFIT.search(text):
        raise Rejected("bad_id", f"`{field}` holds a control character")
    return text


def checked_org(value: str | int | None, field: str, longest: int) -> str:
    """Return an org's id as text: one that stays a part of its own in `user:{org}:user` and `user:org/user`.

    Raises:
        Rejected: Like `checked_id`; also bad_id for braces, a slash, and the name that stands for every org together.
    """
    text = checked_id(value, field, longest)
    if text == ALL_ORGS or not _UNFIT_ORG.isdisjoint(text):
        raise Rejected("bad_id", f"`{field}` is `{ALL_ORGS}` or holds a brace or a slash")
    return text


def plain_text(text: str) -> str:
    """Return free text with a blank for each character that could break a line or steer a terminal.

    >>> plain_text("Acme\\nInc")
    'Acme Inc'
    """
    return text if text.isprintable() else _UNFIT.sub(" ", text)


def time_ms_of(value: int | float | str | None, field: str = "time") -> int:
    """Return a time as milliseconds since 1970, UTC.

    Numbers are told apart by size: below 10¹¹ seconds, below 10¹⁴ milliseconds,
    else microseconds. Text is ISO 8601; without a zone it counts as UTC.

    Raises:
        Rejected: missing_field or bad_time (also: before 2000-01-01).

    >>> time_ms_of(1_700_000_000) == time_ms_of(1_700_000_000_000) == time_ms_of("2023-11-14T22:13:20Z")
    True
    """
    # The usual cases first: whole milliseconds, whole seconds.
    if type(value) is int:
        if _OLDEST_MS <= value < 10**14:
            return value
        if _OLDEST_MS // 1000 <= value < 10**11:
            return value * 1000
    if value is None:
        raise Rejected("missing_field", f"no `{field}`")
    if type(value) is str:
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            raise Rejected("bad_time", f"`{field}` is no ISO 8601 time: {value[:40]!r}") from None
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        try:
            found = _milliseconds(moment)
        except OverflowError:
            raise Rejected("bad_time", f"`{field}` is out of range") from None
    else:
        number: Any = value
        size = abs(number)
        # Rounded, because most fractions of a second lie a little beside their binary number.
        found = int(round(number * 1000) if size < 1e11 else number if size < 1e14 else number // 1000)
    if not _OLDEST_MS <= found < 253_402_300_800_000:
        raise Rejected("bad_time", f"`{field}` is not between 2000 and 9999")
    return found


def _milliseconds(moment: datetime) -> int:
    """Return whole milliseconds without the rounding of floats."""
    delta = moment - _EPOCH
    return (delta.days * 86_400 + delta.seconds) * 1000 + delta.microseconds // 1000


def checked_integer(value: int | None, field: str) -> int:
    """Return a quantity, of which a million can be added up in 64 bits; absent is 0.

    Raises:
        Rejected: bad_quantity.
    """
    if value is None:
        return 0
    if abs(value) > _LARGEST_QUANTITY:
        raise Rejected("bad_quantity", f"`{field}` is out of range")
    return value
