"""Owns the reading of syslog activities: JSON, RFC 5424 and RFC 3164.

A raw line says who by `org`, `userid`, `action`, `ghost` and `id`, as
structured data (5424) or as `key=value` words; without them the host is the
org and the program is who acts. RFC 3164 lines carry neither year nor zone:
the zone is a setting, the year is a setting or the latest one that does not
put the line more than a day ahead of now. Invariant: an operator acting as the
user (`ghost`) and the system itself (`org` 0) are set apart.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import msgspec
import xxhash

from state.measures import Catalogue
from streams.reading import Reader, Reading, Rejected, checked_id, checked_org, decoded, time_ms_of

_MONTH_NAMES = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MONTHS = dict(zip(_MONTH_NAMES, range(1, 13), strict=True))
_RFC5424 = re.compile(r"<\d{1,3}>1 (\S+) (\S+) (\S+) (\S+) (\S+) (.*)", re.DOTALL)
_RFC3164 = re.compile(
    r"(?:<\d{1,3}>)?([A-Z][a-z]{2}) {1,2}(\d{1,2}) (\d\d):(\d\d):(\d\d) (\S+) ([^:\s\[]+)(?:\[([^\]]*)\])?:? ?(.*)",
    re.DOTALL,
)
# The look-behind keeps a long word from being tried anew at each of its letters, which takes seconds.
_PARAMETER = re.compile(r'(?<!\w)(\w+)="((?:[^"\\\]]|\\.)*)"')
_WORD = re.compile(r"\b(org|userid|action|ghost|id)=(\S+)")
_NIL = "-"  # how RFC 5424 spells "not known"
_DAY_MS = 86_400_000


class Activity(msgspec.Struct, gc=False):
    """The JSON form."""

    id: str | int | None = None
    org: str | int | None = None
    userid: str | int | None = None
    created: int | float | str | None = None
    ghost: int | None = 0
    action: str | None = None


_activity = msgspec.json.Decoder(Activity)


def syslog_reader(
    catalogue: Catalogue,
    hosts: Mapping[str, str],
    now: Callable[[], float],
    *,
    zone: str,
    year: int,
    max_id: int,
) -> Reader:
    """Return the reader; *hosts* maps hosts to orgs, *now* gives epoch seconds, *year* 0 = nearest."""
    clock_zone = ZoneInfo(zone)
    measure_of = catalogue.by_action.get

    def reading(said: Activity, time_ms: int, content: bytes) -> Reading:
        org = checked_org(said.org, "org", max_id)
        who = checked_id(said.userid, "userid", max_id)
        known = xxhash.xxh3_128_hexdigest(content) if said.id is None else checked_id(said.id, "id", max_id)
        apart = "system" if org == "0" else "ghost" if said.ghost else ""
        return Reading(org, who, measure_of(said.action or "", "syslog"), time_ms, 0, "s" + known, "", apart)

    def from_json(value: bytes) -> Reading:
        said = decoded(_activity, value)
        return reading(said, time_ms_of(said.created, "created"), value)

    def from_line(value: bytes) -> Reading:
        line = value.decode("utf-8", "replace").rstrip("\r\n")
        if match := _RFC5424.fullmatch(line):
            stamp, host, program, _, _, rest = match.groups()
            time_ms = time_ms_of(None if stamp == "-" else stamp)
            words = dict(_PARAMETER.findall(rest)) or dict(_WORD.findall(rest))
        elif match := _RFC3164.fullmatch(line):
            month, day, hour, minute, second, host, program, _, rest = match.groups()
            time_ms = _undated(month, (int(day), int(hour), int(minute), int(second)), now(), clock_zone, year)
            words = dict(_WORD.findall(rest)) if "userid=" in rest else {}
        else:
            raise Rejected("not_syslog", f"neither JSON nor RFC 5424 nor RFC 3164: {line[:40]!r}")
        if "userid" not in words:
            named = {"org": hosts.get(host, host), "userid": program}
            words = {key: None if word == _NIL else word for key, word in named.items()}
        ghost = int((words.get("ghost") or "0") != "0")
        said = Activity(words.get("id"), words.get("org"), words.get("userid"), None, ghost, words.get("action"))
        return reading(said, time_ms, value)

    def read(value: bytes) -> Reading:
        return from_json(value) if value.lstrip()[:1] == b"{" else from_line(value)

    return read


def _undated(month: str, clock: tuple[int, int, int, int], now: float, zone: ZoneInfo, year: int) -> int:
    """Return the time (ms) of a line without a year.

    Raises:
        Rejected: bad_time.
    """
    if month not in _MONTHS:
        raise Rejected("bad_time", f"no such month: {month}")
    this_year = datetime.fromtimestamp(now, UTC).year
    for candidate in [year] if year else range(this_year + 1, this_year - 5, -1):
        try:
            found = datetime(candidate, _MONTHS[month], *clock, tzinfo=zone)
        except ValueError:
            continue  # 29 February in a year without one, or no such day or hour
        time_ms = int(found.timestamp()) * 1000
        if year or time_ms <= now * 1000 + _DAY_MS:
            return time_ms
    raise Rejected("bad_time", f"no such day or hour: {month} {clock[0]} {clock[1]}:{clock[2]}:{clock[3]}")
