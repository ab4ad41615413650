"""The shard: weeks close, late rows are told, scores follow the directory."""

from __future__ import annotations

from collections import Counter, defaultdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from state.activity import Calibration, Member, Org, Record, Rows, Tick
from state.effects import Effect, Late, LatencyMap, LatencyMonth, OrgScore, Summary, UserScore, WeekRow
from state.measures import MAX_MEASURES
from state.shard import Shard
from state.waits import Waits
from state.week import week_label, week_of
from tests.state.random_logs import LIMITS, MODEL, random_log
from tests.state.worlds import DAY, HOUR, WEEK, Act, at, examples, model_of, rows_of, shard_of

MONDAY = at("2024-03-04")  # 2024-W10


def play(shard: Shard, records: list[Record], offset: int = 0) -> list[list[Effect]]:
    """Apply *records*; return the effects of each tick."""
    found = [shard.apply(record, offset + n) for n, record in enumerate(records)]
    return [effects for effects in found if effects is not None]


def search(user: str, time_ms: int, id_: int, org: str = "a") -> Act:
    return Act(org, user, "search", time_ms, id_)


def of(kind: type, effects: list[Effect]) -> list:
    return [e for e in effects if isinstance(e, kind)]


def last_rows(ticks: list[list[Effect]]) -> dict[tuple[str, str, str], WeekRow]:
    """Return the row of each (org, user, week) that was told last."""
    return {(e.org, e.user, e.week): e for effects in ticks for e in of(WeekRow, effects)}


# --- weeks ---


def test_a_week_closes_with_final_rows_of_its_users_and_orgs() -> None:
    #     W10                     │ W11
    # ── ann ×2 ─── bob ──────────┼── tick ──
    shard = shard_of()
    acts = [search("ann", MONDAY, 1), search("ann", MONDAY + DAY, 2), search("bob", MONDAY + 2 * DAY, 3)]
    (effects,) = play(shard, [rows_of(acts), Tick(MONDAY + WEEK, 0)])
    rows = {(r.user, r.state): r for r in of(WeekRow, effects)}
    assert set(rows) == {("ann", "final"), ("bob", "final"), ("", "final")}
    org = rows["", "final"]
    assert (org.week, org.counts, org.activities, org.active_users) == ("2024-W10", {"search": 3}, 3, 2)
    ann = rows["ann", "final"]
    assert (ann.activities, ann.active_users, ann.score) == (2, 1, 2000)
    assert ann.contributions == {"searches": 2000}


def test_an_instant_before_its_end_the_week_is_open() -> None:
    shard = shard_of()
    (effects,) = play(shard, [rows_of([search("ann", MONDAY, 1)]), Tick(MONDAY + WEEK - 1, 1)])
    assert [(r.user, r.state) for r in of(WeekRow, effects)] == [("", "provisional")]
    (effects,) = play(shard, [Tick(MONDAY + WEEK, 1)], 2)
    assert {r.state for r in of(WeekRow, effects)} == {"final"}


@pytest.mark.parametrize(
    ("zone", "end"),
    [
        ("UTC", "2024-03-11T00:00"),
        ("Asia/Kolkata", "2024-03-10T18:30"),
        ("America/New_York", "2024-03-11T04:00"),  # the clocks were put on that Sunday
        ("Pacific/Auckland", "2024-03-10T11:00"),
    ],
)
def test_a_week_closes_when_it_ends_in_its_orgs_zone(zone: str, end: str) -> None:
    shard = shard_of()
    records = [Org("a", "Acme", zone, ""), rows_of([search("ann", MONDAY + 2 * DAY, 1)])]
    before, after = play(shard, [*records, Tick(at(end) - 1, 0), Tick(at(end), 0)])
    assert of(WeekRow, before) == []
    assert {(r.week, r.state) for r in of(WeekRow, after)} == {("2024-W10", "final")}


