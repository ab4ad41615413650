"""Owns `orgpulse import`: one command per kind of data; the work is in `agents.importers`.

Invariant: what could not be imported is named with its reason, its count and the place of the first one.
"""

from __future__ import annotations

from typing import Any

import click

from agents.cli_errors import EXIT_USAGE, unknown
from agents.cli_import_mixpanel import import_mixpanel
from agents.cli_import_options import delimiter_of, files_argument, org_option, rules_of, shared, tables
from agents.cli_import_run import run_import
from agents.importers import chat, events
from agents.importers.activities import read_activities
from agents.importers.chat import chat_form_reader
from agents.importers.chat_message import AUTHORS, ChatOptions
from agents.importers.events import read_events
from agents.importers.expand import over_files
from agents.importers.mail import read_mail
from agents.importers.maildir import over_maildirs
from agents.importers.mapping_file import template, templates
from agents.importers.syslog import read_syslog
from agents.importers.transactions import read_transactions
from streams.settings import Settings
from streams.topics import topic_names

_EPILOG = """\b
Examples:
  orgpulse import mail r-devel/ --org guild          a folder of monthly pipermail files, or a maildir
  orgpulse import chat export.zip --check            a Slack export, if its quality allows
  orgpulse import transactions sales.parquet --map amount=Quantity*UnitPrice --map status:=A
  orgpulse import activities --url-env DB --sql "SELECT id, org, userid, created, ghost FROM log ORDER BY id"
  orgpulse import events calls.jsonl.gz --dry-run    what is good in it, and what is not
  orgpulse import mapping slack > slack.toml         a mapping file to begin with
All forms, and what becomes of them: docs/import.md
"""


def _examples(*lines: str) -> str:
    """Return what stands below a command's options."""
    return "\n".join(("\b", "Examples:", *(f"  orgpulse import {line}" for line in lines)))


_EXAMPLES = {
    "mail": _examples(
        "mail r-help/ --org guild                a folder of pipermail's monthly files",
        "mail ~/Maildir --map org_id=domain      each author's domain is their org",
    ),
    "chat": _examples(
        "chat export.zip --check --max-bad-share 1%       a Slack export",
        "chat discord/ --author name                      DiscordChatExporter, a file a channel",
        "chat activity.json --server guild --org acme     a counting bot's documents from MongoDB",
    ),
    "syslog": _examples(
        "syslog /var/log/app/ --dry-run",
    ),
    "activities": _examples(
        'activities --url-env DB --sql "SELECT id, org, userid, created, ghost FROM log ORDER BY id"',
        "activities log.parquet --map userid=email --map org=account.id",
    ),
    "events": _examples(
        "events calls.jsonl.gz --map org_id=context.groupId     Segment",
        "events enriched.tsv --map org_id=app_id                Snowplow",
    ),
    "transactions": _examples(
        "transactions sales.csv --map amount=Quantity*UnitPrice --map status:=A --org-column Country",
        "transactions sales.parquet --mapping sales.toml --check --max-bad-share 1%",
    ),
}


@click.group("import", epilog=_EPILOG)
def import_group() -> None:
    """Bring real data into Kafka: mail, chat, syslog, events, transactions, activities.

    FILE may be a folder or zip archive (what is in it is read in order of time), `s3://bucket/prefix` (objects in order
    of their names), or `-` for standard input; gzip is recognised. An interrupted import continues where Kafka had
    acknowledged it; rows around that point may be sent twice, with the same ids. Bad rows are sent on as they are, so
    that they end in the system's dead letters; held back are only rows that Kafka would not take (too large) or that
    can't be split.
    """


_map_option = click.option(
    "--map", "maps", multiple=True, metavar="FIELD=COLUMN",
    help="Fill a field from `domain`, `list_id` or `folder`; FIELD:=VALUE for a constant.",
)  # fmt: skip


@import_group.command("mail", epilog=_EXAMPLES["mail"])
@shared
@click.option("--channel", help="Name of the list; else the file's, or of monthly files their folder's.")
@_map_option
@org_option
@files_argument
def import_mail(settings: Settings, channel: str | None, org: str | None, maps: tuple[str, ...], **job: Any) -> None:
    """Mail: mbox, maildir, pipermail's monthly files. Senders, times, replies; bodies are not read."""
    rules = rules_of(maps, "mail")
    mbox = over_files(lambda s: read_mail(s, channel=channel, org=org, rules=rules), job["encoding"])
    reader = over_maildirs(mbox, channel=channel, org=org, rules=rules)
    run_import(settings, topic_names(settings).chat_messages, reader, rules, job)


