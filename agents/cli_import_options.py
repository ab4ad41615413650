"""Owns the options that the commands of `orgpulse import` share, and mapping files as their defaults.

Invariant: what the command line says wins over the mapping file; a mapping file's mistake is told with its line.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from agents.cli_errors import EXIT_USAGE, ToldError
from agents.importers import activities, chat, events, mail, transactions
from agents.importers.mapping import Rule, parse_rules
from agents.importers.mapping_file import MappingFile, read_mapping
from agents.importers.quality import Thresholds
from agents.importers.source import InputError
from agents.importers.sql import SqlEntry
from streams.settings import secret_in
from streams.settings_file import nearest_name

FIELDS: dict[str, tuple[str, ...]] = {
    "mail": mail.FIELDS,
    "chat": chat.FIELDS,
    "syslog": (),
    "events": events.FIELDS,
    "mixpanel": events.FIELDS,
    "transactions": transactions.FIELDS,
    "activities": activities.FIELDS,
}
NEEDED: dict[str, tuple[str, ...]] = {
    "mail": ("message_id", "author", "time", "channel"),
    "chat": ("time",),
    "syslog": (),
    "events": ("distinct_id", "time"),
    "mixpanel": ("distinct_id", "time"),
    "transactions": ("transaction_id", "org_id", "amount", "status", "time"),
    "activities": ("org", "userid", "created"),
}
_NOT_IN_FILES = frozenset({"files", "mapping", "maps", "url", "dry_run", "restart"})
_MAPPING_KEY = "orgpulse.mapping"


class Share(click.ParamType):
    """A share: `1%` or `0.01`."""

    name = "SHARE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return a number from 0 to 1."""
        text = str(value).strip()
        try:
            share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
        except ValueError:
            share = -1.0
        if not 0 <= share <= 1:
            self.fail(f"{text!r} is no share: write 1% or 0.01", param, ctx)
        return share


def _take_mapping(ctx: click.Context, _: click.Parameter, path: Path | None) -> None:
    """Read the mapping file; its options become defaults of the command's."""
    if path is None:
        return
    kind = ctx.command.name or ""
    found = read_mapping(path, kind, FIELDS[kind])
    known = {param.name: param for param in ctx.command.params if param.name and param.name not in _NOT_IN_FILES}
    defaults: dict[str, Any] = {}
    for key, value in found.options.items():
        param = known.get(key.replace("-", "_"))
        if param is None or param.name is None:
            near = nearest_name(key, known)
            remedy = f"Did you mean {near}?" if near else f"There are: {', '.join(sorted(known))}."
            raise _told(found, key, f"there is no option {key}", remedy)
        try:
            param.type_cast_value(ctx, value if isinstance(value, bool | list) else str(value))
        except click.BadParameter as error:
            raise _told(found, key, error.message, f"`orgpulse import {kind} --help` says more.") from None
        defaults[param.name] = value if isinstance(value, bool | list) else str(value)
    ctx.default_map = defaults
    ctx.meta[_MAPPING_KEY] = found


def _told(found: MappingFile, key: str, what: str, remedy: str) -> ToldError:
    error = found.error("options", key, what, remedy)
    return ToldError(error.message, error.remedy, EXIT_USAGE)


def shared(command: Callable[..., None]) -> Callable[..., None]:
    """Add the arguments that all kinds have."""
    file = click.Path(path_type=Path, dir_okay=False)
    for option in (
        click.pass_obj,
        click.option("--state-dir", type=click.Path(path_type=Path, file_okay=False), default=Path(".run/import"),
                     show_default=True, help="Where to remember how far each input got."),
        click.option("--restart", is_flag=True, help="Forget how far earlier runs got and send everything."),
        click.option("--limit", type=click.IntRange(min=0), default=0, help="Read at most this many rows (0: all)."),
        click.option("--dry-run", is_flag=True, help="Send nothing; report on the data's quality, show messages."),
        click.option("--check", is_flag=True, help="Read everything first; send only if no threshold is passed."),
        click.option("--max-bad-share", type=Share(), help="Most rows that may be bad, such as 1%."),
        click.option("--max-unresolved", type=Share(), help="Most rows that may be of nobody in the directory."),
        click.option("--max-duplicates", type=Share(), help="Most rows whose id may have come before."),
        click.option("--max-empty-days", type=click.IntRange(min=0), help="Most days in between without a row."),
        click.option("--directory", type=file, help="Users and orgs as JSON lines, instead of those in Kafka."),
        click.option("--report", type=file, help="Write the report on quality as JSON."),
        click.option("--encoding", help="Of text that is not UTF-8: latin-1, cp1252, utf-16, …"),
        click.option("--mapping", type=file, is_eager=True, expose_value=False, callback=_take_mapping,
                     help="TOML file: where fields come from, and options. `orgpulse import mapping` prints one."),
    ):  # fmt: skip
        command = option(command)
    return command


