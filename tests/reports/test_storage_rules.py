"""Each rule of the storage report by example, and what becomes of exports that can't be used."""

from __future__ import annotations

import gzip
from decimal import Decimal
from pathlib import Path
from typing import Any

import click
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from agents.cli_report_storage import storage
from reports.storage import Options, StorageReport, storage_report
from reports.storage_features import window_before
from reports.storage_files import flat
from reports.storage_find import Export, find_exports, names_in, parse_names
from reports.storage_page import page
from reports.storage_read import Loaded, read_export
from reports.storage_sums import exact_sums
from reports.storage_tables import TABLES, StorageError
from reports.whole_file import replacing
from tests.reports.browsing import browser

PROJECTS = "created_at,project_id,user_id,usage_limit\n2020-01-01 00:00:00+00,p,u,50000000000\n"
BANDWIDTH = "interval_start,action,inline,settled,project_id\n"
USERS = "id,email_hash,created_at\nu,h,2020-01-01 00:00:00+00\n"


def loaded(folder: Path, table: str, text: str | bytes, region: str = "eu", **more: Any) -> Loaded:
    file = folder / f"{region}-{table}-{len(list(folder.iterdir()))}.csv"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_export(Export(file, TABLES[table], region), more.pop("names", {}), **more)


def report(*files: Loaded, before: str = "2021-05-01", **more: Any) -> StorageReport:
    return storage_report(files, Options(pd.Timestamp(before, tz="UTC"), **more))


def rows(found: StorageReport) -> list[dict[str, Any]]:
    users: list[dict[str, Any]] = found.users.to_pylist()
    return users


def section(found: StorageReport, name: str) -> list[dict[str, Any]]:
    return next(s.frame.to_dict("records") for s in found.sections if s.name == name)


def finding(found: StorageReport, name: str) -> int:
    return next(row["count"] for row in section(found, "findings") if row["finding"] == name)


def test_months_end_where_they_end_and_the_window_is_six_full_ones(tmp_path: Path) -> None:
    times = ["2020-10-31 23:59:59", "2020-11-01 00:00:00", "2021-04-30 23:59:59.999999", "2021-05-01 00:00:00"]
    text = BANDWIDTH + "".join(f"{time}+00,1,0,{10**at},p\n" for at, time in enumerate(times))
    (user,) = rows(report(loaded(tmp_path, "projects", PROJECTS), loaded(tmp_path, "bandwidth", text)))
    assert (user["uploads_2020_11"], user["upload_bytes_2020_11"]) == (1, 10)
    assert (user["uploads_2021_04"], user["upload_bytes_2021_04"]) == (1, 100)
    assert (user["uploads_last_6_months"], user["uploads_all_time"], user["upload_bytes_all_time"]) == (2, 3, 111)
    hours = [f"{hour:%Y-%m-%dT%H}" for hour in user["upload_hours"]]
    assert hours == ["2020-11-01T00", "2021-04-30T23"] and user["download_hours"] == []


def test_a_cut_off_within_a_month_leaves_that_month_out_of_the_window() -> None:
    assert window_before(pd.Timestamp("2021-01-15", tz="UTC"), 2).months == ("2020-11", "2020-12")


def test_the_days_of_an_unfinished_month_count_in_no_month(tmp_path: Path) -> None:
    projects = PROJECTS + "2020-01-01 00:00:00+00,q,v,1\n"
    text = (
        BANDWIDTH + "2021-05-03 00:00:00+00,1,0,7,p\n2021-04-30 00:00:00+00,2,0,9,q\n2020-10-31 00:00:00+00,2,0,5,q\n"
    )
    found = report(loaded(tmp_path, "projects", projects), loaded(tmp_path, "bandwidth", text), before="2021-05-15")
    one, two = rows(found)
    assert (one["uploads_last_6_months"], one["uploads_all_time"], one["upload_bytes_all_time"]) == (0, 1, 7)
    assert (one["downloads_2020_11"], one["upload_hours"], one["bandwidth_gb_last_6_months"]) == (0, [], 0)
    assert (two["downloads_2021_04"], two["download_bytes_last_6_months"], two["uploads_2020_11"]) == (1, 9, 0)
    assert (two["downloads_2020_11"], two["download_bytes_all_time"]) == (0, 14)


