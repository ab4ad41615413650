"""Peer groups and scores by job type and group type, in any order of reading, are those of the recount."""

from __future__ import annotations

import json
import random
from functools import cache
from typing import Any

import pytest

from reports.compare import compare
from reports.compare_weeks import compare_weeks
from reports.recount import Options, Recount, recount
from state.model import build_model
from tests.end_to_end.house import House
from tests.end_to_end.test_any_order import END_MS, MODEL, read_somehow, world
from tests.faults.extent import long_form

LEAST = 20
BOTH: dict[str, Any] = {"peers": "group_type", "without": ["Internal"]}
POPULATIONS = [
    pytest.param(BOTH, id="peers-without"),
    pytest.param({"peers": "job_type"}, id="peers", marks=long_form),
    pytest.param({"without": ["Internal"]}, id="without", marks=long_form),
]


def counted(population: dict[str, Any], seed: int = 5) -> tuple[dict[str, Any], House, Recount]:
    """Return model, pipeline and recount of a base of 150 users; made once, because it takes a quarter of a minute."""
    return _counted(json.dumps(population), seed)


@cache
def _counted(spelled: str, seed: int) -> tuple[dict[str, Any], House, Recount]:
    population = json.loads(spelled)
    model = MODEL | {"population": population}
    raw, _ = world(seed, 150)
    house = House(END_MS, build_model(model), LEAST)
    read_somehow(house, raw, random.Random(seed), evenly=True)
    return model, house, recount(raw, model, END_MS, Options(min_population=LEAST))


@pytest.mark.parametrize("population", POPULATIONS)
def test_groups_are_those_of_the_recount(population: dict[str, Any]) -> None:
    model, house, found = counted(population)
    rest = house.rest(END_MS)
    made = house.people.census.calibration
    assert (made.cuts, made.groups, made.population) == (found.cuts, found.peers, found.population)
    result = compare(found, rest, model)
    compare_weeks(result, house.told_weeks, found, model, house.generations)
    differences = [each for each in result.differences if not each.key.startswith("metric")]  # there is no worker
    assert result.kinds["week"] > 500 and not differences, differences[:20]
    named = {row["calibration"] for row in house.told_weeks.values()}
    assert "peers" not in population or any(house.generations[each][1] for each in named if each), "weeks had peers"
    shown = {fields["peers"] for key, fields in rest.documents.items() if key.startswith("user:") and "peers" in fields}
    if "peers" in population:
        assert len(found.peers) >= 2 and set(found.peers) <= shown and (len(found.peers) < len(shown))
    else:
        assert shown == {"all"}
    assert {job for org in found.by_job_type.values() for job in org} >= {"analyst", "engineer"}
    assert {"Internal", "SMB", "Enterprise"} <= found.by_group_type.keys()
    if "without" in population:
        assert found.population < sum(each["active_users"] for each in found.by_group_type.values())


def test_the_metrics_by_group_type_are_those_of_the_recount() -> None:
    _, house, found = counted(BOTH)
    house.rest(END_MS)
    metrics = house.people._metrics
    assert len(metrics.group_users.values) == 2 * len(found.by_group_type)
    for group, figures in found.by_group_type.items():
        for kind in ("active", "licensed"):
            assert metrics.group_users.value(group, kind) == figures[f"{kind}_users"]
            ratio, mean = metrics.group_health.value(group, kind), figures[f"score_{kind}"]
            assert (ratio is None) == (mean is None)
            assert ratio is None or int(ratio * 10_000 + 1e-6) == mean
