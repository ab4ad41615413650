"""What of a shadow model leaves a worker: keys, metrics and cut points of its own, nothing else."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from faust.types import TP
from redis import Redis

from agents.cli_model import model as model_command
from agents.count_people import CountPeople, MapSettings
from agents.documents import Documents
from agents.fold import FoldAgent
from agents.ledger import Ledger
from agents.shadow import ShadowCensus, ShadowTeller
from agents.tell_again import TellAgain
from state.activity import Calibration, Tick, decode_record, encode_record
from state.census import Census
from state.effects import Summary
from state.limits import Limits
from state.shard import Shard
from state.telling import encode_summary
from streams.clock import FixedClock
from streams.dead_letters import DeadLetters
from streams.fenced_write import Write
from streams.metrics import Metrics
from streams.model_file import load_model, load_shadow
from streams.settings import Settings, SettingsError, load_settings
from streams.topic_specs import topic_names
from tests.agents.by_hand import Table
from tests.agents.test_count_people import MemoryTable, Sink
from tests.agents.test_count_people import Record as Told
from tests.agents.test_count_people import SomeChunk as Summaries
from tests.agents.test_fold import NeverDue, Record, SomeChunk
from tests.state.worlds import Act, at, attribute, model_of, rows_of

NOON = at("2024-03-20T12:00")
LIVE = model_of(attribute("searches", "count", measures=["search"]), attribute("exports", "count", measures=["export"]))
OTHER = replace(LIVE, attributes=tuple(replace(a, weight=w) for a, w in zip(LIVE.attributes, (5, 1), strict=True)))
NAMES = topic_names(Settings())


def fold_agent(metrics: Metrics, *, shaded: bool = True) -> FoldAgent:
    agent = FoldAgent(
        lambda partition: Shard(partition, LIVE, Limits(), OTHER if shaded else None), NeverDue(),  # type: ignore[arg-type]
        Documents(LIVE, NAMES, 0, 1), DeadLetters(NAMES.dead_letters, FixedClock(0).now, 1000),
        Ledger(Table(), metrics), NAMES.summaries, metrics, FixedClock(NOON / 1000),  # type: ignore[arg-type]
    )  # fmt: skip
    agent.shards[0] = Shard(0, LIVE, Limits(), OTHER if shaded else None)
    if shaded:
        agent.shadow = ShadowTeller(Documents(OTHER, NAMES, 0, 1), metrics)
    agent.sink = Sink()  # type: ignore[assignment]
    return agent


def play(agent: FoldAgent) -> tuple[list[Any], dict[str, Write]]:
    """Return the records and writes of a small log."""
    acts = [Act("acme", f"u{n}", "search", NOON + i, 10 * n + i) for n in range(1, 6) for i in range(n)]
    log = [rows_of(acts), Tick(NOON, 1)]
    records = [Record(number, encode_record(record)) for number, record in enumerate(log)]
    outcome = agent.handle(SomeChunk(TP("activities", 0), records, 2))  # type: ignore[arg-type]
    assert outcome is not None and outcome.after_commit is not None
    outcome.after_commit()
    return list(outcome.records), {w.key: w for w in agent.sink.writes}  # type: ignore[union-attr]


def test_shadow_scores_have_keys_and_metrics_of_their_own_and_no_rank_change_or_record() -> None:
    metrics, plain_metrics = Metrics(), Metrics()
    records, writes = play(fold_agent(metrics))
    plain_records, plain_writes = play(fold_agent(plain_metrics, shaded=False))
    shadows = {key: w for key, w in writes.items() if key.startswith("shadow:")}
    assert set(shadows) == {"shadow:" + key for key in plain_writes if key.startswith(("user:", "org:"))}
    assert {key: w for key, w in writes.items() if key not in shadows} == plain_writes
    for write in shadows.values():
        assert write.ranks == () and write.change is None and write.missed is None
        assert write.fields["model"] == OTHER.digest
    live, shadow = (float(writes[p + "user:{acme}:u5"].fields["score"]) for p in ("", "shadow:"))
    assert (live, shadow) == (25.0, 41.66)  # decile 0.5 of weight 1 in 2, of weight 5 in 6
    extra = [r for r in records if r not in plain_records]
    assert [(r.topic, r.key) for r in extra] == [(NAMES.summaries, b"shadow/0")]
    assert sum(metrics.shadow_users.value(0, band) or 0 for band in ("healthy", "watch", "at_risk")) == 5
    assert metrics.shadow_difference.value(0) > 0  # type: ignore[operator]
    assert plain_metrics.shadow_users.values == {}
    metrics.drop_partition(0)
    assert metrics.shadow_users.values == {} and metrics.shadow_difference.values == {}


def test_everything_is_told_again_and_what_is_no_longer_computed_is_removed() -> None:
    agent = fold_agent(Metrics())
    _, writes = play(agent)
    people = CountPeople(
        lambda: Census(1), MemoryTable(), Documents(LIVE, NAMES, 0, 1), Metrics(), "activities", 1,  # type: ignore[arg-type]
        MapSettings(3, 0.8, 1000),
    )  # fmt: skip
    again = TellAgain(agent, people, lambda org: 0)
    told = {w.key: w.fields for w in again.everything()}
    assert {k: v for k, v in told.items() if k.startswith("shadow:")} == {
        k: w.fields for k, w in writes.items() if k.startswith("shadow:")
    }
    known, gone = ["shadow:org:{acme}", "shadow:user:{acme}:u1"], ["shadow:org:{old}", "shadow:user:{acme}:u99"]
    assert [w.key for w in again.unknown(known + gone)] == gone
    agent.shards[0].shadow = None  # switched off
    assert [w.key for w in again.unknown(known + gone)] == known + gone


def census_agent(table: MemoryTable, shadow: str) -> CountPeople:
    agent = CountPeople(
        lambda: Census(1), table, Documents(LIVE, NAMES, 0, 1), Metrics(), "activities", 3, MapSettings(3, 0.8, 1000)
    )  # type: ignore[arg-type]
    agent.shadow = ShadowCensus(shadow, lambda: Census(1), table, "activities", 3)  # type: ignore[arg-type]
    return agent


def summary_of(model: str, value: int) -> Told:
    found = Summary(0, 1, 10, {"watch": 10}, 1, {"searches": ([value], [10])}, {}, NOON, model)
    return Told(encode_summary(found))


def cuts_in(records: list[Any]) -> set[tuple[str, int, int]]:
    found = [decode_record(r.value) for r in records if r.topic == "activities"]
    return {(c.model, c.generation, c.cuts["searches"][0]) for c in found if isinstance(c, Calibration)}


def test_populations_are_counted_apart_and_remembered_apart() -> None:
    table = MemoryTable()
    agent = census_agent(table, "mine")
    chunk = Summaries([summary_of("", 5), summary_of("mine", 50), summary_of("other", 500)], 3)
    out = agent.handle(chunk).records  # type: ignore[arg-type]
    assert {m for m, _, _ in cuts_in(list(out))} == {"", "mine"}
    assert agent.census.users_active == 10 and agent.census.totals()["users_active"] == 10
    later = census_agent(table, "mine")
    later.restore(3)
    assert later.census.calibration == agent.census.calibration and len(later.census.summaries) == 1
    repeated = later.handle(Summaries([summary_of("mine", 50)], 4)).records  # type: ignore[arg-type]
    assert cuts_in(list(repeated)) == set()  # nothing moved
    changed = census_agent(table, "other")
    changed.restore(3)
    out = changed.handle(Summaries([summary_of("other", 5)], 4)).records  # type: ignore[arg-type]
    assert {(model, generation) for model, generation, _ in cuts_in(list(out))} == {("other", 1)}


def test_a_shadow_model_of_other_measures_is_refused_with_a_remedy(tmp_path: Path) -> None:
    import state

    live = load_model("")
    text = (Path(state.__path__[0]) / "health.toml").read_text("utf-8")
    path = tmp_path / "shadow.toml"
    path.write_text(text.replace("weight = 1", "weight = 2"), "utf-8")
    assert load_shadow("", live) is None and load_shadow(str(path), live) is not None
    for wrong in (
        text.replace('["Search"]', '["Find"]'),
        text.replace("map = {", 'read = { events = ["R"] }\nmap = {'),
    ):
        path.write_text(wrong, "utf-8")
        with pytest.raises(SettingsError, match="its measures differ") as error:
            load_shadow(str(path), live)
        assert "model simulate" in error.value.remedy


def test_live_and_shadow_scores_are_compared_from_redis(redis_server: Any, topic_prefix: str) -> None:
    settings = load_settings(None, {"ORGPULSE_REDIS_URL": redis_server.url, "ORGPULSE_REDIS_PREFIX": topic_prefix})
    missing = CliRunner().invoke(model_command, ["compare"], obj=settings)
    assert missing.exit_code == 1 and "[model] shadow" in getattr(missing.exception, "remedy", missing.output)
    _, writes = play(fold_agent(Metrics()))
    client = Redis.from_url(redis_server.url)
    for write in writes.values():
        client.hset(topic_prefix + write.key, mapping=dict(write.fields))
        for ranking, member, score in write.ranks:
            if score is not None:
                client.zadd(topic_prefix + ranking, {member: score})
    client.close()
    said = json.loads(CliRunner().invoke(model_command, ["compare", "--json", "--org", "acme"], obj=settings).output)
    assert said["count"] == 5
    assert said["largest"][0] == {
        "subject": "u5", "live": 25.0, "shadow": 41.66, "live_band": "at_risk", "shadow_band": "watch", "change": 16.66,
    }  # fmt: skip
    shown = CliRunner().invoke(model_command, ["compare"], obj=settings).output
    assert "1 orgs, mean change" in shown and "acme" in shown