def test_hours_have_no_zeros_and_stand_once(tmp_path: Path) -> None:
    text = BANDWIDTH + (
        "2021-01-01 05:00:00+00,1,0,7,p\n2021-01-01 05:30:00+00,1,0,8,p\n2021-01-01 06:00:00+00,2,0,9,p\n"
    )
    (user,) = rows(report(loaded(tmp_path, "projects", PROJECTS), loaded(tmp_path, "bandwidth", text)))
    assert [len(user["upload_hours"]), len(user["download_hours"]), user["uploads_2021_01"]] == [1, 1, 2]


@pytest.mark.parametrize(
    ("limits", "tier", "counts"),
    [
        (["50000000000"], "free", (1, 0, 0)),
        (["50000000001"], "paid", (0, 1, 0)),
        (["5e10", "150000000000.0"], "paid", (1, 1, 0)),
        ([""], None, (0, 0, 1)),
        (["", "1"], "free", (1, 0, 1)),
    ],
)
def test_the_tier_is_free_up_to_fifty_gigabytes(
    tmp_path: Path, limits: list[str], tier: str | None, counts: tuple[int, int, int]
) -> None:
    lines = [f"2020-01-01,p{at},u,{limit}\n" for at, limit in enumerate(limits)]
    (user,) = rows(report(loaded(tmp_path, "projects", PROJECTS.splitlines(True)[0] + "".join(lines))))
    assert user["tier"] == tier
    assert (user["free_projects"], user["paid_projects"], user["projects_without_limit"]) == counts
    assert len(user["projects_created"]) == len(limits)


def test_the_newest_size_wins_and_of_equally_new_ones_the_greatest(tmp_path: Path) -> None:
    tallies = (
        "interval_start,remote,project_id\n2021-02-01 00:00:00+00,900,p\n2021-03-01 00:00:00+00,7,P\n"
        "2021-03-01 00:00:00+00,5,p\n2021-05-02 00:00:00+00,99,p\n"
    )
    found = report(loaded(tmp_path, "projects", PROJECTS), loaded(tmp_path, "tallies", tallies))
    (user,) = rows(found)
    assert (user["stored_bytes"], user["stored_gb"]) == (7, 7e-9)
    assert finding(found, "projects with several sizes at their newest time") == 1
    buckets = (
        tallies.replace("project_id\n", "project_id,bucket\n").replace(",p\n", ",p,b1\n").replace(",P\n", ",P,b2\n")
    )
    (user,) = rows(report(loaded(tmp_path, "projects", PROJECTS), loaded(tmp_path, "tallies", buckets)))
    assert user["stored_bytes"] == 5 + 7


def test_what_was_not_exported_is_missing_and_not_zero(tmp_path: Path) -> None:
    found = report(loaded(tmp_path, "projects", PROJECTS), loaded(tmp_path, "users", USERS, "ap"))
    (user,) = rows(found)
    assert user["uploads_2021_04"] is None and user["upload_hours"] is None and user["stored_gb"] is None
    missing = {(row["table"], row["region"]) for row in section(found, "missing")}
    assert {("bandwidth rollups", "all"), ("projects", "ap"), ("users", "eu")} <= missing
    shown = page(found)
    assert (
        "uploads" not in shown.partition("Pictures")[0] and "Traffic by month" not in shown and "Users by tier" in shown
    )


