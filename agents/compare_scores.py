"""Compares scores of a backfill with live ones, where both are as of the same hour.

Owns what of a score's document can be compared: the score itself, not what it has come from, which a backfill of few
weeks does not know. Invariant: scores as of other hours are counted, never compared.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import orjson

from streams.log_state import content_of
from streams.settings import Settings
from streams.topic_specs import topic_names

_FIELDS = ("score", "score_active", "score_licensed", "score_median", "band", "coverage", "active_users", "activities")
_AS_OF = ("window_end", "calibration")
_HOUR_CHARS = 13  # of an ISO time, up to the hour


@dataclass(slots=True)
class ScoresCompared:
    """What was found."""

    equal: int = 0
    different: dict[str, dict[str, tuple[str, str]]] = field(default_factory=dict)
    """Subject → field → (here, there)."""
    only: dict[str, str] = field(default_factory=dict)
    """Subject → the side that has a score of it."""
    other_hours: int = 0


async def compare_scores(space: Settings, live: Settings, org: str | None = None) -> ScoresCompared:
    """Return how scores in *space* differ from those in *live*, of everybody or of one org.

    Raises:
        OperatorError: If a topic is missing or could not be read to its end.
    """
    here, there = [await _scores(settings) for settings in (space, live)]
    found = ScoresCompared()
    for subject in sorted(here.keys() | there.keys()):
        if org is not None and subject.partition(":")[2].partition("/")[0] != org:
            continue
        mine, other = here.get(subject), there.get(subject)
        if mine is None or other is None:
            found.only[subject] = "here" if other is None else "there"
        elif any(mine.get(name, "")[:_HOUR_CHARS] != other.get(name, "")[:_HOUR_CHARS] for name in _AS_OF):
            found.other_hours += 1
        else:
            differing = {n: (mine[n], other[n]) for n in _FIELDS if n in mine and mine[n] != other.get(n)}
            if differing:
                found.different[subject] = differing
            else:
                found.equal += 1
    return found


async def _scores(settings: Settings) -> dict[str, dict[str, str]]:
    return {
        key.decode(): orjson.loads(value)
        for content in await content_of(settings.kafka.brokers, topic_names(settings).scores)
        for key, value in content.items()
    }
