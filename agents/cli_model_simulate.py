"""Owns `orgpulse model simulate`: what another model would do to every score, before it goes live.

Invariant: it only reads, and says what it can't know from what was counted so far.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from agents.cli_errors import EXIT_USAGE, ToldError
from agents.cli_progress import progress
from agents.documents import percent
from state.health import BAND_NAMES, Model
from state.week import iso_time
from state.what_if import Comparison, Group, Moved, Scored, compare, largest, scored, translated
from streams.generation import with_generation
from streams.model_file import load_model
from streams.settings import Settings

_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
_TOP_ATTRIBUTES = 10
_WIDTH = 150  # of a table that goes into a file or a pipe


@click.command()
@click.argument("new", type=click.Path())
@click.option("--old", type=click.Path(), help="Compare with this model instead of the one in use.")
@click.option("--org", "orgs", multiple=True, metavar="ORG", help="Only this org and its users; may be repeated.")
@click.option("--top", type=click.IntRange(1, 1000), default=10, show_default=True, help="How many gains and losses.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def simulate(settings: Settings, new: str, old: str | None, orgs: tuple[str, ...], top: int, as_json: bool) -> None:
    """Say what the model NEW would do to every score, before it goes live.

    Reads the checkpoints of the running installation and the log after them, as it is this moment, and scores the
    same rolling weeks under both models. Cut points are computed anew for each model over the whole population. Workers
    may run or be stopped; nothing is written and no group is joined. It takes as much memory as all
    workers together.

    What was counted so far stays as it was counted: an attribute of a new measure can't be simulated and is left
    out, and that is said. A rebuild with the new model would count it.

    \b
    Examples:
      orgpulse model simulate my-health.toml
      orgpulse model simulate my-health.toml --org acme --top 20
      orgpulse model simulate my-health.toml --json | jq .orgs.band_changes
    """
    live = load_model(settings.model.file)
    models, said = _models(live, old or settings.model.file, new)
    before, after = _sides(with_generation(settings, patience_seconds=0), live, models)
    unknown = set(orgs) - {entry.name for shard in after.shards for entry in shard.subjects.orgs}
    if unknown:
        raise ToldError(f"there is no org {', '.join(sorted(unknown))}", "Org ids are those of the events.", EXIT_USAGE)
    found = compare(before, after, orgs, top)
    if as_json:
        click.echo(json.dumps(document(before, after, found, said)))
    else:
        _show(before, after, found, said)


def _models(live: Model, old: str, new: str) -> tuple[tuple[Model, Model], list[str]]:
    """Return the models in the files *old* and *new* over what *live* counts, and what they can't show."""
    models, said = [], []
    for path in (old, new):
        try:
            model, remarks = translated(load_model(path), live)
        except ValueError as error:
            raise ToldError(f"{path}: {error}", "Put it live with `orgpulse rebuild`.", EXIT_USAGE) from None
        models.append(model)
        said += [f"{path or 'health.toml'}: {remark}" for remark in remarks]
    return (models[0], models[1]), said


def _sides(settings: Settings, live: Model, models: tuple[Model, Model]) -> tuple[Scored, Scored]:
    """Return everything there is under both models."""
    from agents.read_shards import read_shards
    from agents.wiring import limits_of

    limits = limits_of(settings)
    with progress("records after the checkpoints read") as tell:
        shards = asyncio.run(read_shards(settings, live, limits, tell))
    checkpoints = [shard.checkpoint() for shard in shards]
    least = settings.calibration.min_population
    before, after = (scored(checkpoints, model, limits, least) for model in models)
    return before, after


def document(before: Scored, after: Scored, found: Comparison, said: list[str]) -> dict[str, Any]:
    """Return the outcome for JSON: percentages as numbers, changes in points."""
    return {
        "as_of": iso_time(_as_of_ms(after)),
        "population": after.population,
        "calibrated": {"old": before.is_calibrated, "new": after.is_calibrated},
        "peer_groups": {"old": before.peer_groups, "new": after.peer_groups},
        "not_simulated": said,
        "users": _group_document(found.users),
        "orgs": _group_document(found.orgs),
    }


def _group_document(group: Group) -> dict[str, Any]:
    count = len(group.changes)
    return {
        "count": count,
        "changed": sum(1 for change in group.changes if change),
        "mean_change": round(sum(group.changes) / count / 100, 4) if count else 0.0,
        "changes": {f"p{round(q * 100)}": group.quantile(q) / 100 for q in _QUANTILES},
        "coverage": [round(total / count / 10_000, 4) if count else 0.0 for total in group.coverage],
        "band_changes": group.band_changes,
        "bands": [{"old": was, "new": now, "count": n} for (was, now), n in sorted(group.bands.items())],
        "by_attribute": {n: round(p / count / 100, 4) for n, p in group.by_attribute.most_common() if p},
        "gains": [_moved_document(moved) for moved in largest(group.gains)],
        "losses": [_moved_document(moved) for moved in largest(group.losses)],
    }


