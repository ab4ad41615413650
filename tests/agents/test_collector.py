"""What stays is not looked at again, and what goes goes."""

from __future__ import annotations

import ctypes
import gc
import subprocess
import sys
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


FREED = """
import asyncio, sys
from agents import collector

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096

async def main():
    held = [bytearray(b"x") * 100_000 for _ in range(2_000)]
    del held[1::2], held[:900:2]
    before = resident()
    collector.GIVE_BACK_SECONDS = 0.05
    service = collector.FreedMemory()
    await service.start()
    for _ in range(200):
        await asyncio.sleep(0.05)
        if before - resident() > 80_000_000:
            break
    await service.stop()
    print(before - resident(), all(set(each) == {120} for each in held))

asyncio.run(main())
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="the C library has no malloc_trim")
def test_what_is_freed_among_what_stays_goes_back_to_the_system() -> None:
    done = subprocess.run([sys.executable, "-c", FREED], capture_output=True, text=True, check=True, timeout=120)
    freed, whole = done.stdout.split()
    assert int(freed) > 80_000_000 and whole == "True"
