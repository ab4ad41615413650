"""Work that pauses now and then, and has an outcome in the end.

Invariant: however it is driven, step by step or at once, the outcome is the same.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Generic, TypeVar

T = TypeVar("T")
Steps = Generator[None, None, T]
"""Pauses at each yield; returns the outcome."""


class Work(Generic[T]):
    """Steps that somebody drives."""

    outcome: T

    def __init__(self, steps: Steps[T]) -> None:
        self._steps, self._done = steps, False

    def step(self) -> bool:
        """Go on to the next pause; say whether there is one."""
        if not self._done:
            try:
                next(self._steps)
            except StopIteration as end:
                self.outcome, self._done = end.value, True
        return not self._done

    def finish(self) -> T:
        """Do all the rest at once; harmless when it is done."""
        while self.step():
            pass
        return self.outcome
