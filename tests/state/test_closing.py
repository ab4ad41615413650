"""A closed week's score is a function of its own events and the cut points of its close: late data restates it.

W10                    │ W11                    │ W12
── events ─────────────┼── … late: W10 ─────────┼──►   rows, `previous` and last weeks as if all came in time
                scored by the cut points of here ┘ (each week's own)
"""

from __future__ import annotations

import random
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from state.activity import Calibration, Member, Org, Record, Tick
from state.effects import Effect, OrgScore, UserScore, WeekRow
from state.shard import Shard
from state.week import week_of
from tests.state.random_logs import LIMITS, MODEL
from tests.state.test_shard import MONDAY, act_strategy, acts_of, last_rows, of, play, search
from tests.state.worlds import DAY, HOUR, TEN, WEEK, Act, attribute, examples, hours_of, model_of, rows_of, shard_of

TWICE = [n * 2 for n in TEN]
SHARE = attribute("share", "share_of_org", cuts=[n * 1000 for n in TEN])


def stated(rows: dict[Any, WeekRow]) -> dict[Any, Any]:
    """Return closed weeks' rows without how they were told; rows of nothing left out."""
    found = {}
    for key, row in rows.items():
        if row.state != "provisional" and row.counts:
            found[key] = tuple(getattr(row, name) for name in row.__struct_fields__ if name != "state")
    return found


def past_of(shard: Shard) -> dict[tuple[str, str], Any]:
    """Return of each subject what its score is held against."""
    users = {(d.org, d.user): d for d in of(UserScore, list(shard.documents()))}
    orgs = {(d.org, ""): d for d in of(OrgScore, list(shard.documents()))}
    return {key: (d.previous, d.recent, d.trend, d.changes, d.split) for key, d in (users | orgs).items()}


ZONES: list[Record] = [Org("b", "", "Asia/Kolkata", ""), Member("a", "ann", True, ""), Member("a", "cat", False, "")]


@examples(60)
@given(st.lists(act_strategy, min_size=2, max_size=40), st.randoms(use_true_random=False), st.integers(1, 9))
def test_any_order_within_the_lateness_gives_equal_rows_of_closed_weeks(
    drawn: list[Any], rng: random.Random, size: int
) -> None:
    acts, end = acts_of(drawn), Tick(MONDAY + 22 * DAY, 1)
    told, pasts = [], []
    for mixed in (False, True):
        order = sorted(acts, key=lambda act: act.time_ms)
        first, rest = order[:1], order[1:]
        if mixed:
            rng.shuffle(rest)
        shard = shard_of(MODEL, **LIMITS | {"allowed_lateness_hours": 30 * 24})
        # What was before anything came is not told of: the first one is the first in both.
        records: list[Record] = [*ZONES, rows_of(first, 0)]
        for n in range(0, len(rest), size):
            records += [rows_of(rest[n : n + size], 100 + 100 * n), Tick(0, n * rng.randrange(2))]
        told.append(stated(last_rows(play(shard, [*records, end]))))
        pasts.append(past_of(shard))
    assert told[0] == told[1]
    assert pasts[0] == pasts[1]


def searches(user: str, count: int, time_ms: int, org: str = "a") -> list[Act]:
    return [search(user, time_ms + n, zlib.crc32(f"{user} {time_ms + n} {org}".encode()), org) for n in range(count)]


def test_each_week_is_scored_by_the_cut_points_of_its_close_whenever_its_data_comes() -> None:
    first, second = searches("ann", 4, MONDAY + DAY), searches("ann", 6, MONDAY + WEEK + DAY)
    late = [*searches("ann", 2, MONDAY + 2 * DAY), *searches("bob", 2, MONDAY + 3 * DAY)]
    later = searches("ann", 2, MONDAY + WEEK + 2 * DAY)
    cuts: list[Record] = [Calibration(n, 99, {"searches": [m * n for m in TEN]}) for n in (1, 2, 3)]

    def log(parts: list[list[Act]]) -> list[Record]:
        before, between, after = (rows_of(acts, 100 * n) for n, acts in enumerate(parts, 1))
        return [
            before, cuts[0], Tick(MONDAY + WEEK + HOUR, 1), between, cuts[1], Tick(MONDAY + 2 * WEEK + HOUR, 2),
            cuts[2], after, Tick(MONDAY + 2 * WEEK + DAY, 3),
        ]  # fmt: skip

    now = searches("ann", 1, MONDAY + 2 * WEEK + 2 * HOUR)
    shards = [shard_of(), shard_of()]
    in_time = last_rows(play(shards[0], log([first + late, second + later, now])))
    delayed = last_rows(play(shards[1], log([first, [*second, *late[:1]], [*later, *late[1:], *now]])))
    assert stated(in_time) == stated(delayed)
    ann = {row.week: (row.score, row.calibration) for row in delayed.values() if row.user == "ann"}
    assert ann == {"2024-W10": (6000, 1), "2024-W11": (4000, 2)}
    assert {row.state for row in delayed.values() if row.user} == {"restated"}
    documents = [past_of(shard)["a", "ann"][:4] for shard in shards]
    assert documents[0] == documents[1] == (4000, [-1] * 6 + [6000, 4000], None, documents[0][3])


