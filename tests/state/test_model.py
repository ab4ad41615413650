"""A wrong model says where and why."""

from __future__ import annotations

from dataclasses import asdict, fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from state.alert_rules import BOUNDS, AlertRules
from state.measures import BUILT_IN
from state.model import _ATTRIBUTE_KEYS, _MEASURE_KEYS, ModelError, build_model
from state.population import PopulationRules
from tests.state.worlds import TEN, attribute, examples, shipped_model


def raw(**changes: Any) -> dict[str, Any]:
    """Return the content of a small right model, with *changes* at the top."""
    return {
        "bands": {"healthy": 60, "at_risk": 30, "hysteresis": 2},
        "measures": {"search": {"events": ["Search"], "feature": True}, "upload": {"actions": ["up"], "summed": True}},
        "attributes": [attribute("searches", "count", 3, measures=["search"])],
    } | changes


def one(**changes: Any) -> dict[str, Any]:
    """Return a model whose only attribute differs from a right one."""
    entry = attribute("searches", "count", 3, measures=["search"]) | changes
    return raw(attributes=[{k: v for k, v in entry.items() if v is not None}])


def of_kind(kind: str) -> dict[str, Any]:
    """Return a model's only attribute, of *kind*."""
    return {"attributes": one(kind=kind)["attributes"]}


def timed(**entry: Any) -> dict[str, Any]:
    """Return a model whose first measure is kept by hour of the week, as *entry* says."""
    return raw(measures={"search": {"events": ["Search"], "hours": True} | entry})


def test_a_right_model_is_built() -> None:
    model = build_model(raw())
    assert [a.name for a in model.attributes] == ["searches"]
    assert model.catalogue.by_event == {"Search": "search"}
    assert model.catalogue.by_action == {"up": "upload"}
    assert (model.bands.healthy, model.bands.at_risk, model.bands.hysteresis) == (6000, 3000, 200)
    assert model.default_cuts() == {"searches": TEN}


def test_who_is_ranked_among_whom_is_read_and_by_default_everybody_is() -> None:
    found = build_model(raw(population={"peers": "group_type", "without": ["Internal"]})).population
    assert (found.peers, found.without) == ("group_type", ("Internal",))
    assert build_model(raw()).population == build_model(raw(population={})).population == PopulationRules()


def test_the_shipped_model_has_thirty_attributes_over_many_kinds() -> None:
    model = shipped_model()
    assert len(model.attributes) >= 30
    assert len({a.kind for a in model.attributes}) >= 10
    assert {a.weight for a in model.attributes} == {1, 2, 3, 4, 5}


