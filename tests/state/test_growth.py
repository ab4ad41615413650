"""Under a constant load nothing grows with the weeks: neither memory nor checkpoints."""

from __future__ import annotations

import random
from collections import Counter

import numpy as np

from state.activity import Org, Tick
from state.cells import Cells
from state.limits import Limits
from state.shard import Shard
from state.week_hours import WeekHours
from tests.bench.store_size import by_part, sizes
from tests.state.random_logs import MODEL
from tests.state.worlds import DAY, HOUR, Act, at, rows_of

MONDAY = at("2024-01-01T00:00")
WEEKS = 48
SETTLED = 24
"""Weeks after which everything that looks back is full: the longest look is the three months below."""
USERS = 15
KINDS = ("search", "export", "message", "message", "alert_received", "transaction", "syslog")


def acts_of_week(rng: random.Random, week: int) -> list[Act]:
    """Return what the users of three orgs did in a week; now and then something of weeks before."""
    acts = []
    for user in range(USERS):
        for number in range(6):
            id_ = 1 + (week * USERS + user) * 6 + number
            kind = rng.choice(KINDS)
            back = rng.choice((0, 0, 0, 0, 9 * DAY)) if week > 2 else 0
            time_ms = MONDAY + week * 7 * DAY + rng.randrange(7 * DAY) - back
            ref = max(1, id_ - rng.randrange(1, 60)) if kind in ("message", "transaction") else 0
            who = "" if kind == "transaction" else f"u{user}"
            acts.append(Act(f"o{user % 3}", who, kind, time_ms, id_, rng.randrange(900), ref))
    return sorted(acts, key=lambda act: act.time_ms)


def test_memory_and_checkpoints_stop_growing_once_the_horizons_are_full() -> None:
    limits = Limits(
        allowed_lateness_hours=3 * 168, reply_horizon_hours=4 * 168, rolling_months=2, keep_months=3, chat_days=2
    )
    shard, rng = Shard(0, MODEL, limits), random.Random(8)
    shard.apply(Org("o0", "Zero", "Europe/Berlin", "SMB"), 0)
    early, late = range(SETTLED, SETTLED + 9), range(WEEKS - 9, WEEKS)  # two months each, so both see them begin
    parts: dict[int, Counter[str]] = {}
    written: dict[int, int] = {}
    for week in range(WEEKS):
        acts = acts_of_week(rng, week)
        for at_ in range(0, len(acts), 40):
            shard.apply(rows_of(acts[at_ : at_ + 40], week * 1000 + at_), 1)
        shard.apply(Tick(MONDAY + (week + 1) * 7 * DAY - HOUR, week + 1), 1)
        if week in (1, *early, *late):
            parts[week] = by_part(sizes(shard))
            written[week] = sum(map(len, shard.checkpoint().values()))
    held = {week: part.total() for week, part in parts.items()}
    # What differs is what the weeks hold.
    assert np.mean([held[week] for week in late]) <= 1.03 * np.mean([held[week] for week in early])
    assert max(held[week] for week in late) <= 1.08 * max(held[week] for week in early)
    assert max(written[week] for week in late) <= 1.08 * max(written[week] for week in early)
    for name in parts[1]:
        before, after = (max(parts[week][name] for week in span) for span in (early, late))
        assert after <= 1.25 * before + 512, name
    assert held[SETTLED] > 1.2 * held[1] and written[SETTLED] > 1.2 * written[1]  # they did grow until then


def test_an_hour_that_is_over_takes_less_room_and_says_the_same() -> None:
    rng = np.random.default_rng(1)
    cells, straight = Cells(), Cells()
    for _ in range(200):
        keys, values = rng.integers(0, 50_000, 100).astype(np.uint64), rng.integers(-2, 4, 100)
        for some in (cells, straight):
            some.add(keys, values)
        if rng.random() < 0.1:
            cells.squeeze()
    straight.merge()
    cells.squeeze()
    assert len(cells) == len(straight)
    assert 2 * cells.size_bytes < straight.size_bytes
    asked = rng.integers(0, 50_000, 300).astype(np.uint64)
    assert [a.tolist() for a in cells.read()] == [a.tolist() for a in straight.read()]
    assert cells.find(asked).tolist() == straight.find(asked).tolist()
    cells.squeeze()
    edges = np.array([0, 20_000]), np.array([500, 20_100])
    assert [a.tolist() for a in cells.between(*edges)] == [a.tolist() for a in straight.between(*edges)]


def test_a_week_that_is_over_takes_less_room_and_says_the_same() -> None:
    rng = np.random.default_rng(2)
    hours, straight = WeekHours(), WeekHours()
    for _ in range(60):
        slots, places = rng.integers(0, 4_000, 300), rng.integers(0, 169, 300)
        for some in (hours, straight):
            some.add(slots, places, np.ones(300, np.int64))
            some.add(slots[:9], places[:9], -np.ones(9, np.int64))
        if rng.random() < 0.2:
            hours.squeeze()
    before = straight.size_bytes
    hours.squeeze()
    assert hours.size_bytes < 0.7 * before
    assert hours.segment() == straight.segment()
    every = np.arange(5_000)
    assert (hours.of(every) == straight.of(every)).all()
    hours.squeeze()
    assert WeekHours.restored(hours.segment()).segment() == straight.segment()
