"""The simulation: the same bytes for the same seed, the shape it promises, and messages that the readers take."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest

from agents.cli_simulate import parse_end, play, play_live
from agents.simulate import Base, Message, directory, history, live, make_base
from agents.simulate_base import SLIPPING_ORG
from agents.simulate_defects import BAD_CHAT, BAD_EVENTS, BAD_SYSLOG, BAD_TRANSACTIONS
from agents.simulate_events import EVENT_NAMES
from agents.simulate_service import SERVICE_NAMES
from streams.clock import FixedClock, WallClock
from streams.model_file import load_model
from streams.read_chat import chat_reader
from streams.read_product import product_reader
from streams.read_syslog import syslog_reader
from streams.read_transactions import transaction_reader
from streams.reading import Reader, Rejected
from streams.sender import Sender
from tests.agents.test_importers import create_topics, read_topic

END = 1_795_336_740.5
WEEK = 604_800


@pytest.fixture(scope="module")
def base() -> Base:
    return make_base(7)


@pytest.fixture(scope="module")
def played(base: Base) -> list[Message]:
    return list(history(base, END))


def digest(messages: Iterable[Message]) -> str:
    whole = hashlib.sha256()
    for message in messages:
        whole.update(repr(message).encode())
    return whole.hexdigest()


def small(seed: int) -> Base:
    return make_base(seed, orgs=12, users=120)


def parsed(message: Message) -> dict[str, Any]:
    return json.loads(message.value or b"null")


def id_of(message: Message) -> str | None:
    """Return the id by which a duplicate is known, where the message has one."""
    fields = parsed(message) if message.value and message.value.startswith(b"{") else {}
    fields |= fields.get("properties", {})
    return next(
        (str(fields[n]) for n in ("transaction_id", "message_id", "event_id", "$insert_id") if n in fields), None
    )


def test_the_same_seed_gives_the_same_bytes_and_another_seed_does_not() -> None:
    assert digest(history(small(3), END, 2)) == digest(history(small(3), END, 2))
    assert digest(history(small(3), END, 2)) != digest(history(small(4), END, 2))
    assert digest(directory(small(3))) == digest(directory(small(3)))
    assert digest(live(small(3), END, 50)) == digest(live(small(3), END, 50))
    assert digest(live(small(3), END, 50)) != digest(live(small(3), END + 0.1, 50))


def test_the_default_history_has_the_promised_size_and_all_topics(played: list[Message]) -> None:
    topics = Counter(message.topic for message in played)
    assert 250_000 <= len(played) <= 300_000
    assert set(topics) == {"product-events", "syslog-activities", "chat-messages", "transactions", "users"}
    assert topics["product-events"] > 100_000
    assert min(topics["syslog-activities"], topics["chat-messages"], topics["transactions"]) > 20_000


def test_a_few_orgs_are_large_and_most_are_small(base: Base) -> None:
    sizes = np.bincount(base.org_of)
    assert len(sizes) == 240
    assert sizes.sum() == 3_200
    assert sizes.min() >= 1
    assert np.mean(sizes) > 1.5 * np.median(sizes)
    assert {"Asia/Kolkata", "Asia/Kathmandu"} <= {org.timezone for org in base.orgs}
    assert len({org.id for org in base.orgs}) == 240


def test_no_alias_belongs_to_two_people(base: Base) -> None:
    aliases = [a for u in base.users for a in {u.id, u.email, u.username, *u.aliases, *filter(None, [u.later_email])}]
    assert len(aliases) == len(set(aliases))


def test_the_slipping_org_fades_week_by_week_and_is_nearly_silent_in_the_last(
    base: Base, played: list[Message]
) -> None:
    weeks = Counter[int]()
    for message in played:
        if message.topic == "syslog-activities" and message.value and message.value.startswith(b'{"id":') and (
            f'"org":"{SLIPPING_ORG}"'.encode() in message.value and b'"userid"' in message.value
        ):  # fmt: skip
            created = np.datetime64(parsed(message)["created"].removesuffix("Z"), "ms").astype(np.int64) / 1000
            weeks[int((created - (END - 5 * WEEK)) // WEEK)] += 1
    counts = [weeks[week] for week in range(5)]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] > 50
    assert counts[4] < 0.1 * counts[0]


def test_topics_advance_together_up_to_the_end(played: list[Message]) -> None:
    samples = [parsed(message)["time"] for message in played if b'"presence"' in (message.value or b"")[:30]]
    samples = [time for time in samples if not time.startswith("2026-01-05")]  # those of bad samples
    positions = [number for number, message in enumerate(played) if message.topic == "transactions"]
    assert samples == sorted(samples)
    assert len(samples) == 5 * 7 * 24 * 6
    halves = np.histogram(positions, bins=2, range=(0, len(played)))[0]
    assert min(halves) > 0.4 * len(positions), "transactions are spread over the whole history"


def test_names_are_those_of_the_catalogue_but_for_a_few(played: list[Message]) -> None:
    names = Counter[str]()
    for message in played:
        if message.topic == "product-events" and message.value not in BAD_EVENTS:
            event = parsed(message)
            names[event.get("event") or event["name"]] += 1
    assert set(EVENT_NAMES) < set(names)
    assert set(SERVICE_NAMES) < set(names)
    known = {*EVENT_NAMES, *SERVICE_NAMES}
    assert sum(count for name, count in names.items() if name not in known) < 0.01 * names.total()


def test_a_few_events_come_twice_and_the_directory_learns_some_addresses_late(
    base: Base, played: list[Message]
) -> None:
    events = Counter(message.value for message in played if message.topic == "product-events")
    twice = sum(count == 2 for value, count in events.items() if value not in BAD_EVENTS)
    late = {user.later_email for user in base.users if user.later_email}
    learned = {alias for m in played if m.topic == "users" for alias in parsed(m).get("aliases", ())} & late
    used = {e for m in played if m.topic == "product-events" for e in [(m.key or b"").decode()] if e in late}
    assert 200 < twice < 1_000
    assert learned
    assert used & learned
    assert late - learned


def test_replies_are_slower_at_night_and_at_weekends(base: Base, played: list[Message]) -> None:
    written: dict[str, tuple[float, str]] = {}
    latencies: dict[str, list[float]] = {"day": [], "night": []}
    london = {org.id for org in base.orgs if org.timezone == "Europe/London"}
    for message in played:
        if message.topic != "chat-messages" or message.value in BAD_CHAT or b'"presence"' in (message.value or b""):
            continue
        chat = parsed(message)
        time = np.datetime64(chat["time"].removesuffix("Z"), "ms").astype(np.int64) / 1000
        written[chat["message_id"]] = (time, chat["org_id"])
        parent = written.get(chat.get("in_reply_to", ""))
        if parent and parent[1] in london:
            weekday, hour = int((parent[0] // 86_400 + 3) % 7), int(parent[0] // 3600 % 24)
            if weekday < 5 and 10 <= hour <= 15:
                latencies["day"].append(time - parent[0])
            elif weekday >= 5 or hour < 5:
                latencies["night"].append(time - parent[0])
    assert len(latencies["night"]) > 5
    assert np.median(latencies["night"]) > 4 * np.median(latencies["day"])


@pytest.fixture(scope="module")
def readers() -> dict[str, Reader]:
    catalogue = load_model("").catalogue
    return {
        "product-events": product_reader(catalogue, 200),
        "syslog-activities": syslog_reader(catalogue, {}, lambda: END, zone="UTC", year=0, max_id=200),
        "chat-messages": chat_reader({}, 200),
        "transactions": transaction_reader("USD", 200),
    }


def test_the_readers_take_every_good_message_as_it_was_meant(
    base: Base, played: list[Message], readers: dict[str, Reader]
) -> None:
    bad = {*BAD_EVENTS, *BAD_SYSLOG, *BAD_CHAT, *BAD_TRANSACTIONS}
    orgs = {org.id for org in base.orgs}
    for message in [*played[::7], *live(base, END + 1, 500)]:
        if message.topic in readers and message.value not in bad:
            reading = readers[message.topic](message.value or b"")
            assert reading.org in orgs or reading.apart == "system" or message.topic == "product-events"
            assert reading.time_ms <= END * 1000 + 1000


@pytest.mark.parametrize(
    ("topic", "value"),
    [("product-events", v) for v in BAD_EVENTS if b"2095" not in v]
    + [("syslog-activities", v) for v in BAD_SYSLOG]
    + [("chat-messages", v) for v in BAD_CHAT]
    + [("transactions", v) for v in BAD_TRANSACTIONS],
)
def test_the_readers_refuse_every_bad_message(topic: str, value: bytes, readers: dict[str, Reader]) -> None:
    with pytest.raises(Rejected):
        readers[topic](value)


def test_live_messages_lie_in_their_step_and_leave_the_slipping_org_alone(base: Base) -> None:
    made = [message for step in range(20) for message in live(base, END + step, 200)]
    ids = [(m.topic, identity) for m in made for identity in [id_of(m)] if identity]
    assert len(made) == 4_000
    assert len(ids) == len(set(ids))
    events = [m for m in made if m.topic == "product-events"]
    assert sum(f"@{SLIPPING_ORG}.".encode() in (m.key or b"") for m in events) < 0.003 * len(events)


def test_an_impossible_size_or_end_is_refused() -> None:
    with pytest.raises(ValueError, match="users more than orgs"):
        make_base(1, orgs=100, users=90)
    with pytest.raises(ValueError, match="at least 1"):
        history(small(1), END, 0)
    assert parse_end(None, FixedClock(5.0)) == 5.0
    assert parse_end("2026-01-01T01:00:00+01:00", FixedClock(0.0)) == 1_767_225_600.0


@pytest.mark.kafka
def test_a_played_history_and_live_stream_are_in_kafka_to_the_last_message(kafka: Any, topic_prefix: str) -> None:
    base = small(5)
    topics = ("product-events", "syslog-activities", "chat-messages", "transactions", "users", "orgs")
    create_topics(kafka.bootstrap, *(topic_prefix + topic for topic in topics))
    with Sender([kafka.bootstrap]) as sender:
        known = play(sender, topic_prefix, directory(base))
        count = play(sender, topic_prefix, history(base, END, 1))
        more = play_live(sender, topic_prefix, base, WallClock(), rate=400.0, seconds=0.5)
    assert known == 132
    assert more > 0
    assert sum(len(read_topic(kafka.bootstrap, topic_prefix + topic)) for topic in topics) == known + count + more
