"""The storage report once more, in SQL over the same CSV files: shares no line with what it checks."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import duckdb

KINDS = {
    "projects": "*projects*", "users": "*users*", "bandwidth": "*rollups*", "tallies": "*tallies*", "nodes": "*_nodes*",
    "payments": "*payments*", "receipts": "*receipts*", "payers": "*payers*",
}  # fmt: skip
WHOLE = "CASE WHEN abs(TRY_CAST({0} AS DOUBLE)) < 1152921504606846976 THEN TRY_CAST({0} AS DECIMAL(38, 6)) END"
"""Decimals, whole or not; beyond 2^60 nothing."""


def whole(column: str, least: str = "0") -> str:
    """Return SQL for a whole number of at least *least*; nothing where there is none."""
    number = WHOLE.format(column)
    return f"CASE WHEN {number} = floor({number}) AND {number} >= {least} THEN CAST({number} AS BIGINT) END"


def told(column: str, number: str) -> str:
    """Return SQL that says whether a cell that may be empty is fit."""
    return f"(coalesce(trim({column}), '') = '' OR {number} IS NOT NULL)"


def oracle(folder: Path, before: date, months: int = 6, free: int = 50_000_000_000) -> duckdb.DuckDBPyConnection:
    """Return a connection with the tables `users_o`, `nodes_o` and `wallets_o`."""
    db = duckdb.connect()
    db.execute("SET TimeZone = 'UTC'")
    for name, pattern in KINDS.items():
        files = sorted(str(path) for path in folder.glob(pattern + ".csv*"))
        db.execute(
            f"CREATE TABLE raw_{name} AS SELECT * FROM read_csv({files!r}, all_varchar=true, header=true, delim=',', "
            "union_by_name=true, ignore_errors=true, quote='\"', escape='\"', auto_detect=true)"
        )
    cut = f"TIMESTAMPTZ '{before} 00:00:00+00'"
    _clean(db, cut)
    names = [_back(before, back) for back in range(months, 0, -1)]
    db.execute(_users_sql(names, free))
    _nodes(db, cut)
    return db


def _back(before: date, months: int) -> str:
    number = before.year * 12 + before.month - 1 - months
    return f"{number // 12:04d}-{number % 12 + 1:02d}"


def _clean(db: duckdb.DuckDBPyConnection, cut: str) -> None:
    db.execute(f"""
        CREATE TABLE projects AS WITH p AS (SELECT DISTINCT lower(trim(project_id)) AS project_id,
            lower(trim(user_id)) AS user_id, TRY_CAST(created_at AS TIMESTAMPTZ) AS created_at,
            {whole("usage_limit")} AS usage_limit, {whole("bandwidth_limit")} AS bandwidth_limit
          FROM raw_projects WHERE {told("usage_limit", whole("usage_limit"))}
            AND {told("bandwidth_limit", whole("bandwidth_limit"))})
        SELECT * FROM p WHERE created_at < {cut} AND project_id <> '' AND user_id <> ''
        QUALIFY row_number() OVER (PARTITION BY project_id ORDER BY created_at DESC, user_id DESC,
          usage_limit DESC NULLS LAST, bandwidth_limit DESC NULLS LAST) = 1""")
    db.execute(f"""
        CREATE TABLE users AS WITH u AS (SELECT DISTINCT lower(trim(id)) AS user_id,
            nullif(lower(trim(email_hash)), '') AS email_hash, TRY_CAST(created_at AS TIMESTAMPTZ) AS created_at
          FROM raw_users WHERE {told("created_at", "TRY_CAST(created_at AS TIMESTAMPTZ)")})
        SELECT * FROM u WHERE (created_at < {cut} OR created_at IS NULL) AND user_id <> ''
        QUALIFY row_number() OVER (PARTITION BY user_id ORDER BY created_at DESC NULLS LAST,
          email_hash DESC NULLS LAST) = 1""")
    db.execute(f"""
        CREATE TABLE bandwidth AS WITH b AS (SELECT DISTINCT lower(trim(project_id)) AS project_id,
            TRY_CAST(interval_start AS TIMESTAMPTZ) AS moment, trim(action) AS action, {whole("settled")} AS settled,
            {whole("inline")} AS inline_bytes
          FROM raw_bandwidth WHERE {told("inline", whole("inline"))})
        SELECT b.* EXCLUDE (inline_bytes), coalesce(inline_bytes, 0) AS inline_bytes, p.user_id
        FROM b JOIN projects p USING (project_id)
        WHERE moment < {cut} AND settled IS NOT NULL AND action IN ('1', '2')""")
    db.execute(f"""
        CREATE TABLE tallies AS WITH t AS (SELECT lower(trim(project_id)) AS project_id,
            TRY_CAST(interval_start AS TIMESTAMPTZ) AS moment, {whole("remote")} AS remote FROM raw_tallies)
        SELECT t.*, p.user_id FROM t JOIN projects p USING (project_id) WHERE moment < {cut} AND remote IS NOT NULL
        QUALIFY row_number() OVER (PARTITION BY project_id ORDER BY moment DESC, remote DESC) = 1""")


def _users_sql(months: list[str], free: int) -> str:
    columns = []
    here = f"strftime(moment, '%Y-%m') BETWEEN '{months[0]}' AND '{months[-1]}'"
    for action, name in ((1, "upload"), (2, "download")):
        for month in months:
            which = f"FILTER (action = '{action}' AND strftime(moment, '%Y-%m') = '{month}')"
            label = month.replace("-", "_")
            columns += [
                f"count(moment) {which} AS {name}s_{label}",
                f"{_sum('settled', which)} AS {name}_bytes_{label}",
            ]
        which = f"FILTER (action = '{action}' AND {here})"
        columns += [
            f"count(moment) {which} AS {name}s_last_{len(months)}_months",
            f"{_sum('settled', which)} AS {name}_bytes_last_{len(months)}_months",
            f"count(moment) FILTER (action = '{action}') AS {name}s_all_time",
            f"{_sum('settled', f'''FILTER (action = '{action}')''')} AS {name}_bytes_all_time",
            f"coalesce(list(DISTINCT date_trunc('hour', moment) ORDER BY date_trunc('hour', moment)) {which}, []) "
            f"AS {name}_hours",
        ]
    for month in months:
        which = f"FILTER (strftime(moment, '%Y-%m') = '{month}')"
        columns.append(f"{_sum('settled', which)} / 1e9 AS bandwidth_gb_{month.replace('-', '_')}")
    last = f"last_{len(months)}_months"
    columns += [
        f"{_sum('settled', f'FILTER ({here})')} / 1e9 AS bandwidth_gb_{last}",
        f"{_sum('inline_bytes', f'FILTER ({here})')} AS inline_bytes_{last}",
        f"{_sum('settled', '')} / 1e9 AS bandwidth_gb_all_time",
    ]
    return f"""
        CREATE TABLE users_o AS WITH everybody AS (SELECT user_id FROM users UNION SELECT user_id FROM projects),
        t AS (SELECT user_id, {", ".join(columns)} FROM everybody LEFT JOIN bandwidth USING (user_id) GROUP BY user_id),
        p AS (SELECT user_id, count(*) AS projects, count(*) FILTER (usage_limit <= {free}) AS free_projects,
            count(*) FILTER (usage_limit > {free}) AS paid_projects,
            count(*) FILTER (usage_limit IS NULL) AS projects_without_limit,
            list(created_at ORDER BY created_at) AS projects_created FROM projects GROUP BY user_id),
        s AS (SELECT user_id, CAST(sum(remote) AS BIGINT) AS stored_bytes, max(moment) AS stored_at
            FROM tallies GROUP BY user_id)
        SELECT t.*, u.email_hash, u.created_at, coalesce(p.projects, 0) AS projects,
            coalesce(p.free_projects, 0) AS free_projects, coalesce(p.paid_projects, 0) AS paid_projects,
            coalesce(p.projects_without_limit, 0) AS projects_without_limit,
            coalesce(p.projects_created, []) AS projects_created,
            CASE WHEN p.paid_projects > 0 THEN 'paid' WHEN p.free_projects > 0 THEN 'free' END AS tier,
            s.stored_bytes, s.stored_bytes / 1e9 AS stored_gb, s.stored_at
        FROM t LEFT JOIN users u USING (user_id) LEFT JOIN p USING (user_id) LEFT JOIN s USING (user_id)"""


def _sum(what: str, which: str) -> str:
    return f"CAST(coalesce(sum({what}) {which}, 0) AS BIGINT)"


def _nodes(db: duckdb.DuckDBPyConnection, cut: str) -> None:
    contact = "TRY_CAST(last_contact_success AS TIMESTAMPTZ)"
    db.execute(f"""
        CREATE TABLE nodes AS WITH n AS (SELECT lower(trim(id)) AS node_id, lower(trim(wallet)) AS wallet,
            {contact} AS contact, TRY_CAST(created_at AS TIMESTAMPTZ) AS created_at,
            CAST(piece_count AS BIGINT) AS piece_count, CAST(free_disk AS BIGINT) AS free_disk FROM raw_nodes)
        SELECT *, contact BETWEEN TIMESTAMPTZ '2000-01-01 00:00:00+00' AND {cut} + INTERVAL 366 DAY AS ok
        FROM n WHERE created_at < {cut}
        QUALIFY row_number() OVER (PARTITION BY node_id ORDER BY coalesce(ok, false) DESC, contact DESC) = 1""")
    for name in ("payments", "receipts"):
        more = ", trim(receipt) AS receipt" if name == "receipts" else ""
        db.execute(f"""
            CREATE TABLE {name} AS SELECT DISTINCT trim(period) AS period, lower(trim(node_id)) AS node_id,
              {whole("amount", "-1e18")} AS amount{more} FROM raw_{name}
            WHERE strptime(trim(period) || '-01 +00', '%Y-%m-%d %z') < {cut}""")
    sums = [
        f"""{name}_s AS (SELECT node_id, count(*) AS {name}, CAST(sum(amount) AS HUGEINT) AS {amount}_micros,
            min(period) AS first_{amount}, max(period) AS last_{amount} FROM {name} GROUP BY node_id)"""
        for name, amount in (("payments", "paid"), ("receipts", "received"))
    ]
    db.execute(f"""
        CREATE TABLE nodes_o AS WITH {", ".join(sums)}
        SELECT n.node_id, n.wallet, n.contact AS last_contact_success, n.piece_count, n.free_disk,
          coalesce(payments, 0) AS payments, coalesce(receipts, 0) AS receipts, first_paid, last_paid,
          first_received, last_received, coalesce(paid_micros, 0) AS paid, coalesce(received_micros, 0) AS received
        FROM nodes n LEFT JOIN payments_s USING (node_id) LEFT JOIN receipts_s USING (node_id) WHERE n.ok""")
    db.execute(f"""
        CREATE TABLE wallets_o AS WITH l AS (SELECT DISTINCT lower(trim(wallet)) AS wallet,
            {whole("amount", "-1e18")} AS amount FROM raw_payers),
        n AS (SELECT wallet, count(*) AS nodes, sum(paid) AS paid, sum(received) AS received
          FROM nodes_o GROUP BY wallet),
        y AS (SELECT wallet, count(*) AS payer_rows, sum(amount) AS payer_amount FROM l GROUP BY wallet)
        SELECT wallet, coalesce(nodes, 0) AS nodes, coalesce(paid, 0) AS paid, coalesce(received, 0) AS received,
          coalesce(payer_rows, 0) AS payer_rows, coalesce(payer_amount, 0) AS payer_amount
        FROM n FULL JOIN y USING (wallet)""")


def differences(db: duckdb.DuckDBPyConnection, table: str, file: Path) -> list[tuple[str, int]]:
    """Return (column, rows that differ) of what the oracle has against a Parquet file; rows of one side count too."""
    key = {"users_o": "user_id", "nodes_o": "node_id", "wallets_o": "wallet"}[table]
    columns = [row[0] for row in db.execute(f"DESCRIBE {table}").fetchall()]
    units = {"paid", "received", "payer_amount"}
    counts = []
    for column in columns:
        mine = f"CAST(a.{column} * 1000000 AS HUGEINT)" if column in units else f"a.{column}"
        counts.append(f"count(*) FILTER ({mine} IS DISTINCT FROM b.{column} OR a.{key} IS NULL OR b.{key} IS NULL)")
    found: Any = db.execute(
        f"SELECT {', '.join(counts)} FROM read_parquet('{file}') a FULL JOIN {table} b ON a.{key} = b.{key}"
    ).fetchone()
    return [(column, count) for column, count in zip(columns, found, strict=True) if count]
