"""The storage report equals SQL over the same files: on a base of real shape, and on small hard exports."""

from __future__ import annotations

import gzip
import tempfile
from datetime import date
from pathlib import Path

import duckdb
import pandas as pd
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from reports.storage import Options, StorageReport, storage_report
from reports.storage_files import tables_of, write_tables
from reports.storage_find import find_exports
from reports.storage_read import read_export
from tests.reports.storage_base import write_base
from tests.reports.storage_oracle import differences, oracle
from tests.state.worlds import examples

CUT = date(2021, 5, 1)
TABLES = {"users_o": "users", "nodes_o": "nodes", "wallets_o": "wallets"}
HEADERS = {
    "projects": "created_at,project_id,user_id,usage_limit,bandwidth_limit",
    "users": "id,email_hash,password_hash,created_at",
    "rollups": "interval_start,action,inline,settled,project_id",
    "tallies": "interval_start,remote,project_id",
    "_nodes": "id,wallet,created_at,last_contact_success,piece_count,free_disk",
    "payments": "period,node_id,amount",
    "receipts": "period,node_id,amount,receipt",
    "payers": "wallet,amount",
}


def report_on(folder: Path, before: date = CUT) -> StorageReport:
    """Return the report on the exports in a folder."""
    exports, unknown = find_exports([folder])
    assert not unknown
    files = [read_export(export, {}) for export in exports]
    return storage_report(files, Options(pd.Timestamp(before, tz="UTC")))


def unlike(folder: Path, out: Path, before: date = CUT) -> dict[str, list[tuple[str, int]]]:
    """Return by table the columns in which the written Parquet files differ from SQL."""
    tables = tables_of(report_on(folder, before))
    write_tables({name: tables[name] for name in TABLES.values()}, out, lambda *_: None)
    db = oracle(folder, before)
    mine = {row[0] for row in db.execute(f"DESCRIBE FROM read_parquet('{out}/storage-users.parquet')").fetchall()}
    assert mine == {row[0] for row in db.execute("DESCRIBE users_o").fetchall()}
    return {theirs: differences(db, theirs, out / f"storage-{name}.parquet") for theirs, name in TABLES.items()}


def test_every_column_of_a_base_of_real_shape_is_what_sql_says(tmp_path: Path) -> None:
    write_base(tmp_path / "in", 0.01)
    assert unlike(tmp_path / "in", tmp_path / "out") == {name: [] for name in TABLES}
    users = duckdb.sql(f"SELECT * FROM read_parquet('{tmp_path}/out/storage-users.parquet')")
    assert users.filter("uploads_last_6_months > 5 AND stored_gb > 0 AND tier = 'paid'").shape[0] > 3
    again = pd.read_csv(tmp_path / "out" / "storage-users.csv")
    assert len(again) == users.shape[0] and list(again.columns) == users.columns


def test_the_comparison_notices_one_byte(tmp_path: Path) -> None:
    write_base(tmp_path / "in", 0.005)
    write_tables(tables_of(report_on(tmp_path / "in")), tmp_path / "out", lambda *_: None)
    file = tmp_path / "out" / "storage-users.parquet"
    db = oracle(tmp_path / "in", CUT)
    assert differences(db, "users_o", file) == []
    duckdb.sql(f"""COPY (SELECT * REPLACE (stored_bytes + (user_id = (SELECT min(user_id) FROM read_parquet('{file}')
        WHERE stored_bytes > 0))::INT AS stored_bytes) FROM read_parquet('{file}')) TO '{tmp_path}/x.parquet'""")
    assert differences(db, "users_o", tmp_path / "x.parquet") == [("stored_bytes", 1)]


PROJECT = st.sampled_from(["p-a", "P-A", "p-b", " p-B ", "p-c", "stranger", ""])
USER = st.sampled_from(["u-1", "U-1", "u-2", "u-3", ""])
TIME = st.sampled_from([
    "2020-10-31 23:59:59.999999+00", "2020-11-01 00:00:00+00", "2020-11-01T00:00:00Z", "2021-04-30 23:59:59+00:00",
    "2021-05-01 00:00:00+00", "2021-05-01 01:30:00+02:00", "2021-03-28 02:30:00", "2021-02-30 00:00:00+00", "soon", "",
    "2019-12-31 23:00:00+00", "2021-01-15 12:34:56.789+00",
])  # fmt: skip
BYTES = st.sampled_from(
    ["0", "1", "5.0", "50000000000", "50000000001", str(2**58 + 1), str(2**60), "-1", "1.5", "x", ""]
)
ROWS = {
    "projects": st.tuples(TIME, PROJECT, USER, BYTES, BYTES),
    "users": st.tuples(USER, st.sampled_from(["h1", "H1", "h2", ""]), st.sampled_from(["s", "t"]), TIME),
    "rollups": st.tuples(TIME, st.sampled_from(["1", "2", "3", "1 "]), BYTES, BYTES, PROJECT),
    "tallies": st.tuples(TIME, BYTES, PROJECT),
}
EXPORT = st.fixed_dictionaries(
    {name: st.lists(row, max_size=6 if name == "tallies" else 8) for name, row in ROWS.items()}
)
FORM = st.tuples(st.sampled_from(["\n", "\r\n"]), st.booleans(), st.booleans())


def write_small(
    folder: Path, region: str, rows: dict[str, list[tuple[str, ...]]], form: tuple[str, bool, bool]
) -> None:
    line, mark, packed = form
    folder.mkdir(exist_ok=True)
    for name, header in HEADERS.items():
        text = line.join([header, *(",".join(row) for row in rows.get(name, ()))]) + line
        data = text.encode("utf-8-sig" if mark else "utf-8")
        (folder / f"{region}_{name}.csv{'.gz' if packed else ''}").write_bytes(gzip.compress(data) if packed else data)


# Each example runs two engines: making a failing one smaller would take minutes.
@settings(examples(15), phases=(Phase.explicit, Phase.generate))
@given(EXPORT, EXPORT, FORM, FORM, st.sampled_from([CUT, date(2021, 4, 17)]))
def test_small_hard_exports_are_what_sql_says(
    one: dict[str, list[tuple[str, ...]]], two: dict[str, list[tuple[str, ...]]],
    form: tuple[str, bool, bool], other: tuple[str, bool, bool], before: date,
) -> None:  # fmt: skip
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "in"
        write_small(folder, "ap", one, form)
        write_small(folder, "eu", two | {"rollups": two["rollups"] + one["rollups"][:3]}, other)
        assert unlike(folder, Path(place) / "out", before) == {name: [] for name in TABLES}


def test_every_row_is_accounted_for(tmp_path: Path) -> None:
    write_base(tmp_path, 0.005)
    counts = next(s.frame for s in report_on(tmp_path).sections if s.name == "rows")
    whole = counts.drop(columns=["table", "region", "rows"]).sum(axis=1)
    assert (whole == counts["rows"]).all() and (counts["twice_across"].sum() > 0)


def test_the_order_of_the_files_changes_nothing(tmp_path: Path) -> None:
    write_base(tmp_path, 0.005)
    exports, _ = find_exports([tmp_path])
    options = Options(pd.Timestamp(CUT, tz="UTC"))
    found = storage_report([read_export(export, {}) for export in exports[::-1]], options)
    assert found.users.equals(report_on(tmp_path).users)
