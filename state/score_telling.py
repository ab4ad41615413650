"""What the board says of users and orgs: their scores, where these come from, and who moved them.

Owns the shapes in which scores leave a shard. Invariant: only reads; telling twice tells the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from state.change import effects_of_users, movers, split_of_org, split_of_user
from state.effects import OrgScore, UserScore
from state.health import Matrix, band_name
from state.org_scores import NONE
from state.ring import Slots
from state.trend import NO_TREND, trends
from state.week import HOUR_MS, WEEK_HOURS

if TYPE_CHECKING:
    from state.scoreboard import Scoreboard


def user_scores(board: Scoreboard, slots: Slots, window_end_ms: int) -> Iterator[UserScore]:
    """Yield what is to be said of the users *slots*, as of *window_end_ms*."""
    hour = window_end_ms // HOUR_MS
    recent = board.recent(slots)
    changes = board.parts[slots].astype(np.int64) - board.former_parts[slots]
    columns = zip(
        slots.tolist(),
        board.score[slots].tolist(),
        board.previous[slots].tolist(),
        board.band[slots].tolist(),
        board.said_band[slots].tolist(),
        board.coverage[slots].tolist(),
        board.parts[slots].tolist(),
        changes.tolist(),
        (hour - board.since[slots] < WEEK_HOURS).tolist(),
        board.drift[slots].tolist(),
        board.reloaded[slots].tolist(),
        recent.tolist(),
        trends(recent).tolist(),
        strict=True,
    )
    for slot, score, previous, band, said, coverage, parts, change, first, drift, reloaded, weeks, slope in columns:
        had = previous != NONE
        yield UserScore(
            board.subjects.orgs[board.subjects.org_of[slot]].name,
            board.subjects.user(slot),
            score,
            previous if had else None,
            band_name(band),
            band_name(said),
            coverage,
            parts,
            change if had else None,
            window_end_ms,
            board.calibration,
            first,
            split_of_user(score - previous, drift, reloaded) if had else None,
            weeks,
            slope if slope != NO_TREND else None,
        )


def org_scores(board: Scoreboard, numbers: Slots, window_end_ms: int) -> Iterator[OrgScore]:
    """Yield what is to be said of the orgs *numbers*, as of *window_end_ms*."""
    recent = board.recent(np.array([board.subjects.orgs[number].slot for number in numbers.tolist()], np.int64))
    columns = zip(numbers.tolist(), recent.tolist(), trends(recent).tolist(), strict=True)
    for number, weeks, slope in columns:
        yield _org_score(board, number, window_end_ms, weeks, slope if slope != NO_TREND else None)


def split_of(board: Scoreboard, number: int) -> list[int] | None:
    """Return what the change of an org's mean is made of, in the order of CAUSES; None = nothing to compare."""
    if not _is_comparable(board, number):
        return None
    users, counted = _members(board, number)
    return _split(board, number, users[counted])


def _org_score(board: Scoreboard, number: int, window_end_ms: int, recent: list[int], trend: int | None) -> OrgScore:
    entry = board.subjects.orgs[number]
    catalogue = board.model.catalogue
    transaction = catalogue.index("transaction")
    had = board.org_previous[number] != NONE
    changes = board.org_parts[number].astype(np.int64) - board.org_former_parts[number]
    split, moved = None, list[tuple[str, int]]()
    if _is_comparable(board, number):
        users, counted = _members(board, number)
        split = _split(board, number, users[counted])
        effects = effects_of_users(*_now_and_before(board, users), counted)
        moved = [(board.subjects.user(slot), effect) for slot, effect in movers(users.tolist(), effects)]
    kinds = [None if s == NONE else int(s) for s in board.org_score[number]]
    return OrgScore(
        entry.name,
        entry.title,
        entry.group_type,
        kinds[0],
        kinds[1],
        kinds[2],
        int(board.org_previous[number]) if had else None,
        band_name(int(board.org_band[number])),
        band_name(int(board.org_said_band[number])),
        int(board.org_active[number]),
        int(board.org_licensed[number]),
        int(board.org_activities[number]),
        int(board.week.counts[entry.slot, transaction]),
        int(board.week.sum_of(transaction)[entry.slot]),
        board.org_parts[number].tolist(),
        changes.tolist() if had else None,
        window_end_ms,
        board.calibration,
        board.alert_since(number),
        split,
        recent,
        trend,
        moved,
    )


def _is_comparable(board: Scoreboard, number: int) -> bool:
    return NONE not in (int(board.org_score[number, 0]), int(board.org_previous[number]))


def _members(board: Scoreboard, number: int) -> tuple[Slots, NDArray[np.bool_]]:
    """Return an org's users, and which of them count."""
    users = np.array(board.subjects.orgs[number].members, np.int64)
    return users, board.are_counted(users)


def _split(board: Scoreboard, number: int, users: Slots) -> list[int]:
    drift, reloaded = board.drift[users].astype(np.int64), board.reloaded[users].astype(np.int64)
    change = int(board.org_score[number, 0]) - int(board.org_previous[number])
    return split_of_org(change, *_now_and_before(board, users), drift, reloaded)


def _now_and_before(board: Scoreboard, users: Slots) -> tuple[Matrix, Matrix]:
    return board.score[users].astype(np.int64), board.previous[users].astype(np.int64)
