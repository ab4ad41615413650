"""The same weeks under two models: cut points of its own for each, over all partitions, and why scores move."""

from __future__ import annotations

import pytest

from state.activity import Tick
from state.health import Model
from state.limits import Limits
from state.shard import Shard
from state.what_if import Comparison, Group, Segments, compare, largest, scored, translated
from tests.state.worlds import WEEK, Act, at, attribute, model_of, rows_of

NOON = at("2024-03-20T12:00")
SEARCHES = attribute("searches", "count", 1, measures=["search"])
EXPORTS = attribute("exports", "count", 1, measures=["export"])
LIVE = model_of(SEARCHES, EXPORTS)
USERS = 10


def checkpoints(model: Model = LIVE, partitions: int = 2) -> list[Segments]:
    """Return partitions of an org each: user n of them all searches n times, and exports 10 − n times."""
    found = []
    for partition in range(partitions):
        acts = []
        for number in range(USERS):
            if number % partitions == partition:
                acts += [("search", number, i) for i in range(number)] + [
                    ("export", number, i) for i in range(10 - number)
                ]
        rows = [Act(f"org{partition}", f"u{n}", measure, NOON, k) for k, (measure, n, _) in enumerate(acts, 1)]
        shard = Shard(partition, model, Limits())
        shard.apply(rows_of(rows), 0)
        shard.apply(Tick(NOON, 1), 1)
        found.append(shard.checkpoint())
    return found


def compared(new: Model, *, least: int = 1, orgs: tuple[str, ...] = (), top: int = 10) -> Comparison:
    content = checkpoints()
    sides = [scored(content, translated(model, LIVE)[0], Limits(), least) for model in (LIVE, new)]
    assert [side.population for side in sides] == [USERS, USERS]
    return compare(*sides, orgs, top)


def test_the_same_model_moves_nobody() -> None:
    found = compared(LIVE)
    assert found.users.changes == [0] * USERS and found.users.band_changes == 0
    assert found.orgs.changes == [0, 0] and not found.users.gains and not found.users.by_attribute.total()


def test_cut_points_are_those_of_everybody_and_scores_move_because_of_the_attribute_that_changed() -> None:
    found = compared(model_of(SEARCHES | {"weight": 3}, EXPORTS))
    # Deciles over ten users: user n ranks n/10 in searches and (9 − n)/10 in exports.
    expected = {f"u{n}": ((3 * n + 9 - n) * 1000 // 4) - (n + 9 - n) * 1000 // 2 for n in range(USERS)}
    gains, losses = largest(found.users.gains), largest(found.users.losses)
    assert {m.user: m.after - m.before for m in [*gains, *losses]} == {u: c for u, c in expected.items() if c}
    assert gains[0].user == "u9" and gains[0].causes[0][0] == "searches"
    assert losses[0].user == "u0" and losses[0].causes[0][0] == "exports"
    assert sorted(found.users.changes) == sorted(expected.values())
    assert found.users.quantile(0.5) in expected.values()
    assert sum(found.users.by_attribute.values()) == sum(found.users.changes)


def test_only_the_orgs_wanted_are_told_and_everybody_counts_for_the_cut_points() -> None:
    new = model_of(SEARCHES | {"weight": 3}, EXPORTS)
    everybody, one = compared(new), compared(new, orgs=("org1",))
    assert {m.org for m in largest(one.users.gains)} == {"org1"} and len(one.users.changes) == USERS // 2
    theirs = [m for m in largest(everybody.users.gains) if m.org == "org1"]
    assert largest(one.users.gains) == theirs
    assert [len(g.changes) for g in (one.orgs, everybody.orgs)] == [1, 2]


def test_only_the_largest_moves_are_kept() -> None:
    new = model_of(SEARCHES | {"weight": 3}, EXPORTS)
    assert largest(compared(new, top=2).users.gains) == largest(compared(new).users.gains)[:2]


def test_too_few_users_get_the_default_cut_points() -> None:
    content = checkpoints()
    sides = [scored(content, LIVE, Limits(), least) for least in (1, USERS + 1)]
    assert [side.is_calibrated for side in sides] == [True, False]
    counted, default = (side.shards[0].board.cut_points.everybody for side in sides)
    assert default == LIVE.default_cuts() != counted


def test_band_changes_follow_the_new_edges() -> None:
    new = model_of(SEARCHES, EXPORTS)
    strict = Model(new.catalogue, new.attributes, type(new.bands)(9000, 8000, 0))
    found = compared(strict)
    assert found.users.changes == [0] * USERS
    assert set(found.users.bands) == {("watch", "at_risk")} and found.users.band_changes == USERS


def test_a_model_of_other_measures_is_translated_and_what_it_cannot_show_is_said() -> None:
    new = model_of(
        attribute("reads", "count", 2, measures=["read"]),
        EXPORTS,
        attribute("amounts", "sum", 2, measures=["search"]),
        attribute("middle", "median", 2, measures=["export"]),
        SEARCHES,
        read={"events": ["Read"]},
        search={"events": ["Search", "Find"], "summed": True, "feature": False},
        alert_received={"events": ["Alert received"]},
    )
    model, said = translated(new, LIVE)
    assert [a.name for a in model.attributes] == ["exports", "searches"]
    assert model.catalogue.names == LIVE.catalogue.names
    assert [LIVE.catalogue.names[a.measures[0]] for a in model.attributes] == ["export", "search"]
    assert not model.catalogue.measures[LIVE.catalogue.index("search")].feature
    text = "\n".join(said)
    for words in (
        "attribute reads (weight 2) is left out: read was not counted so far",
        "attribute amounts (weight 2) is left out: search was not summed so far",
        "attribute middle (weight 2) is left out: export was not kept amount by amount so far",
        "event 'Find' counts as 'other' here, not as 'search'",
        "measure alert_received: `passive` stays as it was",
    ):
        assert words in text
    scored(checkpoints(), model, Limits(), 1)
    with pytest.raises(ValueError, match="no attribute"):
        translated(model_of(attribute("reads", "count", measures=["read"]), read={"events": ["R"]}), LIVE)


def test_amounts_that_meant_something_else_so_far_are_not_shown() -> None:
    new = model_of(
        attribute("exported", "sum", 2, measures=["export"]),
        EXPORTS,
        export={"events": ["Export"], "feature": True, "summed": True, "hours": True, "duration": "s"},
    )
    model, said = translated(new, LIVE)
    assert [a.name for a in model.attributes] == ["exports"]
    assert "attribute exported (weight 2) is left out: export had other amounts so far" in said
    scored(checkpoints(), model, Limits(), 1)


def test_nobody_gives_no_quantile_to_stumble_over() -> None:
    assert Group().quantile(0.5) == 0


def test_a_median_that_the_live_model_has_too_is_tried_with_what_is_carried() -> None:
    middle = attribute("middle", "median", 2, measures=["export"], cuts=[-9, -8, -7, -6, -5, -4, -3, -2, -1])
    live = model_of(SEARCHES, middle)
    new, said = translated(model_of(SEARCHES, middle | {"missing": "carry"}), live)
    assert not said and new.attributes[1].missing == "carry"
    shard = Shard(0, live, Limits())
    shard.apply(rows_of([Act("a", "ann", "export", NOON, 1, 5), Act("a", "ann", "search", NOON + 2 * WEEK, 2)]), 0)
    shard.apply(Tick(0, 1), 1)
    sides = [scored([shard.checkpoint()], model, Limits(), 99) for model in (live, new)]
    assert [int(side.shards[0].board.score[1]) for side in sides] == [1000 // 3, (1000 + 2 * 5000) // 3]