def test_an_activity_counts_in_the_week_of_its_orgs_zone() -> None:
    # Sunday 20:00 UTC is Monday 01:30 in Kolkata.
    sunday = at("2024-03-10T20:00")
    shard = shard_of()
    records = [
        Org("b", "", "Asia/Kolkata", ""),
        rows_of([search("ann", sunday, 1, "a"), search("ann", sunday, 2, "b")]),
    ]
    ticks = play(shard, [*records, Tick(sunday + 2 * WEEK, 0)])
    assert {(o, w) for o, u, w in last_rows(ticks) if u} == {("a", "2024-W10"), ("b", "2024-W11")}


def test_a_late_event_restates_its_week_and_its_score() -> None:
    shard = shard_of()
    first, second = play(
        shard,
        [
            rows_of([search("ann", MONDAY, 1)]),
            Tick(MONDAY + WEEK, 0),
            rows_of([search("ann", MONDAY + 1, 2), search("bob", MONDAY + 2, 3)], 10),
            Tick(MONDAY + WEEK + HOUR, 0),
        ],
    )
    final = {r.user: r for r in of(WeekRow, first)}
    restated = {r.user: r for r in of(WeekRow, second)}
    assert {r.state for r in restated.values()} == {"restated"}
    assert (final["ann"].score, restated["ann"].score, restated["bob"].score) == (1000, 2000, 1000)
    ann = restated["ann"]
    assert (ann.counts, ann.attributes, ann.contributions) == ({"search": 2}, [2], {"searches": 2000})
    assert (restated[""].active_users, restated[""].activities, restated[""].score) == (2, 3, 1500)


def test_only_who_was_touched_is_restated() -> None:
    shard = shard_of()
    everybody = [search(f"u{n}", MONDAY, n) for n in range(1, 20)]
    late = rows_of([search("u3", MONDAY + 5, 99)], 50)
    *_, last = play(shard, [rows_of(everybody), Tick(MONDAY + WEEK, 0), late, Tick(MONDAY + WEEK + 1, 0)])
    assert sorted(r.user for r in of(WeekRow, last)) == ["", "u3"]


def test_weeks_without_anything_pass_in_silence() -> None:
    shard = shard_of()
    ticks = play(shard, [rows_of([search("ann", MONDAY, 1)]), Tick(MONDAY + 6 * WEEK, 0)])
    assert {w for _, _, w in last_rows(ticks)} == {"2024-W10"}


def test_last_weeks_score_is_the_previous_one() -> None:
    shard = shard_of()
    acts = [search("ann", MONDAY + n * HOUR, n) for n in range(5)]
    ticks = play(
        shard,
        [rows_of(acts), Tick(MONDAY + DAY, 0), rows_of([search("ann", MONDAY + WEEK + DAY, 50)], 9), Tick(0, 0)],
    )
    first, second = (of(UserScore, t)[-1] for t in ticks)
    assert (first.score, first.previous, first.changes, first.first_week) == (5000, None, None, True)
    assert second.previous == 5000
    assert second.changes == [second.score - 5000]
    assert not second.first_week


def test_a_transaction_taken_back_leaves_a_row_that_says_so() -> None:
    #  approved ── told ── voided ──►  the row must not stay at one transaction
    shard = shard_of()
    approved = Act("a", "", "transaction", MONDAY, 1, 500, 77)
    voided = Act("a", "", "transaction_other", MONDAY + HOUR, 2, 500, 77)
    ticks = play(shard, [rows_of([approved]), Tick(MONDAY + WEEK, 0), rows_of([voided], 5), Tick(0, 0)])
    first, last = (last_rows([t])["a", "", "2024-W10"] for t in ticks)
    assert (first.counts, first.sums) == ({"transaction": 1}, {"transaction": 500})
    assert (last.state, last.counts, last.sums) == ("restated", {}, {})


def test_a_transaction_voided_in_an_open_week_ends_at_nothing() -> None:
    shard = shard_of()
    approved = Act("a", "", "transaction", MONDAY, 1, 500, 77)
    voided = Act("a", "", "transaction_other", MONDAY + HOUR, 2, 500, 77)
    ticks = play(shard, [rows_of([approved]), Tick(MONDAY + 1, 1), rows_of([voided], 5), Tick(MONDAY + WEEK, 1)])
    assert last_rows(ticks[:1])["a", "", "2024-W10"].counts == {"transaction": 1}
    last = last_rows(ticks)["a", "", "2024-W10"]
    assert (last.state, last.counts) == ("final", {})


