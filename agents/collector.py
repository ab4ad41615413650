"""Owns when Python's collector of cycles looks at what, in a worker, and when freed memory goes back to the system.

The collector would look at the whole directory and state again and again and find nothing: half of the time that a
recovery takes, and then, with 50,000 users, an eighth of the worker's time, in halts of a quarter of a second. So it
pauses while very much is made that stays, and leaves that out afterwards.

Messages and checkpoints of megabytes come and go among small things that stay, so freed memory lies in holes that the
C library keeps: 70 of 330 MB after half an hour of faults.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
from collections.abc import Iterator
from contextlib import contextmanager

from streams.task_service import TaskService

_THRESHOLDS = (20_000, 20, 100)
"""So many new objects before the youngest are looked at; Python's 700 are for programs that make more cycles."""
GIVE_BACK_SECONDS = 30.0


@contextmanager
def collector_paused() -> Iterator[None]:
    """Hold the collector back; nested in another pause it stays so after this one."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


class Settled:
    """What stays, and is left out of collections until much of it goes."""

    def __init__(self) -> None:
        self._much_gone = False

    def begin(self) -> None:
        """Have collections come rarely from now on."""
        gc.set_threshold(*_THRESHOLDS)

    def settle(self) -> None:
        """Leave out what is there now, after a look at all of it if something was let go since."""
        if self._much_gone:
            self._much_gone = False
            gc.collect()
        gc.freeze()

    def let_go(self) -> None:
        """Have everything looked at again: whole shards went, which are full of cycles."""
        gc.unfreeze()
        self._much_gone = True


class FreedMemory(TaskService):
    """A service that gives memory that was freed back to the system, where the C library can (glibc): about 1 ms."""

    async def _run(self) -> None:
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        while trim is not None:
            await asyncio.sleep(GIVE_BACK_SECONDS)
            trim(0)
