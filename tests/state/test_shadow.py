"""A shadow model leaves the live one alone, and scores the same weeks as if it were live."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from msgspec.structs import replace as changed

from state.activity import Calibration, Record, Tick
from state.census import Census
from state.effects import Effect, Summary
from state.health import Model
from state.limits import Limits
from state.shadow import Shadow
from state.shard import Shard
from state.telling import shadow_summary
from state.what_if import scored
from tests.state.random_logs import LIMITS, MODEL, random_log
from tests.state.worlds import attribute, model_of

OTHER = replace(MODEL, attributes=tuple(replace(a, weight=6 - a.weight) for a in MODEL.attributes))
KINDS = model_of(
    attribute("own", "ratio", 2, measures=["search"], against=["alert_received"], missing="carry"),
    attribute("middle", "median", 3, measures=["export"], missing="carry", cuts=[-n * 100 for n in range(9, 0, -1)]),
    attribute("replies", "median", 1, measures=["reply_given"], cuts=[-n * 20_000 for n in range(9, 0, -1)]),
)
SEEDS = range(6)


def shard_with(shadow: Model | None) -> Shard:
    return Shard(0, MODEL, Limits(**LIMITS), shadow)


def shadow_of(shard: Shard) -> Shadow:
    assert shard.shadow is not None
    return shard.shadow


def play(shard: Shard, log: list[Record], start: int = 0) -> list[list[Effect] | None]:
    return [shard.apply(record, n) for n, record in enumerate(log) if n >= start]


def told_live(effects: list[Effect] | None) -> list[Effect] | None:
    if effects is None:
        return None
    return [e for e in effects if not (isinstance(e, Summary) and e.model)]


def final(log: list[Record]) -> list[Record]:
    """Return *log* with a round at its end, in which everybody is scored."""
    rounds = max((r.round for r in log if isinstance(r, Tick)), default=0)
    return [*log, Tick(0, rounds + 1)]


def mirrored(log: list[Record], model: Model) -> list[Record]:
    """Return *log* with the same cut points for the shadow model wherever the live one gets some."""
    found: list[Record] = []
    for record in log:
        found.append(record)
        if isinstance(record, Calibration):
            found.append(changed(record, model=model.digest))
    return found


@pytest.mark.parametrize("other", [OTHER, KINDS], ids=["weights", "kinds"])
@pytest.mark.parametrize("seed", SEEDS)
def test_the_live_model_says_and_keeps_the_same_with_and_without_a_shadow(seed: int, other: Model) -> None:
    log = final(mirrored(random_log(seed), other))
    plain, shaded = shard_with(None), shard_with(other)
    assert play(plain, log) == [told_live(effects) for effects in play(shaded, log)]
    mine, theirs = plain.checkpoint(), shaded.checkpoint()
    assert {name: raw for name, raw in theirs.items() if name in mine} == mine
    more = {name for name in theirs.keys() - mine.keys() if not name.startswith("shadow:")}
    # What only the shadow looks at lies beside: single amounts, weeks that it carries from.
    assert other is KINDS or not more
    assert all("amounts" in name or name.startswith("history:week") for name in more)
    assert len(theirs) > len(mine)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_live_model_as_its_own_shadow_scores_the_same(seed: int) -> None:
    shard = shard_with(MODEL)
    play(shard, final(mirrored(random_log(seed), MODEL)))
    shadow = shadow_of(shard)
    n = len(shard.subjects)
    assert n and shard.board.score[:n].any()
    for name in ("score", "coverage", "parts"):
        np.testing.assert_array_equal(getattr(shadow.board, name)[:n], getattr(shard.board, name)[:n])
    np.testing.assert_array_equal(shadow.board.org_score, shard.board.org_score)
    assert shadow.difference()[0] == 0


@pytest.mark.parametrize("other", [OTHER, KINDS], ids=["weights", "kinds"])
@pytest.mark.parametrize("seed", SEEDS)
def test_another_model_scores_as_it_would_live(seed: int, other: Model) -> None:
    log = final(mirrored(random_log(seed), other))
    live, shaded = Shard(0, other, Limits(**LIMITS)), shard_with(other)
    play(live, log)
    play(shaded, log)
    n = len(live.subjects)
    np.testing.assert_array_equal(shadow_of(shaded).board.score[:n], live.board.score[:n])
    np.testing.assert_array_equal(shadow_of(shaded).board.parts[:n], live.board.parts[:n])


@pytest.mark.parametrize("seed", SEEDS)
def test_stopping_and_restoring_anywhere_changes_nothing_for_the_shadow(seed: int) -> None:
    log = final(mirrored(random_log(seed), OTHER))
    whole, half = shard_with(OTHER), shard_with(OTHER)
    play(whole, log)
    middle = len(log) // 2
    play(half, log[:middle])
    again = shard_with(OTHER)
    again.restore(half.checkpoint())
    play(again, log, middle)
    assert again.checkpoint() == whole.checkpoint()


def calibrated(shard: Shard) -> None:
    """Give the shard's shadow cut points from its own population, as the census of one partition does."""
    shadow, census = shadow_of(shard), Census(1)
    census.learn(shadow_summary(shard, shadow, 0))
    found = census.calibrate()
    assert found is not None
    shard.apply(changed(found, model=shadow.id), shard.position)
    shard.apply(Tick(0, 12_345), shard.position)


