"""Errors that an operator has to resolve say what to do, wherever they come up."""

from __future__ import annotations

import pytest
from faust.types import TP

from agents.cli_errors import told
from streams.dead_letters import FloodError
from streams.errors import OperatorError
from streams.log_reader import LogTruncatedError
from streams.recovery import ShrunkenLogError, WrongTopicError, check_topics, checked_start
from streams.transactions import RecordTooLargeError
from streams.worker import _say


def test_the_kinds_that_no_restart_mends_are_known() -> None:
    for kind in (ShrunkenLogError, WrongTopicError, LogTruncatedError, FloodError, RecordTooLargeError):
        assert issubclass(kind, OperatorError)


def test_a_stopped_worker_and_the_command_line_say_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ShrunkenLogError) as found:
        checked_start(TP("a", 0), 9, 0, 3)
    _say(found.value)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "worker stopped: ShrunkenLogError: a-0: committed 9, but the log ends at 3"
    assert "`orgpulse rebuild`" in lines[1]
    plain = told(found.value)
    assert plain is not None and (plain.message, plain.remedy) == (str(found.value), found.value.remedy)


def test_every_way_in_which_a_topic_is_wrong_has_a_remedy() -> None:
    for found in ({}, {"a": 3}):
        with pytest.raises(WrongTopicError) as error:
            check_topics({"a": 2}, found)
        assert "orgpulse" in error.value.remedy
