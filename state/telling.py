"""Maps and summaries: what a shard tells besides scores and weeks.

Owns the shapes in which latency and the population leave a shard.
Invariant: only reads; telling twice tells the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import numpy as np

from state.effects import LatencyMap, Summary
from state.health import Matrix, Model
from state.latency import Grid, Latency, dump_grid
from state.records import record_of
from state.scoring import population_of

if TYPE_CHECKING:
    from state.scoreboard import Scoreboard
    from state.shadow import Shadow
    from state.shard import Shard

_summary = msgspec.msgpack.Decoder(Summary)
MAX_VALUES = 4096
"""Distinct values an attribute's summary may hold per partition; above, a user's place among all is off by at most
1/2048 of them (about 1/4096 where few share a value)."""


def cells_of(grid: Grid, quantile: float) -> dict[int, tuple[float | None, int, int, int]]:
    """Return hour of the week → (quantile in ms, replies, messages, answered)."""
    return {
        hour: (cell.latencies.quantile_ms(quantile), cell.latencies.count, cell.messages, cell.answered)
        for hour, cell in sorted(grid.items())
    }


def latency_map(latency: Latency, org: str, zone: str, months: range, quantile: float) -> LatencyMap:
    """Return the org's map over *months*; the period is named by its first and last month."""
    return LatencyMap(org, zone, period_name(months), quantile, cells_of(latency.grid(org, months), quantile))


def period_name(months: range) -> str:
    """Return the name of a period of months.

    >>> period_name(range(2024 * 12, 2024 * 12 + 3))
    '2024-01/2024-03'
    """
    return "/".join(f"{m // 12}-{m % 12 + 1:02d}" for m in (months[0], months[-1]))


def summary(shard: Shard, round_: int) -> Summary:
    """Return the partition's share of the population and its overall latency."""
    users, found = _values(shard.board, shard.model)
    bands = shard.board.bands()
    grid = dump_grid(shard.latency.overall(shard.months()))
    return Summary(shard.partition, round_, users, bands, len(shard.subjects.orgs), found, grid, shard.watermark_ms)


def shadow_summary(shard: Shard, shadow: Shadow, round_: int) -> Summary:
    """Return the partition's share of the population as the shadow model counts it; latency is the live one's."""
    users, found = _values(shadow.board, shadow.model)
    bands, orgs = shadow.board.bands(), len(shard.subjects.orgs)
    return Summary(shard.partition, round_, users, bands, orgs, found, {}, shard.watermark_ms, shadow.id)


def _values(board: Scoreboard, model: Model) -> tuple[int, dict[str, tuple[list[int], list[int]]]]:
    """Return how many users are active, and the ranked attributes' distinct values with their counts."""
    values, known = board.population()
    found = {}
    for name, counted in population_of(model, values, known).items():
        distinct, counts = thinned(*counted, MAX_VALUES)
        found[name] = (distinct.tolist(), counts.tolist())
    return len(values), found


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