@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_simulated_beforehand_is_what_the_shadow_then_shows(seed: int) -> None:
    log = final(random_log(seed))
    plain, shaded = shard_with(None), shard_with(OTHER)
    play(plain, log)
    play(shaded, log)
    calibrated(shaded)
    expected = scored([plain.checkpoint()], OTHER, Limits(**LIMITS), 1)
    n, board = len(plain.subjects), expected.shards[0].board
    assert expected.is_calibrated and board.score[:n].any()
    np.testing.assert_array_equal(board.score[:n], shadow_of(shaded).board.score[:n])
    np.testing.assert_array_equal(board.org_score, shadow_of(shaded).board.org_score)


def test_a_changed_added_or_removed_shadow_needs_no_rebuild_and_begins_anew() -> None:
    log = mirrored(random_log(1), OTHER)
    before = shard_with(OTHER)
    play(before, final(log))
    third = replace(OTHER, bands=replace(OTHER.bands, hysteresis=0))
    for kept, now in ((before.checkpoint(), third), (before.checkpoint(), None), (_plain(log), OTHER)):
        shard = shard_with(now)
        shard.restore(kept)
        if now is None:
            assert shard.shadow is None and not any(n.startswith("shadow:") for n in shard.checkpoint())
            continue
        assert shadow_of(shard).board.calibration == 0 and not shadow_of(shard).board.score.any()
        effects = shard.apply(Tick(0, 999), shard.position)
        assert effects is not None and shadow_of(shard).board.score.any()
        said = shadow_of(shard).take_stale(shard.watermark_ms)
        assert len(said) >= len(list(shard.subjects.orgs)) and not shadow_of(shard).take_stale(shard.watermark_ms)


def _plain(log: list[Record]) -> dict[str, bytes]:
    shard = shard_with(None)
    play(shard, final(log))
    return shard.checkpoint()


def test_cut_points_of_one_model_never_reach_the_other() -> None:
    shard = shard_with(OTHER)
    play(shard, final([r for r in random_log(2) if not isinstance(r, Calibration)]))
    cuts = {name: [n + 100 for n in range(9)] for name in MODEL.default_cuts()}
    shard.apply(Calibration(7, 1, cuts, "another"), 1000)
    assert (shard.board.calibration, shadow_of(shard).board.calibration) == (0, 0)
    shard.apply(Calibration(7, 1, cuts, OTHER.digest), 1001)
    assert (shard.board.calibration, shadow_of(shard).board.calibration) == (0, 7)
    assert shard.board.cut_points.everybody == MODEL.default_cuts()
    assert shadow_of(shard).board.cut_points.everybody == cuts
    shard.apply(Calibration(3, 1, MODEL.default_cuts()), 1002)
    assert (shard.board.calibration, shadow_of(shard).board.calibration) == (3, 7)


def test_the_shadow_tells_its_own_population_once_a_round() -> None:
    shard = shard_with(OTHER)
    said = [e for effects in play(shard, final(random_log(3))) for e in effects or () if isinstance(e, Summary)]
    assert {s.model for s in said} == {"", OTHER.digest}
    live, shadow = ([s for s in said if s.model == m] for m in ("", OTHER.digest))
    assert [(s.round, s.users_active, s.values) for s in live] == [(s.round, s.users_active, s.values) for s in shadow]
