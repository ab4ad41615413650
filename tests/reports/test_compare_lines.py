"""A wrong number in a month of latency is reported."""

from __future__ import annotations

import json
from base64 import b64encode

import pandas as pd
import pytest

from reports.compare_lines import compare_lines
from reports.recount_latency import latency_lines
from state.waits import Waits
from state.week_grid import WeekGrid
from tests.state.worlds import HOUR, at

ASKED = at("2024-03-31T23:30")  # Monday 01:30 in Berlin, and April
LINE = "replies/#help"


def documents(wait_ms: int = 2 * HOUR, *, first: bool = True, messages: int = 1, org: str = "acme") -> dict:
    waits = Waits()
    waits.add_event(ASKED, messages)
    waits.add_wait(ASKED, wait_ms, first=first)
    month = b64encode(waits.dump()).decode()
    week = b64encode(WeekGrid.dump(waits.grid("Europe/Berlin"))).decode()
    return {
        f"latency:{{{org}}}": {"timezone": "Europe/Berlin", "months": json.dumps(["2024-03"])},
        f"latency:{{{org}}}:2024-03": {LINE: month, "fence": "0000.1"},
        "latency:{all}": {"timezone": "local", "months": json.dumps(["2024-04"])},
        "latency:{all}:2024-04": {"replies": week, "fence": "0000.1"},
    }


def recounted() -> pd.DataFrame:
    messages = pd.DataFrame(
        [("acme", "ann", "m", "", ASKED, LINE)], columns=["org", "user", "id", "ref", "time_ms", "line"]
    )
    answer = ("acme", "bob", "m", ASKED + 2 * HOUR, "ann", ASKED, 2 * HOUR, LINE, True)
    names = ["org", "user", "ref", "time_ms", "parent_user", "parent_ms", "latency_ms", "line", "first"]
    return latency_lines(messages, pd.DataFrame([answer], columns=names), {"acme": "Europe/Berlin"}, 4 * 3600)


def test_months_in_utc_are_compared_in_the_zone_of_the_org() -> None:
    result = compare_lines(recounted(), documents())
    assert (result.differences, result.kinds["latency month"], result.fields) == ([], 2, 12)
    assert compare_lines(recounted(), documents(), overall=False).kinds["latency month"] == 1


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"wait_ms": 2 * HOUR + 1}, "waits_ms"),
        ({"first": False}, "answered"),
        ({"messages": 2}, "messages"),
        ({"wait_ms": 5 * HOUR}, "within"),
        ({"org": "other"}, ""),
    ],
)
def test_a_wrong_number_is_reported(wrong: dict, field: str) -> None:
    assert field in {each.field for each in compare_lines(recounted(), documents(**wrong)).differences}
