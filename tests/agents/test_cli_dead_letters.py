"""`orgpulse dead-letters` against a real Kafka: letters are shown safely, and each is sent again once."""

from __future__ import annotations

import asyncio
import gc
import json
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from agents.cli_dead_letters import dead_letters
from agents.cli_errors import ToldError
from agents.letter_text import safe
from streams.dead_letters import DeadLetters
from streams.letters import NOTE_KEY, Address, Letter, Note, read_record
from streams.log_state import ends_of, stretches
from streams.lone_sender import LoneSender
from streams.reading import Rejected
from streams.replay import _NAME, BATCH_LETTERS, LETTER_HEADER, ReplayFailedError, _Ready, _send
from streams.settings import Settings, load_settings
from streams.settings_child import child_environment
from streams.topic_specs import topic_names
from tests.faults.extent import fresh_seed
from tests.streams.kafka_topics import fill, put

EVIL = b'{"amount": 12345678901234567890.10, "name": "\x1b]0;x\x07"'
PAYMENT = b'{"amount": 12345678901234567890.10, "currency": "XXX"}'


class Place:
    """A source record, as far as a letter needs it."""

    def __init__(self, offset: int, value: bytes | None, key: bytes | None = b"k") -> None:
        self.offset, self.value, self.key = offset, value, key


def post(settings: Settings, topic: str, reason: str, place: Place, most: int = 10_000) -> None:
    letters = DeadLetters(topic_names(settings).dead_letters, lambda: 1_700_000_000.0, most)
    out = letters.letter(Rejected(reason, "because"), topic, 1, place)
    asyncio.run(put(settings.kafka.brokers, out.topic, out.partition, out.key or b"", out.value))


def asked(settings: Settings, *arguments: str) -> Result:
    return CliRunner().invoke(dead_letters, arguments, obj=settings)


def sent_to(settings: Settings, topic: str) -> list[Any]:
    """Return the committed records up to the log's own end: a commit is told before its markers are written."""

    async def read() -> list[Any]:
        ends = await ends_of(settings.kafka.brokers, [topic])
        return [one async for _, one in stretches(settings.kafka.brokers, dict.fromkeys(ends, 0), ends, whole=True)]

    return asyncio.run(read())


@pytest.mark.kafka
def test_a_letter_is_listed_shown_and_sent_again_once_with_its_fix(settings: Settings, tmp_path: Path) -> None:
    post(settings, "transactions", "wrong_type", Place(4, PAYMENT))
    post(settings, "transactions", "not_json", Place(5, EVIL))
    said = json.loads(asked(settings, "list", "--json").output)
    assert [(one["address"], one["reason"]) for one in said["letters"]] == [("1:1", "not_json"), ("1:0", "wrong_type")]
    listed = asked(settings, "list", "--reason", "not_json").output
    assert "1:1" in listed and "1:0" not in listed
    assert "1:1" not in asked(settings, "list", "--since", "1d").output

    found = asked(settings, "show", "1:1").output
    assert "\\x1b]0;x\\x07" in found and "\x1b" not in found and "\x07" not in found
    assert "12345678901234567890.10" in asked(settings, "show", "1:0").output

    topic = topic_names(settings).transactions
    fix = ("replay", "1:0", "1:1", "--set", 'currency="EUR"')
    assert "1 would be sent" in asked(settings, *fix, "--dry-run").output
    assert sent_to(settings, topic) == []
    first = asked(settings, *fix)
    assert "1 sent, 0 replayed before, 1 refused" in first.output and first.exit_code == 1
    assert "1:1 not sent: the value is no JSON object" in first.output
    (record,) = sent_to(settings, topic)
    assert record.value == b'{"amount":12345678901234567890.10,"currency":"EUR"}'
    assert (record.partition, record.key, record.headers) == (1, b"k", ((LETTER_HEADER, b"1:0"),))

    assert "0 sent, 1 replayed before" in asked(settings, "replay", "--reason", "wrong_type").output
    assert len(sent_to(settings, topic)) == 1
    marks = {one["address"]: one["replayed"] for one in json.loads(asked(settings, "list", "--json").output)["letters"]}
    assert marks == {"1:0": True, "1:1": False}

    (tmp_path / "good").write_bytes(b"{}")
    assert "1 sent" in asked(settings, "replay", "1:1", "--with", str(tmp_path / "good")).output
    assert "1 sent" in asked(settings, "replay", "1:0", "--again").output
    assert [one.value for one in sent_to(settings, topic)][1:] == [b"{}", PAYMENT]