def test_regional_files_are_one_and_ids_have_no_case(tmp_path: Path) -> None:
    row = "2021-01-01 05:00:00+00,2,1,7,{}\n"
    one = loaded(tmp_path, "bandwidth", BANDWIDTH + row.format("p") + row.format("P"), "ap")
    two = loaded(tmp_path, "bandwidth", BANDWIDTH + row.format(" P "), "us")
    found = report(loaded(tmp_path, "projects", PROJECTS), one, two)
    assert rows(found)[0]["downloads_all_time"] == 1
    counts = {(r["table"], r["region"]): (r["twice_in_region"], r["twice_across"]) for r in section(found, "rows")}
    assert counts["bandwidth rollups", "ap"] == (1, 0) and counts["bandwidth rollups", "us"] == (0, 1)
    spelling = next(r for r in section(found, "spelling") if r["table"] == "bandwidth rollups")
    assert (spelling["cells_not_in_lower_case"], spelling["further_spellings"]) == (2, 1)
    kept = report(loaded(tmp_path, "projects", PROJECTS), one, two, keep_twice=["bandwidth"])
    assert rows(kept)[0]["downloads_all_time"] == 3


def test_rows_that_differ_in_a_column_of_no_use_are_not_the_same(tmp_path: Path) -> None:
    text = BANDWIDTH.replace("\n", ",bucket_name,Unnamed: 0\n") + (
        "2021-01-01 05:00:00+00,2,1,7,p,b1,0\n2021-01-01 05:00:00+00,2,1,7,p,b2,1\n"
        "2021-01-01 05:00:00+00,2,1,7,p,b2,2\n"
    )
    found = report(loaded(tmp_path, "projects", PROJECTS), loaded(tmp_path, "bandwidth", text))
    assert rows(found)[0]["downloads_all_time"] == 2


def test_traffic_of_nobody_is_counted_and_left_out(tmp_path: Path) -> None:
    text = (
        BANDWIDTH
        + "2021-01-01 05:00:00+00,1,0,7,ghost\n2021-01-01 05:00:00+00,4,0,7,p\n2021-01-01 05:00:00+00,1,0,0,p\n"
    )
    users = USERS + "idle,h2,2020-01-01 00:00:00+00\n"
    found = report(
        loaded(tmp_path, "projects", PROJECTS), loaded(tmp_path, "bandwidth", text), loaded(tmp_path, "users", users)
    )
    names = ("traffic of unknown projects", "rows of other actions", "uploads and downloads without a byte")
    assert [finding(found, name) for name in (*names, "users without projects")] == [1, 1, 1, 1]
    assert [row["user_id"] for row in rows(found)] == ["idle", "u"] and rows(found)[1]["uploads_all_time"] == 1


def test_days_without_rows_are_named_by_region(tmp_path: Path) -> None:
    days = pd.date_range("2021-04-01", "2021-04-30").strftime("%Y-%m-%d").to_numpy()
    text = BANDWIDTH + "".join(
        f"{day} 00:00:00+00,1,0,7,p\n" for day in days if day not in ("2021-04-03", "2021-04-04")
    )
    found = report(loaded(tmp_path, "projects", PROJECTS), loaded(tmp_path, "bandwidth", text), months=1)
    assert section(found, "gaps") == [
        {"region": "eu", "first_day": "2021-04-03", "last_day": "2021-04-04", "days": 2}
    ]  # fmt: skip


def test_sums_beyond_64_bits_are_refused_and_large_ones_exact(tmp_path: Path) -> None:
    big = 2**59 - 1
    text = BANDWIDTH + f"2021-01-01 05:00:00+00,1,,{big},p\n2021-01-01 06:00:00+00,1,0,1.0,p\n"
    (user,) = rows(report(loaded(tmp_path, "projects", PROJECTS), loaded(tmp_path, "bandwidth", text)))
    assert user["upload_bytes_2021_01"] == 2**59
    with pytest.raises(StorageError, match="2\\^62"):
        exact_sums(np.zeros(8, np.int64), np.full(8, big), 1)


