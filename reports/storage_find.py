"""Which files an export has, what table and region each is, and which of its columns is which.

Invariant: a file is taken for what its name says, or for what the user says; a column that is not there is named with
the file and with what to do.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from reports.storage_tables import TABLES, Column, StorageError, Table, region_of, table_of

REGIONS = ("ap", "eu", "us")
_SUFFIXES = (".csv", ".csv.gz")

Names = Mapping[tuple[str, str], str]
"""(Table, column) → what the column is called in the files."""


@dataclass(frozen=True, slots=True)
class Export:
    """One file: the table it holds, and its region (empty = not said)."""

    path: Path
    table: Table
    region: str


def find_exports(
    paths: Iterable[Path], regions: tuple[str, ...] = REGIONS, skip: Path | None = None
) -> tuple[list[Export], list[Path]]:
    """Return the exports among *paths* (folders are searched), and the CSV files that by their names are none.

    Args:
        paths: Files and folders.
        regions: Names that tell a region in a file's name or folders.
        skip: A folder to pass over: the one that results go to.

    Raises:
        StorageError: If there is no such file.
    """
    found: dict[Path, Export] = {}
    unknown = []
    for base in paths:
        if not base.exists():
            raise StorageError(f"{base} is not there", "Name a folder with exports, or the files themselves")
        for path in sorted(base.rglob("*")) if base.is_dir() else [base]:
            is_csv = path.name.lower().endswith(_SUFFIXES) and path.is_file()
            if base.is_dir() and (not is_csv or (skip is not None and skip.resolve() in path.resolve().parents)):
                continue
            within = path.relative_to(base.parent) if base.is_dir() else Path(*path.parts[-2:])
            table = table_of(path)
            if table is None:
                unknown.append(path)
            else:
                found[path.resolve()] = Export(path, table, region_of(within, regions))
    return list(found.values()), unknown


def columns_in(table: Table, header: Sequence[str], names: Names, place: str) -> dict[str, str]:
    """Return which column of the file holds which column of the table.

    Raises:
        StorageError: If one is not there or stands twice.
    """
    spelled = {name.strip().lower(): name for name in header}
    found = {}
    for column in table.columns:
        wanted = names.get((table.name, column.name))
        tried = [wanted] if wanted else [column.name, *column.others]
        name = next((spelled[each.strip().lower()] for each in tried if each.strip().lower() in spelled), None)
        if name is None and (column.needed or wanted):
            raise _no_column(table, column, wanted, header, place)
        if name is not None and list(header).count(name) > 1:
            raise StorageError(f'{place}: "{name}" stands twice in its first line', "Name each column once")
        if name is not None:
            found[column.name] = name
    return found


def names_in(file: Path) -> list[str]:
    """Return what a mapping file says, as `parse_names` wants it: a section a table, a line a column.

    Raises:
        StorageError: If it can't be read.
    """
    try:
        told = tomllib.loads(file.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise StorageError(
            f"{file}: {error}", 'Write sections of tables, as [bandwidth] and settled = "bytes"'
        ) from None
    return [
        f"{table}.{column}={name}"
        for table, columns in told.items()
        for column, name in (columns.items() if isinstance(columns, dict) else [("", columns)])
    ]


def parse_names(texts: Iterable[str]) -> dict[tuple[str, str], str]:
    """Return what `TABLE.COLUMN=NAME` says.

    Raises:
        StorageError: If there is no such table or column.

    >>> parse_names(["bandwidth.settled=bytes"])
    {('bandwidth', 'settled'): 'bytes'}
    """
    found = {}
    for text in texts:
        target, sign, name = text.partition("=")
        table, dot, column = target.strip().partition(".")
        if not sign or not dot or not name.strip():
            raise StorageError(f"{text}: it has no form", "Write TABLE.COLUMN=NAME, as in bandwidth.settled=bytes")
        if table not in TABLES:
            raise StorageError(f'{text}: there is no table "{table}"', f"There are {', '.join(TABLES)}")
        known = [each.name for each in TABLES[table].columns]
        if column not in known:
            raise StorageError(f'{text}: {table} has no column "{column}"', f"It has {', '.join(known)}")
        found[table, column] = name.strip()
    return found


def _no_column(table: Table, column: Column, wanted: str | None, header: Sequence[str], place: str) -> StorageError:
    there = ", ".join(name.strip() for name in header) or "nothing"
    near = get_close_matches((wanted or column.name).lower(), [name.strip() for name in header], n=1, cutoff=0.6)
    guess = near[0] if near else "NAME"
    return StorageError(
        f'{place}: no column "{wanted or column.name}" ({table.title}); its first line has {there}',
        f"Say which column it is: --map {table.name}.{column.name}={guess}",
    )