def test_a_transaction_can_not_be_taken_out_of_a_week_that_is_forgotten() -> None:
    #  T0 approved … weeks pass, T1 keeps the list of transactions busy … T0 voided: too old to matter
    shard = shard_of(allowed_lateness_hours=21 * 24)
    busy = Act("a", "", "transaction", MONDAY + 2 * WEEK, 1, 100, 5)
    old = Act("a", "", "transaction", MONDAY, 2, 500, 77)
    void = Act("a", "", "transaction_other", MONDAY + 8 * WEEK, 3, 500, 77)
    keeps_busy = [Act("a", "", "transaction", MONDAY + n * WEEK, 10 + n, 100, 5) for n in range(3, 9)]
    records: list[Record] = [rows_of([busy]), rows_of([old], 5)]
    records += [rows_of([act], 10 * n) for n, act in enumerate(keeps_busy, 1)]
    ticks = play(shard, [*records, rows_of([void], 200), Tick(MONDAY + 8 * WEEK, 0)])
    assert all(n >= 0 for row in last_rows(ticks).values() for n in row.counts.values())
    assert len(shard.folder.segments()["transactions"]) == 2


# --- late, twice, before anything ---


def test_a_late_row_is_counted_and_told_but_not_applied() -> None:
    shard = shard_of(allowed_lateness_hours=48)
    now = MONDAY + 10 * DAY
    (effects,) = play(
        shard,
        [
            rows_of([search("ann", now, 1)], 100),
            rows_of([search("ann", now - HOUR, 2), search("ann", now - 49 * HOUR, 3)], 200, "chat-messages", 3),
            Tick(now, 0),
        ],
    )
    assert of(Late, effects) == [Late("chat-messages", 3, [201])]
    assert shard.reception.outcomes == {("product-events", 0): [1, 0, 0], ("chat-messages", 3): [1, 0, 1]}
    assert int(shard.week.counts_of(np.arange(len(shard.subjects))).sum()) == 2


def test_a_row_that_comes_twice_counts_once() -> None:
    shard = shard_of()
    twice = [search("ann", MONDAY, 1), search("ann", MONDAY, 1), search("ann", MONDAY, 2)]
    play(shard, [rows_of(twice), rows_of(twice, 10), Tick(0, 0)])
    assert shard.reception.outcomes == {("product-events", 0): [2, 4, 0]}
    assert int(shard.week.counts_of(np.arange(len(shard.subjects))).sum()) == 2


def test_a_tick_before_the_first_event_does_nothing() -> None:
    shard = shard_of()
    assert play(shard, [Tick(at("2030-01-01"), 0), Tick(at("2030-01-02"), 1)]) == [[], []]
    assert shard.watermark_ms == 0
    play(shard, [rows_of([search("ann", MONDAY, 1)])], 2)
    assert shard.reception.outcomes["product-events", 0] == [1, 0, 0]


def test_a_tick_with_nothing_new_says_nothing() -> None:
    shard = shard_of()
    first, second = play(shard, [rows_of([search("ann", MONDAY, 1)]), Tick(MONDAY, 0), Tick(MONDAY + 1, 0)])
    assert first and second == []


def test_every_row_is_accepted_duplicate_or_late() -> None:
    for seed in range(5):
        shard = Shard(0, MODEL, shard_of(**LIMITS)._limits)
        log = random_log(seed)
        play(shard, log)
        sent = Counter[tuple[str, int]]()
        for record in log:
            if isinstance(record, Rows):
                sent[record.topic, record.partition] += len(record.measure)
        assert {source: sum(o) for source, o in shard.reception.outcomes.items()} == sent, f"seed {seed}"


# --- cut points ---


