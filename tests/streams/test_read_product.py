"""Product events in both forms."""

from __future__ import annotations

import orjson
import pytest

from streams.read_product import product_reader
from streams.reading import Reading, Rejected
from tests.state.worlds import at, model_of

read = product_reader(model_of().catalogue, 40)
TIME = at("2024-03-04T10:00")


def raw(**fields: object) -> bytes:
    return orjson.dumps(fields)


def test_a_plain_event_is_read() -> None:
    found = read(
        raw(name="Search", distinct_id=8, time=TIME, org_id="a", event_id="e1", quantity=3, unit="GB", other={})
    )
    assert found == Reading("a", "8", "search", TIME, 3, "pe1", "")


def test_an_exported_event_is_the_same_event() -> None:
    properties = {"distinct_id": 8, "time": TIME // 1000, "$insert_id": "e1", "org_id": "a", "quantity": 3, "$os": "x"}
    assert read(raw(event="Search", properties=properties)) == Reading("a", "8", "search", TIME, 3, "pe1", "")


def test_an_unknown_name_counts_as_other() -> None:
    assert read(raw(name="Juggled", distinct_id="ann", time=TIME)).measure == "other"


def test_without_an_org_the_directory_must_know() -> None:
    assert read(raw(name="Search", distinct_id="ann", time=TIME)).org == ""


def test_without_an_id_the_same_bytes_are_the_same_event() -> None:
    one, other = raw(name="Search", distinct_id="ann", time=TIME), raw(name="Search", distinct_id="ann", time=TIME + 1)
    assert read(one).id == read(one).id != read(other).id


def test_an_events_own_properties_do_not_get_in_the_way() -> None:
    found = read(raw(name="Search", distinct_id="ann", time=TIME, properties={"time": "noon", "distinct_id": []}))
    assert (found.who, found.time_ms) == ("ann", TIME)


@pytest.mark.parametrize("properties", [None, [], 5, "x", {"time": TIME}, {"distinct_id": [], "time": TIME}])
def test_an_exported_event_needs_its_properties(properties: object) -> None:
    with pytest.raises(Rejected) as error:
        read(raw(event="Search", properties=properties))
    assert error.value.reason in ("wrong_type", "missing_field")


def test_an_exported_event_without_properties_misses_fields() -> None:
    with pytest.raises(Rejected, match="missing_field"):
        read(raw(event="Search"))
