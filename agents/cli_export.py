"""The command `orgpulse export`: history out of Kafka, as files that any tool reads.

Invariant: it only reads what is committed; the last word on a subject or week is exported, records that can't be read
are counted and named, and a file is all of the export or what it was before.
"""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from agents.cli_errors import EXIT_USAGE, ToldError
from agents.cli_progress import progress
from agents.read_topic import records_of
from streams.settings import Settings
from streams.topic_specs import topic_names


@dataclass
class _Found:
    """Records of a topic that are wanted: (week, org, user, place in the log) and the value."""

    rows: list[tuple[tuple[int, str, str, int, int], bytes]] = field(default_factory=list)
    unreadable: int = 0
    first: str = ""

    def refuse(self, place: str, why: str) -> None:
        self.unreadable += 1
        self.first = self.first or f"{place}: {why}"


@click.command("export")
@click.argument("what", type=click.Choice(["weeks", "scores", "alerts"]))
@click.option("--from", "first", metavar="WEEK", help="First week, as 2026-W05 or a day in it. Default: all there is.")
@click.option("--to", "last", metavar="WEEK", help="Last week, included.")
@click.option("--org", "orgs", multiple=True, help="Only this org and its users; may be repeated.")
@click.option("--subject", "kind", type=click.Choice(["org", "user"]), help="Only orgs, or only users.")
@click.option("--state", "states", multiple=True, type=click.Choice(["provisional", "final", "restated"]),
              help="Only weeks in this state; may be repeated.")  # fmt: skip
@click.option("--format", "form", type=click.Choice(["parquet", "csv", "jsonl"]), default="parquet", show_default=True)
@click.option(
    "--out", required=True, type=click.Path(path_type=Path), help="File (with --by-week a folder); - = stdout."
)
@click.option("--by-week", is_flag=True, help="One Parquet file a week, in folders week=2026-W05.")
@click.option("--wide", is_flag=True, help="A column for each attribute and measure, where there is a map of them.")
@click.pass_obj
def export(
    settings: Settings, what: str, first: str | None, last: str | None, orgs: tuple[str, ...], kind: str | None,
    states: tuple[str, ...], form: str, out: Path, by_week: bool, wide: bool,
) -> None:  # fmt: skip
    """Write WEEKS, SCORES or ALERTS from Kafka to a file.

    Weeks are rows of a subject and a calendar week (ISO), in the state they are in now; scores are the last ones of
    each subject, by the week that their window ends in; alerts are records, by the week their episode began in.

    \b
    Examples:
      orgpulse export weeks --from 2026-W01 --to 2026-W13 --out weeks.parquet
      orgpulse export weeks --by-week --out history/
      orgpulse export scores --org acme --format jsonl --out - | jq .score
      orgpulse export alerts --format csv --out alerts.csv
    """
    from reports.export_rows import Span

    to_stdout = str(out) == "-"
    if to_stdout and (form == "parquet" or by_week):
        raise click.UsageError("Parquet can't go to standard output: name a file, or take --format csv or jsonl")
    if by_week and form != "parquet":
        raise click.UsageError("--by-week writes Parquet only")
    if what != "weeks" and (wide or states):
        raise click.UsageError("--wide and --state are for weeks")
    span = Span(_week(first, "--from"), _week(last, "--to"))
    if span.first is not None and span.last is not None and span.first > span.last:
        raise click.UsageError("--from is after --to")
    found = asyncio.run(_read(settings, what, span, set(orgs), kind))
    found.rows.sort(key=lambda row: row[0])
    try:
        said = _write(found, what, span, set(states), form, out, by_week, wide)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise ToldError(f"{error.filename or out} can't be written: {error.strerror}", "Name another --out") from error
    click.echo(said, err=True)
    if found.unreadable:
        raise ToldError(
            f"{found.unreadable:,} records of {what} can't be read and are not in the export (first: {found.first})",
            "Were they written by another version of orgpulse, or by something else?",
        )


def _week(text: str | None, option: str) -> int | None:
    from reports.export_rows import parse_week

    try:
        return None if text is None else parse_week(text.strip())
    except ValueError:
        raise ToldError(
            f'{option}: "{text}" is no week', "Write 2026-W05, or a day as 2026-01-31", EXIT_USAGE
        ) from None


