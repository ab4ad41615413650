"""Names of the groups that people are in: job types of users, group types of orgs.

Owns their numbers, by which arrays hold them. Invariant: a number is never given to another name, and there are at
most MAX_NAMES of them.
"""

from __future__ import annotations

NO_GROUP, OTHER = 0, 1
"""Numbers of who has no name, and of all whose name came when there were too many."""
REST = "other"
MAX_NAMES = 1_000
"""Distinct names that a partition tells apart."""
MAX_NAME_CHARS = 80
"""A longer name is cut: it becomes a label and a key of documents."""


class Names:
    """Names in the order in which they came, by number."""

    def __init__(self, known: list[str] | None = None) -> None:
        """Begin with those *known*, as `known` returned them."""
        self.names = ["", REST]
        self._numbers = {"": NO_GROUP, REST: OTHER}
        for name in known or ():
            self.number(name)

    @property
    def known(self) -> list[str]:
        """The names that came, in their order."""
        return self.names[OTHER + 1 :]

    def number(self, name: str) -> int:
        """Return the number of *name*, giving one where there is room.

        >>> names = Names(["analyst"])
        >>> names.number("analyst"), names.number("trader"), names.number(""), names.number("other")
        (2, 3, 0, 1)
        """
        name = name[:MAX_NAME_CHARS]
        found = self._numbers.get(name)
        if found is not None:
            return found
        if len(self.known) >= MAX_NAMES:
            return OTHER
        self.names.append(name)
        return self._numbers.setdefault(name, len(self.names) - 1)