@import_group.command("chat", epilog=_EXAMPLES["chat"])
@shared
@tables
@click.option("--form", type=click.Choice(chat.FORMS), default="auto", show_default=True, help="Whose export it is.")
@click.option("--channel", help="Channel of messages that name none; of an export, instead of its own.")
@click.option("--server", help="Server, instead of the export's own.")
@click.option("--author", type=click.Choice(AUTHORS), default="email", show_default=True,
              help="What people are called, of what the export has; the id where it has it not.")  # fmt: skip
@click.option("--bots", is_flag=True, help="Also messages of bots.")
@click.option("--direct", is_flag=True, help="Also messages between two or a few people.")
@org_option
@files_argument
def import_chat(
    settings: Settings, form: str, channel: str | None, server: str | None, author: str, bots: bool, direct: bool,
    org: str | None, maps: tuple[str, ...], **job: Any,
) -> None:  # fmt: skip
    """Chat: Slack, Discord, Zulip exports; JSON lines, tables and queries of messages; presence samples."""
    rules = rules_of(maps, "chat")
    options = ChatOptions(channel, org, server, author, bots, direct, rules)
    reader = chat_form_reader(form, options, delimiter_of(job["delimiter"]), job["encoding"])
    run_import(settings, topic_names(settings).chat_messages, reader, rules, job)


@import_group.command("syslog", epilog=_EXAMPLES["syslog"])
@shared
@click.option("--key", help="Record key; else the file's name. One key keeps lines in order.")
@files_argument
def import_syslog(settings: Settings, key: str | None, **job: Any) -> None:
    """Syslog files (RFC 5424, RFC 3164 or JSON lines); lines go on as they are."""
    reader = over_files(lambda s: read_syslog(s, key=key), job["encoding"])
    run_import(settings, topic_names(settings).syslog_activities, reader, (), job)


@import_group.command("activities", epilog=_EXAMPLES["activities"])
@shared
@tables
@org_option
@files_argument
def import_activities(settings: Settings, org: str | None, maps: tuple[str, ...], **job: Any) -> None:
    """The activity log as a table (id, org, userid, created, ghost): CSV, Parquet, JSON, or a query."""
    rules = rules_of((*maps, *((f"org:={org}",) if org else ())), "activities")
    delimiter = delimiter_of(job["delimiter"])
    reader = over_files(lambda s: read_activities(s, rules, delimiter=delimiter), job["encoding"])
    run_import(settings, topic_names(settings).syslog_activities, reader, rules, job)


@import_group.command("events", epilog=_EXAMPLES["events"])
@shared
@tables
@click.option("--form", type=click.Choice(events.FORMS), default="auto", show_default=True, help="Whose events.")
@org_option
@files_argument
def import_events(settings: Settings, form: str, org: str | None, maps: tuple[str, ...], **job: Any) -> None:
    """Product events: own form, Mixpanel export, Segment calls, Snowplow's enriched events, tables, queries."""
    rules = rules_of(maps, "events")
    delimiter = delimiter_of(job["delimiter"])
    reader = over_files(lambda s: read_events(s, rules, org=org, form=form, delimiter=delimiter), job["encoding"])
    run_import(settings, topic_names(settings).product_events, reader, rules, job)


@import_group.command("transactions", epilog=_EXAMPLES["transactions"])
@shared
@tables
@org_option
@click.option("--org-column", help="The same as --map org_id=COLUMN.")
@files_argument
def import_transactions(
    settings: Settings, org: str | None, org_column: str | None, maps: tuple[str, ...], **job: Any
) -> None:
    """Transactions: CSV with a header line, Parquet, JSON, or a query; amounts are exact."""
    if org and org_column:
        raise click.UsageError("--org and --org-column exclude each other")
    extra = (f"org_id={org_column}",) if org_column else (f"org_id:={org}",) if org else ()
    rules = rules_of((*maps, *extra), "transactions")
    delimiter = delimiter_of(job["delimiter"])
    reader = over_files(lambda s: read_transactions(s, rules, delimiter=delimiter), job["encoding"])
    run_import(settings, topic_names(settings).transactions, reader, rules, job)


import_group.add_command(import_mixpanel)


@import_group.command("mapping")
@click.argument("name", required=False)
def mapping(name: str | None) -> None:
    """Print a commented mapping file to begin with; without a NAME: which there are."""
    if name is None:
        click.echo("\n".join(templates()))
        return
    if name not in templates():
        error = unknown(name, templates(), f"there is no mapping {name}")
        error.exit_code = EXIT_USAGE
        raise error
    click.echo(template(name), nl=False)