@pytest.mark.parametrize(
    ("content", "where", "message"),
    [
        (raw(atributes=[]), "atributes", "did you mean 'attributes'"),
        (raw(attributes=[]), "attributes", "at least one"),
        (one(wieght=3), "wieght", "did you mean 'weight'"),
        (one(zzz=3), "zzz", "known are: against, cuts"),
        (one(kind="cuont"), "cuont", "did you mean 'count'"),
        (one(kind=None), "None", "unknown 'None'"),
        (one(weight=0), "searches", "from 1 to 5, not 0"),
        (one(weight=6), "searches", "from 1 to 5"),
        (one(weight=2.5), "searches", "from 1 to 5"),
        (one(weight=True), "searches", "from 1 to 5"),
        (one(weight=None), "searches", "from 1 to 5, not None"),
        (one(name=""), "[[attributes]]", "no name"),
        (one(missing="cary"), "cary", "did you mean 'carry'"),
        (one(missing="carry"), "searches", "always has data: drop its `missing`"),
        (one(kind=[]), "[]", "unknown '[]'"),
        (one(measures=None), "searches", "needs `measures`"),
        (one(measures=["serach"]), "serach", "did you mean 'search'"),
        (one(kind="ratio", cuts=None), "searches", "needs `against`"),
        (one(kind="ratio", against=["upload"]), "searches", "drop its `cuts`"),
        (one(kind="sum"), "searches", "no `summed = true`"),
        (one(kind="mean"), "searches", "no `summed = true`"),
        (one(kind="median", measures=None), "searches", "needs `measures`"),
        (one(kind="gauge", measures=None), "searches", "needs `measures`"),
        (one(kind="gauge"), "searches", "no `gauge = true`: add it to the measure"),
        (one(kind="gauge", measures=["search", "upload"]), "searches", "exactly one measure, not 2: make an attribute"),
        (raw(measures={"search": {"gauge": 1}}), "search", "`gauge` must be true or false, not 1"),
        (one(cuts=None), "searches", "9 ascending"),
        (one(cuts=TEN[:8]), "searches", "9 ascending"),
        (one(cuts=TEN[::-1]), "searches", "9 ascending"),
        (one(cuts=[*TEN[:8], 9.5]), "searches", "9 ascending"),
        (one(cuts=[*TEN[:8], 2**63]), "searches", "9 ascending"),
        (raw(attributes=[attribute("x", "days_active"), attribute("x", "sessions")]), "x", "stands twice"),
        (raw(measures={"search": {"evnts": ["S"]}}), "evnts", "did you mean 'events'"),
        (raw(measures={"message": {"events": ["S"]}}), "message", "built in"),
        (raw(measures={"a": {"events": ["S"]}, "b": {"events": ["S"]}}), "b", "already counts as 'a'"),
        (raw(measures={f"m{n}": {} for n in range(121)}), "measures", "at most 128"),
        (raw(measures={f"m{n}": {"hours": True} for n in range(33)}), "measures", "33 measures with `hours = true`"),
        (raw(measures={"search": {"hours": 1}}), "search", "`hours` must be true or false, not 1"),
        (timed(since="a", duration="s"), "search", "has `since` and `duration`: keep one of them"),
        (timed(since="a", time="b"), "search", "has `since` and `time`: keep one of them"),
        (timed(since="a", hours=False), "search", "but no `hours = true`: add it, or drop `since`"),
        (timed(time="a", hours=False), "search", "but no `hours = true`: add it, or drop `time`"),
        (timed(since=""), "search", "`since` must be the name of a property with a time, not ''"),
        (timed(time=5), "search", "`time` must be the name of a property with a time, not 5"),
        (timed(duration=[]), "search", "`duration` must be a unit, not []"),
        (timed(duration="mins"), "mins", "unknown 'mins'; did you mean 'min'?"),
        (timed(duration="d"), "d", "unknown 'd'; known are: h, min, ms, s"),
        (timed(since="a", actions=["x"]), "search", "give its `actions` a measure of their own"),
        (timed(duration="s", gauge=True), "search", "is a duration by `duration`, and no level: drop `gauge`"),
        (timed(time="a", gauge=True), "search", "is a time by `time`, and no level: drop `gauge`"),
        (timed(time="a", summed=True), "search", "can't be summed: drop `summed`"),
        (timed(since="a", summed=True) | of_kind("mean"), "searches", "choose kind 'median'"),
        (timed(time="a") | of_kind("median"), "searches", "which has a time instead: drop the measure's `time`"),
        (raw(measures={"presence": {"hours": True}}), "presence", "only `hours` of message, transaction, syslog"),
        (raw(measures={"message": {"hours": True, "summed": True}}), "message", "choose another name"),
        (raw(bands={"healthy": 60, "at_risk": 30, "hysteresis": 2, "helthy": 1}), "helthy", "did you mean 'healthy'"),
        (raw(bands={"healthy": 60, "at_risk": 30}), "hysteresis", "a percentage from 0 to 100, not None"),
        (raw(bands={"healthy": 160, "at_risk": 30, "hysteresis": 2}), "healthy", "not 160"),
        (raw(bands={"healthy": True, "at_risk": 30, "hysteresis": 2}), "healthy", "not True"),
        (raw(bands={"healthy": float("nan"), "at_risk": 30, "hysteresis": 2}), "healthy", "not nan"),
        (raw(bands={"healthy": 32, "at_risk": 30, "hysteresis": 2}), "at_risk", "must lie below healthy"),
        (raw(alerts={"fall_pionts": 1}), "fall_pionts", "did you mean 'fall_points'"),
        (raw(alerts={"fall_points": 0}), "fall_points", "a whole number from 1 to 100, not 0"),
        (raw(alerts={"min_weeks": True}), "min_weeks", "a whole number from 1 to 8, not True"),
        (raw(alerts={"min_coverage": 12.5}), "min_coverage", "not 12.5"),
        (raw(alerts=3), "alerts", "must be a table, not 3"),
        (raw(population={"pears": "job_type"}), "pears", "did you mean 'peers'"),
        (raw(population={"peers": "job_types"}), "peers", "did you mean 'job_type'?; leave `peers` out"),
        (raw(population={"peers": False}), "peers", "unknown 'False'"),
        (raw(population={"without": "Internal"}), "without", "must be a list of names, not 'Internal'"),
        (raw(population={"without": ["SMB", "SMB"]}), "without", "'SMB' is empty or stands twice; drop it"),
        (raw(population={"without": [f"t{n}" for n in range(33)]}), "without", "33 group types, at most 32"),
    ],
)
def test_each_mistake_is_named_with_its_place(content: dict[str, Any], where: str, message: str) -> None:
    with pytest.raises(ModelError) as error:
        build_model(content)
    assert error.value.where == where
    assert message in str(error.value)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["search", "count", "", "x"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["events", "name", "x"]), inner),
    max_leaves=5,
)