def test_a_late_event_moves_previous_and_the_last_weeks_along_and_the_split_stays_exact() -> None:
    shard = shard_of()
    play(shard, [rows_of(searches("ann", 2, MONDAY + 5 * DAY)), Tick(MONDAY + WEEK + HOUR, 0)])
    (effects,) = play(shard, [rows_of(searches("ann", 3, MONDAY), 50), Tick(MONDAY + WEEK + HOUR, 0)], 2)
    (ann,), (org,) = of(UserScore, effects), of(OrgScore, effects)
    # Monday 00h has just left the rolling week: what came late for it is in the past alone.
    assert (ann.score, ann.previous, ann.recent[-1]) == (2000, 5000, 5000)
    assert ann.split == [-3000, 0, 0, 0] and ann.changes == [-3000]
    assert (org.previous, org.recent[-1], org.split) == (5000, 5000, [-3000, 0, 0, 0])
    assert [(r.user, r.score) for r in of(WeekRow, effects)] == [("ann", 5000), ("", 5000)]


def test_users_whose_share_of_the_org_changes_are_restated_too_and_others_are_not() -> None:
    shard = shard_of(model_of(SHARE))
    acts = [*searches("ann", 1, MONDAY), *searches("bob", 1, MONDAY), *searches("eve", 1, MONDAY, "b")]
    play(shard, [rows_of(acts), Tick(MONDAY + WEEK, 0)])
    (effects,) = play(shard, [rows_of(searches("cat", 2, MONDAY + DAY), 50), Tick(MONDAY + WEEK + 1, 0)], 2)
    rows = {(r.org, r.user): r for r in of(WeekRow, effects)}
    assert {place: row.attributes for place, row in rows.items()} == {
        ("a", "ann"): [2500], ("a", "bob"): [2500], ("a", "cat"): [5000], ("a", ""): None,
    }  # fmt: skip
    assert [rows["a", user].score for user in ("ann", "bob", "cat", "")] == [2000, 2000, 5000, 3000]
    (again,) = play(shard, [Tick(MONDAY + WEEK + 2, 0)], 4)
    assert of(WeekRow, again) == []


def test_orgs_have_three_closing_scores_from_the_week_and_the_members_at_its_close() -> None:
    shard = shard_of()
    seats: list[Record] = [Member("a", user, True, "") for user in ("ann", "bob", "idle")]
    acts = rows_of([*searches("ann", 8, MONDAY), *searches("bob", 2, MONDAY), *searches("cat", 2, MONDAY)])
    gone: list[Record] = [Member("a", "ann", False, "", gone=True)]
    late = rows_of(searches("cat", 3, MONDAY + DAY), 50)
    first, second = play(shard, [*seats, acts, Tick(MONDAY + WEEK, 0), *gone, late, Tick(MONDAY + WEEK + 1, 0)])
    for effects, scores in ((first, (4000, 3000, 2000)), (second, (5000, 3750, 5000))):
        (org,) = (row for row in of(WeekRow, effects) if not row.user)
        # ann 80 %, bob 20 %, cat 20 % and then 50 % (not in the directory: a seat), idle nothing.
        assert (org.score, org.score_licensed, org.score_median) == scores
        assert sum(org.contributions.values()) == org.score


