"""Chat activity from the log to Redis, the metrics and the command `orgpulse chat`."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from faust.types import TP
from rich.console import Console

from agents.chat_documents import ChatDocuments
from agents.cli_chat import chat
from agents.count_people import CountPeople
from agents.documents import Documents
from agents.fold import FoldAgent
from agents.ledger import Ledger
from agents.render_chat import chat_day, columns
from agents.tell_again import TellAgain
from agents.wiring import chat_zones, limits_of
from deploy.local.redis import LocalRedis
from state.activity import Member, Org, Tick, encode_record
from state.census import Census
from state.limits import Limits
from state.shard import Shard
from streams.clock import FixedClock
from streams.dead_letters import DeadLetters
from streams.fenced_write import Write
from streams.metrics import Metrics
from streams.published_chat import ChatActivity, chat_of
from streams.published_decode import Decoder
from streams.settings import Settings, SettingsError, load_settings
from streams.topic_specs import topic_names
from tests.agents.by_hand import Table
from tests.agents.test_count_people import MemoryTable, Sink
from tests.agents.test_fold import NeverDue, Record, SomeChunk
from tests.state.worlds import Act, at, model_of, rows_of
from tests.streams.test_metrics import scraped, series
from tests.streams.test_reader import Shop

NOON = at("2024-03-20T12:00")
MINUTE, DAY = 60_000, 86_400_000
MODEL, NAMES = model_of(), topic_names(Settings())


class Talk:
    """A fold agent of one partition, and what it told Redis."""

    def __init__(self) -> None:
        self.metrics = Metrics()
        self.documents = Documents(MODEL, NAMES, 0, 1)
        self.agent = FoldAgent(
            lambda partition: Shard(partition, MODEL, Limits()), NeverDue(), self.documents,  # type: ignore[arg-type]
            DeadLetters(NAMES.dead_letters, FixedClock(0).now, 1000), Ledger(Table(), self.metrics),  # type: ignore[arg-type]
            NAMES.summaries, self.metrics, FixedClock(NOON / 1000),
        )  # fmt: skip
        self.agent.shards[0] = Shard(0, MODEL, Limits())
        self.agent.chat = ChatDocuments(self.documents, {"acme": "America/New_York"})
        self.sink: Any = Sink()
        self.agent.sink = self.sink
        self._offset = 0

    def play(self, *log: Any) -> dict[str, Write]:
        """Apply records and a round's tick; return what Redis was told last by key."""
        records = [Record(self._offset + n, encode_record(record)) for n, record in enumerate(log)]
        self._offset += len(log)
        chunk: Any = SomeChunk(TP("activities", 0), records, self._offset)
        outcome = self.agent.handle(chunk)
        assert outcome is not None and outcome.after_commit is not None
        outcome.after_commit()
        return {w.key: w for w in self.sink.writes if w.key.startswith("chat:")}


def acts(messages: int = 60) -> list[Act]:
    """Return messages of the hour before noon by three people, and samples of two servers."""
    said = [Act("acme", f"u{n % 3}", "message", NOON - n * MINUTE, n + 1) for n in range(messages)]
    seen = [Act("acme", "", "presence", NOON - 10 * n * MINUTE, 900 + n, 10 + n, 1 + n % 2) for n in range(6)]
    return said + seen


def activity(**more: Any) -> ChatActivity:
    """Return what a reader gives of `acts`."""
    fields = Talk().play(Member("acme", "u1", True, "", display_name="Ann"), rows_of(acts()), Tick(NOON, 1))
    found = chat_of("acme", fields["chat:{acme}"].fields, Decoder(NOON / 1000 + 60, 3600))
    assert found is not None
    return replace(found, **more)


def test_a_round_tells_redis_and_the_metrics_and_a_quiet_one_nothing() -> None:
    talk = Talk()
    told = talk.play(Org("acme", "", "Europe/Vienna", ""), rows_of(acts()), Tick(NOON, 1))
    fields = told["chat:{acme}"].fields
    assert (fields["messages_total"], fields["messages_10m"], fields["online"]) == ("60", "10", "21")
    assert (fields["timezone"], fields["updated"]) == ("America/New_York", "2024-03-20T12:00:00Z")
    assert float(fields["rate_per_minute"]) == pytest.approx(1, abs=0.1)
    assert [each["messages"] for each in json.loads(fields["people"])] == [20, 20, 20]
    samples = scraped(talk.metrics)
    assert series(samples, "orgpulse_chat_online_members") == {("acme",): 21}
    assert series(samples, "orgpulse_chat_window_messages") == {("acme",): 10}
    talk.sink.writes.clear()
    assert not talk.play(Tick(NOON + MINUTE, 2))


def test_when_the_horizon_has_passed_document_and_series_go() -> None:
    talk = Talk()
    talk.play(rows_of(acts()), Tick(NOON, 1))
    talk.sink.writes.clear()
    assert talk.play(Tick(NOON + 8 * DAY, 2))["chat:{acme}"].fields == {}
    assert not series(scraped(talk.metrics), "orgpulse_chat_window_messages")


