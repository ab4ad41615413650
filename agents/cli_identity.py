"""The commands `orgpulse identity show`, `link`, `unlink`, `reset` and `mend`.

Owns what operators say of aliases on its way into `identities`. Invariant: a link never takes an alias from a known
user; that takes `unlink` first, so nobody is merged by a slip.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from agents.cli_errors import EXIT_USAGE, ToldError
from agents.cli_progress import progress
from agents.directory import read_directory
from agents.mend import Mended, mend, send
from agents.routing import router_of
from agents.wiring import limits_of
from state.identity import OPERATOR, Directory, Link, spelled, unlinked_alias
from state.membership import ALWAYS_MS, FOREVER_MS, Membership
from state.week import iso_time
from streams.generation import with_generation
from streams.model_file import load_model
from streams.parked import Alias, encode_parked
from streams.pseudonyms import called_by
from streams.settings import Settings
from streams.topic_specs import topic_names
from streams.transactions import Outgoing

_EPILOG = """\b
Examples:
  orgpulse identity show ann@example.org
  orgpulse identity link a.smith 8812      events of a.smith are user 8812's
  orgpulse identity unlink shared-kiosk    nobody's, whoever claims it
  orgpulse identity mend 8812              after the directory was corrected
"""
_no_mend = click.option("--no-mend", is_flag=True, help="Only from now on; `orgpulse identity mend` does the rest.")


@click.group("identity", epilog=_EPILOG)
def identity() -> None:
    """Show who is who, link and unlink aliases, and bring the past in line.

    An alias is an e-mail address, a user name or a user id. The directory (topic `users`) says whose it is; what is
    said here goes before it. After a change the activities that the log still holds are counted where they belong,
    exactly, and the weeks they touch are told anew.
    """


@identity.command("show")
@click.argument("who")
@click.option("--check", is_flag=True, help="Also look in the log whether everything is counted where it belongs.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def show(settings: Settings, who: str, check: bool, as_json: bool) -> None:
    """Show whom an alias leads to, and what else leads to them."""
    settings, directory = _known(settings)
    who = called_by(settings)(who)
    found = document(directory, who)
    if check:
        found["out_of_line"] = asyncio.run(_mended(settings, [who], dry=True)).activities
    if as_json:
        click.echo(json.dumps(found))
        return
    _print(found)


@identity.command("link")
@click.argument("alias")
@click.argument("user")
@_no_mend
@click.pass_obj
def link(settings: Settings, alias: str, user: str, no_mend: bool) -> None:
    """Say that activities of ALIAS are those of USER (an id of the directory)."""
    settings, directory = _known(settings)
    called = called_by(settings)
    alias, user = called(alias), user if called is spelled else called(user)
    holder = directory.find(alias)
    if user not in directory.users:
        raise ToldError(
            f'the directory knows no user "{user}"', "USER is a `user_id` of the topic `users`.", EXIT_USAGE
        )
    if holder is not None and holder.user != user:
        raise ToldError(f'"{alias}" is {holder.user}', f"If that is wrong: orgpulse identity unlink {alias}")
    known = directory.aliases_of(user)
    if alias not in known and len(known) >= settings.ingest.max_aliases:
        raise ToldError(f"{user} has {len(known)} aliases already", "Raise [ingest] max_aliases if they are all right.")
    asyncio.run(send(settings, router_of(settings).link(Link(alias, user), directory.users[user])))
    click.echo(f'"{alias}" is {user} from now on')
    _mend_unless(settings, no_mend, alias)


@identity.command("unlink")
@click.argument("alias")
@_no_mend
@click.pass_obj
def unlink(settings: Settings, alias: str, no_mend: bool) -> None:
    """Say that activities of ALIAS are nobody's, whoever claims it.

    Where the message names the org and unknown people are created ([ingest] unknown_…), they are those of a user of
    that org by this name; else they wait.
    """
    settings, directory = _known(settings)
    alias = called_by(settings)(alias)
    holder = directory.find(alias)
    if holder is None:
        raise ToldError(f'"{alias}" leads to nobody', "`orgpulse identity show` says what leads to whom.")
    gone = [Alias(name, "", holder.user, gone=True) for name in _linked_names(directory, alias)]
    out = _taken_back(settings, alias, gone)
    if directory.claims_of(alias):
        out = [*router_of(settings).link(Link(alias, ""), None), *out[1:]]
    asyncio.run(send(settings, out))
    click.echo(f'"{alias}" is no longer {holder.user}')
    _mend_unless(settings, no_mend, alias)


@identity.command("reset")
@click.argument("alias")
@_no_mend
@click.pass_obj
def reset(settings: Settings, alias: str, no_mend: bool) -> None:
    """Take back what was said of ALIAS: it leads where the directory says."""
    settings, directory = _known(settings)
    alias = called_by(settings)(alias)
    said = directory.link_of(alias)
    if said is None:
        raise ToldError(f'nothing was said of "{alias}"', "`orgpulse identity show` says what leads to whom.")
    told = [Alias(name, "", said.user, gone=True) for name in _linked_names(directory, alias)]
    for user in directory.claims_of(alias)[:1] if not said.user else ():
        record = directory.users[user]
        told.append(Alias(unlinked_alias(alias), record.org, user, record.bot, memberships=record.memberships))
    asyncio.run(send(settings, _taken_back(settings, alias, told)))
    click.echo(f'"{alias}" is whose the directory says')
    _mend_unless(settings, no_mend, alias)


@identity.command("mend")
@click.argument("who", nargs=-1)
@click.option("--dry-run", is_flag=True, help="Only say what would change.")
@click.pass_obj
def mend_command(settings: Settings, who: tuple[str, ...], dry_run: bool) -> None:
    """Count the activities of WHO (aliases or users) where they belong by the directory of today.

    Wanted after a corrected entry of the directory, such as another `since`. Without WHO: all that was corrected
    before.
    """
    settings = with_generation(settings, patience_seconds=0)
    _tell(asyncio.run(_mended(settings, tuple(map(called_by(settings), who)), dry=dry_run)), dry=dry_run)


def document(directory: Directory, who: str) -> dict[str, Any]:
    """Return what is known of *who*, for JSON."""
    alias = spelled(who)
    person = directory.find(alias)
    user = person.user if person is not None else alias if alias in directory.users else ""
    record = directory.users.get(user)
    leading = directory.aliases_of(user) if record is not None else []
    said = directory.link_of(alias)
    return {
        "alias": alias,
        "user": person.user if person is not None else None,
        "unlinked": said is not None and not said.user,
        "claimed_by": directory.claims_of(alias),
        "org": record.org if record is not None else None,
        "bot": record.bot if record is not None else None,
        "licensed": record.licensed if record is not None else None,
        "job_type": record.job_type if record is not None else None,
        "aliases": [{"alias": name, "by": _source(directory, name)} for name in leading],
        "memberships": [_membership(each) for each in record.memberships] if record is not None else [],
    }


def _source(directory: Directory, alias: str) -> str:
    said = directory.link_of(alias)
    if said is not None and (said.by == OPERATOR or not directory.claims_of(alias)):
        return said.by
    return "directory"


def _membership(found: Membership) -> dict[str, str | None]:
    since, until, org = found
    return {
        "org": org,
        "since": None if since == ALWAYS_MS else iso_time(since),
        "until": None if until == FOREVER_MS else iso_time(until),
    }


def _print(found: dict[str, Any]) -> None:
    console = Console(highlight=False)
    if found["user"] is None:
        console.print(Text(f'"{found["alias"]}" leads to nobody', style="bold"))
        if found["unlinked"]:
            console.print(Text(f"unlinked here; the directory gives it to: {', '.join(found['claimed_by'])}"))
        _print_check(console, found)
        return
    console.print(Text(f"{found['user']} of {found['org']}", style="bold"), Text("(a bot)" if found["bot"] else ""))
    table = Table(box=None, pad_edge=False, show_header=False)
    for each in found["aliases"]:
        table.add_row("alias", Text(each["alias"]), f"by {each['by']}" if each["by"] != "directory" else "")
    for each in found["memberships"]:
        table.add_row("member of", Text(each["org"]), f"{each['since'] or 'always'} – {each['until'] or 'now'}")
    others = [user for user in found["claimed_by"] if user != found["user"]]
    if others:
        table.add_row("also claimed by", Text(", ".join(others)), "")
    console.print(table)
    _print_check(console, found)


def _print_check(console: Console, found: dict[str, Any]) -> None:
    """Say whether everything is counted where it belongs, if that was asked."""
    if found.get("out_of_line"):
        who = found["user"] or found["alias"]
        console.print(f"{found['out_of_line']} activities count elsewhere: orgpulse identity mend {who}")
    elif "out_of_line" in found:
        console.print("every activity that the log still holds counts where it belongs")


def _linked_names(directory: Directory, alias: str) -> list[str]:
    """Return under what those wait who were told of a link of *alias*."""
    said = directory.link_of(alias)
    return [alias, unlinked_alias(alias)] if said is not None and said.user else []


def _known(settings: Settings) -> tuple[Settings, Directory]:
    settings = with_generation(settings, patience_seconds=0)
    return settings, asyncio.run(read_directory(settings))


def _taken_back(settings: Settings, alias: str, waiting: list[Alias]) -> list[Outgoing]:
    """Return that nothing is said of *alias* any more, and what those that wait have to know."""
    router = router_of(settings)
    out = [Outgoing(topic_names(settings).identities, router.partition(alias), alias.encode(), None)]
    return [*out, *(router.unresolved(each.alias, encode_parked(each)) for each in waiting)]


def _mend_unless(settings: Settings, no_mend: bool, alias: str) -> None:
    if no_mend:
        click.echo(f"what was counted before stays so until: orgpulse identity mend {alias}")
    else:
        _tell(asyncio.run(_mended(settings, [alias], dry=False)), dry=False)


async def _mended(settings: Settings, who: Any, *, dry: bool) -> Mended:
    model, limits = load_model(settings.model.file), limits_of(settings)
    with progress("records of the log read") as tell:
        return await mend(settings, model, limits, who, tell, dry=dry)


def _tell(found: Mended, *, dry: bool) -> None:
    orgs = ", ".join(sorted(found.orgs))
    if not found.orgs:
        click.echo("everything that the log holds counts where it belongs")
    elif dry:
        click.echo(f"{found.activities} activities would count elsewhere; orgs that change: {orgs}")
    else:
        click.echo(f"{found.activities} activities count elsewhere now; orgs that change: {orgs}")
        click.echo("Redis shows it within seconds, if a worker runs")
    if found.from_ms >= FOREVER_MS:
        click.echo("a part of the log is gone altogether: only `orgpulse rebuild` can correct the past")
    elif found.from_ms:
        click.echo(f"events before {iso_time(found.from_ms)} stay as they are: the log no longer holds all of them")
