"""Text that came in and goes out again: keys, labels, terminal, logs. What passes the checks can break none of them."""

from __future__ import annotations

import io
import json
import logging
import unicodedata
from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console

from agents.directory import DirectoryReader
from agents.documents import Documents
from state.activity import Org
from state.effects import LatencyMap, OrgScore, UserScore, WeekRow
from state.identity import Directory
from streams.dead_letters import DeadLetters
from streams.logs import configure, get_logger
from streams.metrics import Metrics
from streams.read_directory import DirectoryLimits
from streams.reading import Rejected, checked_id, checked_org
from tests.agents.by_hand import TOPICS, FakeRecord
from tests.agents.test_ingest import Place as IngestPlace
from tests.agents.test_members import Place as MembersPlace
from tests.agents.test_park import Place as ParkPlace
from tests.state.worlds import examples, shipped_model

HOSTILE_IDS = ("a\x1fb", "a\nb", "a\r\nX: y", "\x1b[2J", "a\x00", "\x7f", "\x9b31m", "a\u2028b", "\u202eabc", "\u2066x")
HOSTILE_ORGS = ("{}", "}{", "a}:b", "{a}", "a/b", "/", "}", "all")
PASSING = (
    "a:b",
    "a|2024-W01",
    "[bold]x",
    "$(id)",
    "'; DROP TABLE x;--",
    "%s%n",
    '"',
    "\\",
    "h\u00f6st",
    "a b",
    "=1+1",
    "<b>",
)
MODEL = shipped_model()
SPELL = Documents(MODEL, TOPICS, 0, 1)
#: Letters that mean something to Redis, Kafka keys, Prometheus, rich, or to nobody.
keyish = st.text(st.sampled_from("a{}/:"), min_size=1, max_size=5)
ids = st.text(st.sampled_from("ab{}/:|\\\"'\n[] \x1f=,") | st.characters(), min_size=1, max_size=6)


@pytest.mark.parametrize("text", HOSTILE_IDS)
def test_ids_that_could_break_a_line_or_a_terminal_are_refused(text: str) -> None:
    with pytest.raises(Rejected, match="bad_id"):
        checked_id(text, "id", 200)


@pytest.mark.parametrize("text", [*HOSTILE_IDS, *HOSTILE_ORGS])
def test_org_ids_that_could_be_taken_for_another_subject_are_refused(text: str) -> None:
    with pytest.raises(Rejected, match="bad_id"):
        checked_org(text, "org", 200)


@pytest.mark.parametrize("text", PASSING)
def test_odd_ids_that_do_no_harm_pass(text: str) -> None:
    assert checked_org(text, "org", 200) == checked_id(text, "id", 200) == text


def passed(org: str, user: str) -> tuple[str, str] | None:
    """Return both ids if they pass the checks."""
    try:
        return checked_org(org, "org", 200), checked_id(user, "user", 200)
    except Rejected:
        return None


def spelled(org: str, user: str) -> tuple[list[str], list[bytes | None]]:
    """Return every Redis key and every Kafka key of an org and one of its users."""
    parts = [0] * len(MODEL.attributes)
    user_score = UserScore(org, user, 0, None, "watch", "", 0, parts, None, 0, 0, True)
    org_score = OrgScore(org, org, "", 0, None, None, None, "watch", "", 1, 1, 1, 0, 0, parts, None, 0, 0)
    weeks = [WeekRow(org, who, "2024-W01", "final", {}, {}, 0, 0, None, None) for who in (user, "")]
    records, writes = zip(SPELL.user(user_score, 1, 0), SPELL.org(org_score, 1, 0), strict=True)
    writes = (*writes, SPELL.latency(LatencyMap(org, "UTC", "2024-01", 0.8, {}), 1, 0))
    keys = [write.key for write in writes] + [f"{name}" for write in writes for name, _, _ in write.ranks]
    return keys, [record.key for record in (*records, *(SPELL.week(week, 0) for week in weeks))]


@examples(300)
@given(keyish, keyish, keyish, keyish)
@example("a", "b}:c", "a}:b", "c")
@example("a", "b/c", "a/b", "c")
def test_two_subjects_never_share_a_key(org: str, user: str, other_org: str, other_user: str) -> None:
    first, second = passed(org, user), passed(other_org, other_user)
    if first is None or second is None or first == second:
        return
    (redis, kafka), (redis_2, kafka_2) = spelled(*first), spelled(*second)
    shared = {*redis, *kafka} & {*redis_2, *kafka_2}
    # Of one org, only what is the org's own.
    theirs = {key for key in (*redis, *kafka) if f"user:{{{org}}}" not in str(key) and f"user:{org}/" not in str(key)}
    assert shared <= (theirs if first[0] == second[0] else {"orgs:by-score"})


