"""Measures by hour of the week are what pandas counts, whatever the order and whatever was taken back."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from state.activity import SEPARATOR, Correction, Record, Tick
from state.arrays import SchemaError
from state.effects import LatencyMonth
from state.health import Model
from state.hour_lines import Activities, HourLines
from state.latency import Latency
from state.limits import Limits
from state.lines import MEASURE
from state.measures import BUILT_IN, NO_DURATION
from state.shard import Shard
from state.waits import Waits
from state.week import week_of
from tests.state import test_mending
from tests.state.test_mending import NEW, OLD, mended, packed
from tests.state.worlds import DAY, HOUR, Act, at, attribute, examples, model_of, rows_of

MODEL = model_of(
    attribute("acknowledged", "count", measures=["acknowledged"]),
    attribute("wait", "median", measures=["acknowledged"]),
    attribute("waited", "sum", measures=["acknowledged"]),
    order={"events": ["Order"], "hours": True},
    acknowledged={"events": ["Ack"], "hours": True, "since": "created_at", "summed": True},
    served={"events": ["Served"], "hours": True, "duration": "ms", "passive": True},
    signup={"events": ["Signed Up"], "hours": True, "time": "signed_up_at"},
    plain={"events": ["Plain"]},
    transaction={"hours": True},
    message={"hours": True},
)
NAMES = MODEL.catalogue.names
LASTING, MOVED = ("acknowledged", "served"), ("acknowledged", "served", "signup")
COUNTED = ("order", "message", "transaction", *MOVED)
ZONES = {"a": "UTC", "b": "Europe/Berlin", "c": "Asia/Kathmandu"}
START = at("2024-03-25T00:00")  # the week in which Berlin's clocks are put on


class Kept:
    """The lines of measures that a partition keeps."""

    def __init__(self, latency: Latency | None = None) -> None:
        self.latency = latency or Latency()

    def line(self, org: str, measure: str) -> Waits:
        return self.latency.line(org, MEASURE + measure)

    def lines(self) -> dict[tuple[str, str], Waits]:
        """Return by org and measure what holds anything."""
        latency = self.latency
        pairs = [(org, name.removeprefix(MEASURE)) for org in latency.orgs() for name in latency.lines(org)]
        found = {(org, name): self.line(org, name) for org, name in pairs if not name.startswith("replies")}
        return {pair: waits for pair, waits in found.items() if not waits.is_empty}

    def dumps(self) -> dict[tuple[str, str], list[Any]]:
        """Return by org and measure all that is left: what was taken back may be remembered."""
        return {pair: [part.tolist() for part in waits.content()] for pair, waits in self.lines().items()}


acts = st.lists(
    st.tuples(
        st.sampled_from(range(len(ZONES))),
        st.sampled_from([*COUNTED, "plain", "search"]),
        st.integers(START, START + 9 * DAY),
        st.one_of(st.integers(0, 3 * DAY), st.just(NO_DURATION), st.integers(-HOUR, HOUR)),
    ),
    max_size=60,
)


def columns_of(rows: list[tuple[int, str, int, int]], weight: int = 1) -> Activities:
    orgs, measures, times, amounts = (
        np.array([[org, NAMES.index(name), at_ms, amount] for org, name, at_ms, amount in rows], np.int64)
        .reshape(-1, 4)
        .T
    )
    return Activities(orgs, measures, times, np.full(len(orgs), weight), amounts * weight)


def adder(kept: Kept) -> HourLines:
    return HourLines(MODEL.catalogue.measures, list(ZONES).__getitem__, kept.latency.line)


def recounted(rows: list[tuple[int, str, int, int]]) -> dict[tuple[str, str], tuple[list[int], list[Any]]]:
    """Return by org and line: events by hour of the week, and all waits with their hours, by pandas."""
    frame = pd.DataFrame(rows, columns=["org", "measure", "time", "amount"])
    frame["org"] = frame["org"].map(dict(enumerate(ZONES)))
    frame = frame[frame["measure"].isin(COUNTED) & ~(frame["measure"].isin(LASTING) & (frame["amount"] < 0))]
    frame["start"] = frame["time"] - frame["amount"].where(frame["measure"].isin(MOVED), 0)
    found = {}
    for (org, measure), group in frame.groupby(["org", "measure"]):
        local = pd.to_datetime(group["start"].astype("int64"), unit="ms", utc=True).dt.tz_convert(ZONES[org])
        hours = local.dt.day_of_week * 24 + local.dt.hour
        events = hours.value_counts().reindex(range(168), fill_value=0).tolist()
        waits = sorted(zip(hours, group["amount"], strict=True)) if measure in LASTING else []
        found[str(org), str(measure)] = events, waits
    return found


def told(kept: Kept) -> dict[tuple[str, str], tuple[list[int], list[Any]]]:
    found = {}
    for (org, name), waits in kept.lines().items():
        grid = waits.grid(ZONES[org])
        assert grid.firsts.all() and grid.exact
        each = zip(grid.hours.tolist(), grid.waits_ms.tolist(), grid.counts.tolist(), strict=True)
        found[org, name] = grid.events.tolist(), sorted((h, w) for h, w, n in each for _ in range(n))
    return found


@examples(150)
@given(acts, st.integers(0, 2**32))
def test_lines_are_what_pandas_counts_in_any_order_and_in_any_pieces(rows: list[Any], seed: int) -> None:
    kept, other = Kept(), Kept()
    adder(kept).add(columns_of(rows))
    assert told(kept) == recounted(rows)
    chance = random.Random(seed)
    shuffled, lines = chance.sample(rows, len(rows)), adder(other)
    size = chance.randrange(1, 20)
    for start in range(0, len(shuffled), size):
        lines.add(columns_of(shuffled[start : start + size]))
    assert other.dumps() == kept.dumps()


@pytest.mark.parametrize("seed", range(3))
def test_many_activities_at_once_are_what_few_at_a_time_are(seed: int) -> None:
    chance = random.Random(seed)
    names, kept, other = [*COUNTED, "plain"], Kept(), Kept()
    rows = [
        (chance.randrange(3), chance.choice(names), START + chance.randrange(20 * DAY), chance.randrange(-100, DAY))
        for _ in range(5000)
    ]
    adder(kept).add(columns_of(rows))
    assert told(kept) == recounted(rows)
    lines = adder(other)
    for start in range(0, len(rows), 40):
        lines.add(columns_of(rows[start : start + 40]))
    assert other.dumps() == kept.dumps()
    lines.add(columns_of(rows, -1))
    assert other.dumps() == {}


@examples(100)
@given(acts, acts)
def test_what_is_taken_back_leaves_nothing_whichever_comes_first(rows: list[Any], gone: list[Any]) -> None:
    kept, before, after = Kept(), Kept(), Kept()
    adder(kept).add(columns_of(rows))
    for each, order in ((before, (-1, 1)), (after, (1, -1))):
        adder(each).add(columns_of(rows))
        for weight in order:
            adder(each).add(columns_of(gone, weight))
    assert before.dumps() == after.dumps() == kept.dumps()


# --- through a shard ---


def world(model: Model = MODEL, **limits: Any) -> tuple[Shard, Kept]:
    """Return an empty shard, and its lines."""
    shard = Shard(0, model, Limits(**{"allowed_lateness_hours": 48, **limits}))
    return shard, Kept(shard.latency)


def events(kept: Kept, org: str, measure: str) -> dict[int, int]:
    found = kept.line(org, measure).grid("UTC").events
    return {int(hour): int(found[hour]) for hour in np.flatnonzero(found)}


def test_a_transaction_counts_by_hour_while_it_is_approved() -> None:
    shard, kept = world()
    monday_10 = START + 10 * HOUR
    shard.apply(rows_of([Act("a", "", "transaction", monday_10, 1, 500, ref=7)]), 0)
    assert events(kept, "a", "transaction") == {10: 1}
    shard.apply(rows_of([Act("a", "", "transaction_other", monday_10 + HOUR, 2, 500, ref=7)]), 1)
    assert events(kept, "a", "transaction") == {}
    shard.apply(rows_of([Act("a", "", "transaction", monday_10 + 2 * HOUR, 3, 500, ref=7)]), 2)
    assert events(kept, "a", "transaction") == {12: 1}


def test_the_month_in_which_a_duration_began_is_told() -> None:
    shard, _ = world()
    shard.apply(rows_of([Act("a", "ann", "acknowledged", at("2024-04-02T10:00"), 1, 3 * DAY)]), 0)
    said = [each for each in shard.apply(Tick(0, 1), 1) or [] if isinstance(each, LatencyMonth)]
    assert [(each.org, each.month, list(each.lines)) for each in said] == [("a", "2024-03", ["measure/acknowledged"])]
    grid = Waits.load(said[0].lines["measure/acknowledged"]).grid("UTC")
    assert grid.waits_ms.tolist() == [3 * DAY] and np.flatnonzero(grid.events).tolist() == [5 * 24 + 10]
    again = world()[0]
    again.restore(shard.checkpoint())
    assert again.checkpoint() == shard.checkpoint()
    assert again.latency.lines("a") == ["measure/acknowledged"]


def test_a_duplicate_and_what_is_late_do_not_count_by_hour() -> None:
    shard, kept = world()
    order = Act("a", "ann", "order", START + 9 * DAY, 1)
    shard.apply(rows_of([order]), 0)
    shard.apply(rows_of([order, Act("a", "ann", "order", START, 2)]), 1)
    assert sum(events(kept, "a", "order").values()) == 1


def test_a_person_who_moves_takes_the_hours_along_also_from_before_the_floor() -> None:
    shard, kept = world()
    acked = (START + 30 * HOUR, 5 * HOUR)
    shard.apply(rows_of([Act("a", "ann", "acknowledged", acked[0], 1, acked[1])]), 0)
    assert events(kept, "a", "acknowledged") == {25: 1}
    shard.apply(rows_of([Act("a", "bob", "search", START + 20 * DAY, 2)]), 1)
    assert shard.dedupe.floor_ms > acked[0]
    for org, weight in (("a", -1), ("b", 1)):
        row = (0, 0, acked[0], weight, acked[1] * weight, acked[0])
        shard.apply(Correction(org, [org + SEPARATOR + "ann"], ["acknowledged"], [row]), 2)
    assert set(kept.dumps()) == {("b", "acknowledged")}
    assert kept.line("b", "acknowledged").grid("UTC").waits_ms.tolist() == [5 * HOUR]


@examples(25)
@given(st.integers(0, 10**6), st.integers(0, 12))
def test_corrected_hours_are_as_if_it_had_been_known_from_the_start(seed: int, switch: int) -> None:
    hours = {"hours": True}
    model = model_of(
        search={"events": ["Search"], **hours},
        export={"events": ["Export"], "since": "begun", **hours},
        stored={"events": ["Stored"], "time": "at", **hours},
        message=hours,
        syslog=hours,
    )
    batches, times = test_mending.world(seed, 12)
    log: list[Record] = [packed(batch, OLD if n < switch else NEW) for n, batch in enumerate(batches)]
    log += mended([*log, Tick(times[-1], 1)], NEW, model)
    found = []
    for records in (log, [packed(batch, NEW) for batch in batches]):
        shard, kept = world(model, **test_mending.LIMITS)
        for record in records:
            shard.apply(record, shard.position)
        found.append({key: raw for key, raw in kept.dumps().items() if key[0] != "zz"})
    assert found[0] == found[1] and len(found[0]) > 2


def test_a_duration_that_clocks_made_negative_is_no_duration_and_its_event_stays_an_activity() -> None:
    shard, kept = world()
    spans = (10, 30, 50, NO_DURATION)
    shard.apply(rows_of([Act("a", "ann", "acknowledged", START + n, n, ms) for n, ms in enumerate(spans, 1)]), 0)
    shard.apply(Tick(START + 2 * HOUR, 1), 1)
    assert shard.folder.apart["negative_duration"] == 1
    slots = shard.subjects.slots(["a" + SEPARATOR + "ann"])
    measure = NAMES.index("acknowledged")
    assert shard.week.counts_of(slots[:1])[0, measure] == 4 and shard.week.sum_of(measure)[slots[0]] == 90
    assert shard.week.medians((measure,), slots)[0].tolist() == [30]
    assert shard.history.medians(week_of(START, "UTC"), (measure,), slots)[0].tolist() == [30]
    assert len(kept.line("a", "acknowledged").grid("UTC").keys) == 3
    row = (0, 0, START + 4, -1, -NO_DURATION, START + 4)
    shard.apply(Correction("a", ["a" + SEPARATOR + "ann"], ["acknowledged"], [row]), 2)
    assert shard.folder.apart["negative_duration"] == 0
    assert shard.week.counts_of(slots[:1])[0, measure] == 3 and shard.week.sum_of(measure)[slots[0]] == 90


def test_a_zero_duration_is_one() -> None:
    shard, kept = world()
    shard.apply(rows_of([Act("a", "ann", "served", START, 1, 0)]), 0)
    assert kept.line("a", "served").grid("UTC").waits_ms.tolist() == [0]
    assert shard.folder.apart["negative_duration"] == 0


def test_state_is_not_carried_on_with_other_hours() -> None:
    shard, _ = world()
    shard.apply(rows_of([Act("a", "ann", "order", START, 1)]), 0)
    found = shard.checkpoint()
    world()[0].restore(found)
    own = {
        m.name: {}
        for m in MODEL.catalogue.measures[len(BUILT_IN) :]
        if m.name not in ("search", "export", "alert_received")
    }
    with pytest.raises(SchemaError, match="by hour of the week; run `orgpulse rebuild`"):
        world(model_of(**own))[0].restore(found)
