"""An org that falls by its own doing is told once, and nothing else is: no storm after whatever moves everybody."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import pytest

import state.alerts
import state.inflow
from state.activity import Calibration, Member, Note, Record, Tick
from state.alert_rules import AlertRules
from state.alerts import BACKLOG, EDGE, FALL
from state.effects import Alert, OrgScore
from state.health import Model
from state.shard import Shard
from tests.state.random_logs import random_log
from tests.state.test_shard_restore import fresh, play
from tests.state.worlds import DAY, HOUR, TEN, WEEK, Act, at, attribute, model_of, rows_of, shard_of

START = at("2024-03-04T00:00")  # a Monday
ORGS = ("acme", "bolt", "core", "dyne", "echo")
HOURS = (1, 7, 13, 19)
MODEL = model_of(attribute("searches", "count", 1, measures=["search"], cuts=[n * 3 for n in TEN]))


class World:
    """Orgs of three users who search four times a day, an hour at a time; one shard."""

    def __init__(self, model: Model = MODEL) -> None:
        self.shard = shard_of(model)
        self.now, self._number = START, 0
        self.said: list[Alert] = []
        self.silent: set[str] = set()
        self.catching_up = False
        self.late_days = 0
        """How late a second source of as many activities is; 0 = there is none."""
        self.kept_back: list[Act] | None = None
        """Activities that stand still somewhere, when they do."""

    def apply(self, record: Record) -> None:
        effects = self.shard.apply(record, self.shard.position) or []
        self.said += [effect for effect in effects if isinstance(effect, Alert)]

    def live(self, days: float) -> World:
        """Let time pass, with a tick an hour."""
        end = self.now + round(days * DAY)
        while self.now < end:
            if self.now // HOUR % 24 in HOURS:
                self._send(list(self._acts(self.now)), "product-events")
                if self.late_days:
                    self._send(list(self._acts(self.now - self.late_days * DAY)), "syslog-activities")
            self.now += HOUR
            self.apply(Tick(self.now, self.now // DAY, self.catching_up))
        return self

    def _send(self, acts: list[Act], topic: str) -> None:
        if self.kept_back is not None:
            self.kept_back += acts
        elif acts:
            self.apply(rows_of(acts, self._number, topic))

    def let_go(self) -> None:
        """Let what stood still come, all at once."""
        acts, self.kept_back = self.kept_back or [], None
        self._send(acts, "product-events")

    def _acts(self, time_ms: int) -> Iterator[Act]:
        for org in sorted(set(ORGS) - self.silent):
            for user in ("ann", "bob", "cat"):
                self._number += 1
                yield Act(org, user, "search", time_ms, self._number)

    @property
    def told(self) -> list[tuple[str, str]]:
        return [(alert.org, alert.kind) for alert in self.said]

    def restored(self, model: Model) -> None:
        """Go on with another model."""
        saved, self.shard = self.shard.checkpoint(), shard_of(model)
        self.shard.restore(saved)

    def score(self, org: str) -> int:
        number = self.shard.subjects.org_number(org)
        return int(self.shard.board.org_score[number, 0])

    def previous(self, org: str) -> int:
        return int(self.shard.board.org_previous[self.shard.subjects.org_number(org)])


def usual(weeks: int = 3, model: Model = MODEL) -> World:
    world = World(model).live(7 * weeks)
    assert world.said == [] and world.score("acme") == 9000
    return world


def test_an_org_that_goes_silent_is_told_once_and_its_return_is_told_once() -> None:
    world = usual()
    world.silent = {"acme"}
    world.live(6)
    assert world.told == [("acme", "raised")]
    raised = world.said[0]
    assert (raised.rule, raised.origin, raised.until_ms) == (FALL, 9000, 0)
    assert raised.score <= 8000 and raised.fingerprint.startswith("score_drop/acme/2024-")
    assert raised.causes is not None and raised.causes.split is not None
    assert sum(raised.causes.split) == raised.score - raised.origin < -500
    assert {user for user, _ in raised.causes.movers} == {"ann", "bob", "cat"}
    document = next(d for d in world.shard.documents() if isinstance(d, OrgScore) and d.org == "acme")
    assert document.alert_since_ms == raised.since_ms
    world.silent = set()
    world.live(9)
    assert world.told == [("acme", "raised"), ("acme", "resolved")]
    assert world.said[1].fingerprint == raised.fingerprint and world.said[1].until_ms > raised.since_ms
    world.live(7)
    assert len(world.said) == 2


def test_two_evaluations_an_hour_apart_must_agree() -> None:
    world = usual()
    world.silent = {"acme"}
    world.live(1 / 24)
    while not world.said:
        before = world.score("acme")
        world.live(1 / 24)
    assert before <= 8000, "the score was low enough an hour before already"
    alert = world.said[0]
    hour = [n for n in range(40) if world.now - n * HOUR == alert.since_ms]
    assert hour == [0]


def test_an_org_that_sinks_slowly_is_told_when_it_passes_the_edge() -> None:
    rules = AlertRules(fall_points=10_000)
    world = usual(model=Model(MODEL.catalogue, MODEL.attributes, MODEL.bands, rules))
    world.silent = {"acme"}
    world.live(7)
    assert [(a.org, a.kind, a.rule) for a in world.said] == [("acme", "raised", EDGE)]
    assert world.said[0].score < MODEL.bands.at_risk - MODEL.bands.hysteresis


def test_no_storm_when_a_source_is_missing_and_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def outage() -> World:
        world = usual()
        world.silent = set(ORGS)
        world.live(2)
        assert world.score("acme") < 8000
        world.silent = set()
        return world.live(21)

    world = outage()
    assert world.said == [] and world.score("acme") == 9000
    world = usual()
    world.silent = set(ORGS)
    world.live(2)
    assert world.shard.alerts.held == ["product-events"]
    world.silent = set()
    assert world.live(9).shard.alerts.held == []
    monkeypatch.setattr(state.alerts, "HELD_MISSING", 20_000)
    assert {org for org, _ in outage().told} == set(ORGS), "without the hold there is a storm"


def test_an_org_that_leaves_during_an_outage_of_others_is_told_after_it_if_it_falls_on() -> None:
    world = usual()
    world.silent = set(ORGS)
    world.live(1)
    world.silent = {"acme"}
    world.live(14)
    assert {org for org, _ in world.told} <= {"acme"}


def test_late_data_of_a_closed_week_raises_and_resolves_nothing_but_what_the_restated_figures_say() -> None:
    # A source stands still from Saturday to Tuesday, and acme leaves meanwhile: the week closes without two days.
    world = usual().live(5)
    world.kept_back = []
    world.live(1)
    world.silent = {"acme"}
    world.live(2)
    assert world.said == [] and all(world.previous(org) < 9000 for org in ORGS)
    world.let_go()
    world.live(1 / 24)
    assert [world.previous(org) for org in ORGS] == [8000, 9000, 9000, 9000, 9000]
    world.live(4)
    assert world.told == [("acme", "raised")] and world.said[0].origin == 8000


def test_no_storm_from_a_source_that_only_reaches_the_past(monkeypatch: pytest.MonkeyPatch) -> None:
    cuts = [n * 6 for n in TEN]

    def lagging() -> World:
        world = World(model_of(attribute("searches", "count", 1, measures=["search"], cuts=cuts)))
        world.late_days = 8
        return world.live(7 * 5 + 5)

    world = lagging()
    assert world.said == [] and world.shard.alerts.held == ["syslog-activities"]
    assert all(world.previous(org) - world.score(org) >= 1000 for org in ORGS), "restated, and far above"
    monkeypatch.setattr(state.alerts, "HELD_MISSING", 20_000)
    monkeypatch.setattr(state.inflow, "_FEWEST_IN_BLOCK", 10**6)
    assert {org for org, _ in lagging().told} == set(ORGS), "without the hold there is a storm"


def test_no_storm_while_a_backlog_is_worked_off() -> None:
    world = usual()
    world.catching_up = True
    world.silent = set(ORGS)
    world.live(3)
    assert world.said == [] and BACKLOG in world.shard.alerts.held


def test_no_storm_from_new_cut_points_neither_now_nor_after_the_week() -> None:
    world = usual()
    world.apply(Calibration(1, 99, {"searches": [n * 30 for n in TEN]}))
    world.live(1)
    assert all(world.score(org) < 2800 for org in ORGS)
    world.live(13)
    assert world.said == []


def test_no_storm_from_another_model() -> None:
    world = usual()
    world.restored(model_of(attribute("searches", "count", 1, measures=["search"], cuts=[n * 30 for n in TEN])))
    world.live(1)
    other = attribute("exports", "count", 5, measures=["export"])
    world.restored(model_of(attribute("searches", "count", 1, measures=["search"], cuts=[n * 3 for n in TEN]), other))
    world.live(14)
    assert all(world.score(org) < 2800 for org in ORGS)
    assert world.said == []


def test_an_org_without_enough_history_is_not_told() -> None:
    world = World().live(10)
    world.silent = {"acme"}
    world.live(3.5)
    assert world.score("acme") < 8000 and world.said == []


def test_an_org_of_which_too_little_is_known_is_not_told() -> None:
    other = attribute("own", "ratio", 4, measures=["export"], against=["alert_received"], missing="reweight")
    searches = attribute("searches", "count", 1, measures=["search"], cuts=[n * 3 for n in TEN])
    world = usual(model=model_of(searches, other))
    world.silent = {"acme"}
    world.live(4)
    assert world.score("acme") < 8000 and world.said == []


def test_an_org_whose_people_were_removed_is_not_told() -> None:
    world = usual()
    for user in ("ann", "bob", "cat"):
        world.apply(Member("acme", user, True, "", gone=True))
    world.silent = {"acme"}
    world.live(8)
    assert world.said == []


def test_a_muted_org_is_not_told_until_the_mute_ends_and_a_note_can_be_taken_back() -> None:
    world = usual()
    world.apply(Note("acme", muted_until_ms=world.now + WEEK))
    world.apply(Note("bolt", muted_until_ms=world.now + WEEK))
    world.apply(Note("bolt", muted_until_ms=0))
    world.silent = {"acme", "bolt"}
    world.live(6)
    assert world.told == [("bolt", "raised")]


def test_who_saw_to_an_alert_is_told_with_it() -> None:
    world = usual()
    world.silent = {"acme"}
    world.live(3)
    world.apply(Note("acme", "kim"))
    world.live(1 / 24)
    assert [alert.acknowledged_by for alert in world.said] == ["", "kim"]
    assert {alert.fingerprint for alert in world.said} == {world.said[0].fingerprint}
    saved = world.shard.checkpoint()
    other = shard_of(MODEL)
    other.restore(saved)
    assert other.alerts.documents() == world.shard.alerts.documents()
    assert other.checkpoint() == saved


def test_what_was_told_before_a_rebuild_stands_for_what_it_computed() -> None:
    former, anew = usual(), usual()
    former.silent, anew.silent = {"acme"}, {"acme", "bolt"}
    former.live(3).apply(Note("acme", "kim"))
    anew.live(4)
    assert {org for org, _ in anew.told} == {"acme", "bolt"}, "told aside, where nobody listens"
    assert former.said[0].needed >= 1000
    number = former.shard.subjects.org_number("acme")
    for _ in range(2):  # it can be taken again
        anew.apply(Note("acme", episode=msgspec.to_builtins(former.shard.alerts.episodes[number])))
        anew.apply(Note("bolt", episode=[]))
    anew.said = []
    (stands,) = anew.shard.alerts.documents()
    assert (stands.fingerprint, stands.acknowledged_by) == (former.said[0].fingerprint, "kim")
    anew.silent = set()
    anew.live(9)
    assert [(a.kind, a.fingerprint) for a in anew.said if a.org == "acme"] == [("resolved", stands.fingerprint)]
    assert [a.kind for a in anew.said if a.org == "bolt"] == ["raised", "resolved"], "now everybody hears of it"


@pytest.mark.parametrize(("hours", "episodes"), [(1, 2), (24 * 30, 1)])
def test_after_an_episode_the_next_one_waits(hours: int, episodes: int) -> None:
    rules = AlertRules(cooldown_hours=hours)
    world = usual(model=Model(MODEL.catalogue, MODEL.attributes, MODEL.bands, rules))
    for silent in ({"acme"}, set[str](), {"acme"}):
        world.silent = silent
        world.live(7)
    assert [kind for _, kind in world.told].count("raised") == episodes


def alerts(seed: int) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    shard: Shard = fresh()
    for _, effects in play(shard, random_log(seed, 80)):
        for effect in effects:
            if isinstance(effect, Alert):
                found.setdefault(effect.org, []).append(effect.kind)
    return found


def test_episodes_of_random_logs_take_turns() -> None:
    said = [kinds for seed in range(40) for kinds in alerts(seed).values()]
    assert said, "there is something to look at"
    for kinds in said:
        assert kinds == ["raised", "resolved"] * (len(kinds) // 2) + ["raised"] * (len(kinds) % 2)
