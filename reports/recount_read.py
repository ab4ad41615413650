"""Reads raw messages for the recount, with the standard library alone.

Owns the recount's own reading of the contract: JSON and syslog lines, times,
amounts, ids, the directory. Invariant: shares no line with what it checks; a
message either gives a `Said` or a `Refused` with a reason of the contract.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, NoReturn
from unicodedata import bidirectional, category
from zoneinfo import ZoneInfo

_YEAR_2000_MS, _YEAR_10000_MS = 946_684_800_000, 253_402_300_800_000
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_LINE_5424 = re.compile(r"<\d{1,3}>1 (?P<time>\S+) (?P<host>\S+) (?P<program>\S+) \S+ \S+ (?P<rest>.*)", re.S)
_LINE_3164 = re.compile(
    r"(?:<\d{1,3}>)?(?P<month>[A-Z][a-z]{2}) {1,2}(?P<day>\d{1,2}) (?P<clock>\d\d:\d\d:\d\d) (?P<host>\S+) "
    r"(?P<program>[^:\s\[]+)(?:\[[^\]]*\])?:? ?(?P<rest>.*)",
    re.S,
)
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


@dataclass(frozen=True, slots=True)
class Said:
    """One readable message. `org`/`who` empty = not said; `apart` = ghost, system or identity."""

    org: str
    who: str
    measure: str
    time_ms: int
    amount: int
    id: str
    ref: str = ""
    apart: str = ""


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
    min_population: int = 30
    chat_days: int = 7
    chat_people: int = 50
    chat_zones: Mapping[str, str] = field(default_factory=dict)


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


class Reader:
    """Reads source messages by the model's vocabulary."""

    def __init__(self, model: Mapping[str, Any], options: Options) -> None:
        self._options = options
        measures = model.get("measures", {})
        self._events = {e: name for name, entry in measures.items() for e in entry.get("events", ())}
        self._actions = {a: name for name, entry in measures.items() for a in entry.get("actions", ())}
        self._readers: dict[str, Callable[[bytes, int], Said]] = {
            "product-events": self._event,
            "syslog-activities": self._syslog,
            "chat-messages": self._chat,
            "transactions": self._transaction,
        }

    def read(self, topic: str, value: bytes | None, now_ms: int) -> Said:
        """Return what *value* says; *now_ms* is when it arrived.

        Raises:
            Refused: With the contract's reason.
        """
        if value is None:
            refuse("not_json")
        if len(value) > self._options.max_value_bytes:
            refuse("too_big")
        said = self._readers[topic](value, now_ms)
        return said if said.time_ms <= now_ms + self._options.max_ahead_seconds * 1000 else refuse("bad_time")

    def _id(self, value: Any) -> str:
        return identity(value, self._options)

    def _org(self, value: Any) -> str:
        return org_identity(value, self._options)

    def _event(self, value: bytes, _: int) -> Said:
        found = parsed("product-events", value)
        name, known = found["name"], found["event_id"]
        if name is None and found["event"] is not None:
            inner = typed("properties", {} if found["properties"] is None else found["properties"])
            name, known = found["event"], known if inner["$insert_id"] is None else inner["$insert_id"]
            found = inner
            if name in ("$identify", "$create_alias"):
                return self._namesake(name, inner)
        org = "" if found["org_id"] is None else self._org(found["org_id"])
        measure = self._events.get(self._id(name), "other")
        who, time_ms = self._id(found["distinct_id"]), moment_ms(found["time"])
        number = value.decode() if known is None else self._id(known)
        return Said(org, who, measure, time_ms, quantity(found["quantity"]), f"event:{known is None}:{number}")

    def _namesake(self, name: str, found: dict[str, Any]) -> Said:
        """Two names of one person; what became of that stands in `identities`."""
        first, other = found["distinct_id"], found["alias"]
        if name == "$identify":
            first, other = first if found["$identified_id"] is None else found["$identified_id"], found["$anon_id"]
        return Said("", self._id(first), "", moment_ms(found["time"]), 0, self._id(other), apart="identity")

    def _syslog(self, value: bytes, now_ms: int) -> Said:
        if value.lstrip().startswith(b"{"):
            words = parsed("syslog-activities", value)
            time_ms = moment_ms(words["created"])
        else:
            words, time_ms = self._line(value.decode("utf-8", "replace").rstrip("\r\n"), now_ms)
        org, who = self._org(words.get("org")), self._id(words.get("userid"))
        number = repr(value) if words.get("id") is None else self._id(words["id"])
        ghost = str(words.get("ghost") or 0) != "0"
        measure = self._actions.get(str(words.get("action")), "syslog")
        return Said(org, who, measure, time_ms, 0, "syslog:" + number, "", "system" if org == "0" else "ghost" * ghost)

    def _line(self, line: str, now_ms: int) -> tuple[dict[str, Any], int]:
        pairs = r"\b(org|userid|action|ghost|id)=(\S+)"
        if found := _LINE_5424.fullmatch(line):
            time_ms = moment_ms(None if found["time"] == "-" else found["time"])
            quoted = re.findall(r'(?<!\w)(\w+)="((?:[^"\\\]]|\\.)*)"', found["rest"])
            words = dict(quoted or re.findall(pairs, found["rest"]))
        elif found := _LINE_3164.fullmatch(line):
            time_ms = self._yearless_ms(f"{found['month']} {found['day']} {found['clock']}", now_ms)
            words = dict(re.findall(pairs, found["rest"])) if "userid=" in found["rest"] else {}
        else:
            refuse("not_syslog")
        if "userid" not in words:
            said = {"org": self._options.channels.get(found["host"], found["host"]), "userid": found["program"]}
            words = {name: word for name, word in said.items() if word != "-"}  # RFC 5424's "not known"
        return words, time_ms

    def _yearless_ms(self, text: str, now_ms: int) -> int:
        """Return the time of a line without a year: the latest one at most a day ahead of *now_ms*."""
        month, day, clock = text.split()
        number = _MONTHS.index(month) + 1 if month in _MONTHS else refuse("bad_time")
        hour, minute, second = map(int, clock.split(":"))
        now_year = datetime.fromtimestamp(now_ms / 1000, UTC).year
        for year in [self._options.syslog_year] if self._options.syslog_year else range(now_year + 1, now_year - 5, -1):
            try:
                zone = ZoneInfo(self._options.syslog_zone)
                found = int(datetime(year, number, int(day), hour, minute, second, tzinfo=zone).timestamp()) * 1000
            except ValueError:
                continue
            if self._options.syslog_year or found <= now_ms + 86_400_000:
                return found
        return refuse("bad_time")

    def _chat(self, value: bytes, _: int) -> Said:
        found = parsed("chat-messages", value)
        places = [str(found[p]) for p in ("channel", "server") if found[p] is not None]
        mapped = next((self._options.channels[p] for p in places if p in self._options.channels), "")
        org = mapped if found["org_id"] is None else self._org(found["org_id"])
        if found["type"] == "presence":
            org = org or self._org(found["server"])
            online = refuse("missing_field") if found["online"] is None else quantity(found["online"])
            time_ms = moment_ms(found["time"])
            return Said(
                org, "", "presence", time_ms, online, f"presence:{found['server']}/{time_ms}", str(found["server"])
            )
        parent = found["in_reply_to"]
        ref = "" if parent is None or parent == "" else "chat:" + self._id(parent)
        who, time_ms = self._id(found["author"]), moment_ms(found["time"])
        return Said(org, who, "message", time_ms, 0, "chat:" + self._id(found["message_id"]), ref)

    def _transaction(self, value: bytes, _: int) -> Said:
        found = parsed("transactions", value)
        status, time_ms = self._id(found["status"]).upper(), moment_ms(found["time"])
        number = self._id(found["transaction_id"])
        if found["currency"] is not None and found["currency"].upper() != self._options.currency:
            refuse("unknown_currency")
        org = self._org(found["org_id"])
        try:
            cents = refuse("missing_field") if found["amount"] is None else Decimal(found["amount"]) * 100
        except ArithmeticError:
            raise Refused("wrong_type") from None  # text that is no number
        if not cents.is_finite() or abs(cents) > (2**63 - 1) // 10**6 or cents != int(cents):
            refuse("bad_amount")
        measure = "transaction" if status == "A" else "transaction_other"
        return Said(org, "", measure, time_ms, int(cents), f"trade:{number}\n{status}\n{time_ms}", "trade:" + number)
