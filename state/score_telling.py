"""What the board says of users and orgs: their scores, where these come from, and who moved them.

Owns the shapes in which scores leave a shard. Invariant: only reads; telling twice tells the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from state.arrays import distinct
from state.change import Members, effects_of_users, movers, split_of_user, splits_of_orgs
from state.effects import GroupScore, OrgScore, UserScore
from state.group_scores import figures_by_job_type
from state.org_scores import NONE
from state.peers import peer_groups
from state.ring import Slots
from state.scoring import band_name
from state.trend import NO_TREND
from state.week import HOUR_MS, WEEK_HOURS

if TYPE_CHECKING:
    from state.scoreboard import Scoreboard


def user_scores(board: Scoreboard, slots: Slots, window_end_ms: int) -> Iterator[UserScore]:
    """Yield what is to be said of the users *slots*, as of *window_end_ms*."""
    hour = window_end_ms // HOUR_MS
    recent, slopes = board.past(slots)
    changes = board.parts[slots].astype(np.int64) - board.former_parts[slots]
    columns = zip(
        slots.tolist(),
        board.subjects.users(slots),
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
        board.regrouped[slots].tolist(),
        recent.tolist(),
        slopes.tolist(),
        _peers(board, slots),
        strict=True,
    )
    for (
        slot, user, score, previous, band, said, coverage, parts, change, first, drift, reloaded, regrouped, weeks,
        slope, peers,
    ) in columns:  # fmt: skip
        had = previous != NONE
        yield UserScore(
            board.subjects.orgs[board.subjects.org_of[slot]].name,
            user,
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
            split_of_user(score - previous, drift, reloaded, regrouped) if had else None,
            weeks,
            slope if slope != NO_TREND else None,
            peers,
        )


def _peers(board: Scoreboard, slots: Slots) -> list[str]:
    """Return what each of *slots* is ranked among."""
    groups = peer_groups(board.model, board.subjects, slots)
    labels = {number: board.label(number) for number in distinct(groups).tolist()}
    return [labels[number] for number in groups.tolist()]


def org_scores(board: Scoreboard, numbers: Slots, window_end_ms: int) -> Iterator[OrgScore]:
    """Yield what is to be said of the orgs *numbers*, as of *window_end_ms*."""
    slots = np.array([board.subjects.orgs[number].slot for number in numbers.tolist()], np.int64)
    recent, slopes = board.past(slots)
    # An org's users are ranked among different peers where these are of one job type.
    peers = [""] * len(slots) if board.model.population.peers == "job_type" else _peers(board, slots)
    columns = zip(
        numbers.tolist(),
        recent.tolist(),
        slopes.tolist(),
        _origins(board, numbers),
        figures_by_job_type(board, numbers),
        peers,
        strict=True,
    )
    for number, weeks, slope, origin, jobs, among in columns:
        trend = slope if slope != NO_TREND else None
        yield _org_score(board, number, window_end_ms, weeks, trend, origin, jobs, among)


def split_of(board: Scoreboard, number: int) -> list[int] | None:
    """Return what the change of an org's mean is made of, in the order of CAUSES; None = nothing to compare."""
    numbers = np.array([number], np.int64)
    if not _are_comparable(board, numbers)[0]:
        return None
    return _splits(board, numbers, *_members(board, numbers))[0]


_Origin = tuple[list[int] | None, list[tuple[str, int]]]


def _origins(board: Scoreboard, numbers: Slots) -> list[_Origin]:
    """Return of each of the orgs *numbers* what the change of its mean is made of, and who moved it."""
    nothing: _Origin = (None, [])
    found = [nothing] * len(numbers)
    comparable = np.flatnonzero(_are_comparable(board, numbers))
    compared = numbers[comparable]
    slots, users = _members(board, compared)
    effects = effects_of_users(len(compared), users)
    ends = np.cumsum(np.bincount(users.place, minlength=len(compared))).tolist()
    start = 0
    for at, split, end in zip(comparable.tolist(), _splits(board, compared, slots, users), ends, strict=True):
        moved = movers(slots[start:end].tolist(), effects[start:end].tolist())
        found[at] = (split, [(board.subjects.user(slot), effect) for slot, effect in moved])
        start = end
    return found


def _are_comparable(board: Scoreboard, numbers: Slots) -> NDArray[np.bool_]:
    return np.asarray((board.org_score[numbers, 0] != NONE) & (board.org_previous[numbers] != NONE))


def _members(board: Scoreboard, numbers: Slots) -> tuple[Slots, Members]:
    """Return the slots of the users of the orgs *numbers*, one org after the other, and what is known of them."""
    slots, sizes = board.subjects.members_of(numbers)
    place = np.repeat(np.arange(len(numbers)), sizes)
    score, previous = board.score[slots].astype(np.int64), board.previous[slots].astype(np.int64)
    return slots, Members(place, score, previous, board.are_counted(slots))


def _splits(board: Scoreboard, numbers: Slots, slots: Slots, users: Members) -> list[list[int]]:
    """Return what the changes of the orgs *numbers* are made of; *slots* and *users* are their `_members`."""
    change = board.org_score[numbers, 0].astype(np.int64) - board.org_previous[numbers]
    moved = (column[slots].astype(np.int64) for column in (board.drift, board.reloaded, board.regrouped))
    return [list(parts) for parts in splits_of_orgs(change, users, *moved).tolist()]


def _org_score(
    board: Scoreboard,
    number: int,
    window_end_ms: int,
    recent: list[int],
    trend: int | None,
    origin: _Origin,
    jobs: dict[str, GroupScore],
    peers: str,
) -> OrgScore:
    entry = board.subjects.orgs[number]
    catalogue = board.model.catalogue
    transaction = catalogue.index("transaction")
    had = board.org_previous[number] != NONE
    changes = board.org_parts[number].astype(np.int64) - board.org_former_parts[number]
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
        int(board.week.count_of(transaction)[entry.slot]),
        int(board.week.sum_of(transaction)[entry.slot]),
        board.org_parts[number].tolist(),
        changes.tolist() if had else None,
        window_end_ms,
        board.calibration,
        board.alert_since(number),
        origin[0],
        recent,
        trend,
        origin[1],
        jobs,
        peers,
    )
