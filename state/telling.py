"""Rows, maps and summaries: what a shard tells besides scores.

Owns the shapes in which weeks, latency and the population leave a shard.
Invariant: only reads; telling twice tells the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from state.cells import Counts, Keys, sum_by_key
from state.effects import LatencyMap, Summary, WeekRow
from state.health import Matrix, Model
from state.latency import Grid, Latency, dump_grid
from state.measures import MAX_MEASURES
from state.records import record_of
from state.ring import Slots
from state.scoring import population_of
from state.week import week_label

if TYPE_CHECKING:
    from state.scoreboard import Scoreboard
    from state.shadow import Shadow
    from state.shard import Shard

_summary = msgspec.msgpack.Decoder(Summary)
_STRIDE = np.uint64(MAX_MEASURES)
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


def week_rows(shard: Shard, week: int, orgs: Iterable[int], state: str) -> list[WeekRow]:
    """Return the rows of *week* of the orgs (numbers) and their users.

    *state* "final" tells everybody, "restated" who was touched since last told and
    their orgs, "provisional" only the orgs of who was touched. Users without an
    activity in the week have no row, but what was taken back leaves an empty one.
    """
    subjects, numbers = shard.subjects, list(orgs)
    if not numbers or week not in shard.history.weeks():
        return []
    wanted = np.zeros(len(subjects.orgs), bool)
    wanted[numbers] = True
    among = wanted[subjects.org_of[: len(subjects)]]
    touched = shard.history.take_dirty(week, among)
    if not len(touched) and state != "final":
        return []
    keys, counts, sum_keys, sums = shard.history.read(week)
    slots = (keys // _STRIDE).astype(np.int64)
    # Who was touched has a row even with nothing left, because a row told before may say otherwise.
    told = np.union1d(slots[among[slots]], touched) if state == "final" else touched
    rows = []
    if state != "provisional":
        per_slot = _by_subject(keys, counts, told), _by_subject(sum_keys, sums, told)
        rows = [_row(shard, slot, week, state, per_slot) for slot in told[subjects.is_user[told]].tolist()]
    heads = subjects.org_slots()[np.unique(subjects.org_of[told])]
    per_org = tuple(_by_subject(*_of_orgs(shard, k, v), heads) for k, v in ((keys, counts), (sum_keys, sums)))
    active = _active_users(shard, keys)
    for head in heads.tolist():
        row = _row(shard, head, week, state, per_org)
        row.active_users = active.get(int(subjects.org_of[head]), 0)
        rows.append(row)
    return rows


PerSubject = dict[int, list[tuple[int, int]]]  # slot → (measure, count or sum)


def _of_orgs(shard: Shard, keys: Keys, values: Counts) -> tuple[Keys, Counts]:
    """Return the cells added up by org: the key's slot is the org's own."""
    slots, measures = np.divmod(keys, _STRIDE)
    heads = shard.subjects.org_slots()[shard.subjects.org_of[slots.astype(np.int64)]]
    return sum_by_key(heads.astype(np.uint64) * _STRIDE + measures, values)


def _by_subject(keys: Keys, values: Counts, wanted: Slots) -> PerSubject:
    """Return the cells of the *wanted* slots, by slot."""
    found: PerSubject = {}
    slots, measures = np.divmod(keys.astype(np.int64), MAX_MEASURES)
    here = np.isin(slots, wanted)
    slots, measures, values = slots[here], measures[here], values[here]
    for slot, measure, value in zip(slots.tolist(), measures.tolist(), values.tolist(), strict=True):
        found.setdefault(slot, []).append((measure, value))
    return found


def _active_users(shard: Shard, keys: Keys) -> dict[int, int]:
    """Return org number → users with at least one activity (something received is none)."""
    slots, measures = np.divmod(keys.astype(np.int64), MAX_MEASURES)
    counts = np.array([not m.passive for m in shard.model.catalogue.measures])[measures]
    users = np.unique(slots[counts & shard.subjects.is_user[slots]])
    numbers, found = np.unique(shard.subjects.org_of[users], return_counts=True)
    return dict(zip(numbers.tolist(), found.tolist(), strict=True))


def _row(shard: Shard, slot: int, week: int, state: str, per_subject: tuple[PerSubject, ...]) -> WeekRow:
    measures = shard.model.catalogue.measures
    counts, sums = (found.get(slot, []) for found in per_subject)
    user = shard.subjects.user(slot)
    number = int(shard.subjects.org_of[slot])
    closing = state == "final"  # a restated row keeps its score, but no longer knows what made it up
    parts = shard.board.parts[slot] if user else shard.board.org_parts[number]
    names = [a.name for a in shard.model.attributes]
    return WeekRow(
        shard.subjects.orgs[number].name,
        user,
        week_label(week),
        state,
        {measures[m].name: n for m, n in counts},
        {measures[m].name: n for m, n in sums},
        sum(n for m, n in counts if not measures[m].passive),
        int(bool(user) and any(not measures[m].passive for m, _ in counts)),
        shard.history.score_at_close(week, slot),
        {n: p for n, p in zip(names, parts.tolist(), strict=True) if p} if closing else None,
    )


def encode_summary(found: Summary) -> bytes:
    """Return a summary as bytes."""
    return msgspec.msgpack.encode(found)


def decode_summary(raw: bytes) -> Summary:
    """Return the summary in *raw*.

    Raises:
        msgspec.DecodeError: If *raw* is none.
    """
    return record_of(_summary, raw)