def test_a_user_first_heard_of_late_was_there_since_then() -> None:
    shard = shard_of()
    play(shard, [rows_of(searches("ann", 2, MONDAY)), Tick(MONDAY + 3 * WEEK + HOUR, 0)])
    (effects,) = play(shard, [rows_of(searches("bob", 4, MONDAY + WEEK), 50), Tick(MONDAY + 3 * WEEK + HOUR, 0)], 2)
    bob = next(d for d in of(UserScore, effects) if d.user == "bob")
    assert (bob.previous, bob.recent) == (0, [-1] * 6 + [4000, 0])


def test_who_only_received_something_in_a_week_scores_nothing_in_it() -> None:
    received = Act("a", "ann", "alert_received", MONDAY, 1)
    (effects,) = play(shard_of(), [rows_of([received]), Tick(MONDAY + WEEK, 0)])
    ann = next(row for row in of(WeekRow, effects) if row.user)
    assert (ann.score, ann.contributions, ann.attributes) == (0, {}, [])


def test_attributes_are_told_in_their_own_units_and_those_without_data_are_none() -> None:
    model = model_of(
        attribute("recency", "recency_hours", cuts=[-9 + n for n in range(9)]),
        attribute("gap", "gap_hours", cuts=[-9 + n for n in range(9)]),
        attribute("days", "days_active"),
    )
    acts = [search("ann", MONDAY + 2 * HOUR, 1), search("ann", MONDAY + DAY, 2), search("bob", MONDAY, 3)]
    (effects,) = play(shard_of(model), [rows_of(acts), Tick(MONDAY + WEEK, 0)])
    rows = {row.user: row.attributes for row in of(WeekRow, effects)}
    # The week's last hour is Sunday 23h: Tuesday 00h is 143 hours before it.
    assert rows == {"ann": [143, 21, 2], "bob": [167, None, 1], "": None}


def as_of_a_version_without_closing(saved: dict[str, bytes]) -> dict[str, bytes]:
    return {n: v for n, v in saved.items() if not n.startswith(("closing:", "history:week-hours/"))}


def restored(saved: dict[str, bytes], model: Any = None) -> Shard:
    shard = shard_of(model)
    shard.restore(saved)
    return shard


DAYS = model_of(attribute("days", "days_active"), attribute("searches", "count", measures=["search"]))


def test_weeks_closed_by_another_model_keep_their_scores() -> None:
    other = model_of(attribute("exports", "count", measures=["export"]))
    shard = shard_of()
    play(shard, [rows_of(searches("ann", 3, MONDAY)), Tick(MONDAY + WEEK + DAY, 0)])
    shard = restored(shard.checkpoint(), other)
    more = [Act("a", "ann", "export", MONDAY + WEEK + DAY + n, 900 + n) for n in range(2)]
    records: list[Record] = [rows_of([*searches("ann", 1, MONDAY + DAY), *more], 50), Tick(MONDAY + 2 * WEEK, 0)]
    rows = {r.week: r for r in of(WeekRow, play(shard, records, 5)[-1]) if r.user}
    assert (rows["2024-W10"].counts, rows["2024-W10"].score) == ({"search": 4}, 3000)
    assert (rows["2024-W11"].score, rows["2024-W11"].contributions) == (2000, {"exports": 2000})


def test_rows_that_wait_to_be_told_lose_the_attributes_of_another_model() -> None:
    log = [rows_of(searches("ann", 3, MONDAY)), rows_of(searches("ann", 1, MONDAY + WEEK), 50)]
    for model, attributes in ((model_of(), [3]), (model_of(SHARE), None)):
        shard = shard_of()
        play(shard, log)
        (effects,) = play(restored(shard.checkpoint(), model), [Tick(0, 0)], 2)
        (row,) = (row for row in of(WeekRow, effects) if row.user)
        assert (row.score, row.contributions, row.attributes) == (3000, {"searches": 3000}, attributes)


def told(effects: list[Effect]) -> list[tuple[str, str]]:
    return [(row.week, row.state) for row in of(WeekRow, effects) if row.user]


