"""Owns `orgpulse model`: check, show and compare health models before they go live.

Invariant: nothing is changed anywhere; check, show and diff need neither Kafka nor Redis.
"""

from __future__ import annotations

import json
from dataclasses import asdict, fields

import click
from rich.console import Console
from rich.table import Table

from agents.cli_errors import EXIT_FAILED
from agents.cli_model_compare import compare
from agents.cli_model_simulate import simulate
from state.health import Attribute, Model
from state.measures import Measure
from state.model_diff import Difference, differences, named_fields, needs_rebuild, share
from state.model_review import Remark, highest_score, review
from streams.model_file import headings_of, line_of, line_of_attribute, load_model, model_in, text_of
from streams.settings import Settings

_WIDTH = 150  # of a table that goes into a file or a pipe
_NO_LIMIT = 2**63 - 1

_EPILOG = """\b
Examples:
  orgpulse model check my-health.toml
  orgpulse model show
  orgpulse model diff my-health.toml
  orgpulse model simulate my-health.toml
"""


@click.group(epilog=_EPILOG)
def model() -> None:
    """Check, show and compare health models before they go live.

    A health model is one TOML file: what is counted (measures), what it is worth (attributes, weights 1-5) and
    where the bands lie. Without FILE the one in use is meant: [model] file, else the shipped health.toml.
    """


model.add_command(simulate)
model.add_command(compare)


