"""Writes rows to Parquet, CSV or JSON lines, to a file, to one file a week, or to standard output.

Invariant: a file holds either what it held before or all of the new content, also when the run is interrupted.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby, islice
from pathlib import Path
from typing import IO, Any, Protocol

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from reports.export_rows import Row
from reports.short_text import no_formula
from reports.whole_file import replacing

FORMATS = ("parquet", "csv", "jsonl")
ROWS_AT_ONCE = 10_000
PART = "part-0.parquet"


class _Sink(Protocol):
    def write(self, rows: list[Row]) -> None: ...
    def close(self) -> None: ...


class _Parquet:
    def __init__(self, file: IO[bytes], schema: pa.Schema) -> None:
        self._schema = schema
        self._maps = [field.name for field in schema if pa.types.is_map(field.type)]
        self._writer = pq.ParquetWriter(file, schema, compression="zstd")

    def write(self, rows: list[Row]) -> None:
        for row in rows:
            for name in self._maps:
                if row[name] is not None:
                    row[name] = list(row[name].items())
        self._writer.write_table(pa.Table.from_pylist(rows, self._schema))

    def close(self) -> None:
        self._writer.close()


class _Csv:
    def __init__(self, file: IO[bytes], schema: pa.Schema) -> None:
        self._text = io.TextIOWrapper(file, "utf-8", newline="")
        self._names = schema.names
        self._nested = {field.name for field in schema if pa.types.is_nested(field.type)}
        self._writer = csv.writer(self._text, lineterminator="\n")
        self._writer.writerow(schema.names)

    def write(self, rows: list[Row]) -> None:
        self._writer.writerows([self._cell(name, row.get(name)) for name in self._names] for row in rows)

    def _cell(self, name: str, value: Any) -> Any:
        if value is None:
            return ""
        if name in self._nested:
            return orjson.dumps(value).decode()
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, str):
            return no_formula(value)
        return value.isoformat().replace("+00:00", "Z") if hasattr(value, "isoformat") else value

    def close(self) -> None:
        self._text.flush()
        self._text.detach()


class _Jsonl:
    def __init__(self, file: IO[bytes], schema: pa.Schema) -> None:
        self._file, self._names = file, schema.names

    def write(self, rows: list[Row]) -> None:
        self._file.write(b"".join(
            orjson.dumps({name: row.get(name) for name in self._names}, option=orjson.OPT_UTC_Z) + b"\n" for row in rows
        ))  # fmt: skip

    def close(self) -> None:
        self._file.flush()


_SINKS: dict[str, Callable[[IO[bytes], pa.Schema], _Sink]] = {"parquet": _Parquet, "csv": _Csv, "jsonl": _Jsonl}


def write_stream(rows: Iterable[Row], schema: pa.Schema, form: str, file: IO[bytes]) -> int:
    """Write *rows* to an open file and return how many there were."""
    sink, count = _SINKS[form](file, schema), 0
    try:
        remaining = iter(rows)
        while batch := list(islice(remaining, ROWS_AT_ONCE)):
            sink.write(batch)
            count += len(batch)
    finally:
        sink.close()
    return count


def write_file(rows: Iterable[Row], schema: pa.Schema, form: str, path: Path) -> int:
    """Write *rows* to *path*, at once, and return how many there were."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as new, new.open("wb") as file:
        return write_stream(rows, schema, form, file)


def write_by_week(
    rows: Iterable[Row], schema: pa.Schema, folder: Path, is_meant: Callable[[str], bool]
) -> tuple[int, int]:
    """Write *rows*, ordered by week, as `week=2024-W02/part-0.parquet` and so on; return how many rows and weeks.

    Weeks that *is_meant* says were asked for and that have no row any more lose their file. The week is in the folder's
    name and not in the file: readers of such partitions make a column of it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    slim = pa.schema([field for field in schema if field.name != "week"])
    count, weeks = 0, set()
    for week, of_week in groupby(rows, key=lambda row: str(row["week"])):
        count += write_file(_without_week(of_week), slim, "parquet", folder / f"week={week}" / PART)
        weeks.add(week)
    for old in folder.glob(f"week=*/{PART}"):
        week = old.parent.name.removeprefix("week=")
        if week not in weeks and is_meant(week):
            old.unlink()
    return count, len(weeks)


def _without_week(rows: Iterable[Row]) -> Iterator[Row]:
    for row in rows:
        del row["week"]
        yield row
