"""Writes the tables of a storage report: Parquet with types, and CSV of the same rows.

Invariant: a file holds either what it held before or all of the new content.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from reports.short_text import FORMULA
from reports.storage import StorageReport
from reports.storage_summary import by_quantile, by_tier
from reports.whole_file import replacing

PREFIX = "storage-"
_FORMULA = rf"^\s*[{re.escape(''.join(FORMULA))}]"


def tables_of(report: StorageReport) -> dict[str, pa.Table]:
    """Return every table by the name of its files."""
    found = {"users": report.users}
    if report.nodes is not None:
        found |= {"nodes": report.nodes.nodes, "wallets": report.nodes.wallets}
        found["nodes-never-contacted"] = pa.Table.from_pandas(report.nodes.never, preserve_index=False)
    found["by-tier"] = pa.Table.from_pandas(by_tier(report.users, report.window.months), preserve_index=False)
    found["quantiles"] = pa.Table.from_pandas(by_quantile(report.users, report.window.months), preserve_index=False)
    for section in report.sections:
        found[f"quality-{section.name}"] = pa.Table.from_pandas(section.frame, preserve_index=False)
    return found


def write_tables(tables: dict[str, pa.Table], folder: Path, told: Callable[[int, int], None]) -> list[Path]:
    """Write each of *tables* as Parquet and CSV into *folder*; *told* gets how many are done, and of how many."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for done, (name, table) in enumerate(tables.items()):
        told(done, len(tables))
        for suffix, write in (("parquet", _parquet), ("csv", _csv)):
            path = folder / f"{PREFIX}{name}.{suffix}"
            with replacing(path) as new:
                write(table, new)
            files.append(path)
    told(len(tables), len(tables))
    return files


def _parquet(table: pa.Table, path: Path) -> None:
    pq.write_table(table, path, compression="zstd")


def _csv(table: pa.Table, path: Path) -> None:
    pa_csv.write_csv(flat(table), path)


def flat(table: pa.Table) -> pa.Table:
    """Return the table with what CSV can hold: times as 2021-04-30T23:00:00Z, lists as parts with blanks between.

    Text that a spreadsheet would take for a formula gets an apostrophe before it; Parquet has it as it is.
    """
    return pa.table({name: _flat(table.column(name)) for name in table.column_names})


def _flat(column: pa.ChunkedArray) -> Any:
    kind = column.type
    if pa.types.is_list(kind):
        whole = column.combine_chunks()
        words = _flat(pa.chunked_array([whole.flatten()], kind.value_type))
        words = words.combine_chunks() if isinstance(words, pa.ChunkedArray) else words
        sizes = pc.fill_null(pc.list_value_length(whole), 0).to_numpy(zero_copy_only=False)
        offsets = pa.array([0, *sizes.cumsum().tolist()], pa.int32())
        joined = pc.binary_join(pa.ListArray.from_arrays(offsets, words), " ")
        return pc.if_else(pc.is_null(whole), pa.scalar(None, pa.string()), joined)
    if pa.types.is_timestamp(kind):
        whole_seconds = column.cast(pa.timestamp("s", tz="UTC"), safe=False)
        exact = pc.all(pc.equal(whole_seconds.cast(kind), column)).as_py() is not False
        return pc.strftime(whole_seconds if exact else column, format="%Y-%m-%dT%H:%M:%SZ")
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        column = column.cast(pa.string())
        formula = pc.fill_null(pc.match_substring_regex(column, _FORMULA), False)
        return pc.if_else(formula, pc.binary_join_element_wise("'", column, ""), column)
    if pa.types.is_decimal(kind):
        return column.cast(pa.string())
    return column
