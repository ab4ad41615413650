"""Reads raw messages for the recount, with the standard library alone.

Owns the recount's own reading of the contract: events, syslog lines, chat,
transactions. Invariant: shares no line with what it checks; a message either
gives a `Said` or a `Refused` with a reason of the contract.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from reports.recount_fields import Options, Refused, identity, moment_ms, org_identity, parsed, quantity, refuse, typed
from reports.recount_measures import span_of

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_LINE_5424 = re.compile(r"<\d{1,3}>1 (?P<time>\S+) (?P<host>\S+) (?P<program>\S+) \S+ \S+ (?P<rest>.*)", re.S)
_LINE_3164 = re.compile(
    r"(?:<\d{1,3}>)?(?P<month>[A-Z][a-z]{2}) {1,2}(?P<day>\d{1,2}) (?P<clock>\d\d:\d\d:\d\d) (?P<host>\S+) "
    r"(?P<program>[^:\s\[]+)(?:\[[^\]]*\])?:? ?(?P<rest>.*)",
    re.S,
)


@dataclass(frozen=True, slots=True)
class Said:
    """One readable message. `org`/`who` empty = not said; `apart` = ghost, system, edit or identity.

    By the hour of the week it counts `before_ms` before its time; `lacking` = it has a duration that nobody knows.
    """

    org: str
    who: str
    measure: str
    time_ms: int
    amount: int
    id: str
    ref: str = ""
    apart: str = ""
    channel: str = ""
    before_ms: int = 0
    lacking: bool = False


class Reader:
    """Reads source messages by the model's vocabulary."""

    def __init__(self, model: Mapping[str, Any], options: Options) -> None:
        self._options = options
        self._measures = measures = model.get("measures", {})
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
        name, known, properties = found["name"], found["event_id"], found["properties"]
        if name is None and found["event"] is not None:
            inner = typed("properties", {} if properties is None else properties)
            name, known = found["event"], known if inner["$insert_id"] is None else inner["$insert_id"]
            found = inner
            if name in ("$identify", "$create_alias"):
                return self._namesake(name, inner)
        org = "" if found["org_id"] is None else self._org(found["org_id"])
        measure = self._events.get(self._id(name), "other")
        who, time_ms = self._id(found["distinct_id"]), moment_ms(found["time"])
        quantity(found["quantity"])
        number = value.decode() if known is None else self._id(known)
        span = span_of(self._measures.get(measure, {}), properties, found["quantity"], time_ms)
        return Said(
            org, who, measure, time_ms, span.amount, f"event:{known is None}:{number}", before_ms=span.before_ms,
            lacking=span.lacking,
        )  # fmt: skip

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
        if found["type"] in ("delete", "edit"):
            return self._change(found, org)
        parent = found["in_reply_to"]
        ref = "" if parent is None or parent == "" else "chat:" + self._id(parent)
        who, time_ms = self._id(found["author"]), moment_ms(found["time"])
        channel = "" if found["channel"] is None else str(found["channel"])
        return Said(org, who, "message", time_ms, 0, "chat:" + self._id(found["message_id"]), ref, channel=channel)

    def _change(self, found: dict[str, Any], org: str) -> Said:
        """A message was deleted, by its author or whoever else, or edited; without an author it is the org's."""
        who = "" if found["author"] is None else self._id(found["author"])
        time_ms, number = moment_ms(found["time"]), self._id(found["message_id"])
        if found["type"] == "edit":
            return Said(org, who, "message", time_ms, 0, "edit:" + number, apart="edit")
        if not who:
            org = org or self._org(found["server"])
        return Said(org, who, "message_deleted", time_ms, 0, "deleted:" + number, "chat:" + number)

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