def test_a_backlog_is_restated_once_a_round_and_nothing_of_it_is_forgotten() -> None:
    shard = shard_of(allowed_lateness_hours=2 * 168)
    play(shard, [rows_of(searches("ann", 1, MONDAY)), Tick(MONDAY + WEEK, 1)])
    late = rows_of(searches("ann", 1, MONDAY + DAY), 50)
    waits, comes = play(shard, [late, Tick(0, 1, catching_up=True), Tick(0, 2, catching_up=True)], 2)
    assert told(waits) == [] and told(comes) == [("2024-W10", "restated")]
    records: list[Record] = [rows_of(searches("ann", 1, MONDAY + 2 * DAY), 90), Tick(0, 2, catching_up=True)]
    records += [rows_of(searches("ann", 1, MONDAY + 6 * WEEK), 95), Tick(0, 2, catching_up=True)]
    _, last = play(shard, records, 5)
    assert told(last) == [("2024-W10", "restated")], "before the week is forgotten"
    assert last_rows([last])["a", "ann", "2024-W10"].counts == {"search": 3}


def test_what_closes_leave_behind_is_bounded_by_the_lateness() -> None:
    shard = shard_of(allowed_lateness_hours=2 * 168)
    zones: list[Record] = [Org("a", "", "Asia/Kolkata", ""), Org("b", "", "America/New_York", "")]
    play(shard, [*zones, rows_of(searches("ann", 1, MONDAY))])
    for week in range(30):
        for part in range(9):
            generation = week * 9 + part + 1
            moment = MONDAY + week * WEEK + part * 18 * HOUR
            acts = rows_of(searches("ann", 1, moment) + searches("bob", 1, moment, "b"), 100 * generation)
            play(shard, [Calibration(generation, 9, {"searches": TWICE}), acts, Tick(0, generation)], generation)
    segments = shard.closing.segments()
    kept = [generation for _, generation, _ in segments["cuts"]]
    assert 6 <= len(kept) <= 2 * 5 and kept == sorted(kept)
    assert len([name for name in segments if "/" in name]) <= 2 * 5
    assert len([name for name in shard.history.segments() if name.startswith("week-hours/")]) <= 5


@pytest.mark.parametrize("seed", range(4))
def test_the_hours_of_all_weeks_are_those_of_the_activities(seed: int) -> None:
    rng = random.Random(seed)
    shard = shard_of()
    acts = [search(rng.choice(("ann", "bob")), MONDAY + rng.randrange(3 * WEEK), n + 1) for n in range(60)]
    rng.shuffle(acts)
    play(shard, [rows_of(acts[n : n + 7], 100 * n) for n in range(0, 60, 7)])
    found = set()
    for week in shard.history.weeks():
        slots, columns = np.nonzero(hours_of(shard.history.active_hours(week, np.arange(len(shard.subjects)))))
        found |= {
            (shard.subjects.user(s), week * 168 + c - 1) for s, c in zip(slots.tolist(), columns.tolist(), strict=True)
        }
    monday = week_of(MONDAY, "UTC")
    assert found == {(act.user, monday * 168 + (act.time_ms - MONDAY) // HOUR) for act in acts}


def test_pinned_cut_points_close_each_week_whatever_is_in_force_and_through_a_checkpoint() -> None:
    #  pins     generation 7 from the end of W10, 8 from the end of W11
    #  W10 ─────┤ 7   W11 ─────┤ 8   … a calibration of 1 in between counts for live scores alone
    pins: list[Record] = [
        Calibration(7, 0, {"searches": TWICE}, since_ms=MONDAY + WEEK),
        Calibration(8, 0, {"searches": TEN}, since_ms=MONDAY + 2 * WEEK),
    ]
    rest: list[Record] = [
        rows_of([search("ann", MONDAY + DAY + n, n) for n in range(4)]),
        Calibration(9, 99, {"searches": [n * 3 for n in TEN]}),
        rows_of([search("ann", MONDAY + WEEK + n, 10 + n) for n in range(4)]),
        rows_of([search("ann", MONDAY + 2 * DAY, 20)]),  # late: W10 is restated by its own
        Tick(MONDAY + 3 * WEEK, 1),
    ]
    for cut in range(len(rest)):
        shard = shard_of()
        ticks = play(shard, pins + rest[:cut])
        again = shard_of()
        again.restore(shard.checkpoint())
        ticks += play(again, rest[cut:], len(pins) + cut)
        rows = {row.week: row for row in last_rows(ticks).values() if row.user == "ann"}
        assert [(week, rows[week].calibration, rows[week].score) for week in sorted(rows)] == [
            ("2024-W10", 7, 2000), ("2024-W11", 8, 4000),
        ]  # fmt: skip
        assert again.board.calibration == 9