@examples(300)
@given(ids, ids)
def test_all_keys_of_an_org_lie_in_one_slot_of_a_cluster(org: str, user: str) -> None:
    if passed(org, user) is None:
        return
    for key in spelled(org, user)[0]:
        if key != "orgs:by-score":
            start = key.index("{") + 1
            assert key[start : key.index("}", start)] == org  # what Redis Cluster hashes, never empty


@examples(200)
@given(ids, ids)
def test_what_passes_is_one_line_in_a_terminal_a_log_and_a_metric(org: str, user: str) -> None:
    if passed(org, user) is None:
        return
    assert not any(unicodedata.category(letter) in ("Cc", "Zl", "Zp", "Cs") for letter in org + user)
    screen = io.StringIO()
    Console(file=screen, width=200).print(f"{org}/{user}", markup=False, highlight=False, soft_wrap=True)
    assert screen.getvalue() == f"{org}/{user}\n"
    metrics = Metrics()
    metrics.set_org(0, org, "active", 0.5)
    page = generate_latest(metrics.registry).decode()
    labels = [s.labels["org"] for f in text_string_to_metric_families(page) for s in f.samples if "org" in s.labels]
    assert org in labels or f"org:{org}" in labels


def test_an_orgs_name_goes_on_without_what_steers_a_terminal() -> None:
    (_, told), *_ = MembersPlace().org("z", name="A\nB\x1b[2J\u202e C", group_type="x\x00").activities
    assert isinstance(told, Org) and (told.name, told.group_type) == ("A B [2J  C", "x ")


def test_a_log_line_stays_one_line_whatever_is_in_it(capsys: Any) -> None:
    configure("info", "json")
    try:
        get_logger("fuzz").info("looked", value='a\nb\x1b[2J"}\u2028', bytes=b"\xff")
    finally:
        logging.getLogger().handlers.clear()
    (line,) = capsys.readouterr().err.splitlines()[-1:]
    assert json.loads(line)["value"].startswith("a\nb")


def test_a_dead_letter_fits_in_a_record_however_large_key_detail_and_value_are() -> None:
    dead = DeadLetters(TOPICS.dead_letters, lambda: 0.0, 65_536)
    record = FakeRecord(7, b"\xff" * 900_000, b"k" * 900_000)
    out = dead.letter(Rejected("bad_zone", "\U0010ffff" * 60_000), "orgs", 0, record)
    letter = orjson.loads(out.value or b"")
    assert len(out.key or b"") + len(out.value or b"") < 393_216 // 2  # the smallest max_message_bytes there may be
    assert "first 4096 of 900000 bytes of the key" in letter["detail"]


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        (b"9", orjson.dumps({"user_id": "9", "org_id": "a", "job_type": "x" * 1000}), "too_big"),
        (b"", orjson.dumps({"user_id": "9", "org_id": "a"}), "blank_id"),
        (b"9\n", orjson.dumps({"user_id": "9", "org_id": "a"}), "bad_id"),
        (b"9", orjson.dumps({"user_id": "9", "org_id": "a/b"}), "bad_id"),
    ],
)
def test_an_entry_that_is_refused_changes_nothing_anywhere(key: bytes, value: bytes, reason: str) -> None:
    directory = Directory()
    DirectoryReader(directory, TOPICS, DirectoryLimits(40, 5, 1000)).take("users", FakeRecord(0, value, key))
    sent = MembersPlace().send("users", (key, value))
    assert ([letter["reason"] for letter in sent.dead], sent.activities, sent.aliases) == ([reason], [], [])
    assert not len(directory) and not directory.people


def test_a_user_who_is_called_like_an_orgs_alias_gets_nothing_of_the_org() -> None:
    transaction = orjson.dumps(
        {"transaction_id": 1, "org_id": "z", "amount": "5", "status": "A", "time": 1_709_546_400}
    )
    waiting = IngestPlace("transactions").send(transaction).parked
    liar = MembersPlace().user("8", aliases=["org:z", "org"])
    park = ParkPlace()
    assert park.send(*waiting, *liar.aliases).acts == []
    assert [act[:2] for act in park.send(*MembersPlace().org("z").aliases).acts] == [("z", "")]
