"""The catalogue of measures: what is counted.

Owns the mapping from an event's name (or a syslog action) to one of a bounded
set of measures. Invariant: every activity has exactly one measure; what no
entry names is `other`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

MAX_MEASURES = 128
"""Stride of a cell's key: slot × MAX_MEASURES + measure. Changing it needs a rebuild."""
MAX_HOURS = 32
"""Measures that may be kept by hour of the week: each is a line of its own in every org that has it."""
UNITS_MS = {"ms": 1, "s": 1000, "min": 60_000, "h": 3_600_000}
"""Units of a duration that an event states."""
NO_DURATION = -1
"""The amount of an event whose duration came out negative, by clocks that don't agree."""


@dataclass(frozen=True, slots=True)
class Measure:
    """One counted thing. Passive ones (something merely received) don't make a user active."""

    name: str
    feature: bool = False  # counts towards breadth: it stands for a distinct feature of the product
    passive: bool = False
    summed: bool = False  # keeps the exact integer sum of its amounts too
    gauge: bool = False  # its amount is a level (stored bytes, open tickets): the newest one counts
    # Not in `repr`, so that models have the digest they had before there were these.
    hours: bool = field(default=False, repr=False)  # kept by hour of the week too
    since: str = field(default="", repr=False)  # the property with the time at which it began: it is a duration
    duration: str = field(default="", repr=False)  # the unit of the event's quantity: it is a duration
    time: str = field(default="", repr=False)  # the property with the time to count at, instead of the event's own

    @property
    def lasts(self) -> bool:
        """Whether it is a duration: its amount is in ms, or NO_DURATION, and it began so long before the event."""
        return bool(self.since or self.duration)

    @property
    def timing(self) -> tuple[str, str, str]:
        """What its amounts, and the hours it counts in, depend on."""
        return self.since, self.duration, self.time


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
MAY_HAVE_HOURS = ("message", "transaction", "syslog")
"""Built-in measures that a model may keep by hour of the week."""


@dataclass(frozen=True, slots=True)
class Catalogue:
    """All measures by index, and the names that lead to them."""

    measures: tuple[Measure, ...]
    by_event: dict[str, str]  # product event name → measure name
    by_action: dict[str, str]  # syslog action → measure name
    _index: dict[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_index", {measure.name: number for number, measure in enumerate(self.measures)})

    @property
    def names(self) -> list[str]:
        """Measure names by index."""
        return [m.name for m in self.measures]

    @property
    def by_hour(self) -> list[list[str]]:
        """Name and `timing` of what is kept by hour of the week: with others, state can't be carried on."""
        return [[m.name, *m.timing] for m in self.measures if m.hours]

    def index(self, name: str) -> int:
        """Return the index of measure *name*; unknown ones are `other` (0).

        >>> Catalogue(BUILT_IN, {}, {}).index("nonsense")
        0
        """
        return self._index.get(name, 0)
