"""The command `orgpulse report storage`: users and nodes of a storage network, from its exports or from product events.

Invariant: nothing is left out without being counted, and no file of the results is ever half written.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table as Shown

from agents.cli_errors import EXIT_USAGE, ToldError
from agents.cli_progress import progress
from agents.read_topic import records_of
from streams.kafka_access import Brokers
from streams.settings import Settings
from streams.topic_specs import topic_names

_BEFORE = click.DateTime(formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"])
_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)
_TABLES = ("projects", "users", "bandwidth", "tallies", "nodes", "payments", "receipts", "payers")


@click.command("storage")
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path), metavar="[DIR_OR_FILE]...")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="Folder of the results.")
@click.option("--before", type=_BEFORE, required=True, metavar="DAY", help="Count what was before this day (UTC).")
@click.option("--months", type=click.IntRange(1, 60), default=6, show_default=True, help="Full months before it.")
@click.option("--free-gb", type=click.IntRange(0), default=50, show_default=True,
              help="A project with at most this limit (GB of 10⁹ bytes) is free.")  # fmt: skip
@click.option(
    "--file", "named", multiple=True, metavar="TABLE[:REGION]=PATH", help="What a file is, if its name says not."
)
@click.option("--map", "maps", multiple=True, metavar="TABLE.COLUMN=NAME", help="What a column is called in the files.")
@click.option("--mapping", type=_FILE, help='A TOML file of the same: [bandwidth] settled = "bytes".')
@click.option("--units", multiple=True, type=click.Choice(["payments", "receipts", "payers"]),
              help="Amounts of this table are units and not millionths.")  # fmt: skip
@click.option("--regions", default="ap,eu,us", show_default=True, help="Names that tell a region in names of files.")
@click.option("--delimiter", default=",", show_default=True, help="Between columns.")
@click.option("--time-format", "time_formats", multiple=True, metavar="PATTERN",
              help="How times are written that are not ISO 8601, as %m/%d/%y %H:%M.")  # fmt: skip
@click.option(
    "--keep-duplicates", multiple=True, type=click.Choice(_TABLES), help="Count equal rows of this table too."
)
@click.option("--from-topic", is_flag=True, help="Read the topic of product events instead of files.")
@click.pass_obj
def storage(settings: Settings, /, paths: tuple[Path, ...], out: Path, before: Any, **options: Any) -> None:
    """Say what each user of a storage network does: one row a user, in Parquet and CSV, and a page to read.

    Reads CSV exports, plain or gzip, from the files and folders named. Which table and region a file holds is seen from
    its name: projects, users, bandwidth rollups, storage tallies, nodes, payments, receipts, payer lists; ap, eu, us.

    \b
    Examples:
      orgpulse report storage exports/ --out report --before 2021-05-01
      orgpulse report storage exports/ --out report --before 2021-05-01 --map bandwidth.settled=bytes
      orgpulse report storage --from-topic --out report --before 2021-05-01
    """
    # pandas and Arrow take longer to load than all other commands together
    import pandas as pd

    from reports.storage import Options, storage_report
    from reports.storage_files import tables_of, write_tables
    from reports.storage_page import page
    from reports.whole_file import put

    if bool(paths or options["named"]) == options["from_topic"]:
        raise click.UsageError("name files or folders, or give --from-topic (one of them)")
    asked = Options(
        pd.Timestamp(before, tz="UTC"), options["months"], options["free_gb"] * 10**9, options["keep_duplicates"]
    )
    files = _from_topic(settings) if options["from_topic"] else _from_files(paths, out, options)
    report = storage_report(files, asked)
    try:
        with progress("tables written") as told:
            written = write_tables(tables_of(report), out, told)
        put(out / "storage.html", page(report).encode())
    except OSError as error:
        raise ToldError(f"{error.filename or out} can't be written: {error.strerror}", "Name another --out") from error
    _show(report)
    click.echo(f"wrote {out / 'storage.html'} and {len(written)} tables beside it")


def _from_files(paths: Sequence[Path], out: Path, options: dict[str, Any]) -> list[Any]:
    from reports.storage_find import find_exports, names_in, parse_names
    from reports.storage_read import read_export

    regions = tuple(part.strip().lower() for part in options["regions"].split(",") if part.strip())
    if len(options["delimiter"]) != 1:
        raise click.UsageError("--delimiter is one character")
    mapping: Path | None = options["mapping"]
    names = parse_names([*([] if mapping is None else names_in(mapping)), *options["maps"]])
    exports, unknown = find_exports(paths, regions, skip=out)
    named = [_named(text) for text in options["named"]]
    known = {export.path.resolve() for export in named}
    exports = [export for export in exports if export.path.resolve() not in known] + named
    for path in unknown:
        if path.resolve() not in known:
            click.echo(f"{path}: passed over; say which table it is with --file TABLE:REGION={path}", err=True)
    if not exports:
        raise ToldError(
            "no exports found: no CSV file with projects, users, bandwidth … in its name",
            "Name files with --file TABLE:REGION=PATH", EXIT_USAGE,
        )  # fmt: skip
    files = []
    with progress("files read") as told:
        for done, export in enumerate(exports):
            told(done, len(exports))
            units = export.table.name in options["units"]
            form = {"delimiter": options["delimiter"], "time_formats": options["time_formats"]}
            files.append(read_export(export, names, units=units, **form))
        told(len(exports), len(exports))
    return files


def _named(text: str) -> Any:
    from reports.storage_find import Export
    from reports.storage_tables import TABLES

    what, sign, path = text.partition("=")
    table, _, region = what.partition(":")
    if not sign or table not in TABLES or not Path(path).is_file():
        why = "there is no such file" if sign and table in TABLES else f"tables are {', '.join(TABLES)}"
        raise ToldError(f"--file {text}: {why}", "Write TABLE:REGION=PATH, as in projects:eu=old.csv", EXIT_USAGE)
    return Export(Path(path), TABLES[table], region.lower())


def _from_topic(settings: Settings) -> list[Any]:
    return asyncio.run(_read_topic(settings.kafka, topic_names(settings).product_events))


async def _read_topic(brokers: Brokers, topic: str) -> list[Any]:
    from reports.storage_events import EventTables

    tables = EventTables(topic)
    with progress("messages read") as told:
        async for tp, record in records_of(brokers, topic, told):
            tables.add(f"{tp.partition}:{record.offset}", record.value)
    return tables.loaded()


def _show(report: Any) -> None:
    from reports.storage_page import figures

    console = Console(highlight=False)
    console.print(f"Storage users before {report.options.before:%Y-%m-%d}", style="bold")
    table = Shown(box=None, pad_edge=False, show_header=False)
    for name, value in figures(report):
        table.add_row(name, value)
    console.print(table)
    for section in report.sections:
        if section.name in ("bad-rows", "missing", "gaps", "never-contacted") and len(section.frame):
            console.print(f"\n{section.title}", style="bold yellow")
            shown = Shown(box=None, pad_edge=False)
            columns = [name for name in section.frame.columns if name != "means"]
            for name in columns:
                shown.add_column(name.replace("_", " "), justify="left")
            for row in section.frame[columns].head(10).itertuples(index=False):
                named = zip(columns, row, strict=True)
                shown.add_row(*(Path(value).name if name == "file" else str(value) for name, value in named))
            console.print(shown)
            if len(section.frame) > 10:
                console.print(f"… {len(section.frame) - 10:,} more in storage-quality-{section.name}.csv")
