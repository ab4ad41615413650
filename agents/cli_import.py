"""Owns `orgpulse import`: options, progress and the closing report; the work is in `agents.importers`.

Invariant: what could not be imported is named with its reason, its count and the place of the first one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from kafka.admin import KafkaAdminClient
from kafka.errors import KafkaError
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from agents.cli_errors import ToldError
from agents.importers import chat, events, transactions
from agents.importers.chat import read_chat
from agents.importers.events import read_events
from agents.importers.mail import read_mail
from agents.importers.mapping import Rule, parse_rules
from agents.importers.progress_file import ProgressFile
from agents.importers.run import ImportRun, Reader, Tally
from agents.importers.source import InputError, Source
from agents.importers.syslog import read_syslog
from agents.importers.transactions import read_transactions
from streams.sender import Sender, SendError
from streams.settings import Settings
from streams.topics import topic_names

_SAY_EVERY_ROWS = 20_000
_SAMPLE_BYTES = 400
_SHAPING = ("channel", "org", "maps", "key", "org_column", "delimiter")


@click.group("import")
def import_group() -> None:
    """Bring real data into Kafka: mail archives, chat logs, syslog, events, transactions.

    FILE may be `-` for standard input; gzip is recognised. An interrupted import continues where Kafka had acknowledged
    it; rows around that point may be sent twice, with the same ids. Bad rows are sent on as they are, so that they end
    in the system's dead letters; held back are only rows that Kafka would not take (too large) or that CSV can't split.
    """


def _shared(command: Callable[..., None]) -> Callable[..., None]:
    """Add the arguments that all kinds have."""
    for option in (
        click.pass_obj,
        click.option("--state-dir", type=click.Path(path_type=Path, file_okay=False), default=Path(".run/import"),
                     show_default=True, help="Where to remember how far each file got."),
        click.option("--restart", is_flag=True, help="Forget how far earlier runs got and send everything."),
        click.option("--dry-run", is_flag=True, help="Send nothing; show counts, first messages and problems."),
        click.option("--limit", type=click.IntRange(min=0), default=0, help="Read at most this many rows (0: all)."),
        click.argument("files", nargs=-1, required=True, metavar="FILE..."),
    ):  # fmt: skip
        command = option(command)
    return command


_map_option = click.option(
    "--map", "maps", multiple=True, metavar="FIELD=COLUMN",
    help="Fill a field from a column or dotted path; FIELD:=VALUE for a constant; amount=A*B for an exact product.",
)  # fmt: skip
_org_option = click.option("--org", help="The org that everything in the files belongs to.")


@import_group.command("mail")
@_shared
@click.option("--channel", help="Name of the list; else the file's name.")
@_org_option
def import_mail(settings: Settings, channel: str | None, org: str | None, **job: Any) -> None:
    """Mail archives (mbox): senders, times, replies. Bodies are not read."""
    _run(settings, topic_names(settings).chat_messages, lambda s: read_mail(s, channel=channel, org=org), job)


@import_group.command("chat")
@_shared
@click.option("--channel", help="Channel of messages that name none.")
@_map_option
@_org_option
def import_chat(settings: Settings, channel: str | None, org: str | None, maps: tuple[str, ...], **job: Any) -> None:
    """Chat logs and presence samples (JSON lines)."""
    rules = _rules(maps, chat.FIELDS)
    _run(settings, topic_names(settings).chat_messages, lambda s: read_chat(s, rules, channel=channel, org=org), job)


@import_group.command("syslog")
@_shared
@click.option("--key", help="Record key; else the file's name. One key keeps lines in order.")
def import_syslog(settings: Settings, key: str | None, **job: Any) -> None:
    """Syslog files (RFC 5424, RFC 3164 or JSON lines); lines go on as they are."""
    _run(settings, topic_names(settings).syslog_activities, lambda s: read_syslog(s, key=key), job)


@import_group.command("events")
@_shared
@_map_option
@_org_option
def import_events(settings: Settings, org: str | None, maps: tuple[str, ...], **job: Any) -> None:
    """Product events (JSON lines, own form or Mixpanel export)."""
    rules = _rules(maps, events.FIELDS)
    _run(settings, topic_names(settings).product_events, lambda s: read_events(s, rules, org=org), job)


@import_group.command("transactions")
@_shared
@_map_option
@_org_option
@click.option("--org-column", help="The same as --map org_id=COLUMN.")
@click.option("--delimiter", default=",", show_default=True, help="Between CSV columns.")
def import_transactions(
    settings: Settings, org: str | None, org_column: str | None, maps: tuple[str, ...], delimiter: str, **job: Any
) -> None:
    """Transactions (CSV with a header line, or JSON lines); amounts are exact."""
    if org and org_column:
        raise click.UsageError("--org and --org-column exclude each other")
    if len(delimiter) != 1:
        raise click.UsageError("--delimiter is one character")
    extra = (f"org_id={org_column}",) if org_column else (f"org_id:={org}",) if org else ()
    rules = _rules((*maps, *extra), transactions.FIELDS)
    topic = topic_names(settings).transactions
    _run(settings, topic, lambda s: read_transactions(s, rules, delimiter=delimiter), job)


def _rules(texts: tuple[str, ...], fields: tuple[str, ...]) -> tuple[Rule, ...]:
    try:
        return parse_rules(texts, fields)
    except InputError as error:
        raise click.UsageError(str(error)) from error


def _run(settings: Settings, topic: str, reader: Reader, job: dict[str, Any]) -> None:
    """Run one import and report; user errors end it with a sentence and exit code 1."""
    brokers = [broker.strip() for broker in settings.kafka.brokers.split(",")]
    try:
        with _progress(Console(stderr=True)) as on_progress:
            if job["dry_run"]:
                tally = ImportRun(reader, topic, None, None, job["limit"], on_progress).run(job["files"])
            else:
                tally = _send(brokers, topic, reader, job, on_progress)
    except (InputError, SendError) as error:
        raise ToldError(str(error)) from error
    _report(tally, topic, job["dry_run"])


def _send(
    brokers: list[str], topic: str, reader: Reader, job: dict[str, Any], on_progress: Callable[[Source, Tally], None]
) -> Tally:
    with Sender(brokers, client_id="orgpulse-import") as sender:
        purpose = f"{_topic_identity(brokers, topic)}\n{_options()}"

        def memory(path: str) -> ProgressFile:
            file = ProgressFile.of(job["state_dir"], path, purpose)
            if job["restart"]:
                file.forget()
            return file

        return ImportRun(reader, topic, sender, memory, job["limit"], on_progress).run(job["files"])


def _options() -> str:
    """Return the options that decide what the messages look like: another mapping is another import."""
    parameters = click.get_current_context().params
    return repr(sorted((name, parameters[name]) for name in parameters if name in _SHAPING))


def _topic_identity(brokers: list[str], topic: str) -> str:
    """Return the topic's name and id; a topic that was deleted and made anew has another id.

    Raises:
        SendError: If the topic does not exist, or the broker does not say.
    """
    try:
        admin = KafkaAdminClient(bootstrap_servers=brokers, client_id="orgpulse-import")
        try:
            described = admin.describe_topics([topic])[0]
        finally:
            admin.close()
    except KafkaError as error:
        raise SendError(f"Kafka at {', '.join(brokers)} does not describe topic {topic}: {error}") from error
    if described["error_code"]:
        raise SendError(f"there is no topic {topic} on {', '.join(brokers)}: run `orgpulse topics create`")
    return f"{topic} {described['topic_id']}"


@contextmanager
def _progress(console: Console) -> Iterator[Callable[[Source, Tally], None]]:
    """Yield what shows progress: a bar on a terminal, a line every so many rows otherwise."""
    if not console.is_terminal:
        yield _say_progress
        return
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        tasks: dict[int, TaskID] = {}

        def show(source: Source, tally: Tally) -> None:
            if id(source) not in tasks:
                tasks[id(source)] = progress.add_task(source.name, total=source.size_bytes)
            label = f"{source.name}: {tally.read:,} rows"
            progress.update(tasks[id(source)], completed=source.read_bytes(), description=label)

        yield show


def _say_progress(source: Source, tally: Tally) -> None:
    if tally.read and tally.read % _SAY_EVERY_ROWS == 0:
        click.echo(f"{source.name}: {tally.read:,} rows read, {tally.sent:,} sent", err=True)


def _report(tally: Tally, topic: str, dry_run: bool) -> None:
    """Say what was done and what was odd."""
    verb = "would be sent" if dry_run else "sent"
    click.echo(f"{tally.read:,} rows read, {tally.sent:,} {verb} to {topic}")
    if tally.resumed:
        click.echo(f"{tally.resumed:,} rows were sent by an earlier run and passed over (--restart sends them again)")
    for reason, problem in sorted(tally.problems.items(), key=lambda item: -item[1].count):
        fate = "sent" if problem.sent else "held back"
        click.echo(f"  {reason}: {problem.count:,} ({fate}; first: {problem.first})")
    if dry_run:
        for value in tally.sample:
            click.echo(value[:_SAMPLE_BYTES].decode("utf-8", "replace"))
