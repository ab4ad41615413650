"""Tables and documents: the numbers of the pictures, and nothing that a spreadsheet would compute."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace

import numpy as np
import pytest

from reports.latency_tables import change_csv, change_document, map_document, maps_csv
from reports.short_text import plain_name, round_duration, short_duration, signed_duration, two_digits
from reports.week_map import ANSWERED, Label, change_of, change_summary, map_of, summary
from state.week_grid import WeekGrid
from tests.reports.weeks import full_week, week_of

LABEL = Label("acme", "replies/#help", "2025", "Europe/Berlin", 0.8, target_ms=3_600_000, min_count=2)


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_the_table_of_a_map_has_a_row_for_each_cell_with_the_numbers_of_the_picture() -> None:
    week = map_of(full_week(gaps=(3, 167)), LABEL)
    rows = rows_of(maps_csv([week]))
    assert len(rows) == 168
    assert [two_digits(float(row["seconds"])) if row["seconds"] else "" for row in rows] == week.texts
    assert (rows[33]["weekday"], rows[33]["hour"], rows[33]["state"]) == ("Tue", "9", "data")
    assert (rows[3]["seconds"], rows[3]["state"], rows[3]["replies"]) == ("", "no data", "0")
    assert {(row["org"], row["line"], row["timezone"]) for row in rows} == {("acme", "replies/#help", "Europe/Berlin")}


def test_messages_answered_late_and_never_are_counted_apart() -> None:
    grid = week_of({9: [60.0, 7200.0]}, {9: 5})
    row = rows_of(maps_csv([map_of(grid, LABEL)]))[9]
    assert [row[name] for name in ("replies", "messages", "answered", "answered_within_target", "share_answered")] == [
        "2", "5", "2", "1", "0.2",
    ]  # fmt: skip
    untold = rows_of(maps_csv([map_of(grid, replace(LABEL, target_ms=None))]))[9]
    assert (untold["answered_within_target"], untold["target_seconds"], untold["share_answered"]) == ("", "", "0.4")


def test_only_first_replies_count_if_that_is_asked_for() -> None:
    hours, waits = np.array([9, 9, 9]), np.array([1000, 2000, 900_000])
    grid = WeekGrid.of(hours, np.array([True, True, False]), waits, np.bincount(hours, minlength=168))
    every, first = (map_of(grid, replace(LABEL, first=first, quantile=1.0)) for first in (False, True))
    assert (every.seconds[9], every.counts[9]) == (900.0, 3)
    assert (first.seconds[9], first.counts[9]) == (2.0, 2)


def test_a_cell_that_was_filled_in_says_so() -> None:
    week = map_of(full_week(gaps=(3,)), LABEL).filled(72_000)
    row = rows_of(maps_csv([week]))[3]
    assert (row["seconds"], row["state"], row["replies"]) == ("72000.0", "filled", "0")
    assert week.texts[3] == "20h"


def test_a_difference_as_table_and_document_says_what_the_picture_says() -> None:
    old = week_of({h: [600.0 + n for n in range(30)] for h in range(168) if h != 30})
    new = week_of({h: [60.0 + n for n in range(30)] for h in range(168) if h != 23})
    change = change_of((old, new), (replace(LABEL, period="2024", min_count=20), replace(LABEL, min_count=20)))
    rows = rows_of(change_csv(change))
    assert [row["state"] for row in rows] == change.states
    assert [signed_duration(float(r["change_seconds"])) for r in rows if r["change_seconds"]] == ["−9m"] * 166
    assert (rows[23]["before_seconds"] != "", rows[23]["after_seconds"], rows[23]["significant"]) == (True, "", "no")
    assert rows[0]["significant"] == "yes"
    document = json.loads(json.dumps(change_document(change)))
    assert [cell["change_seconds"] for cell in document["week"]] == [
        float(row["change_seconds"]) if row["change_seconds"] else None for row in rows
    ]
    assert (document["before"], document["after"], document["whole_week"]["significant"]) == ("2024", "2025", True)
    assert change_summary(change).startswith("166 hours are faster and 0 slower, 166 of them more than chance; 2 have")


def test_the_document_of_a_map_has_null_for_what_is_not_known() -> None:
    week = map_of(full_week(gaps=(3,)), replace(LABEL, target_ms=None))
    document = json.loads(json.dumps(map_document(week), allow_nan=False))
    assert document["week"][3]["seconds"] is None
    assert document["week"][3]["answered_within_target"] is None
    assert len(document["week"]) == 168
    assert (document["quantile"], document["period"], document["exact"]) == (0.8, "2025", True)


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", " =1", "|calc", "\r\n=1"])
def test_no_name_is_a_formula(name: str) -> None:
    week = map_of(full_week(), replace(LABEL, org=name, period=name, zone=name))
    for row in rows_of(maps_csv([week])):
        assert (row["org"], row["period"], row["timezone"]) == (f"'{name}", f"'{name}", f"'{name}")
    change = change_of((full_week(), full_week()), (replace(LABEL, period=name), replace(LABEL, org=name)))
    assert {(row["org"], row["before"]) for row in rows_of(change_csv(change))} == {(f"'{name}", f"'{name}")}


def test_a_summary_names_the_slowest_and_the_fastest_hour() -> None:
    said = summary(map_of(full_week(gaps=(3,)), LABEL))
    assert said.startswith("Highest: Sun 23:00, ")
    assert "Lowest: Mon 00:00, 21s. 1 of 168 hours have no data." in said
    assert summary(map_of(week_of({}), LABEL)) == "No hour has data."
    assert "25%" in summary(map_of(week_of({9: [60.0]}, {9: 4}), replace(LABEL, show=ANSWERED, min_count=1)))


def test_every_text_of_a_duration_is_as_short_as_promised() -> None:
    many = [10**power * digit / 3 for power in range(-3, 12) for digit in range(1, 30)]
    assert all(len(short_duration(value)) <= 3 for value in many)
    assert all(len(two_digits(value)) <= 4 for value in many)
    assert all(len(signed_duration(sign * value)) <= 5 for value in many for sign in (1, -1))
    assert [round_duration(s) for s in (0.05, 90 * 60, 3.6525 * 86400 * 100)] == ["0.05s", "1.5h", "1y"]
    assert plain_name("a" * 100, 10) == "aaaaaaaaa…"


def test_months_that_differ_by_themselves_make_a_change_less_certain() -> None:
    def month(slow: bool) -> WeekGrid:
        return week_of({h: [(5000.0 if slow else 500.0) + n for n in range(25)] for h in range(168)})

    before, after = [month(False)] * 4, [month(False), month(True), month(False), month(True)]
    grids = WeekGrid.merged(before), WeekGrid.merged(after)
    labels = replace(LABEL, period="2024", quantile=0.5), replace(LABEL, quantile=0.5)
    alone, together = change_of(grids, labels), change_of(grids, labels, [before, after])
    assert alone.significant.all()
    assert not together.significant.any()
    assert together.seconds.tolist() == alone.seconds.tolist()
