"""The scoring pass in narrow numbers and blocks, against the plain formulas it stands for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from state.arrays import BLOCK
from state.health import DECILES, FULL, Model
from state.kinds import LOWER_IS_BETTER
from state.scoring import apportion, cut_points, distinct_counts, score_users
from tests.state.worlds import attribute, examples, model_of, shipped_model

HIGHEST = np.iinfo(np.int64).max


def plain_apportion(numerators: np.ndarray, denominators: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Apportion by ranking every remainder."""
    divisor = np.maximum(denominators, 1)
    total = numerators.sum(axis=1) // divisor
    parts, rests = np.divmod(numerators, divisor[:, None])
    short = total - parts.sum(axis=1)
    rank = np.argsort(np.argsort(-rests, axis=1, kind="stable"), axis=1, kind="stable")
    return total, parts + (rank < short[:, None])


def plain_scores(model: Model, values: np.ndarray, known: np.ndarray, cuts: dict) -> tuple[np.ndarray, ...]:
    """Return score, contributions and coverage in 64-bit numbers, attribute by attribute."""
    x = np.zeros_like(values)
    for i, a in enumerate(model.attributes):
        if a.is_ranked:
            x[:, i] = np.searchsorted(np.array(cuts[a.name]), values[:, i], side="right") * (FULL // DECILES)
            if a.kind not in LOWER_IS_BETTER:
                x[values[:, i] <= 0, i] = 0
        else:
            x[:, i] = values[:, i]
    x[~known] = 0
    reweighted = np.array([a.missing == "reweight" for a in model.attributes])
    counted = np.where(~known & reweighted, 0, model.weights)
    score, parts = plain_apportion(x * counted, counted.sum(axis=1))
    return score, parts, (known * model.weights).sum(axis=1) * FULL // model.weights.sum()


def agree(model: Model, values: np.ndarray, known: np.ndarray, cuts: dict) -> None:
    found = score_users(model, values, known, cuts)
    expected = plain_scores(model, values, known, cuts)
    for mine, theirs in zip((found.score, found.contributions, found.coverage), expected, strict=True):
        assert mine.shape == theirs.shape and (mine == theirs).all()


KINDS = {
    "count": {"measures": ["search"]},
    "recency_hours": {},
    "ratio": {"measures": ["search"], "against": ["alert_received"]},
    "boolean": {"measures": ["search"]},
}
edge = st.one_of(st.integers(-5, 5), st.sampled_from([-HIGHEST, HIGHEST - 1, HIGHEST]), st.integers(-(2**40), 2**40))
shape = st.tuples(
    st.sampled_from(sorted(KINDS)),
    st.integers(1, 5),
    st.sampled_from(["zero", "reweight"]),
    st.lists(edge, min_size=9, max_size=9).map(sorted),
)


def random_population(rng: np.random.Generator, model: Model, cuts: dict, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return values on, beside and far from the cut points, with holes."""
    values, known = np.zeros((n, len(model.attributes)), np.int64), rng.random((n, len(model.attributes))) < 0.8
    for i, a in enumerate(model.attributes):
        if a.is_ranked:
            near = np.array([*cuts[a.name], 0, -1, 1, 7, HIGHEST, -HIGHEST])
            values[:, i] = np.clip(rng.choice(near, n), -HIGHEST + 1, HIGHEST - 1) + rng.integers(-1, 2, n)
        else:
            values[:, i] = rng.choice([0, 1, 3333, 5000, FULL], n) if a.kind == "ratio" else rng.choice([0, FULL], n)
    return values, known


@examples(200)
@given(st.lists(shape, min_size=1, max_size=40), st.integers(0, 999), st.booleans())
def test_scores_are_those_of_the_plain_formula_for_any_model(shapes: list, seed: int, by_column: bool) -> None:
    entries = [attribute(f"a{n}", k, w, missing=m, **KINDS[k]) for n, (k, w, m, _) in enumerate(shapes)]
    model = model_of(*entries)
    cuts = {f"a{n}": edges for n, (_, _, _, edges) in enumerate(shapes)}
    values, known = random_population(np.random.default_rng(seed), model, cuts, 20)
    if by_column:
        values, known = np.asfortranarray(values), np.asfortranarray(known)
    agree(model, values, known, cuts)


@pytest.mark.parametrize("n", [0, 1, BLOCK - 1, BLOCK, 2 * BLOCK + 3])
def test_blocks_join_without_a_seam(n: int) -> None:
    model = shipped_model()
    cuts = model.default_cuts()
    values, known = random_population(np.random.default_rng(7), model, cuts, n)
    agree(model, values, known, cuts)


@examples(300)
@given(
    st.integers(1, 40).flatmap(
        lambda width: st.lists(
            st.lists(st.integers(0, 12) | st.integers(0, 2**40), min_size=width, max_size=width), min_size=1, max_size=6
        )
    ),
    st.integers(0, 7) | st.integers(0, 2**34),
)
def test_the_largest_remainders_get_the_rest_and_of_equals_the_earlier_ones(rows: list, divisor: int) -> None:
    numerators, denominators = np.array(rows, np.int64), np.full(len(rows), divisor)
    denominators[::2] += 1
    for layout in (np.ascontiguousarray, np.asfortranarray):
        total, parts = apportion(layout(numerators), denominators)
        expected = plain_apportion(numerators, denominators)
        assert (total == expected[0]).all() and (parts == expected[1]).all()


@examples(200)
@given(st.lists(st.integers(-3, 40) | st.integers(-(2**50), 2**50) | st.sampled_from([HIGHEST, -HIGHEST]), max_size=60))
def test_distinct_values_are_counted_whatever_their_range(values: list[int]) -> None:
    distinct, counts = distinct_counts(np.array(values, np.int64))
    assert dict(zip(distinct.tolist(), counts.tolist(), strict=True)) == {v: values.count(v) for v in values}
    assert distinct.tolist() == sorted(set(values))
    assert cut_points(distinct, counts) == cut_points(*np.unique(np.array(values, np.int64), return_counts=True))
