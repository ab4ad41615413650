"""Who is who within one partition: slots of subjects, their orgs and memberships.

Owns the mapping from subject names ("org␟user", "org␟" for the org itself) to
slots, the rows of every array of the shard. Invariant: a slot, once given, is
never given to another subject.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from state.activity import SEPARATOR, Member, Org, origin_of
from state.arrays import grown
from state.groups import Names
from state.ring import Slots

UNLISTED, LICENSED, UNLICENSED, GONE = range(4)
"""Membership of a slot: not in the directory, with or without a licence, no longer (or not yet) a member."""
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
    members: list[int] = field(default_factory=list)


class Subjects:
    """All subjects of one partition."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.orgs: list[OrgEntry] = []
        self._slots: dict[str, int] = {}
        self._org_numbers: dict[str, int] = {}
        self.org_of = np.zeros(0, np.int32)
        self.is_user = np.zeros(0, bool)
        self.membership = np.zeros(0, np.uint8)
        self._by_origin: dict[str, int] = {}  # names as `Rows` spell them → slot; a cache
        self._display_names: dict[int, str] = {}  # slot → what people call them, where that is known
        self._dated: dict[int, tuple[int, int, int]] = {}  # slot → membership, from, until (ms)
        self._next_turn_ms = _FOREVER_MS
        self.zone_names: list[str] = ["UTC"]
        self.zone_of = np.zeros(0, np.int16)  # by org number, an index into zone_names
        self.job_types, self.group_types = Names(), Names()
        self.job_of = np.zeros(0, np.uint16)  # by slot, a number of job_types
        self.group_of = np.zeros(0, np.uint16)  # by org number, a number of group_types

    def __len__(self) -> int:
        return len(self.names)

    def slots(self, names: list[str]) -> Slots:
        """Return the slots of *names* (as `Rows` spell them), giving new ones where needed."""
        known, cached = self._slots, self._by_origin
        found = [known[n] if n in known else cached[n] if n in cached else self._give_origin(n) for n in names]
        return np.array(found, np.int64)

    def find(self, org: str, user: str) -> int | None:
        """Return the slot of a user, or of an org (no *user*); None when there is none."""
        return self._slots.get(org + SEPARATOR + user)

    def user(self, slot: int) -> str:
        """Return the user id of *slot* (empty for an org)."""
        return self.names[slot].split(SEPARATOR, 1)[1]

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
        return {self.zone_names[z] for z in np.unique(self.zone_of[: len(self.orgs)]).tolist()} or {"UTC"}

    def org_slots(self) -> NDArray[np.int64]:
        """Return the slot of each org, by org number."""
        return np.array([entry.slot for entry in self.orgs], np.int64)

    def segments(self) -> dict[str, Any]:
        """Return the content for a checkpoint."""
        n = len(self.names)
        return {
            "subjects": self.names,
            "membership": self.membership[:n].tobytes(),
            "dated": [[slot, *entry] for slot, entry in self._dated.items()],
            "orgs": {e.name: [e.title, e.zone, e.group_type] for e in self.orgs},
            "job-types": [self.job_types.known, self.job_of[:n].tobytes()],
            "group-types": self.group_types.known,
            "display-names": sorted(self._display_names.items()),
        }

    def restore(self, segments: dict[str, Any]) -> None:
        """Take over what `segments` returned."""
        self._take_names(segments["subjects"])
        self.membership[: len(self.names)] = np.frombuffer(segments["membership"], np.uint8)
        self._dated = {slot: (kind, since, until) for slot, kind, since, until in segments.get("dated", [])}
        self._display_names = dict(segments.get("display-names", []))
        self._next_turn_ms = 0
        job_types, job_of = segments.get("job-types", ([], b""))
        self.job_types, self.group_types = Names(job_types), Names(segments.get("group-types"))
        if job_of:
            self.job_of[: len(self.names)] = np.frombuffer(job_of, np.uint16)
        for name, (title, zone, group_type) in segments["orgs"].items():
            self._describe(self._org_numbers[name], title, zone, group_type)

    def _take_names(self, names: list[str]) -> None:
        """Give *names*, in the order of their slots, to an object without any: as `_give` does, but all at once."""
        heads = [name[: name.index(SEPARATOR)] for name in names]
        places = [
            slot for slot, (head, name) in enumerate(zip(heads, names, strict=True)) if len(head) + 1 == len(name)
        ]
        orgs = [heads[slot] for slot in places]
        self.names, self._slots = names, dict(zip(names, range(len(names)), strict=True))
        self._org_numbers = dict(zip(orgs, range(len(orgs)), strict=True))
        self.org_of = np.fromiter(map(self._org_numbers.__getitem__, heads), np.int32, len(names))
        self.is_user = np.ones(len(names), bool)
        self.is_user[places] = False
        self.membership, self.job_of = grown(self.membership, len(names)), grown(self.job_of, len(names))
        self.zone_of, self.group_of = grown(self.zone_of, len(orgs)), grown(self.group_of, len(orgs))
        users = np.flatnonzero(self.is_user)
        users = users[np.argsort(self.org_of[users], kind="stable")]
        ends = np.cumsum(np.bincount(self.org_of[users], minlength=len(orgs))).tolist()
        slots, starts = users.tolist(), [0, *ends]
        self.orgs = [
            OrgEntry(org, slot, members=slots[start:end])
            for org, slot, start, end in zip(orgs, places, starts, ends, strict=False)
        ]

    def _describe(self, number: int, title: str, zone: str, group_type: str) -> None:
        entry = self.orgs[number]
        entry.title, entry.zone, entry.group_type = title, zone, group_type
        if zone not in self.zone_names:
            self.zone_names.append(zone)
        self.zone_of[number] = self.zone_names.index(zone)
        self.group_of[number] = self.group_types.number(group_type)

    def _give_origin(self, origin: str) -> int:
        """Return the slot of a subject by a name that says how its activities came to it."""
        org, user, _, _ = origin_of(origin)
        name = org + SEPARATOR + user
        slot = self._slots[name] if name in self._slots else self._give(name)
        if origin != name:
            if len(self._by_origin) >= _LARGEST_CACHE:
                self._by_origin.clear()
            self._by_origin[origin] = slot
        return slot

    def _give(self, name: str) -> int:
        org, user = name.split(SEPARATOR, 1)
        if user and org not in self._org_numbers:
            self._give(org + SEPARATOR)
        slot = len(self.names)
        self.names.append(name)
        self._slots[name] = slot
        self.org_of = grown(self.org_of, slot + 1)
        self.is_user = grown(self.is_user, slot + 1)
        self.membership = grown(self.membership, slot + 1)
        self.job_of = grown(self.job_of, slot + 1)
        if user:
            number = self._org_numbers[org]
            self.orgs[number].members.append(slot)
        else:
            number = self._org_numbers[org] = len(self.orgs)
            self.orgs.append(OrgEntry(org, slot))
            self.zone_of = grown(self.zone_of, number + 1)
            self.group_of = grown(self.group_of, number + 1)
        self.org_of[slot], self.is_user[slot] = number, bool(user)
        return slot