@pytest.mark.kafka
def test_a_cut_letter_is_sent_whole_while_its_source_is_there_and_refused_after(settings: Settings) -> None:
    names = topic_names(settings)
    asyncio.run(fill(settings.kafka.brokers, names.chat_messages, 1, [b"0123456789"]))
    post(settings, "chat-messages", "too_big", Place(0, b"0123456789"), most=4)
    post(settings, "chat-messages", "too_big", Place(0, b"another one"), most=4)
    post(settings, "chat-messages", "too_late", Place(7, None))
    assert "0123456789" in asked(settings, "show", "1:0").output
    found = asked(settings, "replay", "--topic", "chat-messages")
    assert "1 sent, 0 replayed before, 2 refused" in found.output and found.exit_code == 1
    assert [one.value for one in sent_to(settings, names.chat_messages)] == [b"0123456789"] * 2


@pytest.mark.kafka
def test_a_later_replay_fences_an_earlier_one(settings: Settings) -> None:
    names = topic_names(settings)
    batch = [_Ready(Address(1, 0), names.transactions, 1, None, PAYMENT)]

    async def two() -> None:
        async with LoneSender(settings, _NAME) as first, LoneSender(settings, _NAME) as second:
            with pytest.raises(ReplayFailedError, match="another run"):
                await _send(settings, first, batch, 1.0)
            assert await _send(settings, second, batch, 1.0) == 1

    asyncio.run(two())
    gc.collect()  # aiokafka leaves a fenced producer's task to the collector, which reports it: here, not inside pytest
    assert len(sent_to(settings, names.transactions)) == 1
    assert len(sent_to(settings, names.dead_letters)) == 1


@pytest.mark.kafka
def test_a_replay_that_is_killed_midway_and_run_again_sends_each_letter_once(settings: Settings) -> None:
    #  letters  ■■■■■■■■■■■■  killed ✕ at a random moment of several transactions, again ✕, then to the end
    chance, count, names = random.Random(fresh_seed()), 10 * BATCH_LETTERS, topic_names(settings)
    letters = DeadLetters(names.dead_letters, lambda: 1_700_000_000.0, 10_000)
    refused = [letters.letter(Rejected("bad", ""), "transactions", 1, Place(n, b"%d" % n)) for n in range(count)]
    asyncio.run(fill(settings.kafka.brokers, names.dead_letters, 1, [out.value for out in refused]))
    command = [sys.executable, "-m", "agents.cli", "dead-letters", "replay", "--topic", "transactions", "--yes"]
    environment = child_environment(settings)
    kills = sent = 0
    while sent < BATCH_LETTERS:  # from the first transaction on
        process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
        before = sent  # a part of a transaction may lie there: wait until this process has begun too
        while (sent := asyncio.run(end_of(settings, names.transactions))) == before and process.poll() is None:
            pass
        time.sleep(chance.uniform(0.0, 0.05))
        process.kill()
        kills += process.wait() == -signal.SIGKILL
    assert kills and sent > 0
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    values = Counter(record.value for record in sent_to(settings, names.transactions))
    assert values == Counter(b"%d" % number for number in range(count))


async def end_of(settings: Settings, topic: str) -> int:
    return max((await ends_of(settings.kafka.brokers, [topic])).values())


@pytest.mark.kafka
def test_more_than_a_handful_is_sent_only_after_a_question(settings: Settings) -> None:
    for offset in range(6):
        post(settings, "transactions", "wrong_type", Place(offset, PAYMENT))
    refused = CliRunner().invoke(dead_letters, ["replay", "--topic", "transactions"], obj=settings, input="n\n")
    assert refused.exit_code == 1 and "Send 6 letters again" in refused.output
    assert sent_to(settings, topic_names(settings).transactions) == []
    assert "6 sent" in asked(settings, "replay", "--topic", "transactions", "--yes").output


def test_a_source_key_spelled_like_a_notes_makes_no_note() -> None:
    letter = DeadLetters("dead", lambda: 1.0, 100).letter(
        Rejected("not_json", "x"), "users", 0, Place(3, b"v", NOTE_KEY)
    )
    assert letter.key == NOTE_KEY
    assert isinstance(read_record(letter.key, letter.value), Letter)
    assert isinstance(read_record(NOTE_KEY, b'{"replayed":3,"time":1.0}'), Note)
    assert read_record(b"k", b"\xff") is None


@pytest.mark.parametrize("text", ["\x1b[2J", "\x9b2J", "\u202egpj", "\r", "\x7f"])
def test_no_control_character_reaches_the_terminal(text: str) -> None:
    assert safe(text).isprintable()


def test_what_is_no_address_is_told() -> None:
    found = CliRunner().invoke(dead_letters, ["show", "nowhere"], obj=load_settings(None, {}), standalone_mode=False)
    assert isinstance(found.exception, ToldError) and "partition:offset" in found.exception.remedy


def test_help_says_that_what_is_too_late_is_refused_again() -> None:
    said = " ".join(CliRunner().invoke(dead_letters, ["replay", "--help"]).output.split())
    assert "too late is too late still" in said