def test_an_empty_redis_is_told_again_and_what_is_unknown_is_removed() -> None:
    talk = Talk()
    told = talk.play(rows_of(acts()), Tick(NOON, 1))
    table: Any = MemoryTable()
    people = CountPeople(lambda: Census(1), table, talk.documents, Metrics(), "activities", 1, 0.8)
    again = TellAgain(talk.agent, people, lambda org: 0)
    assert [w for w in again.everything() if w.key == "chat:{acme}"] == [told["chat:{acme}"]]
    (gone,) = again.unknown(["chat:{acme}", "chat:{old}"])
    assert (gone.key, gone.fields) == ("chat:{old}", {})


# --- settings ---


def test_a_servers_zone_is_named_by_its_org_or_by_a_channel_that_is_mapped_to_it() -> None:
    given = {
        "ORGPULSE_CHAT_ZONES": "42=Asia/Tokyo,irc.example.org=Europe/Vienna",
        "ORGPULSE_INGEST_CHANNELS": "irc.example.org=7",
        "ORGPULSE_CHAT_WINDOW_DAYS": "3",
    }
    settings = load_settings(None, given)
    assert chat_zones(settings) == {"42": "Asia/Tokyo", "7": "Europe/Vienna"}
    assert limits_of(settings).chat_days == 3
    with pytest.raises(SettingsError, match="no IANA zone"):
        load_settings(None, {"ORGPULSE_CHAT_ZONES": "42=Mars/Olympus"})


# --- the command ---


@pytest.fixture
def settings(redis_server: LocalRedis, topic_prefix: str) -> Settings:
    given = {"ORGPULSE_REDIS_URL": redis_server.url, "ORGPULSE_REDIS_PREFIX": topic_prefix}
    loaded = load_settings(None, given)
    Shop(loaded.redis.url, loaded.redis.prefix).write(Talk().play(rows_of(acts()), Tick(NOON, 1))["chat:{acme}"])
    return loaded


def shown(settings: Settings, *arguments: str) -> Result:
    return CliRunner().invoke(chat, arguments, obj=settings)


def test_the_terminal_shows_figures_the_day_windows_and_people(settings: Settings) -> None:
    result = shown(settings, "acme", "--top", "2")
    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert any(line.startswith("online ") and "21  as of Wed 2024-03-20 08:00 EDT" in line for line in lines)
    assert any(line.startswith("last updated") and "(stale)" in line for line in lines)
    assert "08:00" in result.stdout and "and 1 more" in result.stdout


def test_json_holds_null_for_what_is_missing(settings: Settings) -> None:
    document = json.loads(shown(settings, "acme", "--json").stdout)
    assert (document["messages_total"], document["age_seconds"] is None) == (60, False)
    assert document["windows"][0]["start"] == "2024-03-20T07:00:00-04:00"
    assert [window["online"] for window in document["windows"]][-1] == 10


@pytest.mark.parametrize(("kind", "head"), [("png", b"\x89PNG"), ("svg", b"<?xml")])
def test_a_report_is_drawn_alike_each_time(settings: Settings, tmp_path: Path, kind: str, head: bytes) -> None:
    files = [tmp_path / f"{n}.{kind}" for n in range(2)]
    for file in files:
        assert shown(settings, "acme", f"--{kind}", str(file)).exit_code == 0
    assert files[0].read_bytes().startswith(head)
    assert files[0].read_bytes() == files[1].read_bytes()
    if kind == "svg":
        text = files[0].read_text("utf-8")
        for words in ("Members online", "per 10 minutes", "cumulative", "slope of the spline", "America/New_York"):
            assert words in text


def test_an_org_without_chat_ends_with_a_remedy_and_no_zeros(settings: Settings, tmp_path: Path) -> None:
    result = shown(settings, "nobody")
    assert result.exit_code == 1 and result.stdout == ""
    result = shown(settings, "acme", "--png", str(tmp_path / "missing" / "x.png"))
    assert result.exit_code == 1 and "can't be written" in result.stderr


def test_a_window_without_a_sample_is_drawn_as_no_data() -> None:
    assert columns([0, None, 4, 8]) == "▁·▅█" and columns([0, 0]) == "▁▁" and columns([]) == ""
    console = Console(file=io.StringIO(), width=80, color_system=None)
    console.print(chat_day(activity()))
    assert isinstance(console.file, io.StringIO)
    lines = console.file.getvalue().splitlines()
    online = next(line for line in lines if line.startswith("online"))
    assert online.count("·") == 46 and len(online.rstrip()) <= 80


def test_a_report_of_very_little_can_be_drawn() -> None:
    from agents.cli_chat import draw

    file = Path("/dev/null")
    few = activity().windows[-1:]
    draw(activity(windows=few, people=()), file, "png")
    draw(activity(windows=tuple(replace(w, online=None) for w in few), updated=None), file, "png")
