"""Waits of a line against pandas: any order, any zone, any month."""

from __future__ import annotations

import random
import zlib
from collections import Counter
from collections.abc import Iterable
from functools import cache

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import state.waits as module
from state.periods import months_of
from state.waits import Waits
from state.week import WEEK_HOURS, month_start_ms
from state.week_grid import EXACT_WAITS, RELATIVE_ERROR, WeekGrid, rounded_ms
from tests.state.worlds import DAY, HOUR, at, examples

MINUTE = 60_000
ZONES = [
    "UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Asia/Kathmandu", "Australia/Lord_Howe",
    "Pacific/Chatham", "America/St_Johns", "Pacific/Kiritimati", "Pacific/Niue", "America/Asuncion", "Africa/Cairo",
    "Pacific/Apia", "Asia/Tehran", "America/Havana",
]  # fmt: skip
QUANTILES = (0.0, 0.5, 0.8, 0.95, 1.0)
Entry = tuple[int, int, bool, int]  # asked (ms), wait (ms), first or not, weight
TIMES = st.one_of(
    st.integers(at("2012-01-01"), at("2099-12-31T23:59:59")),
    st.integers(at("2024-03-30"), at("2024-04-08")),  # clocks change in Berlin, then at Lord Howe and Chatham
    st.integers(at("2024-10-26T20:00"), at("2024-11-03T12:00")),  # … and in Berlin, then in New York
)
LENGTHS = st.one_of(st.integers(0, 300), st.integers(0, 10**7), st.integers(0, 700 * DAY))
ENTRIES = st.lists(st.tuples(TIMES, LENGTHS, st.booleans(), st.sampled_from([1, 1, 1, 2])), max_size=40)


def waits_of(entries: Iterable[Entry], events: Iterable[tuple[int, int]] = ()) -> Waits:
    found = Waits()
    for asked, wait, first, weight in entries:
        found.add_wait(asked, wait, first=first, weight=weight)
    for time_ms, weight in events:
        found.add_event(time_ms, weight)
    return found


def bulk_of(entries: list[Entry]) -> Waits:
    found = Waits()
    asked, waits, firsts, weights = (np.array(c) for c in zip(*entries, strict=True))
    found.add_waits(asked.astype(np.int64), waits.astype(np.int64), firsts.astype(bool), weights.astype(np.int64))
    return found


def many(number: int, seed: int = 1, longest: int = 10**8) -> list[Entry]:
    """Return *number* distinct entries, all in 2024."""
    chance, start = random.Random(seed), at("2024-01-01")
    found = {(start + chance.randrange(35_000) * 900_000, chance.randrange(longest), True, 1) for _ in range(number)}
    while len(found) < number:
        found.add((start + chance.randrange(35_000) * 900_000, chance.randrange(longest), True, 1))
    return sorted(found)


def local(times_ms: Iterable[int], zone: str) -> pd.Series:
    """Return wall clocks by pandas."""
    times = pd.Series(list(times_ms), dtype="int64")
    return pd.to_datetime(times, unit="ms", utc=True).dt.tz_convert(zone).dt.tz_localize(None)


def table_of(entries: list[Entry], zone: str) -> pd.DataFrame:
    """Return a row for each wait, expanded by its weight: month, hour of the week, wait, first."""
    wide = [e[:3] for e in entries for _ in range(e[3])]
    clock = local([asked for asked, _, _ in wide], zone)
    return pd.DataFrame(
        {
            "month": clock.dt.year * 12 + clock.dt.month - 1,
            "hour": clock.dt.day_of_week * 24 + clock.dt.hour,
            "ms": pd.Series([wait for _, wait, _ in wide], dtype="int64"),
            "first": pd.Series([first for _, _, first in wide], dtype=bool),
        }
    )


def expanded(grid: WeekGrid) -> Counter[tuple[int, bool, int]]:
    """Return (hour, first, wait) → how often."""
    rows = zip(grid.hours.tolist(), grid.firsts.tolist(), grid.waits_ms.tolist(), strict=True)
    return Counter(dict(zip(rows, grid.counts.tolist(), strict=True)))


