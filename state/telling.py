"""Maps and summaries: what a shard tells besides scores and weeks.

Owns the shapes in which latency and the population leave a shard.
Invariant: only reads; telling twice tells the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import numpy as np

from state.effects import CellFigures, LatencyMap, Summary, Values
from state.group_scores import totals_by_group_type
from state.groups import NO_GROUP
from state.health import Mask, Matrix, Model
from state.latency import Latency
from state.peers import MAX_PEER_GROUPS, group_names, orgs_left_out, peer_groups
from state.periods import month_name
from state.records import record_of
from state.ring import Slots
from state.scoring import population_of
from state.week import WEEK_HOURS
from state.week_grid import WeekGrid

if TYPE_CHECKING:
    from state.scoreboard import Scoreboard
    from state.shadow import Shadow
    from state.shard import Shard

_summary = msgspec.msgpack.Decoder(Summary)
MAX_VALUES = 4096
"""Distinct values an attribute's summary may hold per partition; above, a user's place among all is off by at most
1/2048 of them (about 1/4096 where few share a value)."""
MAX_GROUP_VALUES = 2048
"""The same for all peer groups of a partition together, in equal shares."""


def cells_of(grid: WeekGrid, quantile: float, target_ms: int) -> tuple[dict[int, CellFigures], CellFigures]:
    """Return the figures of the hours of the week in which anything happened, and of all together."""
    every, first = (grid.quantiles_ms(quantile, first=only).tolist() for only in (False, True))
    replies, messages, answered, within = (
        part.tolist() for part in (grid.replies, grid.events, grid.answered, grid.within(target_ms))
    )
    cells: dict[int, CellFigures] = {
        hour: (
            every[hour] if replies[hour] else None,
            replies[hour],
            messages[hour],
            answered[hour],
            first[hour] if answered[hour] else None,
            within[hour],
        )
        for hour in range(WEEK_HOURS)
        if replies[hour] or messages[hour]
    }
    whole = (grid.quantile_ms(quantile), sum(replies), sum(messages), sum(answered))
    return cells, (*whole, grid.quantile_ms(quantile, first=True), sum(within))


def latency_map(latency: Latency, org: str, zone: str, months: range, quantile: float, target_ms: int) -> LatencyMap:
    """Return the org's map over *months*; the period is named by its first and last month."""
    cells, whole = cells_of(latency.grid(org, zone, months), quantile, target_ms)
    known = [month_name(month) for month in latency.months(org)]
    return LatencyMap(
        org, zone, span_name(months), quantile, cells, target_ms, latency.lines(org), known, whole
    )  # fmt: skip


def span_name(months: range) -> str:
    """Return a period by its first and last month.

    >>> span_name(range(2024 * 12, 2024 * 12 + 3))
    '2024-01/2024-03'
    """
    return f"{month_name(months[0])}/{month_name(months[-1])}"


def summary(shard: Shard, round_: int) -> Summary:
    """Return the partition's share of the population and its overall latency."""
    found = _summary_of(shard, shard.board, round_)
    found.grids = shard.latency.take_overall({entry.name: entry.zone for entry in shard.subjects.orgs})
    found.by_group_type = totals_by_group_type(shard.board)
    return found


def shadow_summary(shard: Shard, shadow: Shadow, round_: int) -> Summary:
    """Return the partition's share of the population as the shadow model counts it; the rest is the live one's."""
    found = _summary_of(shard, shadow.board, round_)
    found.model = shadow.id
    return found


def _summary_of(shard: Shard, board: Scoreboard, round_: int) -> Summary:
    model, subjects, users = board.model, shard.subjects, board.population()
    values, known = board.values_of(users)
    left_out = int(orgs_left_out(model, subjects).sum())
    return Summary(
        shard.partition,
        round_,
        len(users),
        board.bands(),
        len(subjects.orgs) - left_out,
        _counted(model, values, known, MAX_VALUES),
        {},
        shard.watermark_ms,
        peers=model.population.peers,
        groups=_of_groups(board, users, values, known),
        orgs_left_out=left_out,
    )


def _of_groups(board: Scoreboard, users: Slots, values: Matrix, known: Mask) -> dict[str, tuple[int, Values]]:
    """Return of the largest peer groups of *users*, by name, how many there are and their distinct values."""
    groups, names = peer_groups(board.model, board.subjects, users), group_names(board.model, board.subjects)
    numbers, sizes = np.unique(groups[groups != NO_GROUP], return_counts=True)
    ranked = sorted(zip(sizes.tolist(), numbers.tolist(), strict=True), key=lambda each: (-each[0], names[each[1]]))
    told = {names[number]: (number, size) for size, number in ranked[:MAX_PEER_GROUPS]}
    found = {}
    for name, (number, size) in sorted(told.items()):
        here = groups == number
        found[name] = (size, _counted(board.model, values[here], known[here], MAX_GROUP_VALUES // len(told)))
    return found


def _counted(model: Model, values: Matrix, known: Mask, limit: int) -> Values:
    """Return the ranked attributes' distinct values, at most *limit* of each, with their counts."""
    found: Values = {}
    for name, counted in population_of(model, values, known).items():
        distinct, counts = thinned(*counted, limit)
        found[name] = (distinct.tolist(), counts.tolist())
    return found


def thinned(values: Matrix, counts: Matrix, limit: int) -> tuple[Matrix, Matrix]:
    """Return at most *limit* of the ascending *values*, each standing for those up to the next.

    They stand for at most 2/limit of the population besides themselves, however many partitions are merged. A value
    that many share stands alone: counted with a lesser one, it would lie below values of other partitions in between.
    """
    if len(values) <= limit:
        return values, counts
    upto = np.cumsum(counts)
    total, starts = int(upto[-1]), np.zeros(0, np.int64)
    for eighths in (8, 7, 6, 5, 4):  # each group has two starts at most, so half as many groups always do
        groups = max(1, limit * eighths // 8)
        first, last = (upto - counts) * groups // total, (upto - 1) * groups // total
        differs = (first[1:] != first[:-1]) | (last[1:] != last[:-1])
        starts = np.flatnonzero(np.concatenate(([True], differs)))
        if len(starts) <= limit:
            break
    return values[starts], np.add.reduceat(counts, starts)


def encode_summary(found: Summary) -> bytes:
    """Return a summary as bytes."""
    return msgspec.msgpack.encode(found)


def decode_summary(raw: bytes) -> Summary:
    """Return the summary in *raw*.

    Raises:
        msgspec.DecodeError: If *raw* is none.
    """
    return record_of(_summary, raw)
