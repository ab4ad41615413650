"""docs/sinks.md says what is so: its queries run, its commands, settings, metrics, tables and views exist."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import duckdb

from agents.sinks.figures import SinkFigures
from agents.sinks.parquet_files import file_of, rewrite
from agents.sinks.pg_store import PgStore
from agents.sinks.read_week import Judge, read_week, week_key
from streams.metric_kinds import Count, Level, Spread
from streams.model_file import load_model
from streams.settings import setting_types
from streams.settings_sink import SinkSettings
from tests.deploy.command_lines import commands_in, refusal
from tests.sinks.house import week
from tests.sinks.server import LocalPostgres

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "sinks.md").read_text(encoding="utf-8")


def queries(heading: str) -> list[str]:
    """Return the statements of a section's block of SQL."""
    section = TEXT.split(f"## {heading}")[1]
    block = section.split("```sql\n")[1].split("```")[0]
    return [each.strip() for each in re.sub(r"--.*", "", block).split(";") if each.strip()]


def test_the_queries_for_postgresql_run_and_what_is_listed_is_there(postgres: LocalPostgres, database: str) -> None:
    asyncio.run(PgStore(SinkSettings(postgres_url=database)).prepare(create=True))
    found = queries("What is in PostgreSQL")
    assert len(found) == 5
    for query in found:
        assert postgres.ask(query, url=database) in ([], [(None,)])
    there = {
        name
        for (name,) in postgres.ask(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = 'usage'", url=database
        )
    }
    section = TEXT.split("## What is in PostgreSQL")[1].split("```")[0]
    listed = {name for row in re.findall(r"(?m)^\| (`.+?) \|", section) for name in re.findall(r"`(\w+)`", row)}
    assert listed == there


def test_the_queries_for_duckdb_run(tmp_path: Path) -> None:
    judge = Judge(load_model(""))
    for subject in ("user:o/a", "org:o"):
        _, key, value = week(subject, "2026-W47", attributes={"active_days": 5})
        rewrite(file_of(tmp_path, "2026-W47", 0), {subject: (1, read_week(week_key(key), value or b"", judge))})
    for query in queries("What is in the Parquet files"):
        assert len(duckdb.sql(query.replace("/data/weeks", str(tmp_path))).fetchall()) == 1


def test_commands_settings_and_metrics_that_are_named_exist() -> None:
    commands = commands_in(TEXT)
    assert len(commands) >= 4 and [said for command in commands if (said := refusal(command))] == []
    types = setting_types()
    named = re.findall(r"\[(sink|web|worker|kafka)\] ([a-z_]+)", TEXT) + re.findall(r"`(kafka)\.([a-z_]+)", TEXT)
    assert len(named) >= 8 and {f"{s}.{k}" for s, k in named if k not in types[s]} == set()
    metrics = {each.name for each in vars(SinkFigures("x")).values() if isinstance(each, Count | Level | Spread)}
    shown = {name.removesuffix("_total") for name in re.findall(r"orgpulse_sink_[a-z_]+", TEXT)}
    assert len(shown) >= 4 and shown <= metrics
