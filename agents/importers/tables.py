"""Owns tables as a form: CSV, Parquet, JSON and the rows of a query give the same records.

Invariant: records come one at a time with a place that is the same on every reading; cells keep every digit.
"""

from __future__ import annotations

import csv
import itertools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from agents.importers.cells import plain
from agents.importers.json_rows import decode_object, json_values
from agents.importers.mapping import Rule, check_columns
from agents.importers.source import InputError, Source

PARQUET_MAGIC = b"PAR1"
_CELL_BYTES = 1_000_000


class Record(NamedTuple):
    """One row of a table: its cells by column, or `None` and the bytes that could not be read.

    `problem` is what is odd about the row as such; `place` names it and serves as its id where it has none.
    """

    cells: dict[str, Any] | None
    raw: bytes | None
    problem: str | None
    place: str


class Query:
    """Rows that come from somewhere else than a file: what a source's `content` is then.

    `columns` are known once `rows` was called; `ordered` is whether the n-th row is the same every time.
    """

    columns: Sequence[str]
    ordered: bool

    def rows(self) -> Iterator[Sequence[Any]]:
        """Yield the rows, in the order of the columns."""
        raise NotImplementedError


def read_table(
    source: Source, rules: Sequence[Rule], *, delimiter: str | None = ",", wanted: frozenset[str] | None = None
) -> Iterator[Record]:
    """Yield the records of a table; what it is is told by its first bytes.

    Args:
        source: CSV with a header line, Parquet, JSON (lines or one array), or a query.
        rules: Checked against the columns, where there is a header.
        delimiter: Between CSV columns; `None`: told by the header line.
        wanted: The columns that are used at all; `None` for every one. Parquet reads no others.

    Raises:
        InputError: If a rule names a column that is not there, or the file can't be read.
    """
    if isinstance(source.content, Query):
        return _query_rows(source, source.content, rules, wanted)
    head = source.peek()
    if head.startswith(PARQUET_MAGIC):
        return _parquet_rows(source, rules, wanted)
    if head.lstrip()[:1] in (b"{", b"["):
        return _json_rows(source)
    return _csv_rows(source, rules, delimiter)


def _json_rows(source: Source) -> Iterator[Record]:
    for number, value in enumerate(json_values(source), start=1):
        cells = None if value is None else decode_object(value)
        problem = None if cells is not None else "too_large" if value is None else "not_a_json_object"
        yield Record(cells, value, problem, f"{source.name}:{number}")


def _csv_rows(source: Source, rules: Sequence[Rule], delimiter: str | None) -> Iterator[Record]:
    lines, broken = source.lines(), [False]
    first = next((line for line in lines if line is None or line.strip()), b"")
    between = delimiter or _delimiter_of(first or b"")
    csv.field_size_limit(_CELL_BYTES)
    reader = csv.reader(_text(source, itertools.chain((first,), lines), broken), delimiter=between)
    try:
        header = next(reader, None)
    except csv.Error as error:
        raise InputError(f"{source.name}: its first line is no header of CSV: {error}") from error
    if header is None:
        return
    check_columns(rules, header, source.name)
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            problem = f"csv_{str(error).split('(')[0].strip().replace(' ', '_')}"
            yield Record(None, None, problem, f"{source.name}:{reader.line_num}")
            continue
        if not cells:
            continue
        odd = "not_utf8" if broken[0] else None
        broken[0] = False
        if len(cells) != len(header):
            odd = "other_number_of_columns"
        yield Record(dict(zip(header, cells, strict=False)), None, odd, f"{source.name}:{reader.line_num}")


def _delimiter_of(header: bytes) -> str:
    """Return what stands most often in a header line.

    >>> _delimiter_of(b"id;amount;time")
    ';'
    """
    return max(",;\t|", key=lambda between: header.count(between.encode()))


def _text(source: Source, lines: Iterator[bytes | None], broken: list[bool]) -> Iterator[str]:
    """Yield lines as text; bytes that are no UTF-8 become U+FFFD, and *broken* says so."""
    for line in lines:
        if line is None:
            raise InputError(f"{source.name}: a line of this CSV file is over the limit of a Kafka record")
        try:
            yield line.decode()
        except UnicodeDecodeError:
            broken[0] = True
            yield line.decode("utf-8", "replace")


def _parquet_rows(source: Source, rules: Sequence[Rule], wanted: frozenset[str] | None) -> Iterator[Record]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not source.stream.seekable():
        raise InputError(f"{source.name}: Parquet is read from its end: give the file itself, not a pipe")
    try:
        file = pq.ParquetFile(source.stream, pre_buffer=False)
        columns = file.schema_arrow.names
        check_columns(rules, columns, source.name)
        needed = columns if wanted is None else [name for name in columns if name in wanted]
        number = 0
        for batch in file.iter_batches(batch_size=4096, columns=needed):
            for cells in _pylist(batch):
                number += 1
                plainly = {name: plain(value) for name, value in cells.items()}
                yield Record(plainly, None, None, f"{source.name}:{number}")
    except (pa.ArrowException, OSError) as error:
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{source.name}: the Parquet file is damaged ({said})") from error


def _pylist(batch: Any) -> list[dict[str, Any]]:
    """Return a batch as Python values; nanoseconds are cut to microseconds, which is more than times need here."""
    import pyarrow as pa

    for at, column in enumerate(batch.schema):
        if pa.types.is_timestamp(column.type) and column.type.unit == "ns":
            cut = batch.column(at).cast(pa.timestamp("us", column.type.tz), safe=False)
            batch = batch.set_column(at, column.name, cut)
    try:
        return batch.to_pylist()  # type: ignore[no-any-return]
    except (ValueError, OverflowError):  # text that is no UTF-8, a year that Python has not: one cell, not the file
        columns = [(name, batch.column(at)) for at, name in enumerate(batch.schema.names)]
        return [{name: _cell(column[row]) for name, column in columns} for row in range(batch.num_rows)]


def _cell(cell: Any) -> Any:
    """Return one value of Parquet; what Python has no room for is text that no reader takes for a time."""
    try:
        return cell.as_py()
    except UnicodeDecodeError:
        return cell.as_buffer().to_pybytes().decode("utf-8", "replace") if hasattr(cell, "as_buffer") else "unreadable"
    except (ValueError, OverflowError):
        return f"out of range: {getattr(cell, 'value', '')}"


def _query_rows(source: Source, query: Query, rules: Sequence[Rule], wanted: frozenset[str] | None) -> Iterator[Record]:
    rows = query.rows()
    first = next(rows, None)
    check_columns(rules, query.columns, source.name)
    if first is None:
        return
    used = [(at, name) for at, name in enumerate(query.columns) if wanted is None or name in wanted]
    for number, row in enumerate(itertools.chain((first,), rows), start=1):
        yield Record({name: plain(row[at]) for at, name in used}, None, None, f"{source.name}:{number}")


def columns_used(rules: Sequence[Rule], fields: Sequence[str]) -> frozenset[str]:
    """Return the columns that rules and fields of their own name can come from."""
    mapped = [column for rule in rules for column in rule.columns()]
    return frozenset([*mapped, *(column.split(".")[0] for column in mapped), *fields])
