"""What a backfill refuses, what it reads, what it saves: on a real broker, without workers."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import orjson
import pytest
from click.testing import CliRunner

from agents.backfill_reach import ReachError, arrived_from_ms, history_hours, reach_of, weeks_between
from agents.backfill_room import NoRoomError, check_room
from agents.cli_backfill import backfill
from agents.cli_compare import compare
from agents.cli_errors import ToldError
from agents.raw_source import ImportFiles, SavedTopics, Topics, files_in
from agents.save_topics import Save
from state.week import HOUR_MS, week_label, week_number, week_of
from streams.clock import WallClock
from streams.model_file import load_model, text_of
from streams.namespace import Backfill, NamespaceError, backfill_of, checked_name, drop, names_of, namespace_of, say
from streams.raw_files import MANIFEST, RawFilesError, RawRecord
from streams.settings import Settings, override
from streams.topic_specs import topic_names
from streams.topics import create_topics
from tests.streams import kafka_topics

NOW_MS = 1_800_000_000_000
MODEL = load_model("")


async def collected(records: Any) -> list[RawRecord]:
    return [record async for record in records]


def invoked(command: Any, settings: Settings, *arguments: str) -> Any:
    return CliRunner().invoke(command, list(arguments), obj=settings)


def refused(command: Any, settings: Settings, *arguments: str) -> str:
    """Return how a command refuses: the message and the remedy."""
    found = invoked(command, settings, *arguments)
    error = found.exception
    assert error is not None and found.exit_code, found.output
    return f"{getattr(error, 'message', '')} {getattr(error, 'remedy', '')} {found.output}"


# --- names ---


def test_a_namespace_has_nothing_of_the_live_systems_names() -> None:
    live = override(Settings(), {"kafka.prefix": "p.", "worker.generation": 3})
    space = namespace_of(live, "check")
    ours, theirs = topic_names(space), topic_names(live)
    names = {getattr(ours, field) for field in ours.__struct_fields__}
    assert len(names) == len(ours.__struct_fields__)
    assert not names & {getattr(theirs, field) for field in theirs.__struct_fields__}
    assert all(name.startswith(("p.backfill.check.", "orgpulse-backfill-check-")) for name in names)
    assert space.redis.prefix == "orgpulse:v1:backfill:check:"


@pytest.mark.parametrize("name", ["live", "published", "list", "run", "", "A", "a.b", "-a", "a" * 41])
def test_some_names_are_refused(name: str) -> None:
    with pytest.raises(NamespaceError):
        checked_name(name)


def test_there_is_no_namespace_in_a_namespace() -> None:
    with pytest.raises(NamespaceError, match="already"):
        namespace_of(namespace_of(Settings(), "a"), "b")


# --- what is read ---


def test_the_reach_is_what_a_week_depends_on() -> None:
    settings = override(
        Settings(), {"latency.reply_horizon_days": 10, "time.allowed_lateness_hours": 48, "time.max_ahead_seconds": 60}
    )
    week = week_of(NOW_MS, "UTC") - 5
    carried = any(a.missing == "carry" for a in MODEL.attributes)
    assert history_hours(MODEL, settings) == 240 + 48 + (672 if carried else 0)
    reach = reach_of(week, week, MODEL, settings, NOW_MS)
    assert reach.begins_ms - reach.needed_ms == history_hours(MODEL, settings) * HOUR_MS
    # No event that is needed may be late, whichever source is read first.
    assert NOW_MS + 60_000 - reach.lateness_hours * HOUR_MS <= reach.needed_ms
    assert arrived_from_ms(reach, settings) < reach.needed_ms - 60_000
    assert reach.ends_ms < NOW_MS and reach_of(week + 5, week + 5, MODEL, settings, NOW_MS).ends_ms == NOW_MS


def test_weeks_are_checked() -> None:
    this = week_label(week_of(NOW_MS, "UTC"))
    assert weeks_between("2026-W53", this, NOW_MS) == (week_number("2026-W53"), week_number(this))
    for first, last, said in (
        ("2026-40", this, "no ISO week"), ("2027-W02", "2027-W01", "is after"), (this, "2030-W01", "has not begun"),
        ("2025-W53", this, "no ISO week"),
    ):  # fmt: skip
        with pytest.raises(ReachError, match=said):
            weeks_between(first, last, NOW_MS)
    with pytest.raises(ReachError, match="weeks ago"):
        reach_of(week_number("2020-W01"), week_number("2020-W01"), MODEL, Settings(), NOW_MS)


# --- on a broker ---

pytestmark: list[Any] = []
kafka = pytest.mark.kafka


async def filled(settings: Settings, number: int, first: int = 0) -> None:
    names = topic_names(settings)
    for at in range(first, first + number):
        value = orjson.dumps({"name": "Search", "distinct_id": "ann", "time": NOW_MS // 1000 + at, "event_id": str(at)})
        await kafka_topics.put(settings.kafka.brokers, names.product_events, at % 2, b"k", value)
    await kafka_topics.put(settings.kafka.brokers, names.users, 0, b"ann", b'{"user_id": "ann", "org_id": "acme"}')


@kafka
def test_what_is_saved_goes_on_where_it_ended_and_says_what_was_gone(settings: Settings, tmp_path: Path) -> None:
    topic, brokers = topic_names(settings).product_events, settings.kafka.brokers
    asyncio.run(filled(settings, 6))
    asyncio.run(kafka_topics.put(brokers, topic, 0, b"\xff", b"\xfe not json"))
    first = Save(settings, tmp_path, lambda done, total: None)
    asyncio.run(first.run())
    assert first.records["product-events"] == 7 and first.records["users"] == 1 and not first.holes
    again = Save(settings, tmp_path, lambda done, total: None)
    asyncio.run(again.run())
    assert not sum(again.records.values())
    asyncio.run(filled(settings, 4, first=6))
    asyncio.run(kafka_topics.cut(brokers, topic, 1, 4))  # 3 are saved, the next one is gone
    third = Save(settings, tmp_path, lambda done, total: None)
    asyncio.run(third.run())
    assert third.records["product-events"] == 3 and "offsets 3 to 3 were gone" in third.holes[0]
    source = files_in(tmp_path, settings, NOW_MS)
    assert isinstance(source, SavedTopics) and asyncio.run(source.prepare(0)) == 10
    saved = asyncio.run(collected(source.messages()))
    live = Topics(settings)
    asyncio.run(live.prepare(0))
    there = asyncio.run(collected(live.messages()))
    assert live.gone == {"product-events": 4}
    assert set(there) < set(saved) and {(r.key, r.value) for r in saved} >= {(b"\xff", b"\xfe not json")}
    assert [record.key for record in asyncio.run(collected(source.directory()))] == [b"ann", b"ann"]


@kafka
def test_a_topic_made_anew_is_not_saved_over_the_former_one(settings: Settings, tmp_path: Path) -> None:
    asyncio.run(filled(settings, 2))
    asyncio.run(Save(settings, tmp_path, lambda done, total: None).run())
    drop_topic = topic_names(settings).product_events
    asyncio.run(kafka_topics.drop_topic(settings.kafka.brokers, drop_topic))
    while drop_topic in asyncio.run(kafka_topics.topics(settings.kafka.brokers)):
        pass
    create_topics(settings)
    with pytest.raises(RawFilesError, match="made anew"):
        asyncio.run(Save(settings, tmp_path, lambda done, total: None).run())


@kafka
def test_messages_that_came_before_what_matters_are_left_out(settings: Settings) -> None:
    asyncio.run(filled(settings, 2))
    source = Topics(settings)
    now_ms = int(WallClock().now() * 1000)
    assert asyncio.run(source.prepare(now_ms - 600_000)) == 2
    assert asyncio.run(source.prepare(now_ms + 600_000)) == 0


@kafka
def test_files_to_import_are_read_by_their_folders(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "events").mkdir()
    (tmp_path / "mail" / "acme").mkdir(parents=True)
    (tmp_path / "events" / "a.jsonl").write_text('{"name": "Search", "distinct_id": "ann", "time": 1790000000}\n')
    from_line = "From x Mon Oct  5 10:00:00 2026\n"
    mail = (
        f"{from_line}From: Ann <ann@acme.example>\nMessage-ID: <1@x>\nDate: Mon, 5 Oct 2026 10:00:00 +0000\n\nhello\n"
    )
    (tmp_path / "mail" / "acme" / "help.mbox").write_text(mail)
    source = files_in(tmp_path, settings, NOW_MS)
    assert isinstance(source, ImportFiles) and asyncio.run(source.prepare(5)) == 2
    found = asyncio.run(collected(source.messages()))
    assert [record.source for record in found] == ["product-events", "chat-messages"]
    assert orjson.loads(found[1].value or b"")["org_id"] == "acme"
    with pytest.raises(RawFilesError, match="neither saved topics"):
        files_in(tmp_path / "mail", settings, NOW_MS)


@kafka
def test_files_of_other_partitions_are_refused(settings: Settings, tmp_path: Path) -> None:
    asyncio.run(Save(settings, tmp_path, lambda done, total: None).run())
    assert (tmp_path / MANIFEST).exists()
    with pytest.raises(RawFilesError, match="2 partitions, the settings say 3"):
        files_in(tmp_path, override(settings, {"kafka.partitions": 3}), NOW_MS)


@kafka
def test_a_cluster_without_room_refuses(settings: Settings) -> None:
    check_room(settings, namespace_of(settings, "check"), 1000)
    with pytest.raises(NoRoomError, match="GB left"):
        check_room(settings, namespace_of(settings, "check"), 10**18)
    wide = override(settings, {"kafka.partitions": 3})
    with pytest.raises(NoRoomError, match="has 2 partitions"):
        check_room(wide, namespace_of(wide, "check"), 1000)
    many = override(namespace_of(settings, "check"), {"kafka.partitions": 1024})
    with pytest.raises(NoRoomError, match="brokers carry"):
        check_room(settings, many, 1000)


@kafka
def test_a_name_in_use_and_an_unfinished_backfill_are_refused(settings: Settings) -> None:
    space, week = namespace_of(settings, "check"), week_label(week_of(int(WallClock().now() * 1000), "UTC") - 2)
    assert "there is no backfill" in refused(compare, settings, "check")
    create_topics(space)  # cut off before it said anything
    assert "is not finished" in refused(compare, settings, "check")
    asyncio.run(say(space, Backfill(name="check", state="done", first_week=week, last_week=week, model=text_of(""))))
    assert "there is a backfill" in refused(backfill, settings, "check", "--from", week)
    assert "check" in invoked(backfill, settings, "list").output
    assert f"is of {week} to {week}" in refused(compare, settings, "check", "--from", "2026-W01", "--to", "2026-W01")
    equal = invoked(compare, settings, "check")
    assert equal.exit_code == 0 and "0 differ" in equal.output
    assert "topics deleted" in invoked(backfill, settings, "drop", "check").output
    assert asyncio.run(backfill_of(space)) is None and asyncio.run(names_of(settings)) == []
    assert drop(space) == []
    assert "there is no backfill" in refused(backfill, settings, "drop", "check")


@kafka
def test_bad_options_are_refused_in_a_sentence(settings: Settings) -> None:
    assert "has not begun" in refused(backfill, settings, "x", "--from", "2999-W01")
    assert "no such time zone" in refused(backfill, settings, "x", "--from", "2026-W40", "--time-zone", "Mars")
    assert "live" in refused(backfill, settings, "live", "--from", week_label(week_of(NOW_MS, "UTC") - 90))
    assert "Missing option '--from'" in refused(backfill, settings, "x")
    assert isinstance(invoked(compare, settings, "nothing").exception, ToldError | SystemExit)
