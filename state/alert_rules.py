"""When an org's fall is worth an alert: the rules, as the health model's `[alerts]` gives them.

Owns their defaults, bounds and their reading. Invariant: scores are basis points.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

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


#: key in the file → (field, scale, lowest, highest)
_KEYS: dict[str, tuple[str, int, int, int]] = {
    "fall_points": ("fall_points", 100, 1, 100),
    "fall_mads": ("fall_mads", 1, 0, 100),
    "min_weeks": ("min_weeks", 1, 1, 8),
    "min_coverage": ("min_coverage", 100, 0, 100),
    "cooldown_hours": ("cooldown_hours", 1, 0, 8_784),
}
assert {name for name, *_ in _KEYS.values()} == {field.name for field in fields(AlertRules)}


def alert_rules(raw: Mapping[str, Any], wrong: Callable[[str, str], Exception]) -> AlertRules:
    """Return the rules in *raw*, a model's `[alerts]`; what is not there has its default.

    Args:
        raw: The table.
        wrong: Makes the error to raise of the key and what is wrong with it.
    """
    found: dict[str, int] = {}
    for key, value in raw.items():
        if key not in _KEYS:
            raise wrong(key, f"[alerts]: unknown {key!r}; known are: {', '.join(_KEYS)}")
        name, scale, low, high = _KEYS[key]
        if type(value) is not int or not low <= value <= high:
            raise wrong(key, f"[alerts] {key} must be a whole number from {low} to {high}, not {value!r}")
        found[name] = value * scale
    return AlertRules(**found)
