"""What somebody wants to see of an org's latency: the options of `orgpulse latency`, read and checked.

Invariant: a wish that exists can be fulfilled if the data is there; what is wrong with the options is told here, with
what to write instead.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from agents.cli_errors import EXIT_USAGE, ToldError
from reports.week_map import ANSWERED, WAIT
from state.lines import LOCAL, MEASURE, REPLIES, line_of_place
from state.periods import PeriodError, months_of
from state.week import UnknownZoneError, zone_of

MAX_YEARS = 12  # as many as stand side by side
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(s|m|min|h|d|w)")
_UNITS = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_YEARS = re.compile(r"(\d{4})-(\d{4})")


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What to show.

    Attributes:
        period: Calendar months, year × 12 + month − 1; None = the rolling map.
        versus: Months to compare with.
        years: Periods to show side by side; empty = one map.
        quantile: 0–1; None = the one in the settings.
        zone: IANA name; empty = the org's own.
        min_count: On how many a figure stands at least; None = as set.
        fill_seconds: What hours without data are drawn as; None = as having no data.
    """

    line: str = REPLIES
    period: range | None = None
    versus: range | None = None
    years: tuple[range, ...] = ()
    quantile: float | None = None
    first: bool = False
    zone: str = ""
    target_ms: int | None = None
    show: str = WAIT
    counts: bool = False
    min_count: int | None = None
    fill_seconds: float | None = None
    coverage: bool = False
    hours: str = ""
    staff: int | None = None

    @property
    def needs_lines(self) -> bool:
        """Whether more is wanted than the map that is kept ready."""
        other_week = self.period is not None or self.versus is not None or bool(self.years)
        other_figures = self.line != REPLIES or self.first or self.target_ms is not None or self.coverage
        others = self.quantile is not None or bool(self.zone) or self.min_count is not None
        return other_week or other_figures or others

    def check(self) -> Wish:
        """Return the wish itself.

        Raises:
            ToldError: If its parts do not go together.
        """
        if self.years and (self.period is not None or self.versus is not None):
            raise usage("--years shows years side by side; it has no --period or --versus", "Leave one of them out")
        if self.versus is not None and self.show != WAIT:
            raise usage("--versus compares times to a reply only", "Leave out --show, and --target too")
        if self.versus is not None and self.quantile == 1:
            raise usage("--versus can't compare the longest waits", "Give --quantile below 1, such as 0.95")
        if self.coverage and self.target_ms is None:
            raise usage("coverage of what? There is no --target", "For example --coverage --target 4h")
        if self.coverage and (self.years or self.versus is not None):
            raise usage("--coverage looks at one period", "Leave out --years and --versus")
        return self


def usage(said: str, remedy: str) -> ToldError:
    """Return the error of a command line that is wrong."""
    return ToldError(said, remedy, EXIT_USAGE)


def period_of(text: str | None, option: str) -> range | None:
    """Return the months that an option names; None = it was not given."""
    if text is None:
        return None
    try:
        return months_of(text)
    except PeriodError as error:
        raise usage(f"{option}: {error}", "Periods are written 2025, 2025-Q3, 2025-11 or 2024-06/2025-05") from None


def years_of(text: str | None) -> tuple[range, ...]:
    """Return the years of `2023-2025` or `2023,2025`; with commas any periods will do."""
    if text is None:
        return ()
    if match := _YEARS.fullmatch(text.strip()):
        first, last = int(match[1]), int(match[2])
        found = [range(year * 12, year * 12 + 12) for year in range(first, last + 1)]
    else:
        found = [months for part in text.split(",") if (months := period_of(part.strip(), "--years")) is not None]
    if not 0 < len(found) <= MAX_YEARS:
        raise usage(f"--years {text}: 1 to {MAX_YEARS} stand side by side", "For example --years 2023-2025")
    return tuple(found)


def seconds_of(text: str | None, option: str) -> float | None:
    """Return a duration such as `4h`, `5m`, `1h30m` or `90s` in seconds; None = it was not given."""
    if text is None:
        return None
    parts = _DURATION.findall(text.strip().lower())
    seconds = sum(float(number) * _UNITS[unit] for number, unit in parts)
    if _DURATION.sub("", text.strip().lower()).strip() or not 0 < seconds < 1e9:
        raise usage(f'{option}: "{text}" is no duration', f"For example {option} 4h, 30m, 90s, 1h30m or 2d")
    return seconds


def quantile_of(text: str | None) -> float | None:
    """Return a quantile such as `0.95` or `p95`; None = it was not given."""
    if text is None:
        return None
    try:
        value = float(text[1:]) / 100 if text.lower().startswith("p") else float(text)
    except ValueError:
        value = -1.0
    if not 0 < value <= 1:
        raise usage(f'--quantile: "{text}" is none', "Write 0.95 or p95, for the time that 95 % do not exceed")
    return value


def line_of(line: str | None, channel: str | None, measure: str | None) -> str:
    """Return the line that one of three options names; none = all replies."""
    given = [name for name in (line, channel, measure) if name is not None]
    if len(given) > 1:
        raise usage("--line, --channel and --measure name the same thing", "Give one of them")
    if line is not None:
        known = line == REPLIES or line.startswith((REPLIES + "/", MEASURE))
        if not known:
            raise usage(f'--line: "{line}" is none', "Lines are replies, replies/<channel> and measure/<name>")
        return line
    if channel is not None:
        return line_of_place(channel)
    return REPLIES if measure is None else MEASURE + measure


def zone_named(text: str | None) -> str:
    """Return the zone; empty = the org's own."""
    if text is None or text == LOCAL:
        return ""
    try:
        zone_of(text)
    except UnknownZoneError:
        raise usage(f'--zone: there is no zone "{text}"', "IANA names it is: Europe/Berlin, UTC") from None
    return text


def show_of(show: str | None, target_ms: int | None, coverage: bool) -> str:
    """Return what the map shows: what was named; else, with a target, the share answered within it."""
    if show is not None:
        return show
    return ANSWERED if target_ms is not None or coverage else WAIT


def wish_of(options: dict[str, Any]) -> Wish:
    """Return what the options of the command line say.

    Raises:
        ToldError: If one is wrong, or they do not go together.
    """
    target = None if options["target"] is None else round(options["target"] * 1000)
    fill_hours = options["no_data_hours"]
    coverage = options["coverage"] or bool(options["hours"]) or options["staff"] is not None
    return Wish(
        line=line_of(options["line"], options["channel"], options["measure"]),
        period=period_of(options["period"], "--period"),
        versus=period_of(options["versus"], "--versus"),
        years=years_of(options["years"]),
        quantile=quantile_of(options["quantile"]),
        first=options["first"],
        zone=zone_named(options["zone"]),
        target_ms=target,
        show=show_of(options["show"], target, coverage),
        counts=options["counts"],
        min_count=options["min_count"],
        fill_seconds=None if fill_hours is None else fill_hours * 3600,
        coverage=coverage,
        hours=options["hours"] or "",
        staff=options["staff"],
    ).check()
