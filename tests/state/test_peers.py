"""Everybody is ranked among their peers, where there are enough of them."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace as changed

from state.activity import Calibration, Member, Org, Record, Tick
from state.census import Census
from state.effects import GroupScore, OrgScore, Summary, UserScore, WeekRow
from state.group_scores import MAX_GROUP_TYPES, MAX_JOB_TYPES
from state.groups import MAX_NAME_CHARS, MAX_NAMES, NO_GROUP, OTHER, Names
from state.health import Model
from state.limits import Limits
from state.peers import MAX_PEER_GROUPS
from state.population import PopulationRules
from state.scoring import cut_points
from state.shard import Shard
from state.telling import summary
from state.what_if import scored
from tests.state.random_logs import LIMITS, MODEL, random_log
from tests.state.worlds import DAY, HOUR, TEN, Act, at, attribute, examples, model_of, rows_of

MONDAY = at("2024-03-04T00:00")
NOON = MONDAY + 12 * HOUR
PLAIN = model_of(attribute("searches", "count", 1, measures=["search"]))
BY_JOB = replace(PLAIN, population=PopulationRules("job_type"))
BY_GROUP = replace(PLAIN, population=PopulationRules("group_type"))
_numbers = iter(range(1, 10**7))


def acts(org: str, user: str, count: int, time_ms: int = NOON) -> list[Act]:
    return [Act(org, user, "search", time_ms, next(_numbers)) for _ in range(count)]


def play(shard: Shard, *records: Record) -> Shard:
    for record in records:
        shard.apply(record, shard.position)
    return shard


def users_of(*shards: Shard) -> dict[str, UserScore]:
    return {d.user: d for shard in shards for d in shard.documents() if isinstance(d, UserScore)}


def org_of(shard: Shard, org: str = "acme") -> OrgScore:
    return next(d for d in shard.documents() if isinstance(d, OrgScore) and d.org == org)


def calibrated(shards: list[Shard], least: int) -> tuple[Census, Calibration | None]:
    """Let a census count all *shards*, and score everybody by what it says."""
    model = shards[0].model
    census = Census(least, model.population.peers)
    for shard in shards:
        census.learn(summary(shard, 1))
    found = census.calibrate()
    for shard in shards:
        play(shard, *([found] if found else []), Tick(shard.watermark_ms, 2))
    return census, found


def office(model: Model = BY_JOB) -> Shard:
    """Return an org with ten analysts who search 1 … 10 times, ten traders 11 … 20 times, and a cook 5 times."""
    records: list[Record] = [Org("acme", "Acme", "UTC", "SMB")]
    rows = acts("acme", "cook", 5)
    for n in range(1, 11):
        records += [Member("acme", f"a{n}", True, "analyst"), Member("acme", f"t{n}", True, "trader")]
        rows += acts("acme", f"a{n}", n) + acts("acme", f"t{n}", 10 + n)
    records.append(Member("acme", "cook", True, "cook"))
    return play(Shard(0, model, Limits()), *records, rows_of(rows), Tick(NOON, 1))


def test_a_user_is_ranked_among_those_of_the_same_job() -> None:
    shard = office()
    assert {u.peers for u in users_of(shard).values()} == {"default"}
    _, found = calibrated([shard], 10)
    assert found is not None and found.peers == "job_type" and list(found.groups) == ["analyst", "trader"]
    assert found.groups["trader"]["searches"] == [12, 13, 14, 15, 16, 17, 18, 19, 20]
    users = users_of(shard)
    for n in range(1, 11):
        assert users[f"a{n}"].score == users[f"t{n}"].score == (n - 1) * 1000
    assert (users["a1"].peers, users["t1"].peers) == ("analyst", "trader")
    # One cook is too few: ranked among all 21, of whom four have fewer searches.
    assert (users["cook"].peers, users["cook"].score) == ("all", 1000)


def test_too_few_of_everybody_have_the_shipped_cut_points() -> None:
    shard = office()
    census, found = calibrated([shard], 22)
    assert found is None and census.users_active == 21
    users = users_of(shard)
    assert {u.peers for u in users.values()} == {"default"} and users["t1"].score == 9000


def test_orgs_make_peers_by_their_group_type() -> None:
    shards = []
    for n, kind in enumerate(("SMB", "SMB", "Enterprise", "")):
        rows = [a for k in range(1, 6) for a in acts(f"o{n}", f"{n}-{k}", k if kind == "SMB" else 10 * k)]
        shard = Shard(n, BY_GROUP, Limits())
        shards.append(play(shard, Org(f"o{n}", "", "UTC", kind), rows_of(rows), Tick(NOON, 1)))
    census, found = calibrated(shards, 5)
    assert found is not None and list(found.groups) == ["Enterprise", "SMB"]
    users = users_of(*shards)
    assert [users[f"{n}-5"].peers for n in range(4)] == ["SMB", "SMB", "Enterprise", "all"]
    # Five of equal steps: the highest of two times five has eight tenths below, the highest of five as well.
    assert [users[f"{n}-5"].score for n in range(3)] == [8000, 8000, 8000]
    assert [org_of(shard, f"o{n}").peers for n, shard in enumerate(shards)] == ["SMB", "SMB", "Enterprise", "all"]
    assert census.users_active == 20


def test_group_types_that_are_left_out_are_scored_but_not_counted() -> None:
    model = replace(PLAIN, population=PopulationRules(without=("Internal",)))
    shard = Shard(0, model, Limits())
    records: list[Record] = [Org("us", "", "UTC", "Internal"), Org("acme", "", "UTC", "SMB")]
    rows = [a for n in range(1, 11) for a in acts("acme", f"u{n}", n)] + acts("us", "boss", 1000)
    play(shard, *records, rows_of(rows), Tick(NOON, 1))
    census, found = calibrated([shard], 10)
    assert found is not None and found.population == 10
    assert found.cuts["searches"] == [2, 3, 4, 5, 6, 7, 8, 9, 10]
    assert users_of(shard)["boss"].score == 9000
    totals = census.totals()
    assert (totals["orgs"], totals["users_active"]) == (1, 10)
    assert sum(shard.board.bands().values()) == 10
    by_group = census.by_group_type()
    assert (by_group["Internal"].orgs, by_group["Internal"].active_users) == (1, 1), "told beside the others"
    assert census.as_of_ms() == shard.watermark_ms


def test_a_partition_of_orgs_that_are_left_out_holds_the_time_up_all_the_same() -> None:
    model = replace(PLAIN, population=PopulationRules(without=("Internal",)))
    census = Census(1)
    for number, (kind, time_ms) in enumerate((("Internal", NOON), ("SMB", NOON + HOUR))):
        shard = Shard(number, model, Limits())
        play(shard, Org("o", "", "UTC", kind), rows_of(acts("o", "u", 1, time_ms)), Tick(time_ms, 1))
        census.learn(summary(shard, 1))
    assert census.as_of_ms() == NOON


def ranked(model: Model, users: Iterable[tuple[str, str, int]], least: int = 1) -> dict[str, int]:
    """Return the scores of (user, job type, searches) dealt out to two partitions, calibrated."""
    rows: list[list[Act]] = [[], []]
    members: list[list[Record]] = [[], []]
    for number, (user, job, count) in enumerate(users):
        members[number % 2].append(Member(f"o{number % 2}", user, True, job))
        rows[number % 2] += acts(f"o{number % 2}", user, count)
    shards = []
    for n in range(2):
        records: list[Record] = [Org(f"o{n}", "", "UTC", "SMB"), *members[n]]
        records += [rows_of(rows[n])] if rows[n] else []
        shards.append(play(Shard(n, model, Limits()), *records, Tick(NOON, 1)))
    calibrated(shards, least)
    return {user: found.score for user, found in users_of(*shards).items()}


counts = st.lists(st.integers(1, 12), min_size=1, max_size=20)


@examples(40)
@given(counts)
def test_one_group_of_all_is_the_same_as_none(searches: list[int]) -> None:
    users = [(f"u{n}", "analyst", count) for n, count in enumerate(searches)]
    plain = ranked(PLAIN, users)
    assert ranked(BY_JOB, users) == plain
    assert ranked(BY_GROUP, users) == plain


@examples(40)
@given(st.lists(st.tuples(st.sampled_from(["analyst", "trader", ""]), st.integers(1, 12)), min_size=1, max_size=20),
       st.randoms(use_true_random=False))  # fmt: skip
def test_the_order_of_users_changes_nothing(people: list[tuple[str, int]], chance: random.Random) -> None:
    users = [(f"u{n}", job, count) for n, (job, count) in enumerate(people)]
    mixed = users.copy()
    chance.shuffle(mixed)
    assert ranked(BY_JOB, mixed, 4) == ranked(BY_JOB, users, 4)


@examples(40)
@given(st.lists(st.tuples(st.sampled_from(["analyst", "trader"]), st.integers(1, 12)), min_size=1, max_size=20))
def test_an_idle_user_more_changes_nobodys_rank(people: list[tuple[str, int]]) -> None:
    users = [(f"u{n}", job, count) for n, (job, count) in enumerate(people)]
    more = [*users, ("idle", "analyst", 0), ("idler", "trader", 0)]
    assert ranked(BY_JOB, more, 3) == ranked(BY_JOB, users, 3)


def closed_office() -> Shard:
    """Return the office, calibrated, an hour after its week has closed."""
    shard = office()
    calibrated([shard], 10)
    play(shard, Tick(MONDAY + 7 * DAY - HOUR, 3))
    assert users_of(shard)["a6"].score == 5000
    return play(shard, Tick(MONDAY + 7 * DAY + HOUR, 4))


def test_another_job_is_membership_and_not_own_doing() -> None:
    shard = play(closed_office(), Member("acme", "t1", True, "analyst"), Tick(MONDAY + 7 * DAY + HOUR, 5))
    user = users_of(shard)["t1"]
    assert (user.score, user.peers, user.split) == (9000, "analyst", [0, 0, 9000, 0])
    assert org_of(shard).split == [0, 0, 9000 // 21, 0]
    restored = Shard(0, BY_JOB, Limits())
    restored.restore(shard.checkpoint())
    assert users_of(restored) == users_of(shard)


def test_another_group_type_of_an_org_moves_its_users_at_once() -> None:
    shard = play(office(BY_GROUP), Tick(MONDAY + 7 * DAY - HOUR, 2), Tick(MONDAY + 7 * DAY + HOUR, 3))
    high, low = {"searches": [n * 100 for n in TEN]}, {"searches": [1] * 9}
    play(shard, Calibration(1, 99, high, peers="group_type", groups={"SMB": high, "Enterprise": low}))
    play(shard, Tick(MONDAY + 7 * DAY + HOUR, 4))
    assert users_of(shard)["a1"].score == 0
    play(shard, Org("acme", "Acme", "UTC", "Enterprise"), Tick(MONDAY + 7 * DAY + HOUR, 4))
    user = users_of(shard)["a1"]
    assert (user.score, user.peers, user.split) == (9000, "Enterprise", [0, -1000, 9000, 0])


def test_a_closed_week_is_restated_among_the_peers_of_its_close() -> None:
    shard = play(closed_office(), Member("acme", "t6", True, "analyst"), Tick(MONDAY + 7 * DAY + HOUR, 5))
    restored = Shard(0, BY_JOB, Limits())
    restored.restore(shard.checkpoint())
    late = rows_of(acts("acme", "t6", 2))  # 18 searches: rank 7 of traders, 9 of analysts
    for one in (shard, restored):
        assert users_of(one)["t6"].previous == 5000
        said = one.apply(late, one.position) or one.apply(Tick(MONDAY + 7 * DAY + HOUR, 6), one.position) or []
        rows = [e for e in said if isinstance(e, WeekRow) and e.user == "t6"]
        assert [(row.state, row.score, row.calibration) for row in rows] == [("restated", 7000, 1)]
        assert (users_of(one)["t6"].previous, users_of(one)["t6"].peers) == (7000, "analyst")
    assert shard.checkpoint() == restored.checkpoint()


def test_new_cut_points_and_another_job_at_once_are_told_apart() -> None:
    shard = closed_office()
    groups = {"analyst": {"searches": [n * 2 for n in TEN]}, "trader": {"searches": [5] * 9}}
    play(shard, Calibration(2, 99, {"searches": TEN}, peers="job_type", groups=groups))
    play(shard, Member("acme", "t1", True, "analyst"), Tick(MONDAY + 7 * DAY + HOUR, 5))
    user = users_of(shard)["t1"]
    # 11 searches: 0 among traders, 9000 among analysts by the former cut points, 5000 by the new ones.
    assert (user.score, user.split) == (5000, [0, -4000, 9000, 0])


def test_a_group_that_gets_cut_points_of_its_own_or_loses_them_is_population() -> None:
    shard = closed_office()
    cuts = {"searches": [2] * 9}
    play(shard, Calibration(2, 99, cuts, peers="job_type", groups={}), Tick(MONDAY + 7 * DAY + HOUR, 5))
    user = users_of(shard)["t1"]
    assert (user.score, user.peers, user.split) == (9000, "all", [0, 9000, 0, 0])
    own = {"cook": {"searches": [100] * 9}}
    told = shard.apply(Calibration(3, 99, cuts, peers="job_type", groups=own), shard.position)
    told = shard.apply(Tick(MONDAY + 7 * DAY + HOUR, 6), shard.position) or []
    cook = next(e for e in told if isinstance(e, UserScore) and e.user == "cook")
    assert (cook.score, cook.peers) == (0, "cook")


def test_whose_cut_points_they_are_is_told_though_the_score_stays() -> None:
    shard = office()
    cuts = PLAIN.default_cuts()
    told = shard.apply(Calibration(1, 99, cuts, peers="job_type", groups={"trader": cuts}), shard.position)
    told = shard.apply(Tick(NOON, 1), shard.position) or []
    assert Counter(e.peers for e in told if isinstance(e, UserScore)) == {"all": 11, "trader": 10}


def test_cut_points_of_other_peers_are_not_for_this_model() -> None:
    shard = office()
    strange = {"analyst": {"searches": [100] * 9}}
    play(shard, Calibration(1, 99, {"searches": TEN}, peers="group_type", groups=strange), Tick(NOON, 2))
    assert {u.peers for u in users_of(shard).values()} == {"all"}
    assert users_of(shard)["a9"].score == 9000


def test_a_model_with_other_peers_begins_without_cut_points_of_groups() -> None:
    shard = closed_office()
    other = Shard(0, BY_GROUP, Limits())
    other.restore(shard.checkpoint())
    assert {u.peers for u in users_of(other).values()} == {"all"}
    said = other.apply(Tick(other.watermark_ms, 99), other.position) or []
    assert [s.peers for s in said if isinstance(s, Summary)] == ["group_type"], "the census hears of its peers at once"
    user = users_of(other)["t1"]
    assert user.split is not None and user.split[3] == user.score - (user.previous or 0) and user.split[2] == 0


def test_another_model_is_tried_with_peers_of_its_own() -> None:
    content = [office(PLAIN).checkpoint()]
    before, after = (scored(content, model, Limits(), 10) for model in (PLAIN, BY_JOB))
    assert (before.peer_groups, after.peer_groups) == ([], ["analyst", "trader"])
    assert users_of(*before.shards)["t1"].score == 5000 and users_of(*after.shards)["t1"].score == 0


def test_a_shadow_model_has_peers_of_its_own() -> None:
    shard = Shard(0, PLAIN, Limits(), BY_JOB)
    shard.restore(office(PLAIN).checkpoint())
    assert shard.shadow is not None
    found = Calibration(1, 9, {"searches": TEN}, BY_JOB.digest, "job_type", {"trader": {"searches": [99] * 9}})
    play(shard, Tick(NOON, 2), found, Tick(NOON, 3))
    shadows = {d.user: d for piece in shard.shadow.pieces(NOON) for d in piece if isinstance(d, UserScore)}
    assert (shadows["t1"].score, shadows["t1"].peers, shadows["a9"].peers) == (0, "trader", "all")
    assert (users_of(shard)["t1"].score, users_of(shard)["t1"].peers) == (9000, "default")


def test_models_without_groups_keep_their_digest() -> None:
    assert replace(PLAIN, population=PopulationRules()).digest == PLAIN.digest
    assert len({PLAIN.digest, BY_JOB.digest, BY_GROUP.digest}) == 3


def grouped(log: list[Record], seed: int, kind: str) -> list[Record]:
    """Return *log* with job types, group types and cut points of groups, now and then of other peers than *kind*."""
    rng = random.Random(seed)
    found: list[Record] = []
    generation = 0
    for record in log:
        match record:
            case Member():
                record = changed(record, job_type=rng.choice(("", "analyst", "trader")))
            case Org():
                record = changed(record, group_type=rng.choice(("", "SMB", "Internal")))
            case Calibration():
                generation += 1
                names = rng.sample(("analyst", "trader", "SMB", "Internal"), 3)
                cuts = {name: {"searches": sorted(rng.randrange(1, 9) for _ in range(9))} for name in names}
                peers = rng.choice((kind, kind, kind, "strange"))
                record = changed(record, generation=generation, peers=peers, groups=cuts)
        found.append(record)
    return found


@pytest.mark.parametrize("kind", ["job_type", "group_type"])
def test_stopping_and_restoring_changes_nothing_and_the_parts_add_up(kind: str) -> None:
    assert sum(regrouped_in(kind, seed) for seed in range(8))


def regrouped_in(kind: str, seed: int) -> int:
    """Return how often another group moved a user in a random log, which is looked at on the way."""
    model = replace(MODEL, population=PopulationRules(kind, ("Internal",)))
    straight, stopped = (Shard(0, model, Limits(**LIMITS)) for _ in range(2))
    moved = 0
    for n, record in enumerate(grouped(random_log(seed, 80), seed, kind)):
        if n % 17 == seed:
            saved = stopped.checkpoint()
            stopped = Shard(0, model, Limits(**LIMITS))
            stopped.restore(saved)
            assert stopped.checkpoint() == saved
        said, again = straight.apply(record, n), stopped.apply(record, n)
        assert said == again
        for each in said or ():
            if isinstance(each, UserScore) and each.split is not None and each.previous is not None:
                assert sum(each.split) == each.score - each.previous
                moved += bool(each.split[2])
            if isinstance(each, OrgScore) and each.split is not None and each.previous is not None:
                assert sum(each.split) == (each.score_active or 0) - each.previous
    assert straight.checkpoint() == stopped.checkpoint()
    return moved


def test_an_older_checkpoint_has_no_job_types_and_is_read() -> None:
    saved = office().checkpoint()
    older = {
        name: raw for name, raw in saved.items()
        if name not in ("subjects:job-types", "subjects:group-types", "board:peers")
        and not name.endswith(("user/regrouped", "user/peer_group"))
    }  # fmt: skip
    shard = Shard(0, BY_JOB, Limits())
    shard.restore(older)
    assert {u.score for u in users_of(shard).values()} == {u.score for u in users_of(office()).values()}
    assert org_of(shard).by_job_type == {}
    play(shard, Member("acme", "t1", True, "trader"), Tick(NOON, 2))
    assert list(org_of(shard).by_job_type) == ["trader"]
    assert shard.subjects.group_types.known == ["SMB"]


@examples(60)
@given(st.integers(0, 10**6))
def test_a_census_over_partitions_is_a_count_of_the_whole(seed: int) -> None:
    rng = np.random.default_rng(seed)
    users, least = int(rng.integers(1, 60)), int(rng.integers(1, 12))
    kinds = np.array(["", "SMB", "Enterprise", "Internal"])[rng.integers(0, 4, 8)]
    jobs = np.array(["", "analyst", "trader", "cook"])[rng.integers(0, 4, users)]
    org, searches = rng.integers(0, 8, users), rng.integers(0, 15, users)
    model = replace(PLAIN, population=PopulationRules("job_type", ("Internal",)))
    shards = []
    for n in range(3):
        mine = [u for u in range(users) if org[u] % 3 == n]
        records: list[Record] = [Org(f"o{o}", "", "UTC", str(kinds[o])) for o in range(8) if o % 3 == n]
        records += [Member(f"o{org[u]}", f"u{u}", bool(u % 4), str(jobs[u])) for u in mine]
        rows = [a for u in mine for a in acts(f"o{org[u]}", f"u{u}", int(searches[u]))]
        shards.append(play(Shard(n, model, Limits()), *records, *([rows_of(rows)] if rows else []), Tick(NOON, 1)))
    census, found = calibrated(shards, least)
    active, inside = searches > 0, kinds[org] != "Internal"
    counted = active & inside
    if counted.sum() < least:
        assert found is None
    else:
        assert found is not None and found.population == counted.sum()
        groups = {j: searches[counted & (jobs == j)] for j in np.unique(jobs[counted]).tolist() if j}
        assert found.groups == {
            j: {"searches": cut_points(*(a.astype(np.int64) for a in np.unique(some, return_counts=True)))}
            for j, some in groups.items() if len(some) >= least
        }  # fmt: skip
    for shard in shards:
        census.learn(summary(shard, 2))
    scores = users_of(*shards)
    score = np.array([scores[f"u{n}"].score if f"u{n}" in scores else 0 for n in range(users)])
    seated = np.arange(users) % 4 > 0
    for name, total in census.by_group_type().items():
        mine = kinds[org] == ("" if name == "none" else name)
        assert total.orgs == sum(kinds == ("" if name == "none" else name))
        assert (total.active_users, total.licensed_users) == ((active & mine).sum(), (seated & mine).sum())
        assert (total.active_points, total.licensed_points) == (score[active & mine].sum(), score[seated & mine].sum())
    assert sum(total.orgs for total in census.by_group_type().values()) in (0, 8)


def test_an_org_is_scored_by_job_type() -> None:
    shard = office()
    play(shard, Member("acme", "idle", True, "cook"), Member("acme", "gone", True, "trader", gone=True),
         Member("acme", "guest", False, "guest"), Tick(NOON, 2))  # fmt: skip
    scores = users_of(shard)
    analysts = sorted(scores[f"a{n}"].score for n in range(1, 11))
    found = org_of(shard).by_job_type
    assert list(found) == ["analyst", "trader", "cook"], "the guest neither did anything nor holds a seat"
    assert found["analyst"] == GroupScore(
        sum(analysts) // 10, sum(analysts) // 10, (analysts[4] + analysts[5]) // 2, 10, 10
    )
    cook = scores["cook"].score
    assert found["cook"] == GroupScore(cook, cook // 2, cook, 1, 2)


def test_an_org_whose_users_have_no_job_type_says_nothing_of_them() -> None:
    shard = play(Shard(0, PLAIN, Limits()), rows_of(acts("acme", "ann", 3)), Tick(NOON, 1))
    assert org_of(shard).by_job_type == {}


def test_the_smallest_job_types_of_an_org_are_one() -> None:
    shard = Shard(0, PLAIN, Limits())
    records: list[Record] = []
    rows: list[Act] = []
    for n in range(MAX_JOB_TYPES + 5):
        for k in range(2 if n % 2 else 1):
            records.append(Member("acme", f"{n}-{k}", True, f"job {n:02}"))
            rows += acts("acme", f"{n}-{k}", 1 + n % 9)
    records.append(Member("acme", "guest", False, "job 24"))
    rows += acts("acme", "guest", 1)
    play(shard, *records, rows_of(rows), Tick(NOON, 1))
    found = org_of(shard).by_job_type
    assert len(found) == MAX_JOB_TYPES + 1 and list(found)[-1] == "other"
    assert list(found)[:12] == [f"job {n:02}" for n in range(1, 25, 2)], "most seats first"
    assert list(found)[12:-1] == ["job 24", *(f"job {n:02}" for n in range(0, 14, 2))], "then most users, then by name"
    rest = [f"job {n:02}" for n in range(14, 24, 2)]
    assert found["other"].licensed_users == len(rest) and not set(rest) & set(found)
    scores = users_of(shard)
    theirs = [scores[f"{int(name[4:])}-0"].score for name in rest]
    assert found["other"].score_active == sum(theirs) // len(theirs)


def test_names_of_groups_are_bounded() -> None:
    names = Names()
    numbers = [names.number(f"job {n}") for n in range(MAX_NAMES + 5)]
    assert len(set(numbers)) == MAX_NAMES + 1 and numbers[-5:] == [OTHER] * 5
    assert (names.number(""), names.number("job 3")) == (NO_GROUP, numbers[3])
    again = Names(names.known)
    assert again.names == names.names and again.number("job 7") == numbers[7]
    long = Names()
    assert long.number("x" * 500) == long.number("x" * 600) and long.known == ["x" * MAX_NAME_CHARS]


def test_who_has_no_name_for_lack_of_room_is_ranked_among_everybody() -> None:
    shard = office()
    shard.subjects.job_of[shard.subjects.slots(["acme\x1ft1"])] = OTHER
    shard.board.touch_all()
    play(shard, Tick(NOON, 2))
    calibrated([shard], 9)
    assert users_of(shard)["t1"].peers == "all" and users_of(shard)["t2"].peers == "trader"


def group_of(size: int) -> tuple[int, dict[str, tuple[list[int], list[int]]]]:
    return size, {"searches": ([1, 2], [1, size - 1])}


def test_only_the_largest_groups_have_cut_points_of_their_own() -> None:
    groups = {f"g{n:02}": group_of(10 + n) for n in range(MAX_PEER_GROUPS + 3)}
    census = Census(10, "job_type")
    values = {"searches": ([1, 2], [50, 50])}
    census.learn(Summary(0, 1, 100, {}, 1, values, {}, peers="job_type", groups=groups))
    census.learn(Summary(1, 1, 100, {}, 1, values, {}, peers="group_type", groups={"SMB": group_of(90)}))
    found = census.calibrate()
    assert found is not None and found.population == 200
    assert list(found.groups) == [f"g{n:02}" for n in range(3, MAX_PEER_GROUPS + 3)]


def test_group_types_beyond_the_limit_are_one() -> None:
    census = Census(1)
    for number in range(2):
        shard = Shard(number, PLAIN, Limits())
        orgs: list[Record] = [Org(f"o{n}", "", "UTC", f"type {n:02}") for n in range(MAX_GROUP_TYPES + 4)]
        play(shard, *orgs, rows_of(acts("o0", f"u{number}", 1)), Tick(NOON, 1))
        census.learn(summary(shard, 1))
    found = census.by_group_type()
    assert len(found) == MAX_GROUP_TYPES + 1 and found["other"].orgs == 8
    assert sum(total.orgs for total in found.values()) == 2 * (MAX_GROUP_TYPES + 4)
    assert found["type 00"].active_users == 2
