"""A long silence costs little and ends as if it had been lived through.

── acts ──┬─ closed week by week ─┬─── left out ───┬─ closed week by week ─┬── now
          0                     quiet                                   quiet
"""

from __future__ import annotations

import time
from zoneinfo import available_timezones

from state.activity import Org, Record, Tick
from tests.state.test_shard import MONDAY, last_rows, play, search
from tests.state.worlds import DAY, HOUR, WEEK, at, rows_of, shard_of

ACTS = rows_of([search("ann", MONDAY, 1), search("ann", MONDAY + DAY, 2), search("bob", MONDAY + 2 * DAY, 3)])
LATENESS = {"allowed_lateness_hours": 3 * 7 * 24}


def test_a_silence_that_is_jumped_over_ends_like_one_that_was_lived_through() -> None:
    end = MONDAY + 100 * WEEK + 5 * HOUR
    slow, quick = shard_of(**LATENESS), shard_of(**LATENESS)
    lived = play(slow, [ACTS, *(Tick(MONDAY + week * WEEK, 0) for week in range(1, 101)), Tick(end, 1)])
    jumped = play(quick, [ACTS, Tick(end, 1)])
    assert list(quick.documents()) == list(slow.documents())
    assert quick.watermark_ms == slow.watermark_ms
    rows, theirs = last_rows(jumped), last_rows(lived)
    assert rows.items() <= theirs.items()
    assert {week for _, _, week in theirs.keys() - rows.keys()}.isdisjoint({"2024-W10", "2024-W11", "2024-W12"})
    again: list[Record] = [rows_of([search("ann", end, 9)], 10), Tick(end + HOUR, 2), Tick(end + WEEK, 3)]
    assert play(quick, again, 50) == play(slow, again, 150)


def test_rows_after_a_long_silence_jump_over_it_too() -> None:
    end = MONDAY + 60 * WEEK
    slow, quick = shard_of(**LATENESS), shard_of(**LATENESS)
    fresh = [rows_of([search("bob", end, 7), search("cat", end + HOUR, 8)], 10), Tick(end + 2 * HOUR, 5)]
    play(slow, [ACTS, *(Tick(MONDAY + week * WEEK, 0) for week in range(1, 61))])
    play(quick, [ACTS])
    play(slow, fresh, 100)
    play(quick, fresh, 100)
    assert list(quick.documents()) == list(slow.documents())


def test_one_event_of_the_year_2000_and_forty_zones_cost_seconds() -> None:
    zones = sorted(available_timezones())[:40]
    shard = shard_of()
    orgs: list[Record] = [Org(f"o{number}", "", zone, "") for number, zone in enumerate(zones)]
    began = time.process_time()
    play(shard, [*orgs, rows_of([search("ann", at("2000-01-02"), 1, "o1")]), Tick(at("2026-03-04"), 1)])
    assert time.process_time() - began < 20
    assert shard.watermark_ms == at("2026-03-04")
