"""What can be missing on the machine, said in two sentences.

Invariant: every failure to bring up a part of the local system is a `LocalError`, and it names the one command that
helps.
"""

from __future__ import annotations


class LocalError(Exception):
    """A part of the local system could not be had; *remedy* is the one thing to do about it."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message, remedy)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message}\n  What helps: {self.remedy}"
