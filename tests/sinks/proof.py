"""Compares what a store holds with the topics: the last row of each key, read and spelled anew.

Invariant: whoever asks for differences counts what was compared, so that none cannot come from having looked at
nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb

from reports.collect import read_raw
from streams.settings import Settings
from tests.sinks.server import LocalPostgres

Rows = Mapping[Any, Mapping[str, Any]]
DAMAGED = "org:damaged"
"""Rows of this subject can't be read."""
_MONEY = ("score", "score_licensed", "score_median")
_FIGURES = (
    "activities", "transactions_count", "transactions_cents", "replies", "reply_latency_seconds_sum", "calibration",
)  # fmt: skip


def last_records(settings: Settings, topic: str) -> dict[str, tuple[bytes, int]]:
    """Return key → last value and its offset of a topic; keys that are gone are not in it."""
    last: dict[str, tuple[bytes, int]] = {}
    for _, _, offset, key, value, _ in read_raw(settings.kafka.brokers, settings.kafka.prefix, [topic]):
        name = (key or b"").decode()
        last.pop(name, None)
        if value is not None:
            last[name] = value, offset
    return last


def expected_weeks(settings: Settings) -> dict[tuple[str, str], dict[str, Any]]:
    """Return (subject, week) → what must be stored of it, from the topic `weeks`."""
    found = {}
    for key, (value, offset) in last_records(settings, "weeks").items():
        subject, _, week = key.rpartition("|")
        if subject == DAMAGED:
            continue
        row = json.loads(value)
        points = row["contributions"]
        found[subject, week] = {
            "status": row["state"],
            "fence": offset,
            "week_start": date.fromisocalendar(int(week[:4]), int(week[6:]), 1),
            **{name: row[name] for name in _FIGURES},
            **{name: None if row[name] is None else Decimal(row[name]) for name in _MONEY},
            "contributions": None if points is None else {name: Decimal(each) for name, each in points.items()},
            "attributes": row["attributes"],
            "counts": row["counts"],
            "sums": row["sums"],
            "active_users": row["active_users"],
        }
    return found


def stored_weeks(server: LocalPostgres, url: str) -> dict[tuple[str, str], dict[str, Any]]:
    """Return the same of the tables in PostgreSQL."""
    found = {}
    shared = ("status", "fence", "week_start", *_FIGURES, "score", "counts", "sums")
    for table, more in (
        ("user_score", ("attributes",)),
        ("company_score_history", ("score_licensed", "score_median", "active_users")),
    ):
        user = "user_id" if table == "user_score" else "NULL"
        names = (*shared, *more)
        columns = ", ".join(names)
        for org, who, week, points, *values in server.ask(
            f"SELECT org_id, {user}, week, contributions::text, {columns} FROM usage.{table}", url=url
        ):
            subject = f"org:{org}" if who is None else f"user:{org}/{who}"
            exact = None if points is None else {n: Decimal(v) for n, v in json.loads(points, parse_float=str).items()}
            found[subject, week] = {**dict(zip(names, values, strict=True)), "contributions": exact}
    return found


def filed_weeks(directory: Path) -> list[tuple[tuple[str, str], dict[str, Any]]]:
    """Return the same of the Parquet files, one for each row that a reader sees, by DuckDB."""
    names = ("status", "fence", "week_start", *_FIGURES, *_MONEY, "contributions", "attributes", "counts", "sums",
             "active_users")  # fmt: skip
    query = f"SELECT subject, week, {', '.join(names)} FROM '{directory}/week=*/part-*.parquet'"
    rows = duckdb.sql(query).fetchall()
    return [((subject, week), dict(zip(names, values, strict=True))) for subject, week, *values in rows]


def differences(expected: Rows, found: Rows) -> list[str]:
    """Return how *found* differs from *expected*, in the fields that it has."""
    said = [f"{key}: missing" for key in expected.keys() - found.keys()]
    said += [f"{key}: not in the topic" for key in found.keys() - expected.keys()]
    for key in expected.keys() & found.keys():
        for name, value in found[key].items():
            if value != expected[key][name]:
                said.append(f"{key}: {name} is {value!r}, not {expected[key][name]!r}")
    return sorted(said)


def plain(rows: Iterable[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Return rows in order."""
    return sorted(rows, key=repr)
