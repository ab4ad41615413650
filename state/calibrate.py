"""Below which score do orgs leave? Thresholds judged by the weekly history and a list of who left when.

Owns the cases, their figures and the proposal. Invariants: nothing looks ahead (a week is a case only once its
horizon is over, for leavers and stayers alike), whole orgs are resampled, because an org's weeks are alike, and
too little data proposes nothing.

    case        one org in one closed week; positive if the org left within the horizon after it
    precision   positives among cases below the threshold
    recall      cases below the threshold among positives
    lift        precision / share of positives among all cases
    AUC         P(score of a positive < score of another) + ½ P(equal)
    cost        (missed · cost_miss + false · cost_false) / cases
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from state.arrays import distinct

FEWEST_ORGS = 10
"""Orgs that left, and as many that stayed, below which nothing is proposed."""
RESAMPLINGS = 500
INTERVAL = (0.05, 0.95)
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Cases:
    """n org-weeks, every column of shape (n,)."""

    org: Ints
    """0 … k−1"""
    week: Ints
    score: Ints
    """Basis points."""
    left: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.org)

    def take(self, mask: NDArray[np.bool_]) -> Cases:
        """Return some of the cases."""
        return Cases(self.org[mask], self.week[mask], self.score[mask], self.left[mask])

    def orgs(self, *, left: bool) -> int:
        """Return how many orgs have a positive case, or none."""
        leaving = distinct(self.org[self.left])
        return len(leaving) if left else len(np.setdiff1d(self.org, leaving))


@dataclass(frozen=True, slots=True)
class Figure:
    """An estimate and its bootstrap interval; NaN = can't be said."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Row:
    """What one threshold (basis points) would have done."""

    threshold: int
    alerts: int
    """Cases below it."""
    precision: Figure
    recall: Figure
    lift: Figure
    cost: float


@dataclass(frozen=True, slots=True)
class Costs:
    """What a missed leaver and a false alarm cost, each week, in any unit."""

    miss: float = 5.0
    false: float = 1.0


def cases_of(
    history: Mapping[str, Mapping[int, int]], left: Mapping[str, int], horizon: int, until: int | None = None
) -> Cases:
    """Return the cases that could be known at the close of week *until* (None = of the last week there is).

    Args:
        history: Org → week number → closing score (basis points).
        left: Org → the week in which it left; that week and later ones are no cases.
        horizon: Weeks.
        until: Nothing after it is looked at.

    >>> found = cases_of({"a": {1: 500, 2: 400}, "b": {1: 900, 2: 900, 3: 900}}, {"a": 3}, 1)
    >>> found.week.tolist(), found.left.tolist()
    ([1, 2, 1, 2], [False, True, False, False])
    """
    known = (week for weeks in history.values() for week in weeks if until is None or week <= until)
    last = max(known, default=0)
    rows = []
    for number, org in enumerate(sorted(history)):
        gone = left.get(org)
        for week, score in sorted(history[org].items()):
            if week + horizon <= last and (gone is None or week < gone):
                rows.append((number, week, score, gone is not None and gone - week <= horizon))
    table = np.array(rows, np.int64).reshape(-1, 4)
    return Cases(table[:, 0], table[:, 1], table[:, 2], table[:, 3].astype(bool))


def auc(cases: Cases) -> float:
    """Return how well low scores tell who leaves: 1 = perfectly, 0.5 = not at all; NaN = only one kind of case."""
    return _auc(_ranks(cases), cases.left, np.ones(len(cases)))


def judged(cases: Cases, thresholds: Sequence[int], costs: Costs, seed: int) -> tuple[Figure, list[Row]]:
    """Return the AUC and what each of *thresholds* (basis points) would have done; *seed* is of the resampling."""
    below = cases.score[:, None] < np.asarray(thresholds, np.int64)
    orgs = int(cases.org.max()) + 1 if len(cases) else 0
    hits, alarms = _by_org(cases, below & cases.left[:, None], orgs), _by_org(cases, below, orgs)
    positives, sizes = _by_org(cases, cases.left[:, None], orgs), _by_org(cases, np.ones((len(cases), 1), bool), orgs)
    draws = _draws(cases, orgs, seed)
    every = np.ones((1, orgs))
    found = [_ratios(w @ hits, w @ alarms, w @ positives, w @ sizes) for w in (every, draws)]
    ranks = _ranks(cases)
    resampled = np.array([_auc(ranks, cases.left, draw[cases.org]) for draw in draws])
    rows = []
    for at, threshold in enumerate(thresholds):
        precision, recall, lift = (_figure(float(one[0, at]), many[:, at]) for one, many in zip(*found, strict=True))
        false = float(alarms[:, at].sum() - hits[:, at].sum())
        missed = float(positives.sum() - hits[:, at].sum())
        cost = (missed * costs.miss + false * costs.false) / max(len(cases), 1)
        rows.append(Row(threshold, int(alarms[:, at].sum()), precision, recall, lift, cost))
    return _figure(auc(cases), resampled), rows


