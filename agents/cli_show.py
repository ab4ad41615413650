"""The command `orgpulse score`: what Redis says of a subject, in the terminal or as JSON.

Invariant: they only read. A subject that is not there ends with exit code 1 and the nearest names, not with zeros.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import click
import msgspec
from rich.console import Console

from agents.cli_errors import ToldError, unknown
from agents.render import group_line, job_table, reason_table, score_table
from streams.published import GroupTotals, OrgScore, UserScore
from streams.reader import Reader
from streams.redis_access import reader_of
from streams.settings import Settings


@click.command()
@click.argument("subject")
@click.option("--json", "as_json", is_flag=True, help="Print JSON; what is missing is null.")
@click.option("--top", type=click.IntRange(min=1), help="Show only so many reasons.")
@click.pass_obj
def score(settings: Settings, subject: str, as_json: bool, top: int | None) -> None:
    """Show the health score of SUBJECT: an org, ORG/USER, or a user id that only one org has.

    An org is shown by job type as well, and with what all orgs of its group type score together.
    """
    with reading(settings) as reader:
        found = _find(reader, subject)
        group = _group_of(reader, found) if isinstance(found, OrgScore) else None
    if as_json:
        more = {"group": group} if isinstance(found, OrgScore) else {}
        click.echo(msgspec.json.encode(msgspec.to_builtins(found) | more).decode())
        return
    console = Console(highlight=False)
    name = f"{found.org}/{found.user}" if isinstance(found, UserScore) else found.name
    console.print(name, style="bold", markup=False)
    console.print(score_table(found))
    if isinstance(found, OrgScore) and group is not None:
        console.print(group_line(found.group_type or "", group))
    if isinstance(found, OrgScore) and found.by_job_type:
        console.print()
        console.print(job_table(found.by_job_type))
    if found.reasons:
        console.print()
        console.print(reason_table(found.reasons, top))


@contextmanager
def reading(settings: Settings) -> Iterator[Reader]:
    """Give a reader of the settings' Redis."""
    reader = reader_of(settings.redis)
    try:
        yield reader
    finally:
        reader.close()


def _find(reader: Reader, subject: str) -> UserScore | OrgScore:
    """Return the one subject meant: ORG/USER, then ORG, then a user of one org.

    Raises:
        ToldError: If there is none, or several orgs have such a user.
    """
    for at, letter in enumerate(subject):
        if letter == "/" and (user := reader.user(subject[:at], subject[at + 1 :])) is not None:
            return user
    if (org := reader.org(subject)) is not None:
        return org
    orgs = reader.orgs_of_user(subject)
    if len(orgs) > 1:
        first = orgs[0]
        shown = ", ".join(f"{name}/{subject}" for name in orgs[:5])
        raise ToldError(f'{len(orgs)} orgs have a user "{subject}": {shown}', f"`orgpulse score {first}/{subject}`")
    if orgs and (user := reader.user(orgs[0], subject)) is not None:
        return user
    org_id, slash, _ = subject.partition("/")
    if slash and reader.org(org_id) is not None:
        known = [f"{org_id}/{name}" for name in reader.user_ids(org_id)]
        raise unknown(subject, known, f'org "{org_id}" has no user "{subject[len(org_id) + 1 :]}" with a score')
    raise unknown(subject, reader.org_ids(), f'no org or user "{subject}" has a score')


def _group_of(reader: Reader, org: OrgScore) -> GroupTotals | None:
    """Return what all orgs of the org's group type score together; None = not known."""
    totals = reader.totals() if org.group_type else None
    return None if totals is None else totals.by_group_type.get(org.group_type or "")