def test_only_a_newer_generation_of_cut_points_counts() -> None:
    shard = shard_of()
    acts = rows_of([search("ann", MONDAY + n, n) for n in range(5)])
    low, high = list(range(9)), list(range(10, 19))
    ticks = play(
        shard,
        [
            acts,
            Calibration(3, 100, {"searches": high}),
            Tick(MONDAY, 0),
            Calibration(2, 100, {"searches": low}),
            Calibration(3, 100, {"searches": low}),
            Tick(MONDAY + 1, 0),
            Calibration(4, 100, {"searches": low, "nobody knows": low}),
            Tick(MONDAY + 2, 0),
        ],
    )
    assert [(s.score, s.calibration) for t in ticks for s in of(UserScore, t)] == [(0, 3), (6000, 4)]


def test_a_summary_comes_once_a_round_and_only_when_the_population_changed() -> None:
    shard = shard_of()
    first, again = rows_of([search("ann", MONDAY, 1)]), rows_of([search("ann", MONDAY, 2)], 7)
    rounds = [Tick(MONDAY, n) for n in (1, 1, 2, 2, 3)]
    ticks = play(shard, [first, *rounds[:3], again, *rounds[3:]])
    assert [[s.round for s in of(Summary, t)] for t in ticks] == [[1], [], [], [], [3]]


def test_a_quiet_partition_says_with_every_hour_how_far_it_is() -> None:
    hours = [MONDAY + n * HOUR for n in range(1, 4)]
    ticks = play(shard_of(), [rows_of([search("ann", MONDAY, 1)]), *[Tick(at, n) for n, at in enumerate(hours, 1)]])
    assert [[s.watermark_ms for s in of(Summary, t)] for t in ticks] == [[hour] for hour in hours]
    ticks = play(shard_of(), [Org("a", "Acme", "UTC", ""), *[Tick(at, n) for n, at in enumerate(hours, 1)]])
    assert [[(s.orgs, s.watermark_ms) for s in of(Summary, t)] for t in ticks] == [[(1, 0)], [], []]


def test_bands_and_population_count_the_same_people() -> None:
    shard = shard_of()
    acts = rows_of([search(user, MONDAY, n) for n, user in enumerate(("ann", "bob", "cat"), 1)])
    gone = Member("a", "cat", False, "", gone=True)
    (effects,) = play(shard, [acts, gone, Tick(MONDAY, 1)])
    (found,) = of(Summary, effects)
    assert (found.users_active, sum(found.users_by_band.values())) == (2, 2)


# --- the directory ---


def test_a_user_who_changes_orgs_leaves_the_one_and_joins_the_other() -> None:
    shard = shard_of()
    here = [
        Member("a", "ann", True, ""),
        rows_of([search("ann", MONDAY, 1), search("bob", MONDAY, 2)]),
        Tick(MONDAY, 0),
    ]
    moved = [
        Member("a", "ann", False, "", gone=True),
        Member("b", "ann", True, ""),
        rows_of([search("ann", MONDAY + HOUR, 3, "b")], 9),
        Tick(MONDAY + HOUR, 0),
    ]
    before, after = play(shard, here + moved)
    assert {o.org: (o.active_users, o.licensed_users) for o in of(OrgScore, before)} == {"a": (2, 2)}
    assert {o.org: (o.active_users, o.licensed_users) for o in of(OrgScore, after)} == {"a": (1, 1), "b": (1, 1)}
    assert {(s.org, s.user): s.score for s in of(UserScore, after)} == {("a", "ann"): 0, ("b", "ann"): 1000}


def test_an_org_that_moves_to_another_zone_closes_later_weeks_there() -> None:
    shard = shard_of()
    tuesday = MONDAY + WEEK + DAY
    ticks = play(
        shard,
        [
            rows_of([search("ann", MONDAY + DAY, 1)]),
            Tick(tuesday, 0),
            Org("a", "", "Pacific/Auckland", ""),
            rows_of([search("ann", tuesday, 2)], 5),
            Tick(at("2024-03-17T10:59"), 0),
            Tick(at("2024-03-17T11:00"), 0),
        ],
    )
    assert [sorted({(r.week, r.state) for r in of(WeekRow, t)}) for t in ticks] == [
        [("2024-W10", "final")],
        [],
        [("2024-W11", "final")],
    ]


