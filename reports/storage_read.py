"""Reads the files of an export: what their cells say.

Invariant: every row of a file is in its frame or counted among the bad rows with a reason and the place of the first.
"""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from reports.storage_find import Export, Names, columns_in
from reports.storage_tables import ID, MICROS, UNITS, Column, StorageError, Table
from reports.storage_values import Mask, parsed

_GZIP_MAGIC = b"\x1f\x8b"
_HEAD_BYTES = 1 << 16
REST = "_rest"
"""A hash of the columns that nothing is made of: two rows that differ there are not the same row."""


@dataclass(frozen=True, slots=True)
class Bad:
    """Rows of a file that were left out for one reason in one column, and the first of them."""

    table: str
    region: str
    place: str
    reason: str
    column: str
    rows: int
    first: str
    """Its number, the first line of names being 1; of messages partition and offset."""
    value: str


@dataclass
class Loaded:
    """The rows of one file: a column for each of the table's, and `REST`."""

    table: Table
    region: str
    place: str
    frame: pd.DataFrame
    rows: int
    """Rows in the file, bad ones among them."""
    bad: list[Bad] = field(default_factory=list)
    spellings: dict[str, set[str]] = field(default_factory=dict)
    """By id column, every id as it is spelled."""
    mixed: dict[str, int] = field(default_factory=dict)
    """By id column, how many cells are not in lower case."""


def read_export(
    export: Export, names: Names, *, delimiter: str = ",", time_formats: Sequence[str] = (), units: bool = False
) -> Loaded:
    """Return the rows of one file.

    Args:
        export: The file.
        names: What columns are called in it, where that is not by default.
        delimiter: What stands between columns.
        time_formats: Forms of times besides ISO 8601, as `strptime` has them.
        units: Amounts are units with up to six decimals, and not millionths.

    Raises:
        StorageError: If a column is not there or the file can't be read.
    """
    torn: list[int] = []
    cells = _cells(export.path, delimiter, torn)
    columns = columns_in(export.table, cells.column_names, names, str(export.path))
    bad = _Bads(export, len(cells), torn)
    loaded = Loaded(export.table, export.region, str(export.path), pd.DataFrame(), len(cells) + len(torn))
    found: dict[str, Any] = {}
    for column in export.table.columns:
        name = columns.get(column.name)
        texts = pa.nulls(len(cells), pa.string()) if name is None else _texts(cells.column(name), column.name, bad)
        told = replace(column, holds=UNITS) if units and column.holds == MICROS else column
        found[column.name] = _read_column(texts, told, time_formats, bad, loaded)
    used = set(columns.values())
    others = {name: cells.column(name) for name in cells.column_names if name not in used}
    found[REST] = pa.array(_rest(others, len(cells)))
    loaded.frame = frame_of(export.table, found)[~bad.mask]
    loaded.bad = bad.told()
    return loaded


def frame_of(table: Table, columns: Mapping[str, Any]) -> pd.DataFrame:
    """Return Arrow arrays as a frame: whole numbers that may be missing as `Int64`, text as `str`."""
    kinds = {pa.int64(): pd.Int64Dtype(), pa.int8(): pd.Int8Dtype(), pa.string(): pd.StringDtype(na_value=np.nan)}
    names = [column.name for column in table.columns] + [REST]
    frame: pd.DataFrame = pa.table({name: columns[name] for name in names}).to_pandas(types_mapper=kinds.get)
    return frame


def _cells(path: Path, delimiter: str, torn: list[int]) -> Any:
    """Return the file as an Arrow table of bytes; numbers of the rows that CSV can't split go to *torn*."""

    def note(row: Any) -> str:
        torn.append(row.number)
        return "skip"

    try:
        header = _header(path, delimiter)
        with path.open("rb") as raw:
            stream = pa.input_stream(raw)
            if raw.peek(2)[:2] == _GZIP_MAGIC:
                stream = pa.CompressedInputStream(stream, "gzip")
            return pa_csv.read_csv(
                stream,
                # One thread: only then rows have numbers; one block is as long as the longest row may be.
                read_options=pa_csv.ReadOptions(use_threads=False, block_size=8 << 20),
                parse_options=pa_csv.ParseOptions(
                    delimiter=delimiter, newlines_in_values=True, invalid_row_handler=note
                ),
                convert_options=pa_csv.ConvertOptions(
                    column_types=dict.fromkeys(header, pa.binary()), strings_can_be_null=False
                ),
            )
    except (pa.ArrowInvalid, OSError, EOFError, csv.Error) as error:
        reason = str(error).strip() or type(error).__name__
        raise StorageError(
            f"{path}: it can't be read as CSV: {reason}", "Export it again, as CSV with a first line of column names"
        ) from error