async def _read(settings: Settings, what: str, span: Any, orgs: set[str], kind: str | None) -> _Found:
    """Return what is wanted of a topic; of compacted ones the last value of each key."""
    from reports.export_rows import NotReadableError, alert_row, score_row, subject_of, week_in_key
    from state.week import week_number

    topic = getattr(topic_names(settings), what)
    found, latest = _Found(), dict[Any, tuple[int, int, bytes]]()

    def is_wanted(org: str, user: str) -> bool:
        return (not orgs or org in orgs) and (kind is None or (kind == "user") == bool(user))

    with progress(f"records of {topic} read") as told:
        async for tp, record in records_of(settings.kafka, topic, told):
            key = record.key or b""
            subject = key.rpartition(b"|")[0] if what == "weeks" else key
            org, user = (key.decode("utf-8", "replace"), "") if what == "alerts" else subject_of(subject)
            if not is_wanted(org, user):
                continue
            if what == "alerts":
                latest[tp.partition, record.offset] = tp.partition, record.offset, record.value
                continue
            week = week_in_key(key) if what == "weeks" else None
            if what == "weeks" and week is None:
                found.refuse(f"{tp.partition}:{record.offset}", "its key names no week")
            elif record.value is None:
                latest.pop((tp.partition, key), None)
            elif week is None or span.holds(week):
                latest[tp.partition, key] = tp.partition, record.offset, record.value
    for (_, key), (partition, offset, value) in latest.items():
        try:
            if what == "weeks":
                org, user = subject_of(key.rpartition(b"|")[0])
                week = week_in_key(key) or 0
            else:
                row = alert_row(value, partition, offset) if what == "alerts" else score_row(value)
                week, org, user = week_number(row["week"]), row["org"], row.get("user") or ""
            if span.holds(week):
                found.rows.append(((week, org, user, partition, offset), value))
        except NotReadableError as error:
            found.refuse(f"{partition}:{offset}", str(error))
    return found


def _write(
    found: _Found, what: str, span: Any, states: set[str], form: str, out: Path, by_week: bool, wide: bool
) -> str:
    """Write the export and return what to say of it."""
    from reports import export_rows as rows_of
    from reports.export_files import write_by_week, write_file, write_stream
    from state.week import week_number

    schema = {"weeks": rows_of.WEEKS, "scores": rows_of.SCORES, "alerts": rows_of.ALERTS}[what]
    counts: Counter[str] = Counter()
    rows = _rows(found, what, states, counts)
    if wide:
        names: dict[str, set[str]] = {name: set() for name in rows_of.WIDE}
        for row in _rows(_Found(found.rows), what, states, Counter()):
            for name, parts in names.items():
                parts.update(row[name] or ())
        schema = rows_of.widened(schema, names)
        rows = map(rows_of.wide_row, rows)
    if by_week:
        count, weeks = write_by_week(rows, schema, out, lambda week: _is_meant(span, week, week_number))
        said = f"{count:,} {what} in {weeks:,} weeks written to {out}"
    elif str(out) == "-":
        said = f"{write_stream(rows, schema, form, sys.stdout.buffer):,} {what}"
    else:
        said = f"{write_file(rows, schema, form, out):,} {what} written to {out}"
    kinds = ", ".join(f"{number:,} {state}" for state, number in sorted(counts.items()))
    return f"{said} ({kinds})" if kinds else said


def _is_meant(span: Any, week: str, number_of: Callable[[str], int]) -> bool:
    try:
        return bool(span.holds(number_of(week)))
    except ValueError:
        return False


def _rows(found: _Found, what: str, states: set[str], counts: Counter[str]) -> Iterator[dict[str, Any]]:
    """Yield the rows, and count what states or kinds they have."""
    from reports.export_rows import NotReadableError, alert_row, score_row, week_row

    for (_, _, _, partition, offset), value in found.rows:
        try:
            row = (
                week_row(value) if what == "weeks"
                else score_row(value) if what == "scores"
                else alert_row(value, partition, offset)
            )  # fmt: skip
        except NotReadableError as error:
            found.refuse(f"{partition}:{offset}", str(error))
            continue
        if states and row["state"] not in states:
            continue
        counts[str(row[{"weeks": "state", "scores": "band", "alerts": "kind"}[what]])] += 1
        yield row
