"""Owns how the report on quality looks to a person.

Invariant: text that came from the data can neither break a line nor steer a terminal.
"""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Console
from rich.table import Table
from rich.text import Text

from agents.importers.quality import Finding, Report, percent
from streams.reading import plain_text

_MOST_LINES = 12


def print_report(console: Console, found: Report) -> None:
    """Print the report; the verdict comes last."""
    console.print(Text(f"Data quality: {found.rows:,} rows for {found.topic}", style="bold"))
    _findings(console, found)
    _fields(console, found)
    _days(console, found)
    _facts(console, found)
    for failure in found.failures:
        console.print(Text(f"✗ {failure}", style="bold red"))


def _findings(console: Console, found: Report) -> None:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("what", overflow="fold")
    table.add_column("rows", justify="right", no_wrap=True)
    table.add_column("share", justify="right", no_wrap=True)
    table.add_column("first", overflow="fold")
    good = found.considered - sum(one.count for each in (found.rejected, found.held_back) for one in each.values())
    table.add_row("good", f"{good:,}", percent(good / found.considered) if found.considered else "–", "")
    groups: tuple[tuple[str, Mapping[str, Finding], str], ...] = (
        ("would be a dead letter", found.rejected, "red"),
        ("can't be sent", found.held_back, "red"),
        ("odd, but used", found.notes, "yellow"),
        ("left out on purpose", found.left_out, "dim"),
    )
    for name, kinds, style in groups:
        for reason, each in sorted(kinds.items(), key=lambda item: -item[1].count)[:_MOST_LINES]:
            share = percent(each.count / found.rows)
            table.add_row(Text(f"{name}: {plain_text(reason)}", style), f"{each.count:,}", share, _plain(each.first))
    console.print(table)


def _fields(console: Console, found: Report) -> None:
    messages = max(found.filled.values(), default=0)
    parts = [f"{name} {percent(n / messages) if messages else '–'}" for name, n in found.filled.items()]
    console.print(Text("fields filled: " + " · ".join(parts)))
    if found.missing_fields:
        console.print(Text(f"nothing fills: {', '.join(found.missing_fields)} (see --map)", style="bold red"))


def _days(console: Console, found: Report) -> None:
    if not found.days:
        return
    most = max(found.days.values())
    console.print(Text(f"rows by day, {found.first_day} to {found.last_day}, at most {most:,} a day"))
    console.print(Text(f"  {found.days_spark}", style="cyan"))
    if found.gaps:
        first, last, days = max(found.gaps, key=lambda gap: gap[2])
        length = f"{days:,} days" if days > 1 else "a day"
        said = f"{found.empty_days:,} days have no row; longest gap {first} to {last}, {length}"
        console.print(Text(f"  {said}"))


def _facts(console: Console, found: Report) -> None:
    watched = (
        "" if found.duplicates_watched == 1 else f" (estimated from {percent(found.duplicates_watched)} of the ids)"
    )
    first = f"; first: {_plain(found.duplicates_first)}" if found.duplicates else ""
    console.print(Text(f"duplicates: {found.duplicates:,}{watched}{first}"))
    if found.unresolved_share is None:
        console.print(Text(f"people: not looked up, since {found.directory}"))
    else:
        known = percent(1 - found.unresolved_share)
        console.print(Text(f"people: {known} of {found.people_rows:,} rows are of somebody in {found.directory}"))
        if found.unresolved_names:
            names = ", ".join(f"{_plain(name)} ({n:,})" for name, n in found.unresolved_names.items())
            console.print(Text(f"  unknown, most frequent first: {names}"))
    if found.topic == "transactions":
        for name, kinds in (("currencies", found.currencies), ("statuses", found.statuses)):
            console.print(Text(f"{name}: " + ", ".join(f"{_plain(each)} {n:,}" for each, n in kinds.items())))
        sums = ", ".join(f"{total} {_plain(name)}" for name, total in found.approved.items())
        console.print(Text(f"approved in all: {sums or 'nothing'}"))


def _plain(text: str) -> str:
    return plain_text(text)[:160]
