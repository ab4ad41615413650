"""Owns `orgpulse compare`: how a backfill's weeks differ from what was published, and why.

Invariant: exits 0 only if nothing differs; a namespace that is not finished is refused.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from dataclasses import dataclass
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from agents.backfill_reach import weeks_between
from agents.cli_errors import EXIT_FAILED, ToldError
from agents.cli_progress import progress
from agents.compare_evidence import Span, evidence_of
from agents.compare_scores import ScoresCompared, compare_scores
from agents.week_documents import WeekDocuments, week_documents
from reports.backfill_causes import Explain
from reports.backfill_rows import Compared, RowDifference, compare_rows, number
from reports.backfill_side import MEANINGS, UNEXPLAINED, Explained
from state.health import Model
from state.model_diff import differences as model_differences
from state.week import week_end_ms, week_label, week_number
from streams.clock import Clock, WallClock
from streams.generation import with_generation
from streams.model_file import load_model, model_in
from streams.namespace import Backfill, backfill_of, names_of, namespace_of
from streams.settings import Settings, override

_PATIENCE_SECONDS = 5.0
_FIRST_ZONE, _LAST_ZONE = "Etc/GMT-14", "Etc/GMT+12"


@dataclass(slots=True)
class Outcome:
    """What a comparison found."""

    record: Backfill
    weeks: tuple[str, str]
    rows: Compared
    explained: Explained
    scores: ScoresCompared


@click.command()
@click.argument("name")
@click.option("--from", "first", metavar="WEEK", help="First ISO week; the backfill's own when left out.")
@click.option("--to", "last", metavar="WEEK", help="Last one.")
@click.option("--org", help="Only this org and its users.")
@click.option("--top", type=click.IntRange(0, 1000), default=10, show_default=True, help="Largest differences to show.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with every difference.")
@click.pass_obj
def compare(
    settings: Settings, name: str, first: str | None, last: str | None, org: str | None, top: int, as_json: bool
) -> None:
    """Compare the weeks of the backfill NAME with those that were published, and say why they differ.

    Causes are told from what both sides' logs, dead letters, directories, models and cut points say; what none of them
    explains is called unexplained. "here" is the backfill, "there" what was published. Exits with 1 if anything
    differs, else with 0.

    \b
    Examples:
      orgpulse compare check
      orgpulse compare check --org acme --from 2026-W41 --to 2026-W41
      orgpulse compare check --json | jq .causes
    """
    live = with_generation(settings, patience_seconds=_PATIENCE_SECONDS)
    found = _compare(live, name, first, last, org, WallClock())
    if as_json:
        click.echo(json.dumps(_as_json(found), indent=2))
    else:
        _show(found, top)
    if found.rows.differences or found.scores.different:
        sys.exit(EXIT_FAILED)


def _compare(live: Settings, name: str, first: str | None, last: str | None, org: str | None, clock: Clock) -> Outcome:
    space = namespace_of(live, name)
    record = asyncio.run(backfill_of(space))
    if record is None:
        known = ", ".join(asyncio.run(names_of(live))) or "none"
        raise ToldError(f'there is no backfill "{name}"', f"There are: {known}. `orgpulse backfill {name} --from …`")
    if record.state != "done":
        raise ToldError(
            f'the backfill "{name}" is not finished',
            f"Wait for its end, or run the same `orgpulse backfill {name} --from …` again: it begins anew.",
        )
    weeks = _weeks(record, first, last, int(clock.now() * 1000))
    here, there = (asyncio.run(week_documents(side, *weeks)) for side in (space, live))
    for side in (here, there):
        side.rows = {key: row for key, row in side.rows.items() if org in (None, row["org"])}
    mine, theirs = model_in(f"the model of {name}", record.model), load_model(live.model.file)
    rows = compare_rows(here.rows, there.rows, mine.digest != theirs.digest)
    explained = Explained()
    if rows.differences:
        explained = _explain(rows, live, _as_computed(space, record), (mine, theirs), there, weeks, clock)
    scores = asyncio.run(compare_scores(space, live, weeks[1], org))
    by_org: dict[str, list[str]] = {}
    for each in rows.differences:
        by_org.setdefault(each.org, []).extend(each.causes)
    for subject in scores.different:
        causes = by_org.get(subject.partition(":")[2].partition("/")[0], [UNEXPLAINED])
        scores.causes[subject] = list(dict.fromkeys(causes))
    return Outcome(record, weeks, rows, explained, scores)


def _as_computed(space: Settings, record: Backfill) -> Settings:
    """Return the settings that the namespace was computed with, as far as a look at its log depends on them."""
    return override(space, {"time.allowed_lateness_hours": record.lateness_hours})


def _weeks(record: Backfill, first: str | None, last: str | None, now_ms: int) -> tuple[str, str]:
    """Return the weeks to compare.

    Raises:
        ToldError: If the backfill has not all of them.
    """
    numbers = weeks_between(first or record.first_week, last or record.last_week, now_ms)
    labels = week_label(numbers[0]), week_label(numbers[1])
    if labels[0] < record.first_week or labels[1] > record.last_week:
        raise ToldError(
            f"the backfill {record.name} is of {record.first_week} to {record.last_week}",
            "Weeks before it are incomplete there. Choose among its own, or compute another one.",
        )
    return labels


def _explain(
    rows: Compared, live: Settings, space: Settings, models: tuple[Model, Model], there: WeekDocuments,
    weeks: tuple[str, str], clock: Clock,
) -> Explained:  # fmt: skip
    """Fill in the causes."""
    orgs = {each.org for each in rows.differences}
    from_ms = week_end_ms(week_number(weeks[0]) - 1, _FIRST_ZONE)
    until_ms = week_end_ms(week_number(weeks[1]), _LAST_ZONE)

    def span(side: str) -> Span:
        named = {row["calibration"] for each in rows.differences if (row := getattr(each, side)) is not None}
        return Span(orgs, from_ms, until_ms, {number for number in named if number is not None})

    with progress("records of the backfill's log read") as tell:
        ours = asyncio.run(evidence_of(space, models[0], span("here"), clock, tell))
    with progress("records of the live log read") as tell:
        theirs = asyncio.run(evidence_of(live, models[1], span("there"), clock, tell))
    words = [f"{each.name} {each.text}".strip() for each in model_differences(models[1], models[0])]
    return Explain(ours, theirs, there.told_ms, words).explain(rows)


def _show(found: Outcome, top: int) -> None:
    console, rows = Console(highlight=False), found.rows
    console.print(
        f"{found.record.name}, {found.weeks[0]} to {found.weeks[1]}: {rows.equal} rows are equal, "
        f"{len(rows.differences)} differ."
    )
    if rows.differences:
        console.print(_fields_table(rows))
        console.print(_causes_table(found))
        if found.explained.days:
            console.print(_days_table(found))
        if top:
            console.print(_largest_table(rows, top))
    _say_gaps(console, found)
    scores = found.scores
    if scores.equal or scores.different:
        rest = f"; {scores.other_hours} are as of other hours or by other cut points" if scores.other_hours else ""
        console.print(f"Scores as of the same hour: {scores.equal} are equal, {len(scores.different)} differ{rest}.")
    elif scores.other_hours:
        console.print(f"Scores ({scores.other_hours}) are as of other hours than the backfill's: not compared.")


def _say_gaps(console: Console, found: Outcome) -> None:
    """Say what the backfill could not have."""
    record = found.record
    for source, gone in record.gone.items():
        console.print(f"The first {gone} messages of {source} were gone when the backfill was computed.")
    if record.lost_cut_points:
        text = ", ".join(map(str, record.lost_cut_points))
        console.print(
            f"Cut points of the generations {text} are known no more: their weeks were closed by earlier ones."
        )
    if record.late:
        console.print(f"{record.late} events were late even in the backfill (dedupe.max_ids).")


def _fields_table(rows: Compared) -> Table:
    table = Table("field", "equal", "different", "only here", "only there", title="Fields")
    for name, counts in rows.by_field.items():
        table.add_row(name, *(str(counts[kind]) for kind in ("equal", "different", "only here", "only there")))
    return table


def _causes_table(found: Outcome) -> Table:
    table = Table("cause", "rows", "events", "what it means", title="Causes")
    for cause, meaning in MEANINGS.items():
        if found.explained.rows[cause]:
            events = found.explained.events[cause]
            table.add_row(cause, str(found.explained.rows[cause]), str(events) if events else "", meaning)
    return table


def _days_table(found: Outcome) -> Table:
    table = Table("cause", "source", "day (UTC)", "events", title="Missing messages")
    for (cause, source, day), count in sorted(found.explained.days.items()):
        table.add_row(cause, source, day, str(count))
    return table


def _largest_table(rows: Compared, top: int) -> Table:
    table = Table(
        "subject", "week", "score here", "there", "activities here", "there", "why", title="Largest differences"
    )
    for each in sorted(rows.differences, key=lambda each: (-each.size, each.key))[:top]:
        figures = [
            "" if row is None else f"{number(row, name):g}"
            for name in ("score", "activities")
            for row in (each.here, each.there)
        ]
        table.add_row(str(each.row["subject"]), each.week, *figures, "\n".join(each.why))
    return table


def _as_json(found: Outcome) -> dict[str, Any]:
    rows, explained, scores = found.rows, found.explained, found.scores
    return {
        "name": found.record.name,
        "weeks": list(found.weeks),
        "equal": rows.equal,
        "different": len(rows.differences),
        "fields": {name: dict(counts) for name, counts in rows.by_field.items()},
        "causes": {
            cause: {"rows": count, "events": explained.events[cause], "meaning": MEANINGS[cause]}
            for cause, count in sorted(explained.rows.items(), key=lambda item: list(MEANINGS).index(item[0]))
        },
        "missing": [
            {"cause": cause, "source": source, "day": day, "events": count}
            for (cause, source, day), count in sorted(explained.days.items())
        ],
        "differences": [_difference_as_json(each) for each in sorted(rows.differences, key=lambda each: -each.size)],
        "gone": found.record.gone,
        "lost_cut_points": found.record.lost_cut_points,
        "scores": {
            "equal": scores.equal,
            "different": {
                subject: {"fields": fields, "causes": scores.causes[subject]}
                for subject, fields in scores.different.items()
            },
            "only": dict(Counter(scores.only)),
            "as_of_other_hours": scores.other_hours,
        },
    }


def _difference_as_json(each: RowDifference) -> dict[str, Any]:
    kind = "only there" if each.here is None else "only here" if each.there is None else "different"
    fields = {name: {"here": mine, "there": other} for name, (mine, other) in each.fields.items()}
    return {
        "subject": each.row["subject"], "week": each.week, "kind": kind, "causes": each.causes, "why": each.why,
        "fields": fields,
    }  # fmt: skip