def test_coming_back_to_a_zone_does_not_close_its_old_weeks_again() -> None:
    #  zone:  Berlin ─── New York for three weeks ─── Berlin
    shard = shard_of()
    records: list[Record] = [Org("a", "", "Europe/Berlin", ""), rows_of([search("ann", MONDAY + DAY, 1)])]
    records += [Tick(MONDAY + 2 * DAY, 0), Org("a", "", "America/New_York", "")]
    for week in range(1, 4):
        records += [
            rows_of([search("ann", MONDAY + week * WEEK + DAY + n, 10 * week + n) for n in range(week)], 100 * week)
        ]
        records += [Tick(MONDAY + week * WEEK + 2 * DAY, 0)]
    ticks = play(shard, records)
    scores = {row.week: row.score for row in last_rows(ticks).values() if row.user}
    back = play(shard, [Org("a", "", "Europe/Berlin", ""), Tick(MONDAY + 3 * WEEK + 3 * DAY, 0)], 90)
    assert of(WeekRow, back[0]) == []
    later = play(shard, [Tick(MONDAY + 4 * WEEK, 0)], 92)
    assert {r.week for r in of(WeekRow, later[0])} == {"2024-W13"}
    assert set(scores) == {"2024-W10", "2024-W11", "2024-W12"}


# --- latency ---


def message(user: str, time_ms: int, id_: int, ref: int = 0) -> Act:
    return Act("a", user, "message", time_ms, id_, 0, ref)


def test_fifty_hours_of_waiting_count_as_fifty_hours() -> None:
    # Monday 09:00 ann asks ───── 50 h ─────► Wednesday 11:00 bob answers
    shard = shard_of()
    asked = MONDAY + 9 * HOUR
    (effects,) = play(shard, [rows_of([message("ann", asked, 1), message("bob", asked + 50 * HOUR, 2, 1)]), Tick(0, 1)])
    (found,) = of(LatencyMap, effects)
    assert found.cells[9] == (50 * HOUR, 1, 1, 1, 50 * HOUR, 0)
    assert found.cells[2 * 24 + 11] == (None, 0, 1, 0, None, 0)


def test_the_cell_is_the_parents_hour_in_the_orgs_zone() -> None:
    shard = shard_of()
    asked = at("2024-03-03T20:00")  # Sunday in UTC, Monday 01:30 in Kolkata
    records = [
        Org("a", "", "Asia/Kolkata", ""),
        rows_of([message("bob", asked + HOUR, 2, 1), message("ann", asked, 1)]),
    ]
    (effects,) = play(shard, [*records, Tick(0, 1)])
    (found,) = of(LatencyMap, effects)
    assert found.timezone == "Asia/Kolkata"
    assert found.cells[1] == (HOUR, 1, 1, 1, HOUR, 1)


def test_self_replies_and_clock_skew_are_counted_apart() -> None:
    shard = shard_of()
    acts = [message("ann", MONDAY, 1), message("ann", MONDAY + 5, 2, 1), message("bob", MONDAY - 5, 3, 1)]
    (effects,) = play(shard, [rows_of(acts), Tick(0, 1)])
    assert shard.folder.apart == {"self_reply": 1, "negative_latency": 1, "negative_duration": 0}
    assert sum(cell[1] for cell in of(LatencyMap, effects)[0].cells.values()) == 0


def test_a_zone_that_becomes_known_late_moves_what_was_counted_before() -> None:
    shard, asked = shard_of(), at("2024-03-03T20:00")  # Sunday in UTC, Monday 01:30 in Kolkata
    before, after = play(
        shard,
        [
            rows_of([message("ann", asked, 1), message("bob", asked + HOUR, 2, 1)]),
            Tick(0, 1),
            Org("a", "", "Asia/Kolkata", ""),
            Tick(0, 2),
        ],
    )
    assert [set(of(LatencyMap, effects)[0].cells) for effects in (before, after)] == [
        {6 * 24 + 20, 6 * 24 + 21},
        {1, 2},
    ]


