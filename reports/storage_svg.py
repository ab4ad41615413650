"""Bars as inline SVG whose colours follow the page: for distributions, months, tiers, hours of the day.

Invariant: every value is in the picture's own description too, so it can be read without being seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Final

_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP = 720, 220, 8, 34, 16
_MAX_LABELS, _MAX_VALUES = 12, 16
SERIES: Final = ("a", "b")


def bars(title: str, labels: Sequence[str], series: Sequence[tuple[str, Sequence[float]]], unit: str = "") -> str:
    """Return bars side by side: one group for each of *labels*, one bar in it for each of *series* (name, values)."""
    top = max((value for _, values in series for value in values), default=0) or 1
    slot = (_WIDTH - 2 * _LEFT) / max(len(labels), 1)
    wide = slot * 0.8 / max(len(series), 1)
    base = _HEIGHT - _BOTTOM
    parts = []
    said = []
    for at, label in enumerate(labels):
        for which, (name, values) in enumerate(series):
            high = (base - _TOP) * values[at] / top
            left = _LEFT + at * slot + slot * 0.1 + which * wide
            shown = f"{label}{', ' + name if len(series) > 1 else ''}: {_short(values[at])}{unit}"
            said.append(shown)
            parts.append(
                f'<rect class="{SERIES[which]}" x="{left:.1f}" y="{base - high:.1f}" width="{max(wide - 1, 0.5):.1f}" '
                f'height="{high:.1f}"><title>{escape(shown)}</title></rect>'
            )
            if len(labels) * len(series) <= _MAX_VALUES:
                place = f'x="{left + wide / 2:.1f}" y="{base - high - 4:.1f}"'
                parts.append(f'<text class="value" {place}>{_short(values[at])}</text>')
        if at % -(-len(labels) // _MAX_LABELS) == 0:
            parts.append(
                f'<text class="label" x="{_LEFT + (at + 0.5) * slot:.1f}" y="{base + 16}">{escape(label)}</text>'
            )
    legend = "".join(
        f'<span class="key"><svg viewBox="0 0 10 10" width="10" height="10" aria-hidden="true">'
        f'<rect class="{SERIES[which]}" width="10" height="10"/></svg> {escape(name)}</span>'
        for which, (name, _) in enumerate(series)
        if len(series) > 1
    )
    heading = f"{title} ({unit.strip()})" if unit.strip() else title
    return (
        f"<figure><figcaption>{escape(heading)} {legend}</figcaption>"
        f'<svg class="bars" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(title)}: '
        f'{escape("; ".join(said))}"><line class="axis" x1="{_LEFT}" x2="{_WIDTH - _LEFT}" y1="{base}" y2="{base}"/>'
        f"{''.join(parts)}</svg></figure>"
    )


def _short(value: float) -> str:
    """Return a number that fits over a bar.

    >>> _short(1234567), _short(12.34), _short(0)
    ('1.2M', '12.3', '0')
    """
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= size:
            return f"{value / (1e3 if letter == 'k' else size):.1f}{letter}"
    return f"{value:.1f}" if value != int(value) else f"{int(value)}"