def test_bad_rows_are_counted_by_reason_with_the_place_of_the_first(tmp_path: Path) -> None:
    text = (
        (BANDWIDTH + "soon,1,0,7,p\n1,2\n2021-01-01,1,0,7,p\n2021-01-01,9,0,7,p\n2021-01-01,1,0,-7,p\n").encode()
        + b"2021-01-01,1,0,7,\xff\n2021-01-01,1,0,1.5,p\n2021-01-01,1,0,1e400,p\n2021-01-01,1,0,,p\n2021-01-01,1,0,8,\n"
        + b"2021-01-01,1,0,9,a\x01b\n"
    )
    found = report(loaded(tmp_path, "projects", PROJECTS), loaded(tmp_path, "bandwidth", text))
    bad = {(row["reason"], row["column"]): (row["rows"], row["first"]) for row in section(found, "bad-rows")}
    assert bad == {
        ("bad_time", "interval_start"): (1, "row 2"), ("torn", ""): (1, "row 3"),
        ("bad_action", "action"): (1, "row 5"),
        ("negative", "settled"): (1, "row 6"), ("not_utf8", "project_id"): (1, "row 7"),
        ("bad_number", "settled"): (1, "row 8"), ("too_large", "settled"): (1, "row 9"),
        ("empty", "settled"): (1, "row 10"), ("empty", "project_id"): (1, "row 11"),
        ("bad_id", "project_id"): (1, "row 12"),
    }  # fmt: skip
    assert rows(found)[0]["uploads_all_time"] == 1


def test_nodes_that_were_never_contacted_are_told_and_left_out(tmp_path: Path) -> None:
    nodes = "id,wallet,last_contact_success,piece_count\n" + "".join(
        f"{name},0xW{at % 2},{time},5\n"
        for at, (name, time) in enumerate([
            ("n1", "2021-04-01 10:00:00+00"), ("n2", "1970-01-01 00:00:00+00"), ("n3", "2070-01-01 00:00:00+00"),
            ("n4", ""), ("n5", "0001-01-01 00:00:00+00"), ("n6", "9999-12-31 23:59:59+00"),
            ("N1", "0001-01-01 00:00:00+00"),
        ])
    )  # fmt: skip
    payments = "period,node_id,amount\n2021-03,n1,1234567\n2021-04,N1,1\n2021-05,n1,9\n2021-04,n2,5\n2021-04,x,6\n"
    receipts = "period,node_id,amount,receipt\n2021-03,n1,1000000,eth:1\n"
    payers = "addr,amnt\n0xw0,1234568\n0xzz,1\n"
    found = report(
        loaded(tmp_path, "projects", PROJECTS), loaded(tmp_path, "nodes", nodes),
        loaded(tmp_path, "payments", payments),
        loaded(tmp_path, "receipts", receipts), loaded(tmp_path, "payers", payers),
    )  # fmt: skip
    assert found.nodes is not None
    (node,) = found.nodes.nodes.to_pylist()
    assert (node["node_id"], node["paid"], node["received"]) == ("n1", Decimal("1.234568"), Decimal("1.000000"))
    assert (node["first_paid"], node["last_paid"], node["paid_without_receipt"]) == (
        "2021-03", "2021-04", Decimal("0.234568"),
    )  # fmt: skip
    why = dict(zip(found.nodes.never["node_id"], found.nodes.never["why"], strict=True))
    assert why == {
        "n2": "1970, the epoch", "n3": "2070, the epoch misread", "n4": "no time", "n5": "before 2000",
        "n6": "over a year after the cut-off",
    }  # fmt: skip
    wallets = {w["wallet"]: (w["nodes"], w["paid"], w["payer_amount"]) for w in found.nodes.wallets.to_pylist()}
    assert wallets == {
        "0xw0": (1, Decimal("1.234568"), Decimal("1.234568")), "0xzz": (0, Decimal(0), Decimal("0.000001")),
    }  # fmt: skip
    assert finding(found, "payments of nodes that were never contacted") == 1
    assert finding(found, "payments of unknown nodes") == 1
    assert flat(found.nodes.nodes).column("paid").to_pylist() == ["1.234568"]


