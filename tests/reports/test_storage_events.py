"""Product events and exports give the same row for the same facts; no message falls under the table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from reports.storage import Options, StorageReport, storage_report
from reports.storage_events import EventTables
from reports.storage_find import find_exports
from reports.storage_read import read_export
from tests.reports.storage_facts import facts, messages, write_facts

OPTIONS = Options(pd.Timestamp("2021-05-01", tz="UTC"))


def of_events(values: list[bytes | None]) -> tuple[EventTables, StorageReport]:
    tables = EventTables("product-events")
    for place, value in enumerate(values):
        tables.add(f"0:{place}", value)
    return tables, storage_report(tables.loaded(), OPTIONS)


def event(name: str = "upload", **more: Any) -> bytes:
    properties = {"bytes": 5, "project": "p"} | more.pop("properties", {})
    own = {"name": name, "distinct_id": "Ann", "time": "2021-01-01T05:00:00Z", "properties": properties}
    return json.dumps(own | more).encode()


def test_both_ways_give_the_same_row_for_the_same_facts(tmp_path: Path) -> None:
    files, events = facts()
    write_facts(tmp_path, files)
    exports, _ = find_exports([tmp_path])
    one = storage_report([read_export(export, {}) for export in exports], OPTIONS)
    _, other = of_events(list(messages(events)))
    assert one.users.num_rows == 12 and one.users.equals(other.users)
    twice = next(s.frame for s in other.sections if s.name == "rows")["twice_in_region"].sum()
    assert twice == sum(each["time"] < "2021-05-01" for each in events[::50]) > 5


def test_a_project_that_nobody_created_belongs_to_who_was_there_first() -> None:
    late, early = event(time="2021-01-02T00:00:00Z"), event(time=1609459200, distinct_id=7)
    _, found = of_events([late, early])
    rows = {row["user_id"]: row for row in found.users.to_pylist()}
    assert (rows["7"]["projects"], rows["ann"]["projects"], rows["7"]["tier"]) == (1, 0, None)
    assert rows["ann"]["uploads_2021_01"] == 1 and rows["7"]["projects_created"] == []


def test_the_quantity_stands_for_bytes_that_the_properties_lack() -> None:
    _, found = of_events([event(properties={"bytes": 3}), event(event_id="q", quantity=4, properties={"bytes": None})])
    assert found.users.to_pylist()[0]["upload_bytes_2021_01"] == 3
    whole = json.loads(event(event_id="q", quantity=4))
    del whole["properties"]["bytes"]
    _, found = of_events([event(properties={"bytes": 3}), json.dumps(whole).encode()])
    assert found.users.to_pylist()[0]["upload_bytes_2021_01"] == 7


@pytest.mark.parametrize(
    ("value", "reason", "column"),
    [
        (b"{", "not_json", ""), (b"[]", "not_json", ""), (None, "not_json", ""), (b"\xff", "not_json", ""),
        (b'{"time": 1}', "not_json", "name"),
        (event(distinct_id=""), "empty", "user_id"), (event(distinct_id=True), "bad_id", "user_id"),
        (event(time="soon"), "bad_time", "interval_start"), (event(time=1e300), "bad_time", "interval_start"),
        (event(time=None), "empty", "interval_start"), (event(properties={"project": "a\nb"}), "bad_id", "project_id"),
        (event(properties={"bytes": -1}), "negative", "settled"),
        (event(properties={"bytes": 1.5}), "bad_number", "settled"),
        (event(properties={"bytes": True}), "bad_number", "settled"),
        (event(properties={"bytes": 2**60}), "too_large", "settled"),
        (event(properties={"bytes": None}), "empty", "settled"),
    ],
)  # fmt: skip
def test_a_message_that_is_no_event_is_counted_with_its_place(value: bytes | None, reason: str, column: str) -> None:
    tables, found = of_events([event(), value, event("search")])
    (bad,) = next(s.frame for s in found.sections if s.name == "bad-rows").to_dict("records")
    assert (bad["reason"], bad["column"], bad["first"], bad["rows"]) == (reason, column, "at 0:1", 1)
    assert tables.others == 1 and found.users.to_pylist()[0]["uploads_all_time"] == 1
