"""Owns the reading of bodies as Mixpanel's libraries send them to `/track` and `/import`.

Bodies: JSON (object, array, lines), or a form with `data=` that holds JSON, in base64 or not.
Source: docs.mixpanel.com/reference/track-event, /reference/import-events.

Invariant: a project token in the properties proves the sender and then goes: it is in no record.
"""

from __future__ import annotations

import base64
import binascii
from urllib.parse import parse_qs

from agents.listen.auth import Grant
from agents.listen.rows import (
    Fields,
    Message,
    Refused,
    encoded,
    fields_of,
    has,
    inner,
    key_of,
    message,
    put_org,
    scalar,
)

_MOST_FORM_FIELDS = 20


def body_of(body: bytes, content_type: str) -> tuple[bytes, bool]:
    """Return the JSON of a body, out of its form and base64 if it is in them, and whether the form says `verbose=1`.

    Raises:
        Refused: If there is a form without `data`, or it can't be read.

    >>> body_of(b"data=eyJldmVudCI6ICJhIn0%3D", "application/x-www-form-urlencoded")
    (b'{"event": "a"}', False)
    """
    if content_type != "application/x-www-form-urlencoded" and not body.startswith(b"data="):
        return body, False
    if body.lstrip()[:1] in (b"{", b"["):
        return body, False  # curl and some libraries call anything a form
    try:
        fields = parse_qs(body.decode("ascii"), max_num_fields=_MOST_FORM_FIELDS)
        found, verbose = fields["data"][0], fields.get("verbose") == ["1"]
    except (ValueError, KeyError):
        raise Refused(
            "bad_form",
            "the form has no readable `data`",
            "Send data=<base64 of JSON>, or JSON as application/json.",
            "data",
        ) from None
    if found.lstrip()[:1] in ("{", "["):
        return found.encode(), verbose
    try:
        text = found.replace(" ", "+").replace("-", "+").replace("_", "/")
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True), verbose
    except (binascii.Error, ValueError):
        raise Refused("bad_form", "`data` is neither JSON nor base64", "Send data=<base64 of JSON>.", "data") from None


def token_of(row: bytes) -> str:
    """Return the project token inside a row; empty when there is none."""
    try:
        found = scalar(inner(fields_of(row), "properties"), "token")
    except Refused:
        return ""
    return found if isinstance(found, str) else ""


def event(row: bytes, grant: Grant, now_seconds: float) -> Message:
    """Return an event in the export form, without its token.

    Without a time it happened just now; that it may, it needs an id: a sender that repeats it would
    otherwise send another event.

    Raises:
        Refused: If it is no event of this form, or has neither time nor `$insert_id`.
    """
    fields = fields_of(row)
    if not has(fields, "event"):
        raise Refused("missing_field", "there is no `event`", 'Send {"event": …, "properties": {…}}.', "event")
    properties = inner(fields, "properties")
    if not properties:
        raise Refused(
            "missing_field", "there are no `properties`", "Send them with distinct_id and time.", "properties"
        )
    changed = properties.pop("token", None) is not None
    changed |= put_org(properties, grant.org, "properties.org_id")
    changed |= _timed(properties, now_seconds)
    if changed:
        fields["properties"] = properties
    return message("events", key_of(scalar(properties, "distinct_id")), encoded(fields) if changed else row)


def _timed(properties: Fields, now_seconds: float) -> bool:
    if has(properties, "time"):
        return False
    if not has(properties, "$insert_id"):
        raise Refused(
            "missing_field", "there is neither a time nor an `$insert_id`",
            "Send `time`: when it has to be sent again it would count twice otherwise.", "properties.time",
        )  # fmt: skip
    properties["time"] = int(now_seconds)
    return True
