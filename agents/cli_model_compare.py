"""Owns `orgpulse model compare`: live scores against those of the shadow model, as Redis has them now.

Invariant: it only reads, and leaves out who has no score under one of the two.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from typing import Any, NamedTuple

import click
from rich.console import Console
from rich.table import Table

from agents.cli_errors import ToldError
from agents.shadow import KEY_PREFIX
from streams.redis_access import redis_client
from streams.settings import Settings

_AT_ONCE = 500  # subjects asked for in one round trip
_FIELDS = {"org": ("score_active", "band"), "user": ("score", "band")}


class Pair(NamedTuple):
    """One subject under both models; scores are percentages."""

    subject: str
    live: float
    shadow: float
    live_band: str
    shadow_band: str

    @property
    def change(self) -> float:
        """Shadow less live, in points."""
        return round(self.shadow - self.live, 2)


@click.command()
@click.option("--org", help="Compare the users of this org, not orgs.")
@click.option("--top", type=click.IntRange(1, 1000), default=10, show_default=True, help="How many to show.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def compare(settings: Settings, org: str | None, top: int, as_json: bool) -> None:
    """Compare live scores with those of the shadow model ([model] shadow), as Redis has them now.

    Shadow scores come with every calibration, and of whom something is new about twice a minute, so they may lag
    behind the live ones a little.

    \b
    Examples:
      orgpulse model compare
      orgpulse model compare --org acme
    """
    client: Any = redis_client(settings.redis, decode_responses=True)
    try:
        found = sorted(_pairs(client, settings.redis.prefix, org), key=lambda pair: (-abs(pair.change), pair.subject))
    finally:
        client.close()
    if not found:
        where = f'org "{org}"' if org else "Redis"
        raise ToldError(
            f"{where} has no scores of a shadow model",
            "Set [model] shadow for all workers, start them anew, and wait for the next calibration.",
        )
    bands = Counter((pair.live_band, pair.shadow_band) for pair in found if pair.live_band != pair.shadow_band)
    mean = sum(pair.change for pair in found) / len(found)
    if as_json:
        moves = [{"live": was, "shadow": now, "count": n} for (was, now), n in sorted(bands.items())]
        rows = [pair._asdict() | {"change": pair.change} for pair in found[:top]]
        said = {"count": len(found), "mean_change": round(mean, 4), "band_changes": moves, "largest": rows}
        click.echo(json.dumps(said))
        return
    console = Console(highlight=False)
    text = ", ".join(f"{was} → {now}: {n}" for (was, now), n in sorted(bands.items()))
    what = "users" if org else "orgs"
    console.print(f"{len(found)} {what}, mean change {mean:+.2f} points; {bands.total()} in another band. {text}\n")
    console.print(_table(found[:top], what))


def _pairs(client: Any, prefix: str, org: str | None) -> Iterator[Pair]:
    """Yield everybody who has a score under both models."""
    ranking = "orgs:by-score" if org is None else f"org:{{{org}}}:users:by-score"
    fields = _FIELDS["org" if org is None else "user"]
    names = (name for name, _ in client.zscan_iter(prefix + ranking, count=_AT_ONCE))
    while some := list(islice(names, _AT_ONCE)):
        keys = [f"org:{{{name}}}" if org is None else f"user:{{{org}}}:{name}" for name in some]
        with client.pipeline(transaction=False) as pipe:
            for key in keys:
                pipe.hmget(prefix + key, *fields)
                pipe.hmget(prefix + KEY_PREFIX + key, *fields)
            answers = iter(pipe.execute())
        for name in some:
            (live, live_band), (shadow, shadow_band) = next(answers), next(answers)
            if live and shadow:
                yield Pair(name, float(live), float(shadow), live_band or "", shadow_band or "")


def _table(found: list[Pair], what: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column(f"largest differences: {what}", overflow="fold")
    for head in ("live", "shadow", "change"):
        table.add_column(head, justify="right", no_wrap=True)
    table.add_column("band", no_wrap=True)
    for pair in found:
        band = pair.live_band if pair.live_band == pair.shadow_band else f"{pair.live_band} → {pair.shadow_band}"
        table.add_row(pair.subject, f"{pair.live:.2f}", f"{pair.shadow:.2f}", f"{pair.change:+.2f}", band)
    return table