def test_each_channel_has_a_line_of_its_own_and_a_deleted_message_is_in_none() -> None:
    shard = shard_of()
    acts = [
        message("ann", MONDAY, 1)._replace(place="#help"),
        message("bob", MONDAY + HOUR, 2, 1)._replace(place="#chat"),
        message("cat", MONDAY + 2 * HOUR, 3, 1)._replace(place="#help"),
        Act("a", "", "message_deleted", MONDAY + 3 * HOUR, 4, 0, 2),
    ]
    (effects,) = play(shard, [rows_of(acts), Tick(0, 1)])
    (found,) = of(LatencyMap, effects)
    assert (found.lines, found.whole) == (["replies/#help"], (2 * HOUR, 1, 2, 1, 2 * HOUR, 1))
    (month,) = of(LatencyMonth, effects)
    assert month.month == "2024-03" and list(month.lines) == ["replies/#help"]
    assert Waits.load(month.lines["replies/#help"]).grid("UTC").answered[0] == 1
    rows = {u: r.counts for (_, u, _), r in last_rows(play(shard, [Tick(MONDAY + WEEK, 0)], 9)).items()}
    assert (rows["bob"], rows["cat"]) == ({"message": 1}, {"message": 1, "reply_given": 1})


def test_who_answers_and_who_is_answered_are_counted_but_not_twice_as_active() -> None:
    shard = shard_of()
    acts = [message("ann", MONDAY, 1), message("bob", MONDAY + 90_000, 2, 1)]
    ticks = play(shard, [rows_of(acts), Tick(MONDAY + WEEK, 0)])
    rows = {u: r for (_, u, _), r in last_rows(ticks).items()}
    assert rows["ann"].counts == {"message": 1, "reply_received": 1}
    assert rows["bob"].counts == {"message": 1, "reply_given": 1}
    assert (rows["bob"].sums, rows["bob"].activities) == ({"reply_given": 90}, 1)


# --- against a plain recount ---


def recount(log: list[Record], zone: dict[str, str]) -> dict[tuple[str, str, int], dict[str, int]]:
    """Return (org, user, week) → counts by measure, in plain Python; the log has unique ids, nothing late."""
    found: dict[tuple[str, str, int], Counter[str]] = defaultdict(Counter)
    names = set(MODEL.catalogue.names)
    latest: dict[int, tuple[int, Act]] = {}
    acts = [a for record in log if isinstance(record, list) for a in record]
    by_id = {a.id: a for a in acts if a.measure == "message"}
    for act in acts:
        if act.measure.startswith("transaction"):
            former = latest.get(act.ref)
            if former is None or former[0] < act.time_ms:
                latest[act.ref] = (act.time_ms, act)
            continue
        measure = act.measure if act.measure in names else "other"
        found[act.org, act.user, week_of(act.time_ms, zone[act.org])][measure] += 1
        parent = by_id.get(act.ref) if measure == "message" else None
        if parent is not None and parent.user != act.user and parent.time_ms <= act.time_ms:
            week = week_of(act.time_ms, zone[act.org])
            found[act.org, act.user, week]["reply_given"] += 1
            found[act.org, parent.user, week]["reply_received"] += 1
    for time_ms, act in latest.values():
        if act.measure == "transaction":
            found[act.org, "", week_of(time_ms, zone[act.org])]["transaction"] += 1
    return {key: dict(counts) for key, counts in found.items()}


