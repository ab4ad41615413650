"""The report on a storage network's users and nodes: from the rows of all files to its tables.

Invariant: it depends on the rows and the options alone; the order of the files changes nothing but the places that
are named.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import pandas as pd
import pyarrow as pa

from reports.storage_combine import Combined, combined
from reports.storage_features import FREE_BYTES, Traffic, Window, traffic_of, user_features, users_of, window_before
from reports.storage_nodes import Nodes, node_tables
from reports.storage_quality import Section, sections
from reports.storage_read import Loaded
from reports.storage_tables import TABLES, StorageError


@dataclass(frozen=True)
class Options:
    """What is counted: before when, how many months, what is free, which tables may hold equal rows."""

    before: pd.Timestamp
    months: int = 6
    free_bytes: int = FREE_BYTES
    keep_twice: Collection[str] = field(default_factory=tuple)


@dataclass(frozen=True)
class StorageReport:
    """All that is told."""

    options: Options
    window: Window
    users: pa.Table
    nodes: Nodes | None
    sections: list[Section]
    traffic: Traffic | None
    projects: pd.DataFrame


def storage_report(files: Sequence[Loaded], options: Options) -> StorageReport:
    """Return the report on the rows of *files*.

    Raises:
        StorageError: If there are no projects, or sums are beyond 64 bits.
    """
    parts: dict[str, Combined] = {}
    for name, table in TABLES.items():
        of_table = [file for file in files if file.table is table]
        if of_table:
            parts[name] = combined(table, of_table, options.before, options.keep_twice)
    if "projects" not in parts:
        raise StorageError(
            "none of the files holds projects: nobody knows whose traffic is whose",
            "Name a file with `project` in its name, or say which it is: --file projects:eu=PATH",
        )
    frames = {name: part.frame for name, part in parts.items()}
    window = window_before(options.before, options.months)
    nodes = node_tables(frames, options.before)
    return StorageReport(
        options,
        window,
        user_features(frames, window, options.free_bytes),
        nodes,
        sections(files, parts, frames, window, nodes),
        traffic_of(frames, users_of(frames), window),
        frames["projects"],
    )
