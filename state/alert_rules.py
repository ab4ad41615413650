"""When an org's fall is worth an alert: the rules, as the health model's `[alerts]` gives them.

Owns their defaults and bounds. Invariant: scores are basis points.
"""

from __future__ import annotations

from dataclasses import dataclass

HELD_MISSING = 500
"""Share (basis points) of a source's usual activities that, missing from the rolling week, holds all alerts."""


@dataclass(frozen=True, slots=True)
class AlertRules:
    """The numbers of model.md § 4."""

    fall_points: int = 1_000
    """The least fall since the last week's close."""
    fall_mads: int = 3
    """The least fall in median absolute deviations of the org's own last weeks."""
    min_weeks: int = 2
    """Closed weeks with a score that are needed to judge."""
    min_coverage: int = 5_000
    """Share of the model's weight that had data, over the active users."""
    cooldown_hours: int = 24
    """After an episode ended."""


#: key in the file, which is the field's name → (scale, lowest, highest)
BOUNDS: dict[str, tuple[int, int, int]] = {
    "fall_points": (100, 1, 100),
    "fall_mads": (1, 0, 100),
    "min_weeks": (1, 1, 8),
    "min_coverage": (100, 0, 100),
    "cooldown_hours": (1, 0, 8_784),
}