def by_pandas(table: pd.DataFrame) -> Counter[tuple[int, bool, int]]:
    rows = zip(table["hour"].tolist(), table["first"].tolist(), table["ms"].tolist(), strict=True)
    return Counter(rows)


@examples(60)
@given(ENTRIES, st.sampled_from(ZONES))
def test_every_wait_is_in_the_cell_and_month_that_pandas_gives(entries: list[Entry], zone: str) -> None:
    waits, table = waits_of(entries, [(e[0], e[3]) for e in entries]), table_of(entries, zone)
    hours = table["hour"].value_counts().reindex(range(WEEK_HOURS), fill_value=0)
    assert waits.grid(zone).events.tolist() == hours.tolist()
    assert expanded(waits.grid(zone)) == by_pandas(table)
    assert waits.months(zone) == sorted(set(table["month"]))
    for month, own in table.groupby("month"):
        grid = waits.grid(zone, range(int(str(month)), int(str(month)) + 1))
        assert expanded(grid) == by_pandas(own) and grid.events.sum() == len(own)


@examples(60)
@given(ENTRIES, st.sampled_from(ZONES), st.sampled_from(["2024", "2024-Q1", "2024-Q4", "2024-03/2024-10", "2099"]))
def test_quantiles_of_a_period_are_those_of_pandas(entries: list[Entry], zone: str, period: str) -> None:
    months = months_of(period)
    table = table_of(entries, zone)
    table = table[table["month"].isin(months)]
    grid = waits_of(entries).grid(zone, months)
    assert grid.exact
    for first in (False, True):
        own = table[table["first"]] if first else table
        for quantile in QUANTILES:
            by_hour = own.groupby("hour")["ms"].quantile(quantile).reindex(range(WEEK_HOURS))
            np.testing.assert_allclose(grid.quantiles_ms(quantile, first=first), by_hour, rtol=1e-12)
            if len(own):
                expected = pytest.approx(float(own["ms"].quantile(quantile)), rel=1e-12)
                assert grid.quantile_ms(quantile, first=first) == expected


@pytest.mark.parametrize("longest", [300, 10**5, 700 * DAY])
@pytest.mark.parametrize("first", [False, True])
def test_above_the_limit_quantiles_stay_within_the_stated_error(longest: int, first: bool) -> None:
    chance = random.Random(longest)
    entries = [
        (at("2024-01-01") + chance.randrange(35_000) * 900_000, chance.randrange(longest + 1), chance.random() < 0.5, 1)
        for _ in range(60_000)
    ]
    waits, table = bulk_of(entries), table_of(entries, "Europe/Berlin")
    grid = waits.grid("Europe/Berlin")
    assert not waits.exact and not grid.exact
    own = table[table["first"]] if first else table
    for quantile in QUANTILES:
        by_hour = own.groupby("hour")["ms"].quantile(quantile).reindex(range(WEEK_HOURS))
        np.testing.assert_allclose(grid.quantiles_ms(quantile, first=first), by_hour, rtol=RELATIVE_ERROR)
        whole = float(own["ms"].quantile(quantile))
        assert grid.quantile_ms(quantile, first=first) == pytest.approx(whole, rel=RELATIVE_ERROR)
    assert grid.answered.sum() == table["first"].sum() and grid.replies.sum() == len(table)


@examples(300)
@given(st.integers(0, 2**39 - 1))
def test_a_rounded_wait_is_near_and_stays_where_it_is(wait: int) -> None:
    once = rounded_ms(np.array([wait, wait + 1]))
    assert abs(int(once[0]) - wait) <= wait * RELATIVE_ERROR
    assert once[0] <= once[1] and rounded_ms(once).tolist() == once.tolist()
    assert wait >= 256 or once[0] == wait


