"""Owns what all forms share: rows of a body, what is refused and why, the key and the org of a row.

Invariant: what needs no change goes on byte for byte; what is changed is changed in the same way every time, so the
same bytes sent again are the same message again (its id comes from its content where it has none).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec

from streams.sender import MAX_RECORD_BYTES

KINDS = ("events", "transactions", "chat")
"""What can be sent, each to a topic of its own."""
MAX_KEY_BYTES = 512
"""A longer id is no key: the record goes to any partition, and its reader refuses the id."""

Fields = dict[str, Any]
"""A JSON object whose values are `msgspec.Raw` (as they came) or what was put in."""


class Message(NamedTuple):
    """What a row becomes."""

    kind: str
    key: bytes | None
    value: bytes


class Refused(Exception):  # noqa: N818  # it is an outcome, not a fault of the program
    """A row, or a whole body, is not taken."""

    def __init__(self, reason: str, message: str, remedy: str, field: str = "") -> None:
        super().__init__(message)
        self.reason, self.message, self.remedy, self.field = reason, message, remedy, field


@dataclass(slots=True)
class Sorted:
    """What became of a body's rows."""

    messages: list[Message] = field(default_factory=list)
    accepted: int = 0
    ignored: int = 0
    refused: list[tuple[int, Refused]] = field(default_factory=list)
    vendor: bool = False
    """Whether the sender proved itself as a vendor's library does, and wants to be answered like that."""
    verbose: bool = False
    """Whether a form of Mixpanel's asks for an answer in words."""


_object = msgspec.json.Decoder(dict[str, msgspec.Raw])
_array = msgspec.json.Decoder(list[msgspec.Raw])
_any = msgspec.json.Decoder(msgspec.Raw)
_scalar = msgspec.json.Decoder(str | int | None)
_encoder = msgspec.json.Encoder()
_FAULTS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_NULL = b"null"


def rows_of(body: bytes, longest: int, most: int) -> Iterator[bytes | Refused]:
    """Yield the rows of a body: one object, an array of them, or a line for each (JSON lines).

    Args:
        body: What was sent, unpacked.
        longest: Most bytes of a row (`ingest.max_value_bytes`).
        most: Most rows.

    Raises:
        Refused: If nothing can be told apart in it, or there are too many rows.
    """
    text = body.strip()
    if not text:
        raise Refused("empty", "the body is empty", "Send a JSON object, an array of them, or one a line.")
    if text[:1] == b"[":
        try:
            found: Iterable[bytes] = map(bytes, _array.decode(text))
        except _FAULTS as error:
            raise _not_json(error) from None
        yield from _checked(list(found), longest, most)
        return
    try:
        rows = [bytes(_any.decode(text))]
    except _FAULTS as error:
        rows = [line for line in map(bytes.strip, text.split(b"\n")) if line]
        if len(rows) == 1:
            raise _not_json(error) from None
    yield from _checked(rows, longest, most)


def _checked(rows: list[bytes], longest: int, most: int) -> Iterator[bytes | Refused]:
    if len(rows) > most:
        raise Refused("too_many_rows", f"{len(rows)} rows, at most {most}", "Send fewer rows a request.")
    for row in rows:
        if len(row) > longest:
            yield Refused("too_large", f"{len(row)} bytes, at most {longest}", "Leave out what nobody counts.")
        elif row[:1] != b"{":
            yield Refused("not_an_object", "the row is no JSON object", "Send one JSON object a row.")
        else:
            yield row


def _not_json(error: Exception) -> Refused:
    said = "nested too deep" if isinstance(error, RecursionError) else str(error)
    return Refused("not_json", f"the body is not JSON: {said}", "Send UTF-8 JSON: an object, an array, or JSON lines.")


def fields_of(row: bytes | msgspec.Raw, what: str = "the row") -> Fields:
    """Return an object's fields as they came.

    Raises:
        Refused: If it is no JSON object.
    """
    try:
        found: Fields = _object.decode(row)
    except _FAULTS as error:
        raise Refused("not_json", f"{what} is no JSON object: {error}", "Send one JSON object a row.") from None
    return found


def encoded(fields: Fields) -> bytes:
    """Return fields as one line of JSON; what came in raw goes out as it was."""
    return _encoder.encode(fields)


def scalar(fields: Fields, name: str) -> str | int | None:
    """Return a field that is text or a whole number; None for anything else, null and nothing among them."""
    value = fields.get(name)
    if not isinstance(value, msgspec.Raw):
        return value if isinstance(value, str | int) and not isinstance(value, bool) else None
    try:
        found: str | int | None = _scalar.decode(value)
    except _FAULTS:
        return None
    return found


def has(fields: Fields, name: str) -> bool:
    """Say whether a field is there and not null."""
    value = fields.get(name)
    return value is not None and not (isinstance(value, msgspec.Raw) and bytes(value).strip() == _NULL)


def inner(fields: Fields, name: str) -> Fields:
    """Return the fields of an object inside; none where there is no object."""
    value = fields.get(name)
    if not isinstance(value, msgspec.Raw):
        return dict(value) if isinstance(value, dict) else {}
    try:
        found: Fields = _object.decode(value)
    except _FAULTS:
        return {}
    return found


def key_of(value: str | int | None) -> bytes | None:
    """Return a record's key for an id, so that what belongs together stays in order.

    >>> key_of(7), key_of(""), key_of("x" * 600)
    (b'7', None, None)
    """
    if value is None or value == "":
        return None
    key = str(value).encode("utf-8", "replace")
    return key if len(key) <= MAX_KEY_BYTES else None


def put_org(fields: Fields, org: str, place: str = "org_id") -> bool:
    """Put the sender's org into a row that names none; say whether the row was changed.

    Raises:
        Refused: If the row names another org.
    """
    if not org:
        return False
    if not has(fields, "org_id"):
        fields["org_id"] = org
        return True
    said = scalar(fields, "org_id")
    if said is None or str(said) != org:
        raise Refused(
            "other_org", "the row names another org than the token's", "Leave it out, or use that org's token.", place
        )
    return False


def message(kind: str, key: bytes | None, value: bytes, longest: int = MAX_RECORD_BYTES) -> Message:
    """Return a message that Kafka will take.

    Raises:
        Refused: If it has grown too large.
    """
    if len(value) > longest:
        raise Refused("too_large", f"{len(value)} bytes, at most {longest}", "Leave out what nobody counts.")
    return Message(kind, key, value)
