"""Reports of histories that have little or odd in them: everything is said, nothing is NaN, nothing crashes."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from reports.bands import ACTIVE_USERS, ACTIVITY
from reports.history import History, HistoryReader
from reports.history_quartiles import quarter_cents, quartile_of
from reports.report_document import Report, csv_of, html_of, write_tables
from reports.report_sections import ALL, KINDS, coverage_of, sections_of
from reports.report_table import Table
from state.week import week_label, week_number

HOSTILE = '<script>alert(1)</script>"><img src=x onerror=alert(2)>'
FIRST = week_number("2026-W01")


def row(org: str, week: int, user: str = "", state: str = "final", **figures: Any) -> tuple[bytes, bytes]:
    """Return key and value of a row of `weeks`."""
    subject = f"user:{org}/{user}" if user else f"org:{org}"
    label = week_label(week)
    found = {"org": org, "user": user or None, "week": label, "state": state, "activities": 0, "score": None, **figures}
    return f"{subject}|{label}".encode(), orjson.dumps(found)


def org_week(org: str, week: int, users: dict[str, int], count: int = 0, cents: int = 0, score: Any = 50.0) -> Any:
    """Return the rows of an org's week: its users' and its own."""
    found = [row(org, week, user, activities=n, score=40.0) for user, n in users.items()]
    own = row(
        org, week, activities=sum(users.values()), active_users=len(users), transactions_count=count,
        transactions_cents=cents, score=score if users else None,
    )  # fmt: skip
    return [*found, own]


def history(*rows: tuple[bytes | None, bytes | None], first: int | None = None, last: int | None = None) -> History:
    reader = HistoryReader()
    for key, value in rows:
        reader.add(key, value)
    return reader.history(first, last)


def tables(found: History, kind: str = ALL) -> dict[str, Table]:
    return {table.name: table for *_, section in sections_of(found, kind) for table in section.tables}


def page(found: History, kind: str = ALL, *, drawn: bool = True) -> str:
    sections = tuple(section for *_, section in sections_of(found, kind))
    report = Report("Report", "Made", coverage_of(found), sections)
    return html_of(report, None if drawn else {table.name: [] for table in report.tables})


NOTHING = [(key, None) for key, _ in org_week("a", FIRST, {"u": 3}, 2, 500)]
LITTLE = {
    "nothing": [],
    "only tombstones": NOTHING,
    "only an open week": [row("a", FIRST, state="provisional", activities=4, active_users=2)],
    "one org, one week": org_week("a", FIRST, {"u": 3}, 2, 500),
    "one org, ten weeks": [r for n in range(10) for r in org_week("a", FIRST + n, {"u": 3 + n}, n % 4, 7 * n, 5.0 + n)],
    "no transaction": [r for o in "abcdef" for n in range(5) for r in org_week(o, FIRST + n, {"u": 2, "v": 9 + n})],
    "no activity": [r for o in "abcdef" for n in range(5) for r in org_week(o, FIRST + n, {}, 3, 1_000)],
    "always the same": [r for o in "abcdef" for n in range(6) for r in org_week(o, FIRST + n, {"u": 5}, 2, 900)],
    "three orgs": [r for o in "abc" for n in range(3) for r in org_week(o, FIRST + n, {"u": ord(o)}, ord(o) % 7, n)],
    "all taken back": org_week("a", FIRST, {"u": 0}) + org_week("b", FIRST + 1, {}, 0, 0),
}  # fmt: skip


@pytest.mark.parametrize("name", LITTLE)
def test_a_history_with_little_in_it_says_so(name: str) -> None:
    found = history(*LITTLE[name])
    # Drawing takes longest; these two meet every picture with nothing and with no spread.
    text = page(found, drawn=name in ("nothing", "always the same"))
    words = re.findall(r"[a-zA-Z-]+", re.sub(r"<[^>]*>", " ", text))
    assert not {"nan", "NaN", "None", "inf", "-inf", "NaT"} & set(words)
    for table in tables(found).values():
        for column in ("pearson", "spearman", "r", "p"):
            if column in table.frame and "note" in table.frame:
                assert table.frame.loc[table.frame[column].isna(), "note"].ne("").all()


def test_an_empty_history_says_that_it_is_empty() -> None:
    assert coverage_of(history()) == ("The history has no closed week yet.",)
    found = history(*LITTLE["one org, ten weeks"], first=FIRST + 20, last=FIRST + 30)
    assert coverage_of(found) == ("No closed week lies in the period: the history has 2026-W01 to 2026-W10.",)
    assert "No rows in this period." in page(found, drawn=False)
    assert tables(found)["totals"].frame["value"].tolist() == [0] * 11


def test_the_last_word_on_a_week_counts_and_open_weeks_do_not() -> None:
    rows = [
        *org_week("a", FIRST, {"u": 3}, 2, 500),
        row("a", FIRST, "u", "restated", activities=8),
        row("a", FIRST, state="restated", activities=8, active_users=1, transactions_count=1, transactions_cents=-50),
        row("a", FIRST + 1, state="provisional", activities=99, active_users=9, transactions_count=9),
        *org_week("b", FIRST, {"u": 3}, 2, 500),
        (f"org:b|{week_label(FIRST)}".encode(), None),
        (f"user:b/u|{week_label(FIRST)}".encode(), None),
        *org_week("0", FIRST, {"root": 50}, 5, 5_000),
        (b"org:c|2026-W01", b"{"),
        (b"org:d|2026-W99", row("d", FIRST)[1].replace(b"2026-W01", b"2026-W99")),
        (None, b"{}"),
    ]
    found = history(*rows)
    assert (found.provisional, found.restated, found.system, found.unreadable) == (1, 2, 2, 2)
    assert found.period == "2026-W01 to 2026-W01"
    assert found.users[["org", "user", "activities"]].values.tolist() == [["a", "u", 8]]
    assert found.orgs[["org", "transactions_count", "transactions_cents"]].values.tolist() == [["a", 1, -50]]
    said = " ".join(coverage_of(found))
    assert "1 closed week, " in said and "2 restated" in said and "1 row of weeks that are still open" in said
    assert "2 rows of org 0" in said and "2 rows that can't be read" in said


def test_a_period_is_cut_at_both_ends_and_the_following_week_stays_within() -> None:
    rows = [r for n in range(6) for r in org_week("a", FIRST + n, {"u": 1 + n}, 1, 100 * (n + 1))]
    found = history(*rows, first=FIRST + 1, last=FIRST + 4)
    assert found.weeks == 4
    totals = tables(found)["totals"].frame.set_index("figure")["value"]
    assert (totals["activities"], totals["volume"]) == (2 + 3 + 4 + 5, 200 + 300 + 400 + 500)
    frame = tables(found)["org-week-correlations"].frame
    following = frame[(frame["population"] == "both") & frame["y"].str.endswith("following week")]
    assert following["n"].tolist() == [3, 3]


def test_a_week_without_activity_counts_as_none_among_either_only() -> None:
    rows = [
        *org_week("a", FIRST, {"u": 4}, 2, 100),
        *org_week("a", FIRST + 1, {}, 6, 900),
        *org_week("b", FIRST, {"u": 1}),
    ]
    frame = tables(history(*rows))["active-bands"].frame.set_index(["population", "active_users"])
    assert frame.loc[("both", "0–1"), ["orgs", "org_weeks", "count_mean"]].tolist() == [1, 1, 2.0]
    assert frame.loc[("either", "0–1"), ["orgs", "org_weeks", "count_mean"]].tolist() == [2, 3, 8 / 3]


@given(st.lists(st.one_of(st.integers(1, 10**9), st.fractions(1, 200).map(float)), min_size=1))
def test_every_value_is_in_exactly_one_band(values: list[float]) -> None:
    for bands in (ACTIVITY, ACTIVE_USERS):
        edges = [0.0, *bands.tops, float("inf")]
        for value, number in zip(values, bands.of(values).tolist(), strict=True):
            holding = [n for n in range(len(bands.names)) if edges[n] < value <= edges[n + 1]]
            assert holding == [number]


def test_ten_belongs_to_the_first_band_and_nothing_falls_between() -> None:
    assert ACTIVITY.of([1, 10, 10.0, np.nextafter(10, 11), 11, 20, 20.5, 50, 50.001]).tolist() == [
        0,
        0,
        0,
        1,
        1,
        1,
        2,
        4,
        5,
    ]
    assert ACTIVE_USERS.of(range(13)).tolist() == [0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4]


@given(st.lists(st.integers(-(10**6), 10**15), min_size=4, max_size=40))
def test_quartiles_are_those_of_numpy_and_every_org_is_in_one(cents: list[int]) -> None:
    values = np.array(cents, np.int64)
    cuts = quarter_cents(values)
    assert np.array(cuts) / 4 == pytest.approx(np.quantile(values.astype(np.float64), [0.25, 0.5, 0.75]), rel=1e-12)
    place = quartile_of(values)
    for value, quarter in zip(cents, place.tolist(), strict=True):
        assert quarter == sum(4 * value > cut for cut in cuts)


def test_whole_cents_stay_exact_beyond_what_a_float_can_hold() -> None:
    huge = 2**53 + 1
    found = tables(history(*org_week("a", FIRST, {"u": 1}, 1, huge)))
    assert found["orgs"].frame["transactions_cents"].tolist() == [huge]
    assert found["orgs"].texts()[0][-1] == "90,071,992,547,409.93"
    assert str(huge) in csv_of(found["orgs"].frame)


def test_a_hostile_name_is_text_everywhere() -> None:
    rows = [r for n in range(4) for r in org_week(HOSTILE, FIRST + n, {"=1+1": 3, "\u202eu\x07": 4}, 3, 99)]
    found = history(*rows)
    text = page(found, "lifetime")
    assert "<script" not in text and "<img" not in text and "\u202e" not in text and "\x07" not in text
    assert "&lt;script&gt;" in text
    lines = list(csv.DictReader(io.StringIO(csv_of(tables(found)["users"].frame))))
    assert {line["user"] for line in lines} == {"'=1+1", "\u202eu\x07"}


def test_files_hold_what_the_tables_say_to_the_last_digit(tmp_path: Path) -> None:
    rows = [
        r
        for o in "abcdefg"
        for n in range(9)
        for r in org_week(o, FIRST + n, {"u": ord(o) * n % 13 + 1, "v": 2}, n, 7 * n)
    ]
    found = tables(history(*rows))
    written = write_tables(list(found.values()), tmp_path)
    assert len(written) == 2 * len(found) and not list(tmp_path.rglob(".*.new"))
    for name, table in found.items():
        read = parquet.read_table(tmp_path / "tables" / f"{name}.parquet").to_pandas()
        pd.testing.assert_frame_equal(read, table.frame, check_dtype=False)
        assert [str(kind) for kind in read.dtypes] == [str(kind) for kind in table.frame.dtypes]
        plain = pd.read_csv(
            tmp_path / "tables" / f"{name}.csv", encoding="utf-8-sig", keep_default_na=False, na_values=[""]
        )
        assert list(plain.columns) == list(table.frame.columns) and len(plain) == len(table.frame)
        for column in table.frame.select_dtypes("number"):
            np.testing.assert_array_equal(plain[column].to_numpy(np.float64), table.frame[column].to_numpy(np.float64))


def test_every_table_has_its_picture_its_definition_and_belongs_to_a_report() -> None:
    found = history(*LITTLE["one org, ten weeks"])
    everything = tables(found)
    assert all(table.pictures and table.definition and table.title for table in everything.values())
    parts = [set(tables(found, kind)) for kind in KINDS]
    assert set().union(*parts) == set(everything) and all(parts)


def test_equal_rows_give_equal_documents() -> None:
    rows = LITTLE["three orgs"]
    assert page(history(*rows), "bands") == page(history(*reversed(rows)), "bands")
