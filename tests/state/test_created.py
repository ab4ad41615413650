"""Users that nobody told the directory of are made while there is room, in the order of the log."""

from __future__ import annotations

from itertools import pairwise

import pytest

from state.activity import SEPARATOR, Bundle, Member, Org, Record, Rows, Tick
from state.effects import TOO_MANY, Late
from state.shard import Shard
from state.subjects import UNLISTED
from state.week import HOUR_MS
from tests.state.random_logs import LIMITS, MODEL, random_log
from tests.state.test_shard import MONDAY, play
from tests.state.worlds import Act, rows_of, shard_of

pytestmark = pytest.mark.security


def created(user: str, id_: int, org: str = "a") -> Act:
    """Return an act of somebody whom ingest did not find in the directory."""
    return Act(org, SEPARATOR.join((user, "", "!")), "search", MONDAY, id_)


def listed(user: str, id_: int, org: str = "a") -> Act:
    """Return an act of somebody whom ingest found by an alias."""
    return Act(org, SEPARATOR.join((user, f"{user}@example.org")), "search", MONDAY, id_)


def refusals(effects: list[list]) -> list[Late]:
    return [effect for said in effects for effect in said if isinstance(effect, Late)]


def test_an_org_has_room_for_so_many_and_the_others_are_refused_by_name() -> None:
    shard = shard_of(max_created_per_org=2)
    acts = [created(f"u{n}", n) for n in range(4)] + [created("u0", 9), created("v", 10, "b"), listed("ann", 11)]
    (late,) = refusals(play(shard, [rows_of(acts, 100), Tick(MONDAY, 0)]))
    assert late == Late("product-events", 0, [102, 103], TOO_MANY)
    assert shard.reception.outcomes == {("product-events", 0): [5, 0, 2]}
    assert shard.subjects.find("a", "u2") is None and shard.subjects.find("a", "ann") is not None


def test_a_refused_event_counts_once_there_is_room() -> None:
    shard = shard_of(max_created_per_org=1)
    play(shard, [rows_of([created("u0", 0), created("u1", 1)])])
    play(shard, [Member("a", "u0", True, "")], 1)  # the directory knows them: no longer made
    play(shard, [rows_of([created("u1", 1)], 5)], 2)
    assert shard.reception.outcomes == {("product-events", 0): [2, 0, 1]}  # no duplicate


def test_a_partition_has_room_for_so_many_of_all_orgs_and_known_ones_need_none() -> None:
    shard = shard_of(max_created=10)
    play(shard, [Org("known", "Known", "UTC", ""), Member("known", "ann", True, "")])
    million = [created("one", n, f"org{n}") for n in range(50)]
    play(shard, [rows_of([*million, created("ann", 60, "known"), listed("bob", 61, "known")], 0)], 2)
    # five orgs with one user each, and those of the known
    assert shard.reception.outcomes["product-events", 0] == [7, 0, 45]
    assert len(shard.subjects.orgs) == 6


def test_how_rows_are_bundled_makes_no_difference() -> None:
    parts = [rows_of([created(f"u{n + i}", n + i, f"o{(n + i) % 3}") for i in range(5)], n) for n in range(0, 60, 5)]
    one_by_one = shard_of(max_created=20, max_created_per_org=7)
    play(one_by_one, list[Record](parts))
    at_once = shard_of(max_created=20, max_created_per_org=7)
    play(at_once, [Bundle(parts)])
    assert one_by_one.reception.outcomes == at_once.reception.outcomes
    assert one_by_one.subjects.names == at_once.subjects.names


def test_what_is_counted_equals_a_recount_and_survives_a_restart() -> None:
    for seed in range(6):
        shard = Shard(0, MODEL, shard_of(**LIMITS, max_created=9, max_created_per_org=4)._limits)
        log = random_log(seed)
        play(shard, [record for record in log if not isinstance(record, Rows)])
        play(shard, [rows_of([created(f"n{n}", n, f"x{n % 4}") for n in range(40)]), *log], len(log))
        s, n = shard.subjects, len(shard.subjects)
        theirs = int((s.is_user[:n] & (s.membership[:n] == UNLISTED)).sum())
        assert s.created == theirs + sum(not org.title for org in s.orgs), f"seed {seed}"
        again = Shard(0, MODEL, shard._limits)
        again.restore(shard.checkpoint())
        assert again.subjects.created == s.created
        more = rows_of([created(f"m{n}", 1000 + n, f"x{n % 5}") for n in range(40)], 9000)
        for each in (shard, again):
            play(each, [more], 10_000)
        assert shard.checkpoint() == again.checkpoint()


def test_nobody_else_becomes_late_by_more_than_what_one_is_let_ahead() -> None:
    #  honest: now, now … │ attacker: always as far ahead as is let │ honest, as old as is let, less that
    ahead, lateness = HOUR_MS, 48
    shard = shard_of(allowed_lateness_hours=lateness)
    attacks = [Act("evil", "x", "search", MONDAY + n * 60_000 + ahead, n) for n in range(200)]  # the clock goes on
    play(shard, [rows_of([act], n) for n, act in enumerate(attacks)])
    now = MONDAY + 199 * 60_000
    edge = now - lateness * HOUR_MS + ahead
    honest = [Act("a", "ann", "search", edge + n, 1000 + n) for n in (0, 1)]
    too_old = [Act("a", "ann", "search", edge - 1, 2000)]
    play(shard, [rows_of([*honest, *too_old], 500, "chat-messages")], 300)
    assert shard.reception.outcomes["chat-messages", 0] == [2, 0, 1]
    assert all(b.time_ms - a.time_ms == 60_000 for a, b in pairwise(attacks))
