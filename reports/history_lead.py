"""Does a falling score precede falling transactions?

Holds an org's score of a week against its transactions 0 to 8 weeks later, as levels and as changes from week to week.

    score          … w-1  w  …            x = score(w), or score(w) - score(w-1)
    transactions   … w-1  w  …  w+k-1  w+k   y = transactions(w+k), or transactions(w+k) - transactions(w+k-1)

Both are replaced by their rank among all orgs of the same pair of weeks, so that a season that moves everybody is no
evidence, and neither is one huge org; r is Pearson's of these ranks.

Chance is found by turning: each org's x are turned round in time by a random number of its own places, while its y stay
(an org's list of pairs in order of time). That keeps what kind of org it is, how its scores hang together from week to
week, and n; only *when* is lost, which is what is asked for. Shuffling the weeks instead would break the hanging
together and find too much; exchanging orgs would let "large orgs score high" count as foresight. p is the share of
turnings (itself included) whose r is as far from the turnings' mean; nine lags are nine looks, so p is corrected by
Holm's steps, valid however the lags hang together. Invariant: equal seeds and data give equal figures.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import rankdata

from reports.correlate import Coefficient, pearson

LAGS = range(9)
TURNINGS = 999
SEED = 20_201_207
FEWEST_ARRANGEMENTS = 100
"""With fewer ways to turn all orgs, chance can't be told from foresight."""
LEVEL, CHANGE = "level", "change"
OUTCOMES = (("transactions", "transactions_count"), ("volume", "transactions_cents"))
_BLOCK = 256

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Grid:
    """Orgs × weeks: `scores` (NaN = none), outcomes by name (0 = none), and from which week on an org is there."""

    scores: Floats
    outcomes: dict[str, Floats]
    begins: Ints

    @classmethod
    def of(cls, org_weeks: pd.DataFrame, first: int, last: int) -> Grid:
        """Return the grid of orgs with a score and a transaction, weeks *first* to *last*.

        An org counts from the first week on that has a row of it; a week after that without a row had no transactions.
        """
        scored = set(org_weeks["org"][org_weeks["score"].notna()])
        traded = set(org_weeks["org"][org_weeks["transactions_count"] > 0])
        rows = org_weeks[org_weeks["org"].isin(scored & traded)]
        names, place = np.unique(rows["org"].to_numpy(object), return_inverse=True)
        week = rows["week"].to_numpy() - first
        shape = (len(names), max(last - first + 1, 0))
        scores = np.full(shape, np.nan)
        scores[place, week] = rows["score"]
        begins = np.full(len(names), shape[1])
        np.minimum.at(begins, place, week)
        outcomes = {}
        for name, column in OUTCOMES:
            outcomes[name] = np.zeros(shape)
            outcomes[name][place, week] = rows[column]
        return cls(scores, outcomes, begins)

    def pairs(self, outcome: str, form: str, lag: int) -> tuple[Ints, Ints, Floats, Floats]:
        """Return org, week, x and y of each pair, by org, then by week; weeks that only one org has a pair in are
        out."""
        scores, values = self.scores, self.outcomes[outcome]
        weeks = scores.shape[1]
        before = 1 if form == CHANGE else 0
        if weeks - lag - before <= 0:
            none = np.zeros(0, np.int64)
            return none, none, none.astype(np.float64), none.astype(np.float64)
        x = scores[:, before : weeks - lag]
        y = values[:, before + lag :]
        there = np.arange(before, weeks - lag) - before >= self.begins[:, None]
        if form == CHANGE:
            x = x - scores[:, : weeks - lag - 1]
            y = y - values[:, lag : weeks - 1]
        kept = there & ~np.isnan(x)
        kept &= kept.sum(axis=0) > 1
        org, week = np.nonzero(kept)
        return org, week, x[kept], y[kept]

    def fell(self, lag: int) -> dict[str, tuple[int, float]]:
        """Return, after weeks in which the score fell and in which it rose, how many there were, and in which share of
        them there were fewer transactions *lag* weeks later than in the week before the change."""
        weeks = self.scores.shape[1]
        found = {"fall": (0, float("nan")), "rise": (0, float("nan"))}
        if weeks - lag - 1 <= 0:
            return found
        counts = self.outcomes[OUTCOMES[0][0]]
        change = self.scores[:, 1 : weeks - lag] - self.scores[:, : weeks - lag - 1]
        fewer = counts[:, 1 + lag :] < counts[:, : weeks - lag - 1]
        there = np.arange(weeks - lag - 1) >= self.begins[:, None]
        for name, moved in (("fall", change < 0), ("rise", change > 0)):
            cases = fewer[moved & there]
            found[name] = (len(cases), float(cases.mean()) if len(cases) else float("nan"))
        return found


