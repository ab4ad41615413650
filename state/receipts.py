"""Compares what reached a shard with what was sent to it, record by record.

Owns the counts of activities received of each source partition, and of what was
lost or came twice on the way. Invariant: after each record the count of received
equals the sender's count, so one gap is counted once, however long it stays.

      before  0      40           90
    sent      ├──40──┼─────50─────┼──10──►
    received  ├──40──┼── (lost) ──┼──10──►   40 known, 90 said: 50 lost
"""

from __future__ import annotations

from typing import Any

from state.ledger import SourcePlace

UNCOUNTED = -1
"""`Rows.before` of a record that its sender did not count, such as one from park."""


class Receipts:
    """What one shard has received; `gaps` are [lost, twice] by source partition."""

    def __init__(self) -> None:
        self.received: dict[SourcePlace, int] = {}
        self.gaps: dict[SourcePlace, list[int]] = {}
        self._from_zero = True  # whether every record since the first was counted

    def take(self, source: SourcePlace, before: int, number: int) -> int:
        """Count a record of *number* activities before which *before* were sent; return what is missing.

        Positive: so many were lost; negative: so many came a second time; 0: all is there.

        >>> receipts = Receipts()
        >>> [receipts.take(("users", 0), before, 5) for before in (0, 5, 20, 20, 25)]
        [0, 0, 10, -5, 0]
        >>> receipts.gaps
        {('users', 0): [10, 5]}
        """
        if before <= UNCOUNTED:
            return 0
        known = self.received.get(source, 0 if self._from_zero else before)
        self.received[source] = before + number
        missing = before - known
        if missing:
            self.gaps.setdefault(source, [0, 0])[missing < 0] += abs(missing)
        return missing

    def dump(self) -> list[Any]:
        """Return the content for a checkpoint."""
        return [
            self._from_zero,
            [[topic, at, self.received[topic, at]] for topic, at in sorted(self.received)],
            [[topic, at, self.gaps[topic, at]] for topic, at in sorted(self.gaps)],
        ]

    def load(self, kept: list[Any] | None) -> None:
        """Take over what `dump` returned; with None (an older checkpoint) each count begins where its sender is."""
        self._from_zero, received, gaps = kept or [False, [], []]
        self.received = {(topic, at): number for topic, at, number in received}
        self.gaps = {(topic, at): counts for topic, at, counts in gaps}