@model.command()
@click.argument("file", type=click.Path(), required=False)
@click.option("--strict", is_flag=True, help="Exit with 1 if there is a warning.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def check(settings: Settings, file: str | None, strict: bool, as_json: bool) -> None:
    """Check a health model: what is wrong, and what was hardly meant.

    A mistake is told with its line and ends with exit code 2: a worker would not start with this file. Warnings are
    about what can't work as it stands (weight that never counts, an attribute that is the same for everybody);
    notes may well be meant so.
    """
    path = file or settings.model.file
    text = text_of(path)
    found = model_in(path, text)
    remarks = review(found)
    lines = {remark: _line(text, remark) for remark in remarks}
    if as_json:
        said = [asdict(remark) | {"line": lines[remark]} for remark in remarks]
        click.echo(json.dumps({"file": path or "health.toml", "right": True, "remarks": said}))
    else:
        for level in ("warning", "note"):
            for remark in remarks:
                if remark.level == level:
                    click.echo(f"{path or 'health.toml'}:{lines[remark]}: {level}: {remark.where}: {remark.text}")
        click.echo(verdict(found, remarks))
    if strict and any(remark.level == "warning" for remark in remarks):
        raise click.exceptions.Exit(EXIT_FAILED)


@model.command()
@click.argument("file", type=click.Path(), required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def show(settings: Settings, file: str | None, as_json: bool) -> None:
    """Show a health model as a table: attributes with weight, share, kind, measures and default cut points.

    Under it stand the measures that are kept by hour of the week.
    """
    path = file or settings.model.file
    text = text_of(path)
    found = model_in(path, text)
    headings = headings_of(text, [a.name for a in found.attributes])
    if as_json:
        click.echo(json.dumps(_document(found, headings)))
        return
    console = Console(highlight=False)
    bands = found.bands
    console.print(f"{path or 'health.toml'}: {len(found.attributes)} attributes", style="bold", markup=False)
    console.print(
        f"healthy from {bands.healthy / 100:g} %, at risk below {bands.at_risk / 100:g} %, a band is left only"
        f" {bands.hysteresis / 100:g} beyond its edge",
        soft_wrap=True,
    )
    console.print(_population(found), soft_wrap=True, markup=False)
    Console(highlight=False, width=None if console.is_terminal else _WIDTH).print(_table(found, headings))
    for measure in found.catalogue.measures:
        if measure.hours:
            console.print(f"by hour of the week: {measure.name}, {_hours(measure)}", soft_wrap=True, markup=False)


@model.command()
@click.argument("old", type=click.Path())
@click.argument("new", type=click.Path(), required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def diff(settings: Settings, old: str, new: str | None, as_json: bool) -> None:
    """Say in words what differs between the models OLD and NEW.

    With one file only, OLD is the model in use and that file is NEW. Exits with 0 also if they differ; what the
    change does to scores says `orgpulse model simulate`.
    """
    before, after = (load_model(settings.model.file), load_model(old)) if new is None else map(load_model, (old, new))
    found, rebuild = differences(before, after), needs_rebuild(before, after)
    if as_json:
        click.echo(json.dumps({"differences": [asdict(each) for each in found], "needs_rebuild": rebuild}))
        return
    for line in told(found):
        click.echo(line)
    if rebuild:
        click.echo("The measures differ: workers can't start with the new model before `orgpulse rebuild`.")
    elif any(each.part == "measure" for each in found):
        click.echo(
            "New activities count differently from the workers' next start on; for past ones: `orgpulse rebuild`."
        )
    elif found:
        click.echo("The measures are the same: a start of all workers with the new model is enough.")


def verdict(found: Model, remarks: list[Remark]) -> str:
    """Return the last line of a check."""
    warnings = sum(remark.level == "warning" for remark in remarks)
    notes = len(remarks) - warnings
    counts = [f"{n} {word}{'' if n == 1 else 's'}" for n, word in ((warnings, "warning"), (notes, "note")) if n]
    total = sum(a.weight for a in found.attributes)
    return (
        f"The model is right: {len(found.attributes)} attributes, total weight {total},"
        f" highest possible score {highest_score(found) / 100:.2f} %; {' and '.join(counts) or 'no warnings'}."
    )


def told(found: list[Difference]) -> list[str]:
    """Return differences as lines, by part.

    >>> told([])
    ['The models are the same.']
    """
    if not found:
        return ["The models are the same."]
    lines = []
    for part in ("attribute", "weight", "bands", "population", "measure"):
        for each in found:
            if each.part == part:
                lines.append(f"{part} {each.name}: {each.text}" if each.name else each.text)
    return lines


def _line(text: str, remark: Remark) -> int:
    named = line_of_attribute(text, remark.where)
    return named if named > 1 else line_of(text, remark.where)


def _table(found: Model, headings: dict[str, str]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("attribute", no_wrap=True)
    for head in ("weight", "share"):
        table.add_column(head, justify="right", no_wrap=True)
    for head in ("kind", "measures", "without data", "default cut points"):
        table.add_column(head)
    former = ""
    for a in found.attributes:
        if headings[a.name] != former:
            former = headings[a.name]
            weight = sum(b.weight for b in found.attributes if headings[b.name] == former)
            total = sum(b.weight for b in found.attributes)
            table.add_row(former, str(weight), f"{weight * 100 / total:.1f} %", style="bold")
        named = named_fields(found, a)
        measures = ", ".join(named["measures"]) + (f" against {', '.join(named['against'])}" if a.against else "")
        table.add_row(a.name, str(a.weight), share(found, a), a.kind, measures, a.missing, _cuts(a))
    return table


def _population(found: Model) -> str:
    """Return in words who is ranked among whom."""
    peers = found.population.peers.replace("_", " ")
    among = f"users of the same {peers}" if peers else "everybody"
    without = ", ".join(found.population.without)
    return f"ranked among {among}" + (f"; neither deciles nor totals count orgs of type {without}" if without else "")


def _hours(measure: Measure) -> str:
    """Return in words what is kept of *measure* by hour of the week."""
    if measure.since:
        return f"how often and how long, from `{measure.since}` to the event's time, where it began"
    if measure.duration:
        return f"how often and how long, by the event's quantity in {measure.duration}, where it began"
    return f"how often, at `{measure.time}`" if measure.time else "how often"


def _cuts(attribute: Attribute) -> str:
    if not attribute.cuts:
        return "as it is"
    return " ".join("∞" if cut == _NO_LIMIT else str(cut) for cut in attribute.cuts)


def _document(found: Model, headings: dict[str, str]) -> dict[str, object]:
    total = sum(a.weight for a in found.attributes)
    attributes = [
        named_fields(found, a) | {"share": round(a.weight / total, 6), "group": headings[a.name]}
        for a in found.attributes
    ]
    return {
        "bands": {f.name: getattr(found.bands, f.name) / 100 for f in fields(found.bands)},
        "population": asdict(found.population),
        "total_weight": total,
        "attributes": attributes,
        "measures": [asdict(m) for m in found.catalogue.measures],
    }
