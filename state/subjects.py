"""Who is who within one partition: slots of subjects, their orgs and memberships.

Owns the mapping from subject names ("org␟user", "org␟" for the org itself) to
slots, the rows of every array of the shard. Invariant: a slot, once given, is
never given to another subject.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from state.activity import SEPARATOR, Member, Org, origin_of
from state.arrays import distinct, grown
from state.forgotten import Guards
from state.groups import Names
from state.name_table import NameTable
from state.ring import Slots

UNLISTED, LICENSED, UNLICENSED, GONE = range(4)
"""Membership of a slot: not in the directory, with or without a licence, no longer (or not yet) a member."""
NAMELESS = "\x1e"
"""Begins what stands in the place of a user id that was forgotten; no id holds it."""
_LARGEST_CACHE = 200_000
_FOREVER_MS = np.iinfo(np.int64).max


@dataclass(slots=True)
class OrgEntry:
    """What is known of one org of the partition."""

    name: str  # its id
    slot: int
    title: str = ""
    zone: str = "UTC"
    group_type: str = ""


class Subjects:
    """All subjects of one partition."""

    def __init__(self) -> None:
        self._names = NameTable()  # slot ↔ "org␟user"
        self.orgs: list[OrgEntry] = []
        self._org_numbers: dict[str, int] = {}
        self.org_of = np.zeros(0, np.int32)
        self.is_user = np.zeros(0, bool)
        self.membership = np.zeros(0, np.uint8)
        self._members = np.zeros(0, np.int32)  # slots of users, org after org
        self._member_ends = np.zeros(1, np.int64)  # by org number: where its users begin
        self._grouped = 0  # slots that `_members` was made of
        self._by_origin: dict[str, int] = {}  # names as `Rows` spell them → slot; a cache
        self._display_names: dict[int, str] = {}  # slot → what people call them, where that is known
        self._dated: dict[int, tuple[int, int, int]] = {}  # slot → membership, from, until (ms)
        self._next_turn_ms = _FOREVER_MS
        self.created = 0
        """Users that the directory doesn't know, and orgs that it doesn't describe."""
        self._created_in: Counter[int] = Counter()  # such users by org number
        self.guards = Guards()
        self._heirs: dict[int, int] = {}  # slot of somebody who was forgotten → that of their org
        self.zone_names: list[str] = ["UTC"]
        self.zone_of = np.zeros(0, np.int16)  # by org number, an index into zone_names
        self.job_types, self.group_types = Names(), Names()
        self.job_of = np.zeros(0, np.uint16)  # by slot, a number of job_types
        self.group_of = np.zeros(0, np.uint16)  # by org number, a number of group_types

    def __len__(self) -> int:
        return len(self._names)

    @property
    def names(self) -> list[str]:
        """All names by slot, put together anew."""
        return self._names.names()

    def slots(self, names: list[str]) -> Slots:
        """Return the slots of *names* (as `Rows` spell them), giving new ones where needed."""
        found, cached = self._names.find_all(names), self._by_origin
        for at in np.flatnonzero(found < 0).tolist():
            name = names[at]
            found[at] = cached[name] if name in cached else self._give_origin(name)
        return found

    def refused(self, names: Sequence[str], per_org: int, total: int) -> list[int]:
        """Give slots to *names* (as `Rows` spell them) while there is room; return which of them have none, by place.

        There is room for *per_org* created users in an org and for *total* of them in all, orgs that nobody described
        among them. Whoever the directory knows, by any alias, has a slot in any case.
        """
        if self.created + 2 * len(names) <= min(per_org, total):
            return []
        return [at for at, name in enumerate(names) if not self._admit(name, per_org, total)]

    def _admit(self, name: str, per_org: int, total: int) -> bool:
        org, user, via, named = origin_of(name)
        if name in self._by_origin or self._names.find(org + SEPARATOR + user) is not None:
            return True
        if user and (via != user or not named):
            return True  # found in the directory, whose word on them is under way
        if self.guards and self.guards.find(org, user) is not None:
            return True  # nobody, for whom there is no name
        number = self._org_numbers.get(org)
        if self.created + 1 + bool(user and number is None) > total:
            return False
        if user and number is not None and self._created_in[number] >= per_org:
            return False
        self._give_origin(name)
        return True

    def find(self, org: str, user: str) -> int | None:
        """Return the slot of a user, or of an org (no *user*); None when there is none."""
        return self._names.find(org + SEPARATOR + user)

    def user(self, slot: int) -> str:
        """Return the user id of *slot* (empty for an org)."""
        return self._names.name(slot).split(SEPARATOR, 1)[1]

    def users(self, slots: Slots) -> list[str]:
        """Return the user ids of *slots* (n,), empty for orgs."""
        return [name.partition(SEPARATOR)[2] for name in self._names.names_of(slots)]

    def display_name(self, slot: int) -> str:
        """Return what people call the user of *slot*; empty = not known."""
        return self._display_names.get(slot, "")

    def org_number(self, org: str) -> int:
        """Return the number of *org*, giving it a slot where needed."""
        if org not in self._org_numbers:
            self._give(org + SEPARATOR)
        return self._org_numbers[org]

    def learn_member(self, member: Member) -> int:
        """Take in a directory entry; return the slot."""
        slot = int(self.slots([member.org + SEPARATOR + member.user])[0])
        if slot in self._heirs:
            return slot
        self._uncount(slot)
        self.membership[slot] = GONE if member.gone else LICENSED if member.licensed else UNLICENSED
        self.job_of[slot] = self.job_types.number("" if member.gone else member.job_type)
        self._display_names.pop(slot, None)
        if member.display_name and not member.gone:
            self._display_names[slot] = member.display_name
        self._dated.pop(slot, None)
        if not member.gone and (member.since_ms or member.until_ms):
            until_ms = member.until_ms or _FOREVER_MS
            self._dated[slot] = (int(self.membership[slot]), member.since_ms, until_ms)
            self._next_turn_ms = 0  # to be seen at once
        return slot

    def forget(self, slot: int) -> None:
        """Take the name of a user away, and all that is known of them; the slot stays, for what it did as nobody."""
        org = self.orgs[int(self.org_of[slot])].name
        self._names = self._names.renamed(slot, org + SEPARATOR + NAMELESS + str(slot))
        self._by_origin.clear()
        self._make_nobody(slot)

    def _make_nobody(self, slot: int) -> None:
        self._uncount(slot)
        self._heirs[slot] = self.orgs[int(self.org_of[slot])].slot
        self.membership[slot], self.job_of[slot] = GONE, self.job_types.number("")
        self._display_names.pop(slot, None)
        self._dated.pop(slot, None)

    def _uncount(self, slot: int) -> None:
        """Count a user no longer as created, if they were."""
        if self.is_user[slot] and self.membership[slot] == UNLISTED:
            self.created -= 1
            self._created_in[int(self.org_of[slot])] -= 1

    def _count_created(self) -> None:
        """Count anew who was created."""
        n = len(self)
        theirs = self.org_of[:n][self.is_user[:n] & (self.membership[:n] == UNLISTED)]
        self._created_in = Counter(theirs.tolist())
        self.created = len(theirs) + sum(not entry.title for entry in self.orgs)

    def nameless(self, org: str) -> int:
        """Return a new slot of nobody in *org*."""
        slot = self._give(org + SEPARATOR + NAMELESS + str(len(self) + (org not in self._org_numbers)))
        self._make_nobody(slot)
        return slot

    def heir(self, slot: int) -> int:
        """Return the slot to which belongs what is counted of *slot*: their org's, if they were forgotten."""
        return self._heirs.get(slot, slot)

    @property
    def forgotten(self) -> list[int]:
        """The slots of those who were forgotten."""
        return list(self._heirs)

    def turn(self, time_ms: int) -> list[int]:
        """Let memberships begin and end that do so until *time_ms*; return the slots that this changed."""
        changed: list[int] = []
        if time_ms < self._next_turn_ms:
            return changed
        for slot, (membership, since_ms, until_ms) in list(self._dated.items()):
            now = membership if since_ms <= time_ms < until_ms else GONE
            if self.membership[slot] != now:
                self.membership[slot] = now
                changed.append(slot)
            if until_ms <= time_ms or (since_ms <= time_ms and until_ms == _FOREVER_MS):
                del self._dated[slot]  # time does not go back: this is how it stays
        ahead = (edge for _, *edges in self._dated.values() for edge in edges if edge > time_ms)
        self._next_turn_ms = min(ahead, default=_FOREVER_MS)
        return changed

    def learn_org(self, org: Org) -> int:
        """Take in a directory entry of an org; return the org's number."""
        number = self.org_number(org.org)
        if not org.gone:
            self._describe(number, org.name, org.timezone or "UTC", org.group_type)
        return number

    def zones(self) -> set[str]:
        """Return the zones in use; UTC when there is no org yet."""
        return {self.zone_names[z] for z in distinct(self.zone_of[: len(self.orgs)]).tolist()} or {"UTC"}

    def members_of(self, numbers: Slots) -> tuple[Slots, Slots]:
        """Return the slots of all users of the orgs *numbers* (n,), one org after the other, and how many each has.

        Those of an org ascend.
        """
        if self._grouped < len(self):
            self._group()
        first, end = self._member_ends[numbers], self._member_ends[numbers + 1]
        sizes = end - first
        stops = np.cumsum(sizes)
        at = np.arange(int(sizes.sum())) + np.repeat(first - (stops - sizes), sizes)
        return self._members[at].astype(np.int64), sizes

    def _group(self) -> None:
        """Sort the users by org: those that came since to the others."""
        n = len(self)
        new = np.flatnonzero(self.is_user[self._grouped : n]) + self._grouped
        every = np.concatenate([self._members, new.astype(np.int32)])
        org_of = self.org_of[every]
        self._members = every[np.argsort(org_of, kind="stable")]
        sizes = np.bincount(org_of, minlength=len(self.orgs))
        self._member_ends, self._grouped = np.concatenate(([0], np.cumsum(sizes))).astype(np.int64), n

    def org_slots(self) -> NDArray[np.int64]:
        """Return the slot of each org, by org number."""
        return np.array([entry.slot for entry in self.orgs], np.int64)

    def segments(self) -> dict[str, Any]:
        """Return the content for a checkpoint."""
        n = len(self._names)
        return {
            "subjects": self.names,
            "membership": self.membership[:n].tobytes(),
            "dated": [[slot, *entry] for slot, entry in self._dated.items()],
            "orgs": {e.name: [e.title, e.zone, e.group_type] for e in self.orgs},
            "job-types": [self.job_types.known, self.job_of[:n].tobytes()],
            "group-types": self.group_types.known,
            "display-names": sorted(self._display_names.items()),
            "guards": self.guards.segment(),
        }

    def restore(self, segments: dict[str, Any]) -> None:
        """Take over what `segments` returned."""
        self._give_all(segments["subjects"])
        self.membership[: len(self)] = np.frombuffer(segments["membership"], np.uint8)
        self._dated = {slot: (kind, since, until) for slot, kind, since, until in segments.get("dated", [])}
        self._display_names = dict(segments.get("display-names", []))
        for slot, name in enumerate(segments["subjects"]):
            if SEPARATOR + NAMELESS in name:
                self._heirs[slot] = self.orgs[int(self.org_of[slot])].slot
        self.guards.restore(segments.get("guards", []))
        self._next_turn_ms = 0
        job_types, job_of = segments.get("job-types", ([], b""))
        self.job_types, self.group_types = Names(job_types), Names(segments.get("group-types"))
        if job_of:
            self.job_of[: len(self)] = np.frombuffer(job_of, np.uint16)
        for name, (title, zone, group_type) in segments["orgs"].items():
            self._describe(self._org_numbers[name], title, zone, group_type)
        self._count_created()

    def _describe(self, number: int, title: str, zone: str, group_type: str) -> None:
        entry = self.orgs[number]
        self.created += (not title) - (not entry.title)
        entry.title, entry.zone, entry.group_type = title, zone, group_type
        if zone not in self.zone_names:
            self.zone_names.append(zone)
        self.zone_of[number] = self.zone_names.index(zone)
        self.group_of[number] = self.group_types.number(group_type)

    def _give_all(self, names: list[str]) -> None:
        """Give slots to *names*, all there are, in the order in which they had them."""
        self._names.add_all(names)
        org_of, is_user = [], []
        for slot, name in enumerate(names):
            org, _, user = name.partition(SEPARATOR)
            if not user:
                self._org_numbers[org] = len(self.orgs)
                self.orgs.append(OrgEntry(org, slot))
            org_of.append(self._org_numbers[org])
            is_user.append(bool(user))
        self.org_of, self.is_user = np.array(org_of, np.int32), np.array(is_user, bool)
        self.membership, self.job_of = grown(self.membership, len(names)), grown(self.job_of, len(names))
        self.zone_of, self.group_of = grown(self.zone_of, len(self.orgs)), grown(self.group_of, len(self.orgs))

    def _give_origin(self, origin: str) -> int:
        """Return the slot of a subject by a name that says how its activities came to it."""
        org, user, _, _ = origin_of(origin)
        name = org + SEPARATOR + user
        guarded = self.guards.find(org, user) if self.guards else None
        if guarded is not None:
            return guarded  # and remember no name
        known = self._names.find(name)
        slot = self._give(name) if known is None else known
        if origin != name:
            if len(self._by_origin) >= _LARGEST_CACHE:
                self._by_origin.clear()
            self._by_origin[origin] = slot
        return slot

    def _give(self, name: str) -> int:
        org, user = name.split(SEPARATOR, 1)
        if user and org not in self._org_numbers:
            self._give(org + SEPARATOR)
        slot = self._names.add(name)
        self.org_of = grown(self.org_of, slot + 1)
        self.is_user = grown(self.is_user, slot + 1)
        self.membership = grown(self.membership, slot + 1)
        self.job_of = grown(self.job_of, slot + 1)
        if user:
            number = self._org_numbers[org]
        else:
            number = self._org_numbers[org] = len(self.orgs)
            self.orgs.append(OrgEntry(org, slot))
            self.zone_of = grown(self.zone_of, number + 1)
            self.group_of = grown(self.group_of, number + 1)
        self.created += 1
        self._created_in[number] += bool(user)
        self.org_of[slot], self.is_user[slot] = number, bool(user)
        return slot
