"""The catalogue of measures: what is counted.

Owns the mapping from an event's name (or a syslog action) to one of a bounded
set of measures. Invariant: every activity has exactly one measure; what no
entry names is `other`.
"""

from __future__ import annotations

from dataclasses import dataclass

MAX_MEASURES = 128
"""Stride of a cell's key: slot × MAX_MEASURES + measure. Changing it needs a rebuild."""


@dataclass(frozen=True, slots=True)
class Measure:
    """One counted thing. Passive ones (something merely received) don't make a user active."""

    name: str
    feature: bool = False  # counts towards breadth: it stands for a distinct feature of the product
    passive: bool = False
    summed: bool = False  # keeps the exact integer sum of its amounts too
    gauge: bool = False  # its amount is a level (stored bytes, open tickets): the newest one counts


BUILT_IN = (
    Measure("other"),
    Measure("message", feature=True),
    Measure("reply_given", summed=True, passive=True),  # derived from a message that is counted already
    Measure("reply_received", passive=True),
    Measure("transaction", summed=True, passive=True),  # an approved one; an org's, not a user's
    Measure("transaction_other", passive=True),  # of any other status: takes the approved one back
    Measure("presence", summed=True, passive=True),
    Measure("syslog"),
    Measure("message_deleted", passive=True),
)


@dataclass(frozen=True, slots=True)
class Catalogue:
    """All measures by index, and the names that lead to them."""

    measures: tuple[Measure, ...]
    by_event: dict[str, str]  # product event name → measure name
    by_action: dict[str, str]  # syslog action → measure name

    @property
    def names(self) -> list[str]:
        """Measure names by index."""
        return [m.name for m in self.measures]

    def index(self, name: str) -> int:
        """Return the index of measure *name*; unknown ones are `other` (0).

        >>> Catalogue(BUILT_IN, {}, {}).index("nonsense")
        0
        """
        return next((i for i, m in enumerate(self.measures) if m.name == name), 0)
