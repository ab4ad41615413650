"""Syslog activities: JSON, RFC 5424 and RFC 3164."""

from __future__ import annotations

import time

import orjson
import pytest

from streams.read_syslog import syslog_reader
from streams.reading import Reader, Reading, Rejected
from tests.state.worlds import at, model_of

CATALOGUE = model_of(drop={"actions": ["DROP"]}).catalogue


def reader(now: str = "2024-03-04T12:00", zone: str = "UTC", year: int = 0) -> Reader:
    return syslog_reader(CATALOGUE, {"web1": "a"}, lambda: at(now) / 1000, zone=zone, year=year, max_id=40)


def activity(**fields: object) -> Reading:
    return reader()(orjson.dumps({"id": 1, "org": 7, "userid": 8, "created": "2024-03-04T10:00:00Z"} | fields))


TIME = at("2024-03-04T10:00")


def test_a_json_activity_is_read() -> None:
    assert activity(action="DROP", ghost=0) == Reading("7", "8", "drop", TIME, 0, "s1", "")
    assert activity(action="other").measure == activity().measure == "syslog"


def test_json_may_begin_with_white_space() -> None:
    raw = b' \n{"id": 1, "org": 7, "userid": 8, "created": "2024-03-04T10:00:00Z"}'
    assert reader()(raw).who == "8"


@pytest.mark.parametrize(
    ("fields", "apart"),
    [({"ghost": 1}, "ghost"), ({"org": 0}, "system"), ({"org": "0", "ghost": 2}, "system"), ({}, "")],
)
def test_operators_and_the_system_itself_are_set_apart(fields: dict, apart: str) -> None:
    assert activity(**fields).apart == apart


def test_structured_data_says_who() -> None:
    line = b'<13>1 2024-03-04T10:00:00.000Z web1 app 77 ID1 [act@1 org="7" userid="8" action="DROP" id="x"] hello'
    assert reader()(line) == Reading("7", "8", "drop", TIME, 0, "sx", "")


def test_an_operator_in_structured_data_is_one_too() -> None:
    line = b'<13>1 2024-03-04T10:00:00Z web1 app - - [act@1 org="7" userid="8" ghost="1"]'
    assert reader()(line).apart == "ghost"


def test_words_say_who_as_well() -> None:
    line = b"<13>1 2024-03-04T10:00:00Z web1 app - - - org=7 userid=8 action=DROP done"
    assert (reader()(line).org, reader()(line).who, reader()(line).measure) == ("7", "8", "drop")


def test_without_words_the_host_is_the_org_and_the_program_acts() -> None:
    found = reader()(b"<13>1 2024-03-04T10:00:00Z web1 cron - - - hello")
    assert (found.org, found.who) == ("a", "cron")
    assert reader()(b"<13>1 2024-03-04T10:00:00Z db9 cron - - - hello").org == "db9"


def test_the_same_line_is_the_same_activity() -> None:
    line = b"<13>1 2024-03-04T10:00:00Z web1 cron - - - hello"
    assert reader()(line).id == reader()(line).id != reader()(line + b"!").id


@pytest.mark.parametrize(
    ("line", "who"),
    [
        (b"<13>Mar  4 10:00:00 web1 sshd[123]: accepted", "sshd"),
        (b"Mar  4 10:00:00 web1 sshd: accepted", "sshd"),
        (b"Mar 4 10:00:00 web1 kernel: x\r\n", "kernel"),
        (b"<13>Mar  4 10:00:00 web1 app[1]: org=7 userid=8 action=DROP", "8"),
        ("Mar  4 10:00:00 web1 app: grüße".encode("latin-1"), "app"),
    ],
)
def test_old_lines_are_read(line: bytes, who: str) -> None:
    found = reader()(line)
    assert (found.who, found.time_ms) == (who, TIME)


@pytest.mark.parametrize(
    ("now", "line", "when"),
    [
        ("2024-01-01T00:30", "Dec 31 23:59:00", "2023-12-31T23:59"),  # just before new year
        ("2023-12-31T23:59", "Jan  1 00:30:00", "2024-01-01T00:30"),  # a clock a little ahead
        ("2024-03-04T12:00", "Mar  5 11:00:00", "2024-03-05T11:00"),  # up to a day ahead of now
        ("2024-03-04T12:00", "Mar  6 11:00:00", "2023-03-06T11:00"),
        ("2025-06-01T00:00", "Feb 29 10:00:00", "2024-02-29T10:00"),  # only leap years have it
    ],
)
def test_the_year_is_the_latest_not_more_than_a_day_ahead(now: str, line: str, when: str) -> None:
    assert reader(now)(f"{line} web1 app: x".encode()).time_ms == at(when)


def test_a_configured_year_and_zone_are_used() -> None:
    found = reader(zone="Europe/Berlin", year=2019)(b"Jul  1 12:00:00 web1 app: x")
    assert found.time_ms == at("2019-07-01T10:00")


def test_a_day_that_the_configured_year_has_not_is_a_bad_time() -> None:
    with pytest.raises(Rejected, match="bad_time"):
        reader(year=2023)(b"Feb 29 12:00:00 web1 app: x")


def test_a_ghost_of_null_is_none() -> None:
    line = b'{"id":1,"org":"acme","userid":"ann","created":1700000000,"ghost":null,"action":"view"}'
    assert reader()(line).apart == ""


def test_a_long_word_in_a_line_is_read_in_no_time() -> None:
    # A word is tried once, not anew at each of its letters: this takes milliseconds, that took half a minute.
    before = time.process_time()
    with pytest.raises(Rejected, match="missing_field"):
        reader()(b"<13>1 2024-03-04T10:00:00Z - app - - " + b"a" * 65_000)
    assert time.process_time() - before < 1.0