def test_a_missing_column_is_named_with_the_file_and_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(StorageError) as refused:
        loaded(tmp_path, "bandwidth", BANDWIDTH.replace("settled", "setled"))
    assert "eu-bandwidth-0.csv: no column" in refused.value.message and "settled" in refused.value.message
    assert refused.value.remedy == "Say which column it is: --map bandwidth.settled=setled"
    text = BANDWIDTH.replace("settled", "Bytes") + "2021-01-01,1,0,7,p\n"
    one = loaded(tmp_path, "bandwidth", text, names=parse_names(["bandwidth.settled=bytes"]))
    assert one.frame["settled"].tolist() == [7]
    for wrong in ("x", "bandwidht.settled=a", "bandwidth.size=a"):
        with pytest.raises(StorageError):
            parse_names([wrong])


def test_a_mapping_file_says_the_same_and_its_mistakes_are_told(tmp_path: Path) -> None:
    file = tmp_path / "names.toml"
    file.write_text('[bandwidth]\nsettled = "bytes"\n[users]\nuser_id = "key"\n')
    assert parse_names(names_in(file)) == {("bandwidth", "settled"): "bytes", ("users", "user_id"): "key"}
    for wrong in ("[bandwidth", 'settled = "x"', '[bandwidth]\nsize = "x"'):
        file.write_text(wrong)
        with pytest.raises(StorageError):
            parse_names(names_in(file))


def test_amounts_in_units_are_the_millionths_they_have(tmp_path: Path) -> None:
    text = "wallet,amount\nw,12.3456789\nw,0.1\nw,1e3\nw,-0.000001\nw,x\n"
    one = loaded(tmp_path, "payers", text, units=True)
    assert one.frame["amount"].tolist() == [100_000, 1_000_000_000, -1]
    assert [(bad.reason, bad.rows) for bad in one.bad] == [("bad_number", 2)]


