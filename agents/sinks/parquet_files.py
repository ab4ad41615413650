"""One Parquet file for each week and partition, rewritten as a whole when something of it changed.

    week=2026-W48/part-0003.parquet   one row per subject, the newest; readers see the old file or the new one

Owns the columns and the rewriting. Invariant: a row gives way to one with a higher fence only, so what is written again
after a kill changes nothing; a file comes into being under its name complete, by a rename.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from agents.sinks.errors import StoreAwayError, StoreRefusesError
from agents.sinks.read_week import WeekRow

VERSION = b"1"
_VERSION_KEY = b"orgpulse.version"
_PERCENT, _RATIO, _BIG = pa.decimal128(5, 2), pa.decimal128(5, 4), pa.int64()
_TEXT = pa.string()
SCHEMA = pa.schema(
    [
        ("subject", _TEXT), ("org", _TEXT), ("user", _TEXT), ("week_start", pa.date32()), ("status", _TEXT),
        ("score", _PERCENT), ("score_licensed", _PERCENT), ("score_median", _PERCENT), ("band", _TEXT),
        ("coverage", _RATIO), ("contributions", pa.map_(_TEXT, _PERCENT)), ("attributes", pa.map_(_TEXT, _BIG)),
        ("calibration", _BIG), ("activities", _BIG), ("active_users", _BIG), ("transactions_count", _BIG),
        ("transactions_cents", _BIG), ("replies", _BIG), ("reply_latency_seconds_sum", _BIG),
        ("counts", pa.map_(_TEXT, _BIG)), ("sums", pa.map_(_TEXT, _BIG)), ("fence", _BIG),
    ],
    metadata={_VERSION_KEY: VERSION},
)  # fmt: skip

_NO_DIRECTORY = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG)

Fenced = tuple[int, WeekRow | None]
"""Fence and row; None = gone."""
_ANEW = "Run `orgpulse sink parquet --from-start`: it deletes the files and writes them anew from the topic."


def file_of(directory: Path, week: str, partition: int) -> Path:
    """Return where the rows of a week and partition are.

    >>> file_of(Path("lake"), "2026-W48", 3).as_posix()
    'lake/week=2026-W48/part-0003.parquet'
    """
    return directory / f"week={week}" / f"part-{partition:04d}.parquet"


def rewrite(path: Path, changes: Mapping[str, Fenced]) -> dict[str, int]:
    """Bring *changes* (subject → fence and row) into a file and return how many rows were stored, deleted, unchanged.

    Raises:
        StoreAwayError: If the disk takes no writes now.
        StoreRefusesError: If somebody has to act.
    """
    try:
        return _rewrite(path, changes)
    except pa.ArrowInvalid as error:
        raise StoreRefusesError(f"{path} can't be read: {str(error).splitlines()[0]}", _ANEW) from None
    except OSError as error:
        raise meaning_of(error, path) from None


def meaning_of(error: OSError, path: Path) -> Exception:
    """Return what to raise in the place of *error*: what a person has to mend is told apart from what may pass."""
    said = f"{path}: {error.strerror or error}"
    if error.errno in _NO_DIRECTORY:
        return StoreRefusesError(said, "Make it a directory that this user may write to ([sink] parquet_directory).")
    return StoreAwayError("disk", said)


def write_whole(path: Path, write: Any) -> None:
    """Let *write* fill a file beside *path*, bring it to the disk, and give it its name."""
    beside = path.with_name(f".{path.name}.new")
    with beside.open("wb") as file:
        write(file)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
    handle = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _rewrite(path: Path, changes: Mapping[str, Fenced]) -> dict[str, int]:
    known = _read(path)
    fences: dict[str, int] = {}
    if known is not None:
        fences = dict(zip(known["subject"].to_pylist(), known["fence"].to_pylist(), strict=True))
    wins = {subject: found for subject, found in changes.items() if found[0] > fences.get(subject, -1)}
    rows = [(subject, fence, row) for subject, (fence, row) in wins.items() if row is not None]
    deleted = sum(row is None and subject in fences for subject, (_, row) in wins.items())
    outcome = {"stored": len(rows), "deleted": deleted, "unchanged": len(changes) - len(rows) - deleted}
    if not rows and not deleted:
        return outcome
    table = _table(rows)
    if known is not None:
        kept = known.filter(pc.invert(pc.is_in(known["subject"], pa.array(list(wins), _TEXT))))
        table = pa.concat_tables([kept, table])
    if not table.num_rows:
        path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # others have rows of this week
            path.parent.rmdir()
        return outcome
    path.parent.mkdir(parents=True, exist_ok=True)
    table = table.sort_by("subject")
    write_whole(path, lambda file: pq.write_table(table, file, compression="zstd"))
    return outcome


def _read(path: Path) -> pa.Table | None:
    if not path.exists():
        return None
    with path.open("rb") as file:  # not by name: Arrow would take week=… for a column
        found = pq.read_table(file)
    version = (found.schema.metadata or {}).get(_VERSION_KEY, b"none")
    if version != VERSION:
        raise StoreRefusesError(
            f"{path} has version {version.decode('utf-8', 'replace')} of its columns, not {VERSION.decode()}", _ANEW
        )
    return found.cast(SCHEMA)


def _table(rows: list[tuple[str, int, WeekRow]]) -> pa.Table:
    """Return rows as columns."""
    columns = {
        "subject": [subject for subject, _, _ in rows],
        "fence": [fence for _, fence, _ in rows],
        "user": [row.user or None for _, _, row in rows],
        "contributions": [
            None if row.contributions is None else [(n, Decimal(p)) for n, p in row.contributions.items()]
            for _, _, row in rows
        ],
    }  # fmt: skip
    for name in ("score", "score_licensed", "score_median", "coverage"):
        texts = [getattr(row, name) for _, _, row in rows]
        columns[name] = [None if text is None else Decimal(text) for text in texts]
    for name in ("attributes", "counts", "sums"):
        found = [getattr(row, name) for _, _, row in rows]
        columns[name] = [None if each is None else list(each.items()) for each in found]
    for field in SCHEMA:
        if field.name not in columns:
            columns[field.name] = [getattr(row, field.name) for _, _, row in rows]
    arrays = [pa.array(columns[field.name], field.type) for field in SCHEMA]
    return pa.Table.from_arrays(arrays, schema=SCHEMA)
