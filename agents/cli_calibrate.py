"""Owns `orgpulse calibrate`: which score tells that an org is about to leave.

Invariant: it reads `weeks` and the file only; with --write it changes one line of the health model, and nothing else.
"""

from __future__ import annotations

import asyncio
import csv
import json
import math
import re
from datetime import date
from importlib.resources import files
from pathlib import Path
from typing import Any

import click
import numpy as np
import orjson
from rich.console import Console
from rich.table import Table

from agents.cli_errors import EXIT_USAGE, ToldError
from reports.whole_file import put
from state.calibrate import RESAMPLINGS, Costs, Figure, Row, backtest, cases_of, judged, proposed, too_little
from state.week import week_number, week_of_day
from streams.log_state import content_of
from streams.model_file import model_in
from streams.settings import Settings
from streams.topic_specs import topic_names

THRESHOLDS = tuple(range(200, 9_600, 100))
"""Candidates, basis points."""
SEED = 20_240_101
_SHOWN = 12
_AT_RISK = re.compile(r"^(at_risk\s*=\s*)[0-9.]+", re.MULTILINE)
History = dict[str, dict[int, int]]


@click.command()
@click.argument("churn", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--horizon-weeks", type=click.IntRange(1, 52), default=8, show_default=True,
              help="How long before it left an org should have been alerted.")  # fmt: skip
@click.option("--cost-miss", type=click.FloatRange(0), default=5.0, show_default=True,
              help="What a week without an alert before somebody leaves costs …")  # fmt: skip
@click.option("--cost-false", type=click.FloatRange(0), default=1.0, show_default=True,
              help="… against a week with an alert of somebody who stays.")  # fmt: skip
@click.option("--until", metavar="WEEK", help="Look at nothing after this week, such as 2026-W30.")
@click.option("--write", is_flag=True, help="Set `at_risk` of the health model ([model] file) to the proposal.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON; what can't be said is null.")
@click.pass_obj
def calibrate(
    settings: Settings, churn: Path, horizon_weeks: int, cost_miss: float, cost_false: float, until: str | None,
    write: bool, as_json: bool,
) -> None:  # fmt: skip
    """Find the score below which orgs leave, from the weekly history and CHURN, a CSV of who left when.

    CHURN has the columns org_id and left_on (a date, as 2026-03-31). Every closed week of every org is one case; it
    is positive if the org left within the horizon. Weeks whose horizon is not over are left out. Intervals (90 %)
    come from resampling orgs. The backtest chooses the threshold each week from what was known then.

    \b
    Examples:
      orgpulse calibrate left.csv
      orgpulse calibrate left.csv --cost-miss 20 --write
    """
    last = None if until is None else _week_number(until)
    left, costs = read_churn(churn), Costs(cost_miss, cost_false)
    history = asyncio.run(read_history(settings))
    known = {org for org, weeks in history.items() if last is None or min(weeks) <= last}
    gone = {org for org, week in left.items() if last is None or week <= last}
    cases = cases_of(history, left, horizon_weeks, last)
    area, rows = judged(cases, THRESHOLDS, costs, SEED)
    best = proposed(cases, rows)
    tried, alerts = backtest(cases, horizon_weeks, THRESHOLDS, costs)
    found: dict[str, Any] = {
        "orgs": len(known), "cases": len(cases), "positives": int(cases.left.sum()),
        "orgs_left": cases.orgs(left=True), "not_in_history": sorted(gone - known),
        "auc": _shown_figure(area), "thresholds": [_shown_row(row) for row in rows],
        "proposed": None if best is None else best.threshold / 100, "why_not": too_little(cases),
        "backtest": {
            "cases": len(tried), "alerts": int(alerts.sum()),
            "precision": _ratio(int((alerts & tried.left).sum()), int(alerts.sum())),
            "recall": _ratio(int((alerts & tried.left).sum()), int(tried.left.sum())),
        },
    }  # fmt: skip
    click.echo(json.dumps(found)) if as_json else _print(found, rows, best)
    if write:
        click.echo(_write(settings, best, too_little(cases)), err=as_json)


def read_churn(path: Path) -> dict[str, int]:
    """Return org → the week (UTC) in which it left.

    Raises:
        ToldError: If a line can't be used.
    """
    remedy = "It needs a first line `org_id,left_on`, then for example `acme,2026-03-31`"
    found: dict[str, int] = {}
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        if not {"org_id", "left_on"} <= set(reader.fieldnames or ()):
            raise ToldError(f"{path}:1: the columns are {reader.fieldnames}", remedy, EXIT_USAGE)
        for row in reader:
            org = (row["org_id"] or "").strip()
            try:
                day = date.fromisoformat((row["left_on"] or "").strip())
            except ValueError:
                said = f'{path}:{reader.line_num}: "{row["left_on"]}" is no date'
                raise ToldError(said, remedy, EXIT_USAGE) from None
            if not org or org in found:
                said = f"{path}:{reader.line_num}: " + (f'"{org}" stands twice' if org else "no org_id")
                raise ToldError(said, remedy, EXIT_USAGE)
            found[org] = week_of_day(day)
    return found


