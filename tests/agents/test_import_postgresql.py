"""A query on a real PostgreSQL: types, streaming by the server, and that nothing is changed."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import psycopg
import pytest

from agents.importers.activities import read_activities
from agents.importers.mapping import parse_rules
from agents.importers.source import InputError
from agents.importers.sql import SqlEntry
from agents.importers.transactions import FIELDS, read_transactions
from deploy.local.ports import free_ports
from tests.agents.import_rows import messages, problems, readings, rows_in

_BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin")) if Path("/usr/lib/postgresql").exists() else []
pytestmark = pytest.mark.skipif(not _BINARIES, reason="PostgreSQL is not installed (/usr/lib/postgresql)")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server of our own; it refuses to run as root, so root hands it to another user."""
    binaries, folder = _BINARIES[-1], tmp_path_factory.mktemp("pg")
    as_user = {}
    if os.geteuid() == 0:
        folder = Path(tempfile.mkdtemp(prefix="orgpulse-pg-"))  # pytest's own are closed to others
        shutil.chown(folder, "nobody")
        as_user = {"user": "nobody", "cwd": "/"}
    (port,) = free_ports(1)
    data = folder / "data"
    start = [binaries / "initdb", "-D", data, "-U", "app", "-A", "trust", "--no-sync", "-E", "UTF8", "--no-locale"]
    subprocess.run(start, check=True, capture_output=True, **as_user)  # type: ignore[call-overload]
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c fsync=off"
    control = [binaries / "pg_ctl", "-D", data, "-w", "-t", "90"]
    subprocess.run([*control, "-o", options, "-l", folder / "log", "start"], check=True, **as_user)  # type: ignore[call-overload]
    try:
        yield f"postgresql://app:geheim@127.0.0.1:{port}/postgres"
    finally:
        subprocess.run([*control, "-m", "immediate", "stop"], check=True, **as_user)  # type: ignore[call-overload]
        shutil.rmtree(folder)


@pytest.fixture
def tables(base: str) -> str:
    with psycopg.connect(base) as connection:
        connection.execute("DROP TABLE IF EXISTS sale; DROP TABLE IF EXISTS log")
        connection.execute(
            "CREATE TABLE sale (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), info jsonb, amount numeric(20, 2), "
            "status char(1), at timestamptz, local timestamp)"
        )
        connection.execute(
            "INSERT INTO sale (info, amount, status, at, local) SELECT jsonb_build_object('org', jsonb_build_object("
            "'id', n % 3)), n + 0.10, 'A', timestamptz '2026-01-05 10:00+02' + n * interval '1 second', "
            "timestamp '2026-01-05 10:00' FROM generate_series(1, 5000) n"
        )
        connection.execute(
            "CREATE TABLE log AS SELECT 1 AS id, 7 AS org, 'ann' AS userid, now() AS created, true AS ghost"
        )
    return base


def test_a_query_streams_exact_amounts_instants_and_nested_values(tables: str) -> None:
    rules = parse_rules(["transaction_id=id", "org_id=info.org.id", "time=at"], FIELDS)
    entry = SqlEntry(tables, "SELECT id, info, amount, status, at FROM sale WHERE status LIKE '%A' ORDER BY at")
    rows = rows_in(entry, lambda source: read_transactions(source, rules))
    assert len(rows) == 5_000
    assert set(problems(rows)) == {None}
    assert sum(Decimal(message["amount"]) for message in messages(rows)) == Decimal("12503000.00")
    assert sum(reading.amount for reading in readings("transactions", rows)) == 1_250_300_000
    assert len({message["transaction_id"] for message in messages(rows)}) == 5_000
    assert {reading.org for reading in readings("transactions", rows)} == {"0", "1", "2"}
    local = rows_in(
        SqlEntry(tables, "SELECT id AS transaction_id, 'o' AS org_id, amount, status, local AS time FROM sale LIMIT 1"),
        lambda source: read_transactions(source, ()),
    )
    assert problems(local) == ["no_zone_read_as_utc"]
    activity = rows_in(SqlEntry(tables, "SELECT * FROM log"), lambda source: read_activities(source, ()))
    assert [reading.apart for reading in readings("activities", activity)] == ["ghost"]


def test_the_server_hands_out_rows_as_they_are_wanted(tables: str) -> None:
    endless = "SELECT generate_series(1, 2000000000) AS id, 1 AS org, 'u' AS userid, 1767603661 AS created"
    source = SqlEntry(tables, endless).open()
    try:
        rows = read_activities(source, ())
        assert [message["id"] for message in messages(next(rows) for _ in range(5_000))] == list(range(1, 5_001))
    finally:
        source.close()


def test_a_query_can_change_nothing_and_hides_its_password(tables: str) -> None:
    for sql in ("DELETE FROM log RETURNING *", "WITH gone AS (DELETE FROM log RETURNING *) SELECT * FROM gone"):
        with pytest.raises(InputError, match=r"the database (refuses|stopped)"):
            rows_in(SqlEntry(tables, sql), lambda source: read_activities(source, ()))
    with psycopg.connect(tables) as connection:
        assert connection.execute("SELECT count(*) FROM log").fetchone() == (1,)
    with pytest.raises(InputError) as caught:
        rows_in(SqlEntry(tables + "_none", "SELECT 1"), lambda source: read_activities(source, ()))
    assert "does not exist" in str(caught.value)
    assert "geheim" not in str(caught.value)
