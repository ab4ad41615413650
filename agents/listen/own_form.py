"""Owns the reading of rows in the system's own forms, as the contract has them.

Invariant: a row goes on byte for byte, unless the sender's org has to be put in.
"""

from __future__ import annotations

from agents.listen.auth import Grant
from agents.listen.rows import Message, encoded, fields_of, has, inner, key_of, message, put_org, scalar


def event(row: bytes, grant: Grant) -> Message:
    """Return a product event; the export form (`event` and `properties`) is taken too.

    Raises:
        Refused: If it is no object, or names an org that is not the sender's.
    """
    fields = fields_of(row)
    if has(fields, "name") or not has(fields, "event"):
        changed = put_org(fields, grant.org)
        return message("events", key_of(scalar(fields, "distinct_id")), encoded(fields) if changed else row)
    properties = inner(fields, "properties")
    if put_org(properties, grant.org, "properties.org_id"):
        fields["properties"] = properties
        row = encoded(fields)
    return message("events", key_of(scalar(properties, "distinct_id")), row)


def transaction(row: bytes, grant: Grant) -> Message:
    """Return a transaction, keyed by its org.

    Raises:
        Refused: As above.
    """
    fields = fields_of(row)
    changed = put_org(fields, grant.org)
    return message("transactions", key_of(scalar(fields, "org_id")), encoded(fields) if changed else row)


def chat(row: bytes, grant: Grant) -> Message:
    """Return a chat message, keyed by its channel, or a presence sample, keyed by its server.

    Raises:
        Refused: As above.
    """
    fields = fields_of(row)
    changed = put_org(fields, grant.org)
    place = scalar(fields, "channel")
    key = key_of(scalar(fields, "server") if place is None else place)
    return message("chat", key, encoded(fields) if changed else row)
