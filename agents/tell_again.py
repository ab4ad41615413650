"""Says what Redis should hold, for one that is empty, replaced or set back; and what it should not.

Owns the parts of a resync that know the state. Invariant: only a subject of a partition that this worker has now is
ever called unknown, and its deletion carries that partition's position: a newer owner's values refuse it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

from agents.count_people import CountPeople
from agents.fold import FoldAgent
from streams.fenced_write import Write

# A hash: user:{org}:name, org:{org}, latency:{org}, chat:{org}; a member: org:{org}:users:by-score␀name,
# orgs:by-score␀org.
# An org with a brace in its id can be read in two ways, so it fits nothing here and is left alone.
_USER = re.compile(r"user:\{([^{}]*)\}:(.*)|org:\{([^{}]*)\}:users:by-score\0(.*)", re.DOTALL)
_ORG = re.compile(r"org:\{([^{}]*)\}|orgs:by-score\0([^{}]*)")
_MAP = re.compile(r"(?:latency|chat):\{([^{}]*)\}")
_SHADOW = re.compile(r"shadow:(?:user:\{([^{}]*)\}:(.*)|org:\{([^{}]*)\})", re.DOTALL)
ALL_ORGS = "all"  # the overall map, which is no partition's


class TellAgain:
    """Everything a worker would tell."""

    def __init__(self, fold: FoldAgent, people: CountPeople, partition: Callable[[str], int]) -> None:
        """Read from the agents; *partition* gives that of an org."""
        self._fold, self._people, self._partition = fold, people, partition

    def everything(self) -> Iterator[Write]:
        """Yield every current value of what this worker owns."""
        yield from self._people.documents()
        yield from self._fold.documents()

    def total(self) -> int:
        """Return about how many writes `everything` yields."""
        return sum(len(shard.subjects) for shard in list(self._fold.shards.values()))

    def unknown(self, keys: Sequence[str]) -> list[Write]:
        """Return deletions of those subjects in *keys* that lie in owned partitions and have no document."""
        found = []
        ranks: tuple[tuple[str, str, float | None], ...]
        for key in keys:
            if match := _SHADOW.fullmatch(key):
                org, user = match[1] or match[3] or "", match[2] or ""
                partition = self._partition(org)
                if fence := self._fold.fence_of_unknown(partition, "shadow", org, user):
                    found.append(Write(key, {}, fence, (), None, partition))
                continue
            if match := _USER.fullmatch(key):
                org, user = match[1] or match[3] or "", match[2] or match[4] or ""
                gone, ranks = f"user:{{{org}}}:{user}", ((f"org:{{{org}}}:users:by-score", user, None),)
            elif match := _ORG.fullmatch(key):
                org, user = match[1] or match[2] or "", ""
                gone, ranks = f"org:{{{org}}}", (("orgs:by-score", org, None),)
            elif (match := _MAP.fullmatch(key)) and match[1] != ALL_ORGS:
                org, user, gone, ranks = match[1], "", key, ()
            else:
                continue
            partition = self._partition(org)
            fence = self._fold.fence_of_unknown(partition, key.partition(":")[0], org, user)
            if fence:
                found.append(Write(gone, {}, fence, ranks, None, partition))
        return found