def too_little(cases: Cases) -> str:
    """Return why nothing can be proposed; empty = something can."""
    for left, what in ((True, "left"), (False, "stayed")):
        count = cases.orgs(left=left)
        if count < FEWEST_ORGS:
            return f"{count} orgs with a score {what}, at least {FEWEST_ORGS} are needed"
    return ""


def proposed(cases: Cases, rows: Sequence[Row]) -> Row | None:
    """Return the threshold of least cost, the lowest of equals; None when too little is known."""
    return None if too_little(cases) or not rows else min(rows, key=lambda row: (row.cost, row.threshold))


def backtest(cases: Cases, horizon: int, thresholds: Sequence[int], costs: Costs) -> tuple[Cases, NDArray[np.bool_]]:
    """Return the cases of every week that had a proposal, and which of them it would have alerted.

    The threshold used in a week is the one that was to be proposed at its close, from the cases whose *horizon*
    (weeks) was over by then: whether those are positive was known, and whoever left later is a stayer in them.
    """
    chosen, alerts = np.zeros(len(cases), bool), np.zeros(len(cases), bool)
    for week in distinct(cases.week).tolist():
        known = cases.take(cases.week + horizon <= week)
        if too_little(known):
            continue
        threshold = thresholds[int(np.argmin(_costs_of(known, thresholds, costs)))]
        here = cases.week == week
        chosen |= here
        alerts |= here & (cases.score < threshold)
    return cases.take(chosen), alerts[chosen]


def _ranks(cases: Cases) -> Ints:
    """Return the place of each case's score among the distinct scores, ascending."""
    return np.asarray(np.unique(cases.score, return_inverse=True)[1], np.int64)


def _auc(rank: Ints, gone: NDArray[np.bool_], weight: Floats) -> float:
    left = np.bincount(rank, weights=weight * gone)
    stayed = np.bincount(rank, weights=weight * ~gone)
    above = stayed.sum() - np.cumsum(stayed)
    pairs = left.sum() * stayed.sum()
    return float((left * (above + stayed / 2)).sum() / pairs) if pairs else float("nan")


def _costs_of(cases: Cases, thresholds: Sequence[int], costs: Costs) -> Floats:
    below = cases.score[:, None] < np.asarray(thresholds, np.int64)
    missed = (~below & cases.left[:, None]).sum(axis=0)
    false = (below & ~cases.left[:, None]).sum(axis=0)
    return np.asarray(missed * costs.miss + false * costs.false, np.float64)


def _by_org(cases: Cases, marks: NDArray[np.bool_], orgs: int) -> Floats:
    """Return how many cases are marked, by org and column: shape (orgs, columns)."""
    found = np.zeros((orgs, marks.shape[1]))
    np.add.at(found, cases.org, marks)
    return found


def _draws(cases: Cases, orgs: int, seed: int) -> Floats:
    """Return how often each org is drawn in each resampling, shape (RESAMPLINGS, orgs)."""
    present = distinct(cases.org)
    if not len(present):
        return np.zeros((0, orgs))
    drawn = np.random.default_rng(seed).choice(present, (RESAMPLINGS, len(present)))
    return np.array([np.bincount(row, minlength=orgs) for row in drawn], np.float64)


def _ratios(hits: Floats, alarms: Floats, positives: Floats, sizes: Floats) -> tuple[Floats, Floats, Floats]:
    with np.errstate(divide="ignore", invalid="ignore"):
        precision, recall = hits / alarms, hits / positives
        return precision, recall, precision / (positives / sizes)


def _figure(value: float, resampled: Floats) -> Figure:
    known = resampled[np.isfinite(resampled)]
    low, high = np.quantile(known, INTERVAL) if len(known) else (float("nan"), float("nan"))
    return Figure(value, float(low), float(high))
