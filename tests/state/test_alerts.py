"""Falls to "at risk" are raised and resolved in turns."""

from __future__ import annotations

from collections import Counter

import pytest

from state.effects import OrgScore
from tests.state.random_logs import random_log
from tests.state.test_shard_restore import fresh, play

#: Logs with at least one alert, so that there is something to look at.
SEEDS = [seed for seed in range(40) if seed % 4 == 0]


def alerts(seed: int) -> dict[str, list[OrgScore]]:
    found: dict[str, list[OrgScore]] = {}
    for _, effects in play(fresh(), random_log(seed, 80)):
        for effect in effects:
            if isinstance(effect, OrgScore):
                found.setdefault(effect.org, []).append(effect)
    return found


@pytest.mark.parametrize("seed", SEEDS)
def test_a_resolution_follows_a_fall_and_a_fall_needs_a_better_band_before(seed: int) -> None:
    for said in alerts(seed).values():
        kinds = [score.alert for score in said if score.alert]
        assert kinds == ["score_drop", "resolved"] * (len(kinds) // 2) + ["score_drop"] * (len(kinds) % 2)
        for score in said:
            if score.alert == "score_drop":
                assert score.band == "at_risk" and score.former_band in ("watch", "healthy")


def test_the_logs_hold_alerts_of_both_kinds_and_orgs_at_risk_from_the_first() -> None:
    said = [scores for seed in SEEDS for scores in alerts(seed).values()]
    kinds = Counter(score.alert for scores in said for score in scores)
    assert kinds["score_drop"] and kinds["resolved"]
    assert any(next(s.band for s in scores if s.band) == "at_risk" for scores in said)
