"""Owns who leaves the simulated customers in their last day: the people whom a few orgs live by.

Invariant: pure, like the rest of the simulation; a history is the same with and without them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from agents.simulate_base import Base, Ints, Message

HOURS_BEFORE_END = (21, 16, 11, 6)
"""When each of these orgs loses its people."""
_FEWEST, _MOST = 5, 60
"""Active users of an org that may be one of them."""


class Departure(NamedTuple):
    """Some users of one org who leave together, so many hours before the end of the history."""

    hours_before_end: int
    org: str
    users: Ints

    def messages(self, base: Base) -> list[Message]:
        """Return the directory's news of it."""
        return [Message("users", base.users[number].id.encode(), None) for number in self.users.tolist()]


def departures(base: Base) -> list[Departure]:
    """Return the departures from the orgs that lose most by it; fewer where fewer orgs are large enough."""
    losses = []
    for org in range(2, len(base.orgs)):
        users = np.flatnonzero((base.org_of == org) & (base.weight > 0))
        if _FEWEST <= len(users) <= _MOST:
            busiest = users[np.argsort(-base.weight[users], kind="stable")]
            worth = np.log1p(base.weight[busiest])
            half = len(users) // 2
            losses.append((float(worth[half:].mean() - worth.mean()), org, busiest[:half]))
    chosen = sorted(losses, key=lambda loss: loss[:2])
    return [
        Departure(hours, base.orgs[org].id, users)
        for hours, (_, org, users) in zip(HOURS_BEFORE_END, chosen, strict=False)
    ]


class Absence:
    """Tells messages of people who have left, by the names that they go by."""

    def __init__(self, base: Base) -> None:
        """Begin with nobody."""
        self._base = base
        self._names: set[str] = set()
        self._pattern: re.Pattern[bytes] | None = None

    def add(self, departure: Departure) -> None:
        """Have these people leave."""
        for user in (self._base.users[number] for number in departure.users.tolist()):
            self._names |= {user.id, user.email, user.username, *user.aliases, *filter(None, [user.later_email])}
        self._pattern = re.compile("|".join(map(re.escape, sorted(self._names))).encode(), re.IGNORECASE)

    def present(self, messages: Iterable[Message]) -> Iterator[Message]:
        """Yield *messages* without those that name somebody who has left, and the few in which a number looks like it.

        Nobody would know any more who that was, and some topics make a new user of whom nobody knows.
        """
        for message in messages:
            if self._pattern is None or message.topic == "users" or not self._pattern.search(message.value or b""):
                yield message
