"""Says what Redis should hold, for one that is empty, replaced or set back; and what it should not.

Owns the parts of a resync that know the state. Invariant: only a subject of a partition that this worker has now is
ever called unknown, and its deletion carries that partition's position: a newer owner's values refuse it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

from agents.count_people import CountPeople
from agents.fold import FoldAgent
from state.periods import months_of
from state.shard import Shard
from streams.fenced_write import Write

# A hash: user:{org}:name, org:{org}, latency:{org}, latency:{org}:2026-11, chat:{org};
# a member: org:{org}:users:by-score␀name, orgs:by-score␀org.
# An org with a brace in its id can be read in two ways, so it fits nothing here and is left alone.
_USER = re.compile(r"user:\{([^{}]*)\}:(.*)|org:\{([^{}]*)\}:users:by-score\0(.*)", re.DOTALL)
_ORG = re.compile(r"org:\{([^{}]*)\}|orgs:by-score\0([^{}]*)")
_CHAT = re.compile(r"chat:\{([^{}]*)\}")
_MAP = re.compile(r"latency:\{([^{}]*)\}(?::(\d{4}-(?:0[1-9]|1[0-2])))?")
_SHADOW = re.compile(r"shadow:(?:user:\{([^{}]*)\}:(.*)|org:\{([^{}]*)\})", re.DOTALL)
ALL_ORGS = "all"  # the overall map, which is no partition's


class TellAgain:
    """Everything a worker would tell."""

    def __init__(self, fold: FoldAgent, people: CountPeople, partition: Callable[[str], int]) -> None:
        """Read from the agents; *partition* gives that of an org."""
        self._fold, self._people, self._partition = fold, people, partition

    def everything(self) -> Iterator[Write]:
        """Return every current value of what this worker owns, all of which counts as untold from now on."""
        return chain(self._people.documents(), self._fold.documents())

    def total(self) -> int:
        """Return about how many writes `everything` yields."""
        return sum(len(shard.subjects) for shard in list(self._fold.shards.values()))

    def unknown(self, keys: Sequence[str]) -> list[Write]:
        """Return deletions of those subjects in *keys* that lie in owned partitions and have no document."""
        found = []
        for key in keys:
            if (asked := _asked(key)) is None:
                continue
            partition = self._partition(asked.org)
            if fence := self._fold.fence_of_unknown(partition, asked.known):
                found.append(Write(asked.key, {}, fence, asked.ranks, None, partition))
        return found


@dataclass(frozen=True, slots=True)
class _Asked:
    """A document, the ranks it stands in, and how to see whether its shard has it."""

    org: str
    key: str
    known: Callable[[Shard], bool]
    ranks: tuple[tuple[str, str, float | None], ...] = ()


def _asked(key: str) -> _Asked | None:
    """Return what *key* is about; None = nothing of a shard's."""
    if match := _SHADOW.fullmatch(key):
        org, user = match[1] or match[3] or "", match[2] or ""
        return _Asked(org, key, lambda shard: shard.shadow is not None and shard.has_document(org, user))
    if match := _USER.fullmatch(key):
        org, user = match[1] or match[3] or "", match[2] or match[4] or ""
        ranks = ((f"org:{{{org}}}:users:by-score", user, None),)
        return _Asked(org, f"user:{{{org}}}:{user}", lambda shard: shard.has_document(org, user), ranks)
    if match := _ORG.fullmatch(key):
        org = match[1] or match[2] or ""
        return _Asked(org, f"org:{{{org}}}", lambda shard: shard.has_document(org), (("orgs:by-score", org, None),))
    if match := _CHAT.fullmatch(key):
        org = match[1]
        return _Asked(org, key, lambda shard: shard.chat.has(org))
    if (match := _MAP.fullmatch(key)) and match[1] != ALL_ORGS:
        org, month = match[1], None if match[2] is None else months_of(match[2])[0]
        return _Asked(org, key, lambda shard: shard.has_latency(org, month))
    return None