async def read_history(settings: Settings) -> History:
    """Return org → week → closing score (basis points), from the topic `weeks`."""
    found: History = {}
    for content in await content_of(settings.kafka, topic_names(settings).weeks):
        for raw in content.values():
            row = orjson.loads(raw)
            if not row["user"] and row["score"] is not None and row["state"] != "provisional":
                score = round(float(row["score"]) * 100)
                found.setdefault(row["org"], {})[week_number(row["week"])] = score
    return found


def _week_number(label: str) -> int:
    """Return the number of an ISO week such as 2026-W30."""
    try:
        return week_number(label)
    except ValueError:
        raise ToldError(f'"{label}" is no week', "Weeks are written as 2026-W30", EXIT_USAGE) from None


def _write(settings: Settings, best: Row | None, why_not: str) -> str:
    """Set the proposal in the model's file, at once and in place; return what was done."""
    path = settings.model.file
    if best is None:
        raise ToldError(f"nothing to write: {why_not}", "The file stays as it is")
    if not path:
        raise ToldError(
            "the shipped health model is in use, and an update of orgpulse would undo a change of it",
            f"cp {files('state') / 'health.toml'} my.toml, then set `file = 'my.toml'` in section [model]",
        )  # fmt: skip
    file = Path(path)
    text = file.read_text("utf-8")
    changed, count = _AT_RISK.subn(rf"\g<1>{best.threshold / 100:.1f}", text)
    if count != 1:
        raise ToldError(f"{path}: has {count} lines `at_risk = …`", "Set it by hand, in section [bands]")
    model_in(path, changed)  # refuses what would stop the workers' start, with the line
    put(file, changed.encode())
    return f"{path}: at_risk = {best.threshold / 100:.1f}; restart the workers to use it"


def _print(found: dict[str, Any], rows: list[Row], best: Row | None) -> None:
    console = Console(highlight=False)
    console.print(
        f"{found['cases']:,} weeks of {found['orgs']:,} orgs, {found['positives']:,} of them before one of "
        f"{found['orgs_left']:,} orgs left; intervals: 90 %, {RESAMPLINGS} resamplings of orgs"
    )
    if found["not_in_history"]:
        missing = found["not_in_history"]
        console.print(f"{len(missing)} orgs that left have no weeks: {', '.join(missing[:5])}", style="yellow")
    area = found["auc"]
    console.print(f"AUC {_text(area)}   (1 = low scores tell exactly who leaves, 0.5 = they tell nothing)")
    table = Table(box=None, pad_edge=False)
    for heading in ("below", "alerts", "precision", "recall", "lift", "cost"):
        table.add_column(heading, justify="right")
    shown = _worth_showing(rows, best)
    for row in shown:
        style = "bold green" if row is best else ""
        figures = (_text(_shown_figure(one)) for one in (row.precision, row.recall, row.lift))
        table.add_row(f"{row.threshold / 100:.0f}", f"{row.alerts:,}", *figures, f"{row.cost:.3f}", style=style)
    console.print(table)
    if best is None:
        console.print(f"no proposal: {found['why_not']}", style="yellow")
    else:
        console.print(f"proposed: at_risk = {best.threshold / 100:.1f} (least cost)", style="bold")
    past = found["backtest"]
    if past["cases"]:
        precision, recall = (("–" if past[n] is None else f"{past[n]:.2f}") for n in ("precision", "recall"))
        console.print(
            f"backtest, each week with what was known then: {past['alerts']:,} alerts in {past['cases']:,} "
            f"org-weeks, precision {precision}, recall {recall}"
        )


def _worth_showing(rows: list[Row], best: Row | None) -> list[Row]:
    """Return some of the rows, evenly, from the first that alerts to the first that alerts everybody."""
    counts = [row.alerts for row in rows]
    useful = [row for at, row in enumerate(rows) if row.alerts and (at == 0 or counts[at] != counts[at - 1])]
    places = np.unique(np.linspace(0, len(useful) - 1, min(_SHOWN, len(useful))).round().astype(int)).tolist()
    shown = [useful[at] for at in places]
    return sorted({*shown, *([best] if best else [])}, key=lambda row: row.threshold)


def _shown_row(row: Row) -> dict[str, Any]:
    figures = {name: _shown_figure(getattr(row, name)) for name in ("precision", "recall", "lift")}
    return {"below": row.threshold / 100, "alerts": row.alerts, **figures, "cost": row.cost}


def _shown_figure(found: Figure) -> list[float] | None:
    values = [found.value, found.low, found.high]
    return None if any(map(math.isnan, values)) else values


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _text(found: list[float] | None) -> str:
    return "–" if found is None else f"{found[0]:.2f} ({found[1]:.2f}–{found[2]:.2f})"
