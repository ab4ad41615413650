"""How many activities of the rolling week users and their orgs have.

Owns both counts as a board last saw them. Invariant: an org has what its users have.
"""

from __future__ import annotations

import numpy as np

from state.arrays import BLOCK, grown
from state.health import Matrix
from state.ring import RollingWeek, Slots
from state.subjects import Subjects


class OrgActivity:
    """Activities by user slot and by org number; something merely received is none."""

    def __init__(self, week: RollingWeek, subjects: Subjects) -> None:
        self._week, self._subjects = week, subjects
        self.of_user, self._of_org = np.zeros(0, np.int32), np.zeros(0, np.int64)

    def grow(self) -> None:
        """Make room for every subject there is."""
        self.of_user = grown(self.of_user, len(self._subjects))
        self._of_org = grown(self._of_org, len(self._subjects.orgs))

    def count(self, users: Slots) -> None:
        """Bring *users* (distinct) up to date, and their orgs by what changed."""
        for at in range(0, len(users), BLOCK):
            slots = users[at : at + BLOCK]
            found = self._week.activities_of(slots)
            np.add.at(self._of_org, self._subjects.org_of[slots], found - self.of_user[slots])
            self.of_user[slots] = found

    def forget(self, slot: int) -> None:
        """Take a user of whom nothing is left out of the org's count."""
        self._of_org[self._subjects.org_of[slot]] -= self.of_user[slot]
        self.of_user[slot] = 0

    def of_org_of(self, slots: Slots) -> Matrix:
        """Return the activities of the org of each of *slots*, shape (n,)."""
        return self._of_org[self._subjects.org_of[slots]]