def content_of(shard: Shard) -> dict[tuple[str, str, int], dict[str, int]]:
    """Return (org, user, week) → counts by measure, as the shard holds them."""
    found: dict[tuple[str, str, int], dict[str, int]] = defaultdict(dict)
    for week in shard.history.weeks():
        keys, counts, _, _ = shard.history.read(week)
        for key, count in zip(keys.tolist(), counts.tolist(), strict=True):
            org, user = shard.subjects.names[key // MAX_MEASURES].split("\x1f")
            found[org, user, week][MODEL.catalogue.names[key % MAX_MEASURES]] = count
    return dict(found)


act_strategy = st.tuples(
    st.sampled_from("ab"),
    st.sampled_from(["ann", "bob", "cat"]),
    st.sampled_from(["search", "export", "alert_received", "message", "message", "transaction", "transaction_other"]),
    st.integers(0, 20 * DAY // 1000),
    st.integers(0, 12),
)


def acts_of(drawn: list[tuple[str, str, str, int, int]]) -> list[Act]:
    """Return activities with unique ids and times; a message refers to one of its own org's, or to nobody."""
    acts = []
    for n, (org, user, measure, seconds, ref) in enumerate(drawn):
        time_ms = MONDAY + seconds * 1000 + n  # unique: no ties between statuses
        side = 1000 if org == "a" else 2000
        if measure.startswith("transaction"):
            acts.append(Act(org, "", measure, time_ms, side + n, 100, side + 500 + ref % 3))
        elif measure == "message":
            target = ref if ref < len(drawn) and drawn[ref][0] == org else -1
            acts.append(Act(org, user, measure, time_ms, side + n, 0, side + target if target >= 0 else 0))
        else:
            acts.append(Act(org, user, measure, time_ms, side + n))
    return acts


@examples(60)
@given(st.lists(act_strategy, min_size=1, max_size=40), st.randoms(use_true_random=False), st.integers(1, 9))
def test_any_order_within_the_lateness_gives_the_weeks_of_a_recount(drawn: list, rng: object, size: int) -> None:
    acts = acts_of(drawn)
    end = Tick(MONDAY + 21 * DAY, 1)
    shards, told = [], []
    for mixed in (False, True):
        order = list(acts)
        if mixed:
            rng.shuffle(order)
        shard = Shard(0, MODEL, shard_of(allowed_lateness_hours=30 * 24)._limits)
        records: list[Record] = [Org("b", "", "Asia/Kolkata", "")]
        records += [rows_of(order[n : n + size], 100 * n) for n in range(0, len(order), size)]
        records.insert(len(records) // 2, Tick(0, 0))
        told.append(last_rows(play(shard, [*records, end])))
        shards.append(shard)
    expected = recount([acts], {"a": "UTC", "b": "Asia/Kolkata"})
    assert content_of(shards[0]) == content_of(shards[1]) == expected
    summed = [i for i, m in enumerate(MODEL.catalogue.measures) if m.summed]
    sorted_week, mixed_week = (
        {
            name: (counts.tolist(), [int(shard.week.sum_of(m)[slot]) for m in summed])
            for slot, (name, counts) in enumerate(
                zip(shard.subjects.names, shard.week.counts_of(np.arange(len(shard.subjects))), strict=True)
            )
            if counts.any()
        }
        for shard in shards
    )
    assert sorted_week == mixed_week
    final = {(o, u, w): r for (o, u, w), r in told[1].items() if u and r.state in ("final", "restated")}
    closed = {(o, u, week_label(w)): c for (o, u, w), c in expected.items() if u}
    assert {key: row.counts for key, row in final.items()} == closed


def test_scores_of_the_end_do_not_depend_on_when_was_evaluated() -> None:
    for seed in range(5):
        log = random_log(seed)
        often = Shard(0, MODEL, shard_of(**LIMITS)._limits)
        once = Shard(0, MODEL, shard_of(**LIMITS)._limits)
        play(often, [r for record in log[:-1] for r in (record, Tick(0, 0))] + log[-1:])
        play(once, [r for r in log[:-1] if not isinstance(r, Tick)] + log[-1:])
        both = [
            {(u.org, u.user): (u.score, u.contributions) for u in of(UserScore, list(s.documents()))}
            for s in (often, once)
        ]
        assert both[0] == both[1], f"seed {seed}"


def test_the_measures_of_a_model_come_from_its_own_catalogue() -> None:
    shard = shard_of(model_of())
    (effects,) = play(shard, [rows_of([Act("a", "ann", "unheard of", MONDAY, 1)]), Tick(MONDAY + WEEK, 0)])
    assert {r.user: r.counts for r in of(WeekRow, effects)}["ann"] == {"other": 1}
