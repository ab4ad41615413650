"""Compares scores of a backfill with live ones, where both are as of the same hour.

Owns what of a score's document can be compared: the score itself, not what it has come from, nor its band, which is
left only by more than a little: a backfill of few weeks does not know that. Invariant: scores as of other hours, or
of weeks that the backfill is not of, are counted, never compared.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

import orjson

from streams.log_state import content_of
from streams.settings import Settings
from streams.topic_specs import topic_names

_FIELDS = ("score", "score_active", "score_licensed", "score_median", "coverage", "active_users", "activities")
_Score = Mapping[str, str]
_HOUR_CHARS = 13  # of an ISO time, up to the hour


@dataclass(slots=True)
class ScoresCompared:
    """What was found."""

    equal: int = 0
    different: dict[str, dict[str, tuple[str, str]]] = field(default_factory=dict)
    """Subject → field → (here, there)."""
    causes: dict[str, list[str]] = field(default_factory=dict)
    """Subject → the causes of what differs in its org's weeks."""
    only: dict[str, str] = field(default_factory=dict)
    """Subject → the side that has a score of it."""
    other_hours: int = 0
    """Subjects whose scores are as of other hours or weeks, or by cut points of other generations."""


async def compare_scores(space: Settings, live: Settings, last: str, org: str | None = None) -> ScoresCompared:
    """Return how scores in *space* differ from those in *live*, of everybody or of one org.

    Scores of a week after *last* (ISO) are no part of the backfill.

    Raises:
        OperatorError: If a topic is missing or could not be read to its end.
    """
    found = ScoresCompared()
    for here, there in zip(*[await _scores(settings) for settings in (space, live)], strict=True):
        as_of_same_hour = (hour := _hour(here)) == _hour(there) and _week(hour) <= last
        for subject in sorted(here.keys() | there.keys()):
            if org in (None, subject.partition(":")[2].partition("/")[0]):
                _compare(found, subject, here.get(subject), there.get(subject), as_of_same_hour)
    return found


def _compare(found: ScoresCompared, subject: str, mine: _Score | None, other: _Score | None, same_hour: bool) -> None:
    """Add one subject to *found*."""
    if mine is None or other is None:
        found.only[subject] = "here" if other is None else "there"
    elif not same_hour or mine.get("calibration") != other.get("calibration"):
        found.other_hours += 1
    elif differing := {n: (mine[n], other.get(n, "")) for n in _FIELDS if n in mine and mine[n] != other.get(n)}:
        found.different[subject] = differing
    else:
        found.equal += 1


def _week(hour: str) -> str:
    """Return the ISO week (UTC) of an hour, empty for none.

    >>> _week("2026-11-30T13"), _week("")
    ('2026-W49', '')
    """
    return "{}-W{:02d}".format(*datetime.fromisoformat(hour).isocalendar()) if hour else ""


def _hour(scores: Mapping[str, _Score]) -> str:
    """Return the hour that a partition has come to: a score that did not change since is not told again."""
    return max((found.get("window_end", "") for found in scores.values()), default="")[:_HOUR_CHARS]


async def _scores(settings: Settings) -> list[dict[str, _Score]]:
    """Return subject → document, by partition."""
    contents = await content_of(settings.kafka, topic_names(settings).scores)
    return [{key.decode(): orjson.loads(value) for key, value in content.items()} for content in contents]