def tables(command: Callable[..., None]) -> Callable[..., None]:
    """Add the arguments of kinds that come as tables too."""
    for option in (
        click.option("--sql", help="Import the rows of this query; @FILE reads it from a file."),
        click.option("--url-env", metavar="NAME", help="The environment variable with the database's address."),
        click.option("--url", help="The database's address (SQLAlchemy). With a password use --url-env."),
        click.option("--delimiter", help="Between CSV columns; else told by the header line."),
        click.option("--map", "maps", multiple=True, metavar="FIELD=COLUMN",
                     help="Fill a field from a column or dotted path; FIELD:=VALUE for a constant; amount=A*B for an "
                          "exact product."),
    ):  # fmt: skip
        command = option(command)
    return command


org_option = click.option("--org", help="The org that everything in the files belongs to.")
files_argument = click.argument("files", nargs=-1, metavar="FILE...")


def rules_of(maps: tuple[str, ...], kind: str) -> tuple[Rule, ...]:
    """Return the rules of the command line, and those of the mapping file that it leaves.

    Raises:
        UsageError: If a `--map` can't be meant.
    """
    try:
        told = parse_rules(maps, FIELDS[kind])
    except InputError as error:
        raise click.UsageError(str(error)) from error
    found: MappingFile | None = click.get_current_context().meta.get(_MAPPING_KEY)
    from_file = found.rules if found else ()
    return (*(rule for rule in from_file if rule.target not in {each.target for each in told}), *told)


def entries_of(job: dict[str, Any]) -> list[str | SqlEntry]:
    """Return what is to be imported: the files, or the query.

    Raises:
        UsageError: If it is neither or both.
        ToldError: If the address is not to be had.
    """
    sql, files = job.get("sql"), list(job["files"])
    if not sql:
        if not files:
            raise click.UsageError(
                "name a FILE (`-` is standard input)" + (" or a query, --sql" if "sql" in job else "")
            )
        return files
    if files:
        raise click.UsageError("name FILEs or --sql, not both")
    if bool(job["url"]) == bool(job["url_env"]):
        raise click.UsageError("--sql needs either --url-env NAME or --url")
    url = job["url"] or secret_in(job["url_env"])
    if not url:
        raise ToldError(
            f"the variable {job['url_env']} is not set", f"export {job['url_env']}=postgresql://…", EXIT_USAGE
        )
    if sql.startswith("@"):
        try:
            sql = Path(sql[1:]).read_text("utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise ToldError(f"{sql[1:]}: the query can't be read: {error}", "", EXIT_USAGE) from None
    return [SqlEntry(url, sql.strip().rstrip(";"))]


def thresholds_of(job: dict[str, Any]) -> Thresholds:
    """Return what is still good enough."""
    return Thresholds(
        bad_share=job["max_bad_share"],
        unresolved_share=job["max_unresolved"],
        duplicates_share=job["max_duplicates"],
        empty_days=job["max_empty_days"],
    )


def delimiter_of(text: str | None) -> str | None:
    """Return one character; `\\t` may be written out.

    Raises:
        UsageError: If it is more than one.
    """
    found = {"\\t": "\t", "tab": "\t"}.get(text or "", text)
    if found is not None and len(found) != 1:
        raise click.UsageError("--delimiter is one character")
    return found
