"""A report as one HTML file, and its tables as CSV and Parquet.

Owns what is written. Invariant: the HTML needs no other file, no network and no script; everything that comes from
data is escaped; a file holds either what it held before or all of the new content.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from reports.report_table import Section, Table
from reports.short_text import no_formula, plain_name
from reports.whole_file import put

TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class Report:
    """A report.

    Attributes:
        heading: What it is.
        made: When and over what, as text.
        coverage: Sentences: what it covers, what is left out.
    """

    heading: str
    made: str
    coverage: tuple[str, ...]
    sections: tuple[Section, ...]

    @property
    def tables(self) -> list[Table]:
        """All tables, in the order in which they stand."""
        return [table for section in self.sections for table in section.tables]


def html_of(report: Report, pictures: dict[str, list[str]] | None = None) -> str:
    """Return the report as an HTML document; *pictures* by table, else they are drawn now."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    drawn = pictures if pictures is not None else {table.name: pictures_of(table) for table in report.tables}
    texts = {table.name: [[plain_name(cell, 200) for cell in row] for row in table.texts()] for table in report.tables}
    style = (TEMPLATES / "report.css").read_text("utf-8")
    html: str = environment.get_template("report.html").render(
        heading=report.heading, made=report.made, coverage=report.coverage, sections=report.sections, pictures=drawn,
        texts=texts, style=style,
    )  # fmt: skip
    return html


def pictures_of(table: Table) -> list[str]:
    """Return the table's pictures as elements of a page."""
    from reports.picture_inline import inline  # Matplotlib takes long to load

    return [inline(draw(), f"{table.name}-{number}") for number, draw in enumerate(table.pictures)]


def csv_of(frame: pd.DataFrame) -> str:
    """Return a frame as CSV at full precision; what is not known is empty.

    A text that a spreadsheet would compute gets an apostrophe before it.
    """
    safe = frame.copy()
    for name in safe.columns[[not pd.api.types.is_numeric_dtype(kind) for kind in safe.dtypes]]:
        safe[name] = [no_formula(value) if isinstance(value, str) else value for value in safe[name]]
    return str(safe.to_csv(index=False, lineterminator="\r\n"))


def parquet_of(frame: pd.DataFrame) -> bytes:
    """Return a frame as a Parquet file; NaN is null."""
    import pyarrow
    from pyarrow import parquet

    file = io.BytesIO()
    parquet.write_table(pyarrow.Table.from_pandas(frame, preserve_index=False), file, compression="zstd")
    return file.getvalue()


def write_tables(tables: Sequence[Table], folder: Path) -> list[Path]:
    """Write each table as `tables/<name>.csv` and `.parquet`; return the files."""
    place = folder / "tables"
    place.mkdir(parents=True, exist_ok=True)
    found = []
    for table in tables:
        for suffix, content in (("csv", csv_of(table.frame).encode("utf-8-sig")), ("parquet", parquet_of(table.frame))):
            path = place / f"{table.name}.{suffix}"
            put(path, content)
            found.append(path)
    return found
