"""Checkpoints: the same log gives the same bytes, and stopping anywhere changes nothing."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from state.activity import Record
from state.arrays import decode, encode
from state.effects import Effect
from state.limits import Limits
from state.shard import SchemaError, Shard
from tests.state.random_logs import LIMITS, MODEL, random_log
from tests.state.worlds import attribute, examples, model_of


def fresh() -> Shard:
    return Shard(0, MODEL, Limits(**LIMITS))


def play(shard: Shard, log: list[Record], start: int = 0) -> list[tuple[int, list[Effect]]]:
    found = [(n, shard.apply(record, n)) for n, record in enumerate(log) if n >= start]
    return [(n, effects) for n, effects in found if effects is not None]


@pytest.mark.parametrize("seed", range(6))
def test_the_same_log_gives_the_same_bytes(seed: int) -> None:
    one, other = fresh(), fresh()
    assert play(one, random_log(seed)) == play(other, random_log(seed))
    assert one.checkpoint() == other.checkpoint()


@examples(30)
@given(st.integers(0, 10**6), st.lists(st.integers(0, 40), min_size=1, max_size=4, unique=True))
def test_stopping_and_restoring_anywhere_changes_nothing(seed: int, stops: list[int]) -> None:
    log = random_log(seed)
    straight = fresh()
    expected = play(straight, log)
    shard, told = fresh(), []
    for n, record in enumerate(log):
        if n in stops:
            saved = shard.checkpoint()
            shard = fresh()
            shard.restore(saved)
            assert shard.position == n
            assert shard.checkpoint() == saved
        effects = shard.apply(record, n)
        if effects is not None:
            told.append((n, effects))
    for mine, theirs in zip(told, expected, strict=True):
        assert mine == theirs
    assert shard.checkpoint() == straight.checkpoint()
    assert list(shard.documents()) == list(straight.documents())


def test_a_checkpoint_changes_nothing_in_its_shard() -> None:
    log = random_log(77)
    plain, watched = fresh(), fresh()
    expected = play(plain, log)
    told = []
    for n, record in enumerate(log):
        effects = watched.apply(record, n)
        watched.checkpoint()
        if effects is not None:
            told.append((n, effects))
    assert told == expected


def test_bytes_do_not_depend_on_the_process() -> None:
    # Sets of texts have another order in each process; nothing of that may reach the checkpoint.
    program = (
        "from tests.state.test_shard_restore import fresh, play, random_log\n"
        "import hashlib\n"
        "shard = fresh(); told = play(shard, random_log(5))\n"
        "print(hashlib.sha256(repr((shard.checkpoint(), told)).encode()).hexdigest())"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", program],
            env=os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(found) == 1


def test_a_checkpoint_of_a_schema_before_the_first_is_refused() -> None:
    saved = fresh().checkpoint()
    _, position, meta = decode(saved["meta"])
    with pytest.raises(SchemaError, match="schema 0"):
        fresh().restore(saved | {"meta": encode([0, position, meta])})


def test_other_measures_need_a_rebuild() -> None:
    other = Shard(0, model_of(attribute("x", "days_active"), extra={"events": ["E"]}), Limits())
    with pytest.raises(SchemaError, match="rebuild"):
        other.restore(fresh().checkpoint())


def test_another_model_of_the_same_measures_scores_everybody_anew() -> None:
    log = random_log(3)
    shard = fresh()
    play(shard, log)
    other_model = model_of(attribute("days", "days_active", 5), attribute("sessions", "sessions", 1))
    restored, straight = Shard(0, other_model, Limits(**LIMITS)), Shard(0, other_model, Limits(**LIMITS))
    restored.restore(shard.checkpoint())
    play(straight, log)
    restored.apply(log[-1], len(log))
    scores = [{(u, o): s for u, o, s in _scores(each)} for each in (restored, straight)]
    assert scores[0] == scores[1]


def _scores(shard: Shard) -> list[tuple[str, str, int]]:
    return [(e.org, e.user, e.score) for e in shard.documents() if hasattr(e, "user")]


def test_an_empty_shard_can_be_kept_too() -> None:
    again = fresh()
    again.restore(fresh().checkpoint())
    assert again.checkpoint() == fresh().checkpoint()
