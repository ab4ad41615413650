"""Fields of raw messages for the recount: which there are, of which types, and what each may hold.

Owns the recount's own reading of JSON, ids, times and quantities, and the settings that matter. Invariant: shares no
line with what it checks; a field is either as the contract wants it, or `Refused` with its reason.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, NoReturn
from unicodedata import bidirectional, category

_YEAR_2000_MS, _YEAR_10000_MS = 946_684_800_000, 253_402_300_800_000
_TURNS = {"LRE", "RLE", "PDF", "LRO", "RLO", "LRI", "RLI", "FSI", "PDI"}  # they turn the direction of text
_TEXT, _NUMBER, _WHOLE = (str,), (int, Decimal), (int,)
_ID = (str, int)
_MOMENT = (str, int, Decimal)
_ANYTHING = (dict, list, str, int, Decimal, bool)
_TYPES: dict[str, dict[str, tuple[type, ...]]] = {
    "product-events": {"name": _TEXT, "event": _TEXT, "event_id": _ID, "distinct_id": _ID, "time": _MOMENT,
                       "org_id": _ID, "quantity": _WHOLE, "unit": _TEXT, "properties": _ANYTHING},
    "properties": {"distinct_id": _ID, "time": _MOMENT, "$insert_id": _ID, "org_id": _ID, "quantity": _WHOLE,
                   "alias": _ID, "$identified_id": _ID, "$anon_id": _ID},
    "syslog-activities": {"id": _ID, "org": _ID, "userid": _ID, "created": _MOMENT, "ghost": _WHOLE, "action": _TEXT},
    "chat-messages": {"message_id": _ID, "author": _ID, "time": _MOMENT, "channel": _ID, "in_reply_to": _ID,
                      "org_id": _ID, "server": _ID, "type": _TEXT, "online": _WHOLE},
    "transactions": {"transaction_id": _ID, "org_id": _ID, "amount": (str, int, Decimal), "currency": _TEXT,
                     "status": _TEXT, "time": _MOMENT},
    "users": {"user_id": _ID, "org_id": _ID, "email": _TEXT, "username": _ID, "aliases": (list,), "job_type": _TEXT,
              "licensed": (bool,), "bot": (bool,), "since": _MOMENT, "until": _MOMENT, "display_name": _TEXT},
    "orgs": {"org_id": _ID, "name": _TEXT, "account_value_usd": _NUMBER, "group_type": _TEXT, "timezone": _TEXT,
             "licenses": _WHOLE},
}  # fmt: skip


class Refused(Exception):  # noqa: N818  # an outcome, not a fault of the program
    """The message belongs in the dead letters, for `reason`."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class Options:
    """What the recount must know of the settings; defaults are the shipped ones."""

    unknown: Mapping[str, str] = field(
        default_factory=lambda: {"product-events": "park", "syslog-activities": "create", "chat-messages": "create",
                                 "transactions": "park"}
    )  # fmt: skip
    lateness_hours: int = 1344
    max_ahead_seconds: int = 3600
    max_value_bytes: int = 65_536
    max_id_chars: int = 200
    max_aliases: int = 20
    currency: str = "USD"
    channels: Mapping[str, str] = field(default_factory=dict)
    syslog_zone: str = "UTC"
    syslog_year: int = 0
    rolling_months: int = 3
    reply_horizon_days: int = 731
    quantile: float = 0.8
    target_seconds: int = 4 * 3600
    teams: Mapping[str, str] = field(default_factory=dict)  # channel → the team whose line it counts in
    min_population: int = 30
    chat_days: int = 7
    chat_people: int = 50
    chat_zones: Mapping[str, str] = field(default_factory=dict)
    forgotten: frozenset[str] = frozenset()
    """Users who were forgotten: what they did is their org's by calendar week and in latency, and in nothing else."""


def refuse(reason: str) -> NoReturn:
    """Refuse the message at hand."""
    raise Refused(reason)


_decoder = json.JSONDecoder(parse_float=Decimal, parse_constant=lambda _: refuse("not_json"))


def parsed(topic: str, value: bytes) -> dict[str, Any]:
    """Return the JSON object in *value*, its known fields of the right types; absent fields are None.

    Raises:
        Refused: not_json or wrong_type.
    """
    try:
        found = _decoder.decode(value.decode("utf-8"))
        if b"\\u" in value:
            json.dumps(found, ensure_ascii=False, default=str).encode()  # a lone surrogate is no text
    except (ValueError, UnicodeError):
        raise Refused("not_json") from None
    except RecursionError:
        raise Refused("too_deep") from None
    return typed(topic, found)


def typed(shape: str, found: Any) -> dict[str, Any]:
    """Return the known fields of *found*.

    Raises:
        Refused: wrong_type.
    """
    kinds = _TYPES[shape] if isinstance(found, dict) else refuse("wrong_type")
    for name, kind in kinds.items():
        value = found.get(name)
        if value is not None and type(value) not in kind:
            refuse("wrong_type")
    return {name: found.get(name) for name in kinds}


def identity(value: Any, options: Options) -> str:
    """Return an id as text.

    Raises:
        Refused: missing_field, wrong_type, long_id, blank_id or bad_id.
    """
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        refuse("wrong_type")
    text = refuse("missing_field") if value is None else str(value)
    if len(text) > options.max_id_chars:
        refuse("long_id")
    if not text.strip():
        refuse("blank_id")
    return text if plain(text) == text else refuse("bad_id")


def plain(text: str) -> str:
    """Return *text* with blanks for control characters, line separators and turns of direction.

    >>> plain("a\\tb"), plain("Ünal")
    ('a b', 'Ünal')
    """
    if text.isascii() and text.isprintable():  # nearly every id there is
        return text
    return "".join(" " if category(c) in ("Cc", "Zl", "Zp", "Cs") or bidirectional(c) in _TURNS else c for c in text)


def org_identity(value: Any, options: Options) -> str:
    """Return an org's id as text.

    Raises:
        Refused: Like `identity`; bad_id too for "all" and for what holds a brace or a slash.
    """
    text = identity(value, options)
    return refuse("bad_id") if text == "all" or any(c in text for c in "{}/") else text


def moment_ms(value: Any) -> int:
    """Return a time in ms: ISO text (UTC without zone), or seconds, milliseconds, microseconds by size.

    Raises:
        Refused: missing_field or bad_time.
    """
    if value is None:
        refuse("missing_field")
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            raise Refused("bad_time") from None
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        since = moment - datetime(1970, 1, 1, tzinfo=UTC)
        found = since.days * 86_400_000 + since.seconds * 1000 + since.microseconds // 1000
    else:
        size = abs(value)
        if size >= 10**18:
            refuse("bad_time")
        found = round(value * 1000) if size < 10**11 else int(value) if size < 10**14 else int(value) // 1000
    return found if _YEAR_2000_MS <= found < _YEAR_10000_MS else refuse("bad_time")


def quantity(value: int | None) -> int:
    """Return a quantity (absent: 0) that leaves room for a million like it in 64 bits.

    Raises:
        Refused: bad_quantity.
    """
    return (value or 0) if abs(value or 0) <= (2**63 - 1) // 10**6 else refuse("bad_quantity")
