"""One line for each org that has a score: enough to choose and order by, at a fraction of the documents' cost.

Owns the script that reads them. Invariant: it only reads, and one call of it looks at a bounded number of orgs, so that
Redis serves others in between.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from streams.published_decode import Reading, decimal_of, moment_of, whole_of

ORGS_A_CALL = 500
FIELDS = (
    "name", "band", "group_type", "score_active", "previous", "active_users", "licensed_users", "alert_since", "schema",
)  # fmt: skip
# The reply is one text: a reply of ten thousands of values costs a reader more time than everything else.
SCRIPT = """
local found = {}
for i, key in ipairs(KEYS) do found[i] = redis.call('HMGET', key, unpack(ARGV)) end
return cjson.encode(found)
"""


@dataclass(frozen=True, slots=True)
class OrgLine:
    """What a list needs of an org; the meaning of each is that in `OrgScore`."""

    org: str
    name: str
    band: str
    group_type: str | None
    score_active: Decimal | None
    previous: Decimal | None
    active_users: int | None
    licensed_users: int | None
    alert_since: datetime | None


def command(keys: Sequence[str]) -> tuple[str | int, ...]:
    """Return the command that reads *keys*, which are at most `ORGS_A_CALL`."""
    return ("EVAL", SCRIPT, len(keys), *keys, *FIELDS)


def lines_of(orgs: Sequence[str], reply: str) -> list[OrgLine]:
    """Return the lines in a reply; orgs without a document are left out.

    Raises:
        NewerSchemaError, UnreadableError: If one can't be read.
    """
    return [
        line
        for org, values in zip(orgs, json.loads(reply), strict=True)
        if (line := _line(org, dict(zip(FIELDS, values, strict=True)))) is not None
    ]


def _line(org: str, values: dict[str, str | bool]) -> OrgLine | None:
    fields = {name: value for name, value in values.items() if isinstance(value, str)}
    if "band" not in fields:
        return None
    with Reading(f"org {org}", fields):
        return OrgLine(
            org,
            fields.get("name") or org,
            fields["band"],
            fields.get("group_type") or None,
            decimal_of(fields.get("score_active")),
            decimal_of(fields.get("previous")),
            whole_of(fields.get("active_users")),
            whole_of(fields.get("licensed_users")),
            moment_of(fields.get("alert_since")),
        )
    return None
