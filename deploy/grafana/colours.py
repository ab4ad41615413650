"""The colours of the dashboards, all of which people who are colour-blind can tell apart.

Invariant: categories are of Okabe and Ito's palette, amounts of cividis (dark = little), differences go from blue by
grey (no change) to orange. No meaning rests on red against green.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

Steps: TypeAlias = Sequence[tuple[float | None, str]]
"""From which value on (None = from the least) which colour holds."""

BLUE, ORANGE, VERMILION, GREEN = "#0072B2", "#E69F00", "#D55E00", "#009E73"
SKY, PURPLE, GREY = "#56B4E9", "#CC79A7", "#8A8A8A"

BAND_COLOURS = {"healthy": BLUE, "watch": ORANGE, "at_risk": VERMILION}
BAND_STEPS: Steps = ((None, VERMILION), (0.07, ORANGE), (0.20, BLUE))
"""Scores (0-1) by band: the edges of the model that ships, `[bands]` of state/health.toml."""

OUTCOME_COLOURS = {
    "accepted": BLUE, "released": SKY, "parked": ORANGE, "late": PURPLE, "dead_lettered": VERMILION, "duplicate": GREY,
}  # fmt: skip

_CIVIDIS = (
    "#00204D",
    "#00306F",
    "#2A406C",
    "#48526B",
    "#5E626E",
    "#727374",
    "#878479",
    "#A69D75",
    "#CBBA69",
    "#FFEA46",
)
_LATENCY_EDGES_SECONDS = (60, 300, 900, 3_600, 4 * 3_600, 12 * 3_600, 86_400, 3 * 86_400, 7 * 86_400)
LATENCY_STEPS: Steps = tuple(zip((None, *_LATENCY_EDGES_SECONDS), _CIVIDIS, strict=True))
"""Seconds until an answer, from under a minute to over a week."""

DIVERGING = ("#0B4F8A", "#2B7BBA", "#7FB2D9", "#8A8A8A", "#E8B36A", "#DD8A1E", "#B35900")


def diverging(little: float, some: float, much: float) -> Steps:
    """Return steps that are the same on both sides of zero: blue below, grey within *little*, orange above.

    >>> [edge for edge, _ in diverging(1, 5, 10)]
    [None, -10, -5, -1, 1, 5, 10]
    """
    return tuple(zip((None, -much, -some, -little, little, some, much), DIVERGING, strict=True))


def reversed_steps(steps: Steps) -> Steps:
    """Return the same edges with the colours the other way round, for what is good when it is more."""
    return tuple((edge, colour) for (edge, _), (_, colour) in zip(steps, reversed(steps), strict=True))


PLAIN: Steps = ((None, BLUE),)


def alarm(from_value: float, *, worse_from: float | None = None) -> Steps:
    """Return steps that are calm below *from_value*, orange from there on and vermilion from *worse_from* on.

    Without *worse_from* it is vermilion at once.
    """
    if worse_from is None:
        return ((None, BLUE), (from_value, VERMILION))
    return ((None, BLUE), (from_value, ORANGE), (worse_from, VERMILION))


ONE_IS_WELL: Steps = ((None, VERMILION), (1, BLUE))
