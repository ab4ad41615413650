"""Log lines: one form for ours and the libraries', and no password in any of them."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import msgspec
import pytest
import structlog

from streams.logs import configure, get_logger


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """Put the process's logging back as pytest had it."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def lines(captured: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    """Return what was logged, parsed."""
    return [msgspec.json.decode(line) for line in captured.readouterr().err.splitlines()]


def test_our_lines_and_the_libraries_have_one_form(capsys: pytest.CaptureFixture[str]) -> None:
    configure("info", "json")
    get_logger("fold", partition=3).info("chunk committed", records=5000)
    logging.getLogger("aiokafka.conn").warning("lost %s", "kafka-1")
    ours, library = lines(capsys)
    assert (ours["message"], ours["logger"], ours["partition"], ours["records"]) == ("chunk committed", "fold", 3, 5000)
    assert (library["message"], library["logger"], library["level"]) == ("lost kafka-1", "aiokafka.conn", "warning")
    assert set(library) <= set(ours)


def test_lines_below_the_level_and_chatter_of_libraries_are_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    configure("info", "json")
    get_logger("fold").debug("no")
    logging.getLogger("aiokafka.consumer").info("heartbeat")
    logging.getLogger("elsewhere").info("yes")
    assert [line["message"] for line in lines(capsys)] == ["yes"]


@pytest.mark.parametrize("form", ["json", "console"])
def test_no_line_shows_a_password(capsys: pytest.CaptureFixture[str], form: str) -> None:
    configure("info", "json" if form == "json" else "console")
    url = "redis://u:geheim@h:1/0"
    get_logger("publish").warning("away", url=url, all=[url], nested={"url": url})
    logging.getLogger("redis").warning("connecting to %s", url)
    try:
        raise ConnectionError(url)
    except ConnectionError:
        get_logger("publish").exception("failed")
    written = capsys.readouterr().err
    assert "geheim" not in written
    assert written.count("redis://u:***@h:1/0") >= 5


def test_what_a_library_repeats_is_written_once_in_a_while_with_the_number_left_out(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = [100.0]
    monkeypatch.setattr("streams.logs.time.monotonic", lambda: seconds[0])
    configure("info", "json")
    for node in range(50):
        logging.getLogger("aiokafka").error("no connection to %s", node)
        logging.getLogger("fold").error("ours is never left out")
    seconds[0] += 5.0
    logging.getLogger("aiokafka").error("no connection to %s", 50)
    said = [line["message"] for line in lines(capsys)]
    assert said.count("ours is never left out") == 50
    assert [text for text in said if text != "ours is never left out"] == [
        "no connection to 0",
        "no connection to 50 (and 49 more like it before)",
    ]
