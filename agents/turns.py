"""Owns long work on the worker's loop, in turns with others.

Invariant: whoever waits for the loop gets it after about `TURN_SECONDS`, however long the work takes as a whole.
Without that, transactions of other partitions run into their time limits, and the worker begins anew, and again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

from state.steps import Work

T = TypeVar("T")
TURN_SECONDS = 0.05


class Turns:
    """One's own turns on the running loop."""

    def __init__(self, on_turn: Callable[[], None] = lambda: None) -> None:
        """Begin; *on_turn* is called at each turn's end."""
        self._on_turn = on_turn
        self._ends = time.monotonic() + TURN_SECONDS

    async def through(self, work: Work[T]) -> T:
        """Do *work*, letting others have the loop at its pauses and at its end whenever a turn is over."""
        while True:
            more = work.step()
            if time.monotonic() > self._ends:
                self._on_turn()
                await asyncio.sleep(0)
                self._ends = time.monotonic() + TURN_SECONDS
            if not more:
                return work.outcome