@cache
def operations(size: int, seed: int) -> tuple[Entry, ...]:
    """Return waits and take-backs, some of them of nothing that was added."""
    chance = random.Random(seed)
    added = many(size, seed)
    taken = [(*e[:3], -1) for e in chance.sample(added, size // 4)]
    odd = [(e[0], e[1] + 1, False, chance.choice([1, -1, 2])) for e in chance.sample(added, size // 10)]
    return (*added, *taken, *odd)


SIZES = [50, 300, 18_500, EXACT_WAITS - 1, EXACT_WAITS, EXACT_WAITS + 1, 30_000]


@pytest.mark.parametrize("size", SIZES)
def test_any_order_gives_the_same_bytes_whenever_it_was_read(size: int) -> None:
    chance, found = random.Random(size), set()
    for _ in range(4):
        entries = list(operations(size, 1))
        chance.shuffle(entries)
        waits = Waits()
        for entry in entries:
            waits.add_wait(entry[0], entry[1], first=entry[2], weight=entry[3])
            if chance.random() < 5 / size:
                waits.dump()
        found.add(waits.dump())
    entries = list(operations(size, 1))
    found |= {bulk_of(entries).dump(), bulk_of(entries[::-1]).dump()}
    assert len(found) == 1


@pytest.mark.parametrize("size", SIZES)
def test_merged_in_any_grouping_it_is_the_same(size: int) -> None:
    chance, entries = random.Random(size), list(operations(size, 1))
    whole = bulk_of(entries).dump()
    for _ in range(3):
        chance.shuffle(entries)
        edges = sorted(chance.sample(range(len(entries)), 4))
        parts = [bulk_of(entries[a:b]) for a, b in zip([0, *edges], [*edges, len(entries)], strict=True) if a < b]
        chance.shuffle(parts)
        merged = Waits()
        for part in parts:
            before = part.dump()
            merged.merge(Waits.load(before) if chance.random() < 0.5 else part)
            assert part.dump() == before
        assert merged.dump() == whole


@pytest.mark.parametrize("size", [300, 30_000])
@pytest.mark.parametrize("zone", ["UTC", "Asia/Kathmandu", "America/New_York"])
def test_sliced_by_months_and_merged_again_it_is_the_same(size: int, zone: str) -> None:
    whole = bulk_of(list(operations(size, 1)))
    whole.add_events(np.array([e[0] for e in operations(size, 2)]), np.array([e[3] for e in operations(size, 2)]))
    merged = Waits()
    months = months_of("2023-12/2025-01")
    for month in random.Random(1).sample(months, len(months)):
        merged.merge(Waits.load(whole.slice(zone, range(month, month + 1)).dump()))
    assert merged.dump() == whole.dump()


def test_whether_it_is_rounded_depends_neither_on_order_nor_on_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    # A limit of three: a b c, then d comes and a goes, in any order, looked at in between or not.
    monkeypatch.setattr(module, "EXACT_WAITS", 3)
    start = at("2024-01-01")
    ops = [(start + n * 900_000, 1_000_001, True, 1) for n in range(4)] + [(start, 1_000_001, True, -1)]
    dumps = set()
    for seed in range(40):
        chance, waits = random.Random(seed), Waits()
        for entry in chance.sample(ops, len(ops)):
            waits.merge(waits_of([entry]))
            if chance.random() < 0.5:
                waits = Waits.load(waits.dump())
        dumps.add(waits.dump())
    assert len(dumps) == 1 and not Waits.load(dumps.pop()).exact
    kept = waits_of([ops[0], ops[1], ops[2], ops[4]])
    assert kept.grid("UTC").replies.sum() == 2 and kept.exact


def test_two_exact_lines_that_are_too_many_together_are_rounded() -> None:
    entries = many(30_000)
    one, other = bulk_of(entries[:15_000]), bulk_of(entries[15_000:])
    assert one.exact and other.exact
    one.merge(other)
    assert not one.exact and one.dump() == bulk_of(entries).dump()


def test_many_equal_waits_stay_exact() -> None:
    entries: list[Entry] = [(at("2024-01-01") + n % 100 * MINUTE, 60_000, True, 1) for n in range(100_000)]
    assert bulk_of(entries).exact and bulk_of(entries).grid("UTC").replies.sum() == 100_000


@examples(60)
@given(ENTRIES, st.data())
def test_what_was_taken_back_counts_no_more(entries: list[Entry], data: st.DataObject) -> None:
    back = data.draw(st.sets(st.sampled_from(range(len(entries))))) if entries else set()
    kept = [e for i, e in enumerate(entries) if i not in back]
    waits = waits_of(entries, [(e[0], e[3]) for e in entries])
    for i in back:
        waits.add_wait(entries[i][0], entries[i][1], first=entries[i][2], weight=-entries[i][3])
        waits.add_event(entries[i][0], -entries[i][3])
    left = waits_of(kept, [(e[0], e[3]) for e in kept])
    assert waits.grid("Asia/Kolkata") == left.grid("Asia/Kolkata")
    assert waits.months("Asia/Kolkata") == left.months("Asia/Kolkata")
    assert waits.is_empty == (not kept)


def test_nothing_happened_less_than_never() -> None:
    # What is taken back may have been dropped already; it must not lessen what else is in the hour.
    waits = waits_of([(at("2024-01-01"), 5, True, 1), (at("2024-01-08"), 7, True, -1)], [(at("2024-01-08"), -1)])
    grid = waits.grid("UTC")
    assert (grid.replies[0], grid.events[0], grid.quantile_ms(1.0)) == (1, 0, 5)


@examples(60)
@given(ENTRIES)
def test_loaded_it_is_the_same(entries: list[Entry]) -> None:
    waits = waits_of(entries, [(e[0], e[3]) for e in entries])
    again = Waits.load(waits.dump())
    assert again.dump() == waits.dump() and again.grid("UTC") == waits.grid("UTC")
    assert again.is_empty == waits.is_empty == (not entries)
    assert again.size_bytes == waits.size_bytes


@pytest.mark.parametrize("raw", [b"", b"x", zlib.compress(b""), zlib.compress(b"\xc0"), zlib.compress(b"\x91\xc3"),
                                 zlib.compress(b"\x97" + 7 * b"\xc3"), Waits().dump()[:-3]])  # fmt: skip
def test_other_bytes_are_told_as_such(raw: bytes) -> None:
    with pytest.raises(ValueError):
        Waits.load(raw)


def test_fifty_hours_are_fifty_hours_and_700_days_are_700_days() -> None:
    monday = at("2024-01-01T09:00")
    waits = waits_of([(monday, wait, True, 1) for wait in (0, 50 * HOUR, 700 * DAY)])
    assert waits.grid("UTC").cell(9)[0].tolist() == [0, 50 * HOUR, 700 * DAY]
    assert waits.grid("UTC").quantile_ms(0.5) == 50 * HOUR
    assert waits.grid("UTC").within(0)[9] == 1


@pytest.mark.parametrize("text", ["2000-01-01T00:00", "2000-01-01T00:14:59.999", "2099-12-31T23:59:59.999"])
@pytest.mark.parametrize("zone", ["UTC", "Asia/Kathmandu", "Pacific/Niue", "America/New_York"])
def test_the_first_and_the_last_times_have_their_cells(text: str, zone: str) -> None:
    time_ms = at(text)
    clock = local([time_ms], zone)[0]
    waits = waits_of([(time_ms, 12, True, 1)], [(time_ms, 1)])
    assert waits.months(zone) == [clock.year * 12 + clock.month - 1]
    grid = waits.grid(zone, months_of(f"{clock.year}"))
    assert np.flatnonzero(grid.events).tolist() == grid.hours.tolist() == [clock.day_of_week * 24 + clock.hour]


@pytest.mark.parametrize(
    ("zone", "monday", "minutes"),
    [
        ("Europe/Berlin", "2024-03-25", 167 * 60), ("Europe/Berlin", "2024-10-21", 169 * 60),
        ("America/New_York", "2024-03-04", 167 * 60), ("America/New_York", "2024-10-28", 169 * 60),
        ("Australia/Lord_Howe", "2024-09-30", 10_050), ("Australia/Lord_Howe", "2024-04-01", 10_110),
        ("Pacific/Chatham", "2024-09-23", 167 * 60), ("Pacific/Chatham", "2024-04-01", 169 * 60),
        ("America/St_Johns", "2024-03-04", 167 * 60), ("America/St_Johns", "2024-10-28", 169 * 60),
        ("Asia/Kolkata", "2024-03-25", 168 * 60), ("Asia/Kathmandu", "2024-03-25", 168 * 60),
    ],
)  # fmt: skip
def test_weeks_with_a_change_of_clocks_lose_and_duplicate_nothing(zone: str, monday: str, minutes: int) -> None:
    start = int(pd.Timestamp(monday, tz=zone).timestamp()) * 1000
    times = np.arange(start, start + minutes * MINUTE, MINUTE)
    assert local([start + minutes * MINUTE], zone)[0] == pd.Timestamp(monday) + pd.Timedelta(days=7)
    waits, ones = Waits(), np.ones(len(times), np.int64)
    waits.add_events(times, ones)
    waits.add_waits(times, times - start, ones > 0, ones)
    clock = local(times.tolist(), zone)
    expected = (clock.dt.day_of_week * 24 + clock.dt.hour).value_counts().reindex(range(WEEK_HOURS), fill_value=0)
    grid = waits.grid(zone)
    assert grid.events.tolist() == grid.replies.tolist() == expected.tolist()
    assert grid.events.sum() == minutes
    # Each instant is in its own cell: its wait tells which one it is.
    assert dict(zip(grid.waits_ms.tolist(), grid.hours.tolist(), strict=True)) == {
        int(t - start): hour for t, hour in zip(times, clock.dt.day_of_week * 24 + clock.dt.hour, strict=True)
    }


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("period", ["2024", "2025", "2024-Q4", "2025-Q2", "2024-11", "2025-04", "2099"])
def test_periods_begin_and_end_at_local_midnight(zone: str, period: str) -> None:
    months = months_of(period)
    first, last = (pd.Timestamp(m // 12, m % 12 + 1, 1, tz=zone) for m in (months.start, months.stop))
    edges = [int(edge.timestamp()) * 1000 for edge in (first, last)]
    assert edges == [month_start_ms(m, zone) for m in (months.start, months.stop)]
    waits = waits_of([], [(edge + shift, 1) for edge in edges for shift in (-1, 0)])
    assert waits.grid(zone, months).events.sum() == 2
    assert waits.months(zone) == sorted({months.start - 1, months.start, months.stop - 1, months.stop})


@examples(40)
@given(ENTRIES, st.sampled_from(ZONES), st.sampled_from(ZONES))
def test_read_in_another_zone_nothing_is_lost(entries: list[Entry], zone: str, other: str) -> None:
    waits = waits_of(entries)
    before = waits.dump()
    parts = [waits.grid(z, range(m, m + 1)) for z in (zone, other) for m in waits.months(z)]
    assert sum(int(part.replies.sum()) for part in parts) == 2 * sum(e[3] for e in entries)
    assert waits.dump() == before


@pytest.mark.parametrize("zone", ["America/St_Johns", "America/Goose_Bay", "America/Moncton"])
def test_where_clocks_changed_a_minute_past_only_the_14_minutes_after_count_by_the_old_clock(zone: str) -> None:
    times = np.concatenate([np.arange(at(d), at(d) + 2 * DAY, MINUTE) for d in ("2005-04-02", "2005-10-29T01:00")])
    waits = Waits()
    waits.add_waits(times, times - times[0], times > 0, np.ones(len(times), np.int64))
    clock = local(times.tolist(), zone)
    expected = dict(zip((times - times[0]).tolist(), clock.dt.day_of_week * 24 + clock.dt.hour, strict=True))
    grid = waits.grid(zone)
    found = dict(zip(grid.waits_ms.tolist(), grid.hours.tolist(), strict=True))
    assert grid.exact and len(found) == len(times)
    assert sum(found[wait] != hour for wait, hour in expected.items()) == 28


def test_forgetting_the_old_leaves_the_rest() -> None:
    edge = at("2024-06-01")
    entries = [*many(500), (edge - 1, 7, True, 1), (edge, 8, True, 1), (edge, 9, True, -1)]
    events = [(e[0], 1) for e in entries]
    waits = waits_of(entries, events)
    waits.drop_before(edge)
    assert waits.dump() == waits_of([e for e in entries if e[0] >= edge], [e for e in events if e[0] >= edge]).dump()
    waits.drop_before(at("2030-01-01"))
    assert waits.is_empty and waits.dump() == Waits().dump()
    waits.drop_before(at("1999-01-01"))
    assert waits.months("UTC") == [] and waits.months("Asia/Kolkata") == []
