"""Writes a report and prints its summary.

Invariant: the document is written last, so what it links to is there.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import click
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from agents.cli_errors import ToldError
from agents.cli_progress import progress
from reports.report_document import Report, html_of, pictures_of, write_tables
from reports.report_table import Table
from reports.short_text import plain_name
from reports.whole_file import put

_SUMMARY_ROWS = 12
_PIPED_WIDTH = 160


def made_at(now_seconds: float) -> str:
    """Return when a report was made, as text."""
    return f"Made {datetime.fromtimestamp(now_seconds, UTC):%Y-%m-%d %H:%M} UTC"


def make_folder(folder: Path) -> None:
    """Make the folder of a report: first of all, so that nobody waits for a report that can't be written.

    Raises:
        ToldError: If it can't be made.
    """
    with _told():
        folder.mkdir(parents=True, exist_ok=True)


def write(report: Report, folder: Path, name: str) -> Path:
    """Write document and tables into *folder*; return the document.

    Raises:
        ToldError: If they can't be written.
    """
    document = folder / f"{name}.html"
    with _told():
        write_tables(report.tables, folder)
        pictures: dict[str, list[str]] = {}
        with progress("tables drawn") as tell:
            for number, table in enumerate(report.tables, 1):
                pictures[table.name] = pictures_of(table)
                tell(number, len(report.tables))
        put(document, html_of(report, pictures).encode())
    return document


@contextmanager
def _told() -> Iterator[None]:
    """Tell in one sentence that something can't be written."""
    try:
        yield
    except OSError as error:
        said = f"{error.filename} can't be written: {error.strerror}"
        raise ToldError(said, "Name a folder that you may write to: --out DIR") from error


def print_summary(report: Report, document: Path) -> None:
    """Print the tables, at most a few rows of each, and where all of it is."""
    console = Console(highlight=False) if sys.stdout.isatty() else Console(highlight=False, width=_PIPED_WIDTH)
    console.print(report.heading, style="bold", markup=False)
    for text in report.coverage:
        console.print(text, markup=False)
    for section in report.sections:
        console.print()
        console.rule(Text(section.title, style="bold"), align="left", style="dim")
        if not section.tables:
            console.print(Text(section.lead))
        for table in section.tables:
            console.print()
            console.print(Text(table.title, style="bold"))
            for note in table.notes:
                console.print(Text(note, style="yellow"))
            if len(table.frame):
                console.print(rich_table(table, console.width))
            else:
                console.print("no rows in this period", style="dim")
    click.echo(f"\n{document} written, and {2 * len(report.tables)} files in {document.parent / 'tables'}")


def rich_table(table: Table, width: int) -> RichTable:
    """Return the first rows of a table, and as many columns as *width* characters hold: a folded figure is none."""
    texts = table.texts(_SUMMARY_ROWS)
    found = RichTable(box=None, pad_edge=False, header_style="dim")
    used, left_out = 0, 0
    shown = list[int]()
    for at, column in enumerate(table.columns):
        needed = 2 + max(cell_len(text) for text in (column.title, *(row[at] for row in texts)))
        if left_out or used + needed > width:
            left_out += 1
            continue
        used += needed
        shown.append(at)
        found.add_column(column.title, justify="right" if column.numeric else "left", no_wrap=True)
    for row in texts:
        found.add_row(*(Text(plain_name(row[at], 200)) for at in shown))
    rest = [f"{len(table.frame) - len(texts):,} more rows"] if len(table.frame) > len(texts) else []
    rest += [f"{left_out} more columns"] if left_out else []
    if rest:
        found.caption, found.caption_justify = Text("… and " + ", ".join(rest), style="dim"), "left"
    return found
