"""Owns what can go wrong with a store: it is away, somebody has to act, or one row does not fit.

Invariant: none of these texts holds a password.
"""

from __future__ import annotations

from streams.errors import OperatorError, StartAnewError


class StoreAwayError(Exception):
    """The store can't be reached or takes no writes now; `kind` is a bounded name for the metrics."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class StoreRefusesError(OperatorError):
    """The store refuses, and will until somebody acts."""


class RowRefusedError(Exception):
    """The store can't hold a row."""


class PositionMovedError(StartAnewError):
    """The store holds a partition up to another offset than it did: it was set back, emptied or taken over."""


class LeavingError(Exception):
    """What waits for the store is given up: its partition goes to another process, or this one ends."""