@examples(200)
@given(
    st.sampled_from(["top", "measure", "attribute", "bands", "population"]),
    st.sampled_from(
        [
            *raw(),
            *sorted(_MEASURE_KEYS | _ATTRIBUTE_KEYS),
            "healthy",
            "at_risk",
            "hysteresis",
            "search",
            "peers",
            "without",
        ]
    ),
    anything,
)
def test_whatever_stands_in_the_file_gives_a_model_or_a_told_mistake(place: str, key: str, value: Any) -> None:
    content = raw(population={})
    target = {
        "top": content,
        "measure": content["measures"]["search"],
        "attribute": content["attributes"][0],
        "bands": content["bands"],
        "population": content["population"],
    }[place]
    target[key] = value
    try:
        model = build_model(content)
    except ModelError as error:
        assert isinstance(error.where, str) and str(error)
        return
    assert model.attributes and all(len(a.cuts) in (0, 9) for a in model.attributes)


def test_measures_by_hour_of_the_week_are_read_also_built_in_ones() -> None:
    own = {
        "order": {"events": ["O"], "actions": ["o"], "hours": True},
        "acknowledged": {"events": ["A"], "hours": True, "since": "created_at", "summed": True},
        "served": {"events": ["S"], "hours": True, "duration": "ms"},
        "signup": {"events": ["U"], "hours": True, "time": "signed_up_at"},
        "transaction": {"hours": True},
        "syslog": {"hours": False},
        "search": {"events": ["Search"]},
    }
    catalogue = build_model(raw(measures=own)).catalogue
    assert catalogue.names[: len(BUILT_IN)] == [m.name for m in BUILT_IN]
    assert catalogue.measures[catalogue.index("transaction")] == replace(BUILT_IN[4], hours=True)
    assert catalogue.by_hour == [
        ["transaction", "", "", ""],
        ["order", "", "", ""],
        ["acknowledged", "created_at", "", ""],
        ["served", "", "ms", ""],
        ["signup", "", "", "signed_up_at"],
    ]
    assert [m.name for m in catalogue.measures if m.lasts] == ["acknowledged", "served"]


def test_a_model_is_another_one_only_if_amounts_mean_something_else() -> None:
    plain = build_model(raw()).digest
    assert build_model(raw(measures=raw()["measures"] | {"message": {"hours": True}})).digest == plain
    digests = {build_model(timed(**entry)).digest for entry in ({}, {"since": "a"}, {"duration": "s"}, {"time": "a"})}
    assert len(digests) == 3  # when something counts is in no score


def test_every_rule_of_alerts_can_be_set_and_has_a_default() -> None:
    assert set(BOUNDS) == {field.name for field in fields(AlertRules)}
    assert build_model(raw()).alerts == AlertRules()
    lowest = build_model(raw(alerts={key: low for key, (_, low, _) in BOUNDS.items()})).alerts
    assert asdict(lowest) == {key: scale * low for key, (scale, low, _) in BOUNDS.items()}