def _header(path: Path, delimiter: str) -> list[str]:
    """Return the names in the first line."""
    with path.open("rb") as raw:
        stream: Any = gzip.GzipFile(fileobj=raw) if raw.peek(2)[:2] == _GZIP_MAGIC else raw
        head = stream.read(_HEAD_BYTES)
    text = head.decode("utf-8-sig", "replace")
    names = next(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter), [])
    if not any(name.strip() for name in names):
        raise StorageError(f"{path}: it is empty", "Export it again, as CSV with a first line of column names")
    return names


class _Bads:
    """Which rows are left out, and why."""

    def __init__(self, export: Export, rows: int, torn: list[int]) -> None:
        self.mask: Mask = np.zeros(rows, bool)
        self._export, self._torn, self._found = export, sorted(torn), list[Bad]()
        if torn:
            self._add("torn", "", len(torn), self._torn[0], "")

    def note(self, reason: str, column: str, rows: Mask, texts: Any) -> None:
        """Leave out *rows*; a row is counted for the first reason that is found."""
        new = np.flatnonzero(rows & ~self.mask)
        if len(new):
            first = int(new[0])
            value = texts[first].as_py() if texts is not None else ""
            self._add(reason, column, len(new), self._number(first), str(value or "")[:80])
            self.mask[new] = True

    def told(self) -> list[Bad]:
        """Return what was left out."""
        return self._found

    def _number(self, row: int) -> int:
        number = row + 2
        for torn in self._torn:
            number += torn <= number
        return number

    def _add(self, reason: str, column: str, rows: int, number: int, value: str) -> None:
        e = self._export
        self._found.append(Bad(e.table.name, e.region, str(e.path), reason, column, rows, f"row {number}", value))


def _texts(cells: Any, column: str, bad: _Bads) -> Any:
    """Return bytes as text; rows that are none are bad."""
    coded = cells.combine_chunks().dictionary_encode() if cells.num_chunks else pa.array([], pa.string())
    coded = coded.combine_chunks() if isinstance(coded, pa.ChunkedArray) else coded
    if not len(coded):
        return pa.array([], pa.string())
    try:
        words = pc.cast(coded.dictionary, pa.string())
    except pa.ArrowInvalid:
        texts = [_decoded(word) for word in coded.dictionary.to_pylist()]
        words = pa.array(texts, pa.string())
        unreadable = np.array([text is None for text in texts], bool)
        bad.note("not_utf8", column, unreadable[coded.indices.to_numpy(zero_copy_only=False)], None)
    return pa.DictionaryArray.from_arrays(coded.indices, words)


def _decoded(word: bytes) -> str | None:
    try:
        return word.decode()
    except UnicodeDecodeError:
        return None


def _read_column(texts: Any, column: Column, formats: Sequence[str], bad: _Bads, loaded: Loaded) -> Any:
    if not isinstance(texts, pa.DictionaryArray):
        values, _ = parsed(texts, column.holds, formats)
        return values
    codes = texts.indices.to_numpy(zero_copy_only=False)
    values, reasons = parsed(texts.dictionary, column.holds, formats)
    for reason, which in reasons.items():
        if which.any():
            bad.note(reason, column.name, which[codes], texts)
    if not column.empty:
        empty = pc.is_null(values).to_numpy(zero_copy_only=False)
        if empty.any():
            bad.note("empty", column.name, empty[codes], texts)
    if column.holds == ID:
        _note_spelling(texts, codes, column.name, loaded)
    return values.take(texts.indices)


def _note_spelling(texts: Any, codes: Any, column: str, loaded: Loaded) -> None:
    trimmed = pc.utf8_trim_whitespace(texts.dictionary)
    other = pc.fill_null(pc.not_equal(trimmed, pc.utf8_lower(trimmed)), False).to_numpy(zero_copy_only=False)
    loaded.mixed[column] = int(other[codes].sum())
    loaded.spellings[column] = {text for text in trimmed.to_pylist() if text}


def _rest(columns: Mapping[str, Any], rows: int) -> Any:
    """Return a hash of the *columns*; an empty cell, or the number of a row, is like a column that isn't there."""
    rest = np.zeros(rows, np.uint64)
    for name, cells in columns.items():
        if not rows or not name.strip() or name.startswith("Unnamed:"):
            continue
        coded = cells.combine_chunks().dictionary_encode()
        coded = coded.combine_chunks() if isinstance(coded, pa.ChunkedArray) else coded
        words = np.array(coded.dictionary.to_pylist(), object)
        salted = np.array([name.strip().lower().encode() + b"=" + word for word in words], object)
        hashes = np.where(words == b"", np.uint64(0), pd.util.hash_array(salted))
        rest += hashes[coded.indices.to_numpy(zero_copy_only=False)]
    return rest
