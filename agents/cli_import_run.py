"""Owns a run of `orgpulse import`: check first, then send; progress, and what is said at the end.

Invariant: with --check nothing is sent before everything was read and found good enough.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import msgspec
from kafka.admin import KafkaAdminClient
from kafka.errors import KafkaError
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from agents.cli_errors import ToldError
from agents.cli_import_options import FIELDS, NEEDED, entries_of, thresholds_of
from agents.importers.expand import Entry, Reader
from agents.importers.mapping import Rule
from agents.importers.progress_file import ProgressFile
from agents.importers.quality import Report
from agents.importers.quality_text import print_report
from agents.importers.run import ImportRun, Tally
from agents.importers.source import InputError, Source
from agents.importers.sql import SqlEntry
from streams.kafka_access import Brokers, kafka_python_options, shown
from streams.reading import plain_text
from streams.sender import Sender, SendError
from streams.settings import Settings

_SAY_EVERY_ROWS = 20_000
_SAMPLE_BYTES = 400
_SHAPING = (
    "channel", "org", "key", "org_column", "delimiter", "form", "server", "author", "bots", "direct", "encoding",
    "zone", "events",
)  # fmt: skip

Progressed = Callable[[Source, Tally], None]


def run_import(settings: Settings, topic: str, reader: Reader, rules: Sequence[Rule], job: dict[str, Any]) -> None:
    """Run one import and report; user errors end it with a sentence and exit code 1.

    Args:
        settings: Where Kafka is.
        topic: The full topic name.
        reader: Makes rows of a source.
        rules: What makes this import another one than with other rules.
        job: The options of `shared` and `tables`.
    """
    entries = _expanded(settings, entries_of(job))
    checked = job["dry_run"] or job["check"]
    if job["check"] and "-" in entries:
        raise click.UsageError("--check reads twice, which standard input can't: give a file, or use --dry-run")
    _warn(entries, rules)
    try:
        with _progress(Console(stderr=True)) as on_progress:
            if checked:
                tally, found = _look(settings, topic, reader, entries, job, on_progress)
        if checked:
            print_report(Console(highlight=False), found)
            if job["dry_run"]:
                _report(tally, topic, dry_run=True)
            if found.failures:
                raise ToldError(
                    "; ".join(found.failures), "Nothing was sent. Mend the data or the mapping, or allow more."
                )
        if not job["dry_run"]:
            with _progress(Console(stderr=True)) as on_progress:
                tally = _send(settings, topic, reader, rules, entries, job, on_progress)
            _report(tally, topic, dry_run=False)
    except (InputError, SendError) as error:
        raise ToldError(str(error)) from error


def _expanded(settings: Settings, entries: Sequence[str | Entry]) -> Sequence[str | Entry]:
    """Return *entries* with the objects in S3-compatible storage that they stand for."""
    if not any(isinstance(entry, str) and entry.startswith("s3://") for entry in entries):
        return entries
    from agents.importers.s3_source import Storage  # it loads pyarrow

    try:
        return Storage(settings.s3).expanded(entries)
    except InputError as error:
        raise ToldError(str(error)) from error


def _warn(entries: Sequence[str | Entry], rules: Sequence[Rule]) -> None:
    """Say what would surprise later.

    Raises:
        UsageError: If rows of two files would get the same ids.
    """
    ids = {"transactions": "transaction_id", "activities": "id"}.get(click.get_current_context().command.name or "")
    names = [Path(entry).name for entry in entries if isinstance(entry, str)]
    doubled = sorted({name for name in names if names.count(name) > 1})
    if ids and doubled and not any(rule.target == ids for rule in rules):
        raise click.UsageError(
            f"two files are called {doubled[0]}, and rows without an id are called by their file: give the folder "
            f"that holds both, or --map {ids}=COLUMN"
        )
    if any(isinstance(entry, SqlEntry) and not entry.ordered for entry in entries):
        click.echo("the query has no ORDER BY, so an interrupted import of it starts from the beginning", err=True)


def _look(
    settings: Settings, topic: str, reader: Reader, entries: Sequence[str | Entry], job: dict[str, Any],
    on_progress: Progressed,
) -> tuple[Tally, Report]:  # fmt: skip
    """Read everything and send nothing; return the counts and the report, which is written where that is asked."""
    from agents.importers.check import directory_of, quality_of  # it loads the workers' readers, which takes a second

    directory, said = directory_of(settings, job["directory"])
    kind = click.get_current_context().command.name or ""
    quality = quality_of(settings, topic, FIELDS[kind], NEEDED[kind], directory)
    run = ImportRun(reader, topic, None, None, job["limit"], on_progress, encoding=job["encoding"], on_row=quality.note)
    tally = run.run(entries)
    found = quality.report([entry if isinstance(entry, str) else entry.key for entry in entries], said)
    found.failures = thresholds_of(job).failures(found)
    if job["report"]:
        job["report"].write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=2) + b"\n")
    return tally, found


def _send(
    settings: Settings, topic: str, reader: Reader, rules: Sequence[Rule], entries: Sequence[str | Entry],
    job: dict[str, Any], on_progress: Progressed,
) -> Tally:  # fmt: skip
    with Sender(settings.kafka, client_id="orgpulse-import") as sender:
        purpose = f"{_topic_identity(settings.kafka, topic)}\n{_options()}\n{rules!r}"

        def memory(key: str) -> ProgressFile:
            file = ProgressFile.of(job["state_dir"], key, purpose)
            if job["restart"]:
                file.forget()
            return file

        return ImportRun(reader, topic, sender, memory, job["limit"], on_progress, encoding=job["encoding"]).run(
            entries
        )


def _options() -> str:
    """Return the options that decide what the messages look like: another mapping is another import."""
    context = click.get_current_context()
    parameters = {"kind": context.command.name, **context.params}
    return repr(sorted((name, parameters[name]) for name in parameters if name in (*_SHAPING, "kind")))


def _topic_identity(brokers: Brokers, topic: str) -> str:
    """Return the topic's name and id; a topic that was deleted and made anew has another id.

    Raises:
        SendError: If the topic does not exist, or the broker does not say.
    """
    try:
        admin = KafkaAdminClient(**kafka_python_options(brokers), client_id="orgpulse-import")
        try:
            described = admin.describe_topics([topic])[0]
        finally:
            admin.close()
    except KafkaError as error:
        raise SendError(f"Kafka at {shown(brokers)} does not describe topic {topic}: {error}") from error
    if described["error_code"]:
        raise SendError(f"there is no topic {topic} on {shown(brokers)}: run `orgpulse topics create`")
    return f"{topic} {described['topic_id']}"


@contextmanager
def _progress(console: Console) -> Iterator[Progressed]:
    """Yield what shows progress: a bar on a terminal, a line every so many rows otherwise."""
    if not console.is_terminal:
        yield _say_progress
        return
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        shown: list[tuple[Source, TaskID]] = []

        def show(source: Source, tally: Tally) -> None:
            if not shown or shown[-1][0] is not source:
                with contextlib.suppress(IndexError):
                    progress.remove_task(shown.pop()[1])
                shown.append((source, progress.add_task(source.name, total=source.size_bytes)))
            label = f"{source.name}: {tally.read:,} rows"
            progress.update(shown[-1][1], completed=source.read_bytes(), description=label)

        yield show


def _say_progress(source: Source, tally: Tally) -> None:
    if tally.read and tally.read % _SAY_EVERY_ROWS == 0:
        size = f", {source.read_bytes():,} of {source.size_bytes:,} bytes" if source.size_bytes else ""
        click.echo(f"{source.name}: {tally.read:,} rows read, {tally.sent:,} sent{size}", err=True)


def _report(tally: Tally, topic: str, *, dry_run: bool) -> None:
    """Say what was done and what was odd."""
    verb = "would be sent" if dry_run else "sent"
    click.echo(f"{tally.read:,} rows read, {tally.sent:,} {verb} to {topic}")
    if tally.resumed:
        click.echo(f"{tally.resumed:,} rows were sent by an earlier run and passed over (--restart sends them again)")
    for name in tally.anew:
        click.echo(f"{plain_text(name)} is not what an earlier run had read: it was read from its beginning")
    for reason, problem in sorted(tally.problems.items(), key=lambda item: -item[1].count):
        fate = "sent" if problem.sent else "held back"
        click.echo(f"  {plain_text(reason)}: {problem.count:,} ({fate}; first: {plain_text(problem.first)})")
    if dry_run:
        for value in tally.sample:
            click.echo(plain_text(value[:_SAMPLE_BYTES].decode("utf-8", "replace")))
