"""Owns the base of errors that no restart mends (an operator has to act), and the one that only asks for a restart.

Invariant: each of the former says in `message` what is wrong and in `remedy` what to do; whoever restarts workers
leaves these alone.
"""

from __future__ import annotations

REBUILD = "Run `orgpulse rebuild`: it computes everything anew from the source topics, beside what there is."
"""The remedy for state and logs that no longer belong together."""


class OperatorError(RuntimeError):
    """A worker can't go on, and starting it again would end in the same way until somebody acts.

    `str()` is the message alone; the command line and a stopped worker show the remedy in a line of its own.
    """

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy


class StartAnewError(RuntimeError):
    """No failure: what the worker has built on has changed, and it begins anew at once (see `streams.restart`)."""


class StateUnusableError(OperatorError):
    """What a worker kept can't be read by this version, or not with this health model."""

    def __init__(self, message: str, remedy: str = REBUILD) -> None:
        super().__init__(message, remedy)