def _moved_document(moved: Moved) -> dict[str, Any]:
    return {
        "org": moved.org,
        "user": moved.user or None,
        "old": moved.before / 100,
        "new": moved.after / 100,
        "bands": [moved.band_before, moved.band_after],
        "causes": {name: points / 100 for name, points in moved.causes},
    }


def _as_of_ms(found: Scored) -> int:
    return max((shard.watermark_ms for shard in found.shards), default=0)


def _show(before: Scored, after: Scored, found: Comparison, said: list[str]) -> None:
    console = Console(highlight=False)
    for line in said:
        console.print(f"not simulated: {line}", style="yellow", markup=False, soft_wrap=True)
    if not found.users.changes:
        console.print("Nobody was active in the rolling week: there is nothing to compare.")
        return
    cuts = "cut points of its own for each model" if after.is_calibrated else "too few for cut points: the default ones"
    as_of = iso_time(_as_of_ms(after))
    console.print(f"Rolling week up to {as_of}: {after.population} active users, {cuts}.", soft_wrap=True)
    for which, side in (("old", before), ("new", after)):
        if side.model.population.peers:
            groups = ", ".join(side.peer_groups) or "none is large enough"
            console.print(f"Peer groups of the {which} model: {groups}.", soft_wrap=True, markup=False)
    coverage = " → ".join(f"{c / len(found.users.changes) / 100:.1f} %" for c in found.users.coverage)
    console.print(f"Share of weight that had data, mean over users: {coverage}\n", soft_wrap=True)
    _wide(console).print(_distribution(found))
    for title, group in (("Users", found.users), ("Orgs", found.orgs)):
        moves = {pair: n for pair, n in sorted(group.bands.items()) if pair[0] != pair[1]}
        text = ", ".join(f"{was or 'none'} → {now or 'none'}: {n}" for (was, now), n in moves.items())
        console.print(
            f"\n{title} in another band: {group.band_changes} of {len(group.changes)}. {text}", soft_wrap=True
        )
        bands = "; ".join(f"{b} {_in_band(group, b, 0)} → {_in_band(group, b, 1)}" for b in reversed(BAND_NAMES))
        console.print(f"  {bands}", soft_wrap=True)
    ranked = sorted(found.users.by_attribute.items(), key=lambda item: (-abs(item[1]), item[0]))[:_TOP_ATTRIBUTES]
    means = [(name, points / len(found.users.changes) / 100) for name, points in ranked if points]
    text = ", ".join(f"{name} {points:+.2f}" for name, points in means)
    console.print(f"\nMean change of a user's score by attribute, in points: {text or 'none'}", soft_wrap=True)
    for title, group in (("orgs", found.orgs), ("users", found.users)):
        for word, heap in (("gains", group.gains), ("losses", group.losses)):
            _show_moves(f"Largest {word} of {title}", largest(heap))


def _in_band(group: Group, band: str, side: int) -> int:
    return sum(n for pair, n in group.bands.items() if pair[side] == band)


def _distribution(found: Comparison) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("change in points")
    for head in ("count", "unchanged", "lowest", *(f"p{round(q * 100)}" for q in _QUANTILES), "highest", "mean"):
        table.add_column(head, justify="right", no_wrap=True)
    for title, group in (("users", found.users), ("orgs (active users)", found.orgs)):
        if not group.changes:
            continue
        count = len(group.changes)
        row = [min(group.changes), *(group.quantile(q) for q in _QUANTILES), max(group.changes)]
        mean = f"{sum(group.changes) / count / 100:+.2f}"
        table.add_row(title, str(count), str(group.changes.count(0)), *(_signed(change) for change in row), mean)
    return table


def _show_moves(title: str, moves: list[Moved]) -> None:
    if not moves:
        return
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column(title, overflow="fold")
    for head in ("old", "new", "change"):
        table.add_column(head, justify="right", no_wrap=True)
    table.add_column("band", no_wrap=True)
    table.add_column("because of")
    for moved in moves:
        name = f"{moved.org}/{moved.user}" if moved.user else moved.org
        band = (
            moved.band_after if moved.band_before == moved.band_after else f"{moved.band_before} → {moved.band_after}"
        )
        causes = ", ".join(f"{attribute} {_signed(points)}" for attribute, points in moved.causes)
        change = _signed(moved.after - moved.before)
        table.add_row(name, percent(moved.before), percent(moved.after), change, band, causes)
    console = Console(highlight=False)
    console.print()
    _wide(console).print(table, markup=False)


def _wide(console: Console) -> Console:
    """Return a console for tables: as wide as the terminal, else wide enough."""
    return console if console.is_terminal else Console(highlight=False, width=_WIDTH)


def _signed(basis_points: int) -> str:
    """Return a change with its sign.

    >>> _signed(123), _signed(-5), _signed(0)
    ('+1.23', '-0.05', '0.00')
    """
    return f"{'+' if basis_points > 0 else ''}{percent(basis_points)}"