def lead_lag(
    org_weeks: pd.DataFrame, first: int, last: int, seed: int = SEED, turnings: int = TURNINGS
) -> pd.DataFrame:
    """Return one row per form, outcome and lag.

    Columns: `form`, `outcome`, `lag_weeks`, `n`, `orgs`, `r`, `r_low`, `r_high` (95 %, one org left out after the
    other),
    `p`, `p_holm`, `falls`, `fewer_after_fall`, `rises`, `fewer_after_rise`, `note`.
    """
    grid, rows = Grid.of(org_weeks, first, last), list[dict[str, Any]]()
    moves = {lag: grid.fell(lag) for lag in LAGS}
    for form in (CHANGE, LEVEL):
        for outcome, _ in OUTCOMES:
            block = list[dict[str, Any]]()
            for lag in LAGS:
                rng = np.random.default_rng([seed, lag, form == CHANGE])
                pairs = grid.pairs(outcome, form, lag)
                org = pairs[0]
                found, p, why = look(*pairs, rng, turnings)
                row: dict[str, Any] = {
                    "form": form,
                    "outcome": outcome,
                    "lag_weeks": lag,
                    "n": found.n,
                    "orgs": len(np.unique(org)),
                }
                row |= {"r": found.value, "r_low": found.group_low, "r_high": found.group_high, "p": p}
                for name, (cases, share) in moves[lag].items():
                    row |= {f"{name}s": cases, f"fewer_after_{name}": share}
                block.append({**row, "note": why})
            for row, corrected in zip(block, holm([float(row["p"]) for row in block]), strict=True):
                row["p_holm"] = corrected
            rows += block
    order = [
        "form", "outcome", "lag_weeks", "n", "orgs", "r", "r_low", "r_high", "p", "p_holm", "falls", "fewer_after_fall",
        "rises", "fewer_after_rise", "note",
    ]  # fmt: skip
    whole = dict.fromkeys(("lag_weeks", "n", "orgs", "falls", "rises"), "int64")
    return pd.DataFrame(rows)[order].astype({**dict.fromkeys(("form", "outcome", "note"), "str"), **whole})


def look(
    org: Ints, week: Ints, x: Floats, y: Floats, rng: np.random.Generator, turnings: int
) -> tuple[Coefficient, float, str]:
    """Return coefficient, p (NaN = none) and, if something is missing, why. Pairs are by org, then by week."""
    x, y = within_week(x, week), within_week(y, week)
    found = pearson(x, y, org)
    if found.why:
        return found, float("nan"), found.why
    lengths = np.bincount(org)
    if np.sum(np.log(np.maximum(lengths, 1))) < np.log(FEWEST_ARRANGEMENTS):
        return found, float("nan"), "too few weeks to tell it from chance"
    turned = turned_sums(org, x, y, rng, turnings)
    own = float(x @ y)
    middle = (turned.sum() + own) / (turnings + 1)
    far = np.abs(turned - middle) >= abs(own - middle) * (1 - 1e-12)
    return found, float((1 + far.sum()) / (turnings + 1)), ""


def within_week(values: Floats, week: Ints) -> Floats:
    """Return the rank of each value among those of its week, -½ to ½, equal ones sharing theirs.

    >>> within_week(np.array([5.0, 9.0, 1.0, 7.0, 7.0]), np.array([0, 0, 0, 1, 1])).round(3).tolist()
    [0.0, 0.333, -0.333, 0.0, 0.0]
    """
    found = np.zeros(len(values))
    for number in np.unique(week):
        here = week == number
        ranks = rankdata(values[here])
        found[here] = (ranks - (len(ranks) + 1) / 2) / len(ranks)
    return found


def turned_sums(org: Ints, x: Floats, y: Floats, rng: np.random.Generator, turnings: int) -> Floats:
    """Return Σ x·y after each of *turnings*, in which every org's x are turned by a random number of places.

    Turning changes neither means nor squares, so this sum alone decides r. For each org the sums of all its turnings
    are worked out once; a turning of all orgs is then one look-up per org.
    """
    sums, starts, lengths = _circular(org, x, y)
    found = np.empty(turnings)
    for start in range(0, turnings, _BLOCK):
        size = min(_BLOCK, turnings - start)
        offsets = (rng.random((size, len(lengths))) * lengths).astype(np.int64)
        found[start : start + size] = sums[starts + offsets].sum(axis=1)
    return found


def _circular(org: Ints, x: Floats, y: Floats) -> tuple[Floats, Ints, Ints]:
    """Return, one org after the other, Σ x(j + s)·y(j) for each turning s; where each org begins; how many it has."""
    lengths = np.bincount(org)
    lengths = lengths[lengths > 0]
    starts = np.concatenate(([0], np.cumsum(lengths)[:-1])).astype(np.int64)
    sums = np.empty(len(x))
    for length in np.unique(lengths).tolist():
        first = starts[lengths == length]
        places = first[:, None] + np.arange(length)
        xs, ys = x[places], y[places]
        for turn in range(length):
            sums[first + turn] = np.einsum("ij,ij->i", np.roll(xs, -turn, axis=1), ys)
    return sums, starts, lengths


def holm(p_values: list[float]) -> list[float]:
    """Return *p_values* corrected for as many looks as there are; NaN stays and is no look.

    >>> [round(p, 3) for p in holm([0.01, 0.04, 0.03])]
    [0.03, 0.06, 0.06]
    """
    p = np.array(p_values, np.float64)
    known = np.flatnonzero(~np.isnan(p))
    order = known[np.argsort(p[known], kind="stable")]
    raised = np.minimum(p[order] * (len(order) - np.arange(len(order))), 1.0)
    p[order] = np.maximum.accumulate(raised)
    return [float(value) for value in p]
