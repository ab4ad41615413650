"""Owns `orgpulse ledger`: what became of every message, by source partition, and whether it all adds up.

Invariant: it reads Kafka only, and says in one plain line whether the ledger closes.
"""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import asdict, fields
from functools import reduce

import click
from rich.console import Console
from rich.table import Table

from agents.cli_errors import EXIT_FAILED
from agents.ledger_sum import Account, accounts_of
from streams.generation import with_generation
from streams.settings import Settings

_PAUSE_SECONDS = 2.0
_NUMBERS = [field.name for field in fields(Account)][2:]
_HEADS = (
    "consumed", "accepted", "dupli-\ncate", "late", "dead\nletters", "parked:\nwaiting", "re-\nleased", "drop-\nped",
    "set\napart", "in\nflight", "lost", "twice", "to\nread",
)  # fmt: skip


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--watch", is_flag=True, help="Show it again every two seconds, until Ctrl-C.")
@click.option(
    "--wait",
    "wait_seconds",
    type=click.FloatRange(0, 600),
    default=5.0,
    show_default=True,
    metavar="SECONDS",
    help="How long running workers may take to finish what is under way.",
)
@click.pass_obj
def ledger(settings: Settings, as_json: bool, watch: bool, wait_seconds: float) -> None:
    """Show what became of every message, and whether the ledger closes.

    For each partition of each source topic:

    \b
      consumed = accepted + duplicate + late + dead letters + waiting
                 + set apart + in flight

    Workers may run or be stopped; only Kafka is asked. While traffic flows some messages are in
    flight: read, and on their way to their shard or to those that wait for the directory. That is no gap;
    what lies in the logs is counted. A gap is a message lost on the way, or one that came twice.

    \b
    Columns:
      dead letters  can't be used; `dropped` of them because too many waited for one person
      waiting       parked until the directory learns whose they are
      released      parked once, sent on since: they count as accepted, duplicate or late
      set apart     an operator's, the system's own, a bot's; the directory's entries
      in flight     read, not counted yet
      lost, twice   the gap
      to read       in the source topic, not read yet

    Exits with 1 if there is a gap, else with 0.

    \b
    Examples:
      orgpulse ledger
      orgpulse ledger --watch
      orgpulse ledger --json | jq .closes
    """
    settings = with_generation(settings, patience_seconds=0)
    while True:
        accounts = asyncio.run(accounts_of(settings, wait_seconds))
        if watch and not as_json:
            click.clear()
        _say(accounts, as_json=as_json)
        if not watch:
            break
        time.sleep(_PAUSE_SECONDS)
    if any(account.gap for account in accounts):
        raise click.exceptions.Exit(EXIT_FAILED)


def verdict(accounts: list[Account]) -> str:
    """Return in one line whether the ledger closes.

    >>> verdict([Account("users", 0, consumed=5, apart=5)])
    'The ledger closes: all 5 messages are accounted for.'
    >>> verdict([Account("users", 0, consumed=5, apart=4, in_flight=1)])
    'The ledger closes so far: of 5 messages 4 are accounted for, 1 in flight, no gap.'
    >>> verdict([Account("users", 0, consumed=5, apart=4, lost=1)])
    'The ledger does NOT close: 1 lost, 0 counted twice, of 5 messages.'
    """
    total = total_of(accounts)
    if total.gap:
        return (
            f"The ledger does NOT close: {total.lost} lost, {total.twice} counted twice, of {total.consumed} messages."
        )
    if total.in_flight:
        done = total.consumed - total.in_flight
        return (
            f"The ledger closes so far: of {total.consumed} messages {done} are accounted for,"
            f" {total.in_flight} in flight, no gap."
        )
    return f"The ledger closes: all {total.consumed} messages are accounted for."


def total_of(accounts: list[Account]) -> Account:
    """Return the sum over all partitions."""

    def plus(one: Account, other: Account) -> Account:
        return Account("all", -1, *(getattr(one, name) + getattr(other, name) for name in _NUMBERS))

    return reduce(plus, accounts, Account("all", -1))


def _say(accounts: list[Account], *, as_json: bool) -> None:
    total = total_of(accounts)
    if as_json:
        sums = {name: getattr(total, name) for name in _NUMBERS}
        said = {
            "closes": not total.gap,
            "at_rest": not total.in_flight and not total.to_read,
            "gap": total.gap,
            "total": sums,
            "partitions": [asdict(account) for account in accounts],
        }
        click.echo(json.dumps(said))
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("source\npartition", no_wrap=True)
    for head in _HEADS:
        table.add_column(head, justify="right", no_wrap=True)
    for account in [*accounts, total]:
        name = "all" if account is total else f"{account.topic}/{account.partition}"
        style = "red" if account.gap else "bold" if account is total else ""
        table.add_row(name, *(str(getattr(account, number)) for number in _NUMBERS), style=style)
    console = Console(highlight=False)
    if accounts:
        Console(highlight=False, width=max(console.width, 140) if not console.is_terminal else None).print(table)
        console.print()
    console.print(verdict(accounts), style="red bold" if total.gap else "green", soft_wrap=True)
