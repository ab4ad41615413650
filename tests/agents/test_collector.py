"""What stays is not looked at again, and what goes goes."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

from agents.collector import Settled, collector_paused


class Ring:
    """Holds on to itself, like a shard."""

    def __init__(self) -> None:
        self.self = self


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """Leave the collector as it was."""
    usual = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*usual)
    gc.enable()


def test_pauses_may_be_nested() -> None:
    with collector_paused():
        with collector_paused():
            assert not gc.isenabled()
        assert not gc.isenabled()
    assert gc.isenabled()


def test_what_was_settled_is_left_out_until_it_is_let_go() -> None:
    settled, shard = Settled(), Ring()
    seen = weakref.ref(shard)
    settled.begin()
    assert gc.get_threshold()[0] > 700
    settled.settle()
    frozen = gc.get_freeze_count()
    assert frozen > 10_000
    del shard
    gc.collect()
    assert seen() is not None  # nobody looked at it
    settled.let_go()
    assert gc.get_freeze_count() == 0 and seen() is not None
    settled.settle()
    assert seen() is None and gc.get_freeze_count() > 10_000