@pytest.mark.parametrize("content", [b"", b"\n", gzip.compress(b"a,b\n1,2\n" * 9999)[:-20], b"a,a,project_id\n"])
def test_files_that_can_not_be_read_are_told(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(StorageError) as refused:
        loaded(tmp_path, "projects", content)
    assert "eu-projects-0.csv" in refused.value.message and refused.value.remedy


def test_other_times_are_read_where_their_form_is_said(tmp_path: Path) -> None:
    text = BANDWIDTH + "03/31/21 23:00,1,0,7,p\n2021-04-01 00:00:00+00,1,0,7,p\n"
    one = loaded(tmp_path, "bandwidth", text, time_formats=["%m/%d/%y %H:%M"])
    assert [f"{time:%Y-%m}" for time in one.frame["interval_start"]] == ["2021-03", "2021-04"] and not one.bad


def test_files_are_found_by_name_and_results_are_not_read_again(tmp_path: Path) -> None:
    for name in (
        "us1/users.csv",
        "ap_node_payments.csv.gz",
        "eu/storage_nodes.csv",
        "notes.csv",
        "out/storage-users.csv",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("a\n")
    found, unknown = find_exports([tmp_path], skip=tmp_path / "out")
    assert {(e.table.name, e.region) for e in found} == {("users", "us"), ("payments", "ap"), ("nodes", "eu")}
    assert [path.name for path in unknown] == ["notes.csv"]


def test_the_newest_row_of_an_id_counts(tmp_path: Path) -> None:
    other = "created_at,project_id,user_id,usage_limit\n2020-01-02 00:00:00+00,P,v,1\n2019-01-01 00:00:00+00,p,w,2\n"
    found = report(loaded(tmp_path, "projects", PROJECTS), loaded(tmp_path, "projects", other, "us"))
    assert [(user["user_id"], user["projects"]) for user in rows(found)] == [("v", 1)]
    assert sum(row["superseded"] for row in section(found, "rows")) == 2


def test_the_page_shows_hostile_names_as_text_and_has_pictures(tmp_path: Path) -> None:
    text = BANDWIDTH + "<script>alert(1)</script>,1,0,7,p\n2021-01-01 05:00:00+00,1,0,7000000,p\n"
    found = report(loaded(tmp_path, "projects", PROJECTS), loaded(tmp_path, "bandwidth", text))
    shown = page(found)
    assert "<script" not in shown and "&lt;script&gt;alert(1)" in shown
    assert shown.count('role="img"') >= 5 and "prefers-color-scheme: dark" in shown and "http" not in shown
    assert "2021-01, uploaded: 0" in shown or "2021-01, uploaded: 0.0" in shown


def test_the_page_is_readable_in_a_browser_in_light_and_dark(tmp_path: Path) -> None:
    text = BANDWIDTH + "soon,1,0,7,p\n2021-01-01 05:00:00+00,1,0,7000000,p\n"
    found = report(loaded(tmp_path, "projects", PROJECTS), loaded(tmp_path, "bandwidth", text))
    (tmp_path / "storage.html").write_text(page(found), "utf-8")
    with browser() as started:
        for scheme, rules in (("light", ()), ("dark", ("color-contrast",))):
            with started.visitor(color_scheme=scheme, viewport={"width": 360, "height": 800}) as visitor:
                visitor.page.goto((tmp_path / "storage.html").as_uri(), wait_until="load")
                assert visitor.violations(rules) == [] and visitor.overflow() <= 0
                assert visitor.texts("h2") == ["Pictures", "Users", "Data quality"]
                bars = visitor.page.locator("svg.bars rect")
                assert bars.count() > 60 and bars.nth(0).bounding_box()["width"] > 0


def test_an_interrupted_write_leaves_the_former_file(tmp_path: Path) -> None:
    file = tmp_path / "x.csv"
    file.write_text("before")

    with pytest.raises(OSError, match="no room"), replacing(file) as new:
        new.write_text("half")
        raise OSError("no room")
    assert file.read_text() == "before" and list(tmp_path.iterdir()) == [file]


def test_no_text_in_csv_is_a_formula() -> None:
    table = pa.table({"id": ["=cmd()", " +1", "a=b", None, "-x"], "n": [-1, 2, 3, 4, 5], "d": [Decimal("-0.5")] * 5})
    assert flat(table).column("id").to_pylist() == ["'=cmd()", "' +1", "a=b", None, "'-x"]
    assert flat(table).column("n").to_pylist()[0] == -1 and flat(table).column("d").to_pylist()[0] == "-0.5"


def test_the_documentation_names_every_column_and_option() -> None:
    text = (Path(__file__).parents[2] / "docs" / "storage.md").read_text("utf-8")
    needed = [column.name for table in TABLES.values() for column in table.columns if column.needed]
    assert [name for name in needed if f"`{name}`" not in text] == []
    options = [option.opts[0] for option in storage.params if isinstance(option, click.Option)]
    assert [option for option in options if option not in text] == []


def test_csv_has_lists_as_parts_and_times_as_iso() -> None:
    table = pa.table({
        "a": pa.array([[0, 3_600_000], [], None], pa.list_(pa.timestamp("ms", tz="UTC"))),
        "b": pa.array([0, 1, None], pa.timestamp("us", tz="UTC")),
    })  # fmt: skip
    assert flat(table).to_pydict() == {
        "a": ["1970-01-01T00:00:00Z 1970-01-01T01:00:00Z", "", None],
        "b": ["1970-01-01T00:00:00.000000Z", "1970-01-01T00:00:00.000001Z", None],
    }
