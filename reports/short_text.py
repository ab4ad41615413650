"""Durations, counts and names as short text, the same in the terminal and in pictures.

Invariant: what is written takes no more characters than its function says, whatever comes in, and a name holds nothing
that turns the direction of writing or breaks a line or a document.
"""

from __future__ import annotations

import re

_UNITS = ((99.5, 1.0, "s"), (99.5, 60.0, "m"), (47.5, 3600.0, "h"), (99.5, 86400.0, "d"))  # below how many of which
_LONG_UNITS = (*_UNITS[:3], (999.5, 86400.0, "d"), (99.5, 365.25 * 86400.0, "y"))
_UNFIT = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff\ufff9-\ufffb\ufffe\uffff]"
)


FORMULA = ("=", "+", "-", "@", "|", "%")
"""Text that begins like this, blanks aside, is a formula to spreadsheets."""


def no_formula(text: str) -> str:
    """Return a text for a cell of CSV, with an apostrophe before it where a spreadsheet would compute it.

    >>> no_formula("  =1+1"), no_formula("1+1")
    ("'  =1+1", '1+1')
    """
    return f"'{text}" if text.lstrip().startswith(FORMULA) else text


def short_duration(seconds: float) -> str:
    """Return a duration in at most three characters, in the unit that keeps two digits where it can.

    >>> [short_duration(s) for s in (0.2, 42, 99.6, 3599, 86400 * 2.4, 86400 * 400)]
    ['0s', '42s', '2m', '60m', '2d', '>3M']
    """
    for limit, unit_seconds, unit in _UNITS:
        if seconds < limit * unit_seconds:
            return f"{seconds / unit_seconds:.0f}{unit}"
    return ">3M"


def two_digits(seconds: float) -> str:
    """Return a duration in at most four characters, with two digits.

    >>> [two_digits(s) for s in (0, 0.2, 42, 99.6, 3599, 6000, 86400 * 2.4, 86400 * 400, 86400 * 4000)]
    ['0s', '0.2s', '42s', '1.7m', '60m', '1.7h', '2.4d', '400d', '11y']
    """
    for limit, unit_seconds, unit in _LONG_UNITS:
        if seconds < limit * unit_seconds:
            value = seconds / unit_seconds
            return f"{value:.1f}{unit}".replace(".0", "") if value < 9.95 else f"{value:.0f}{unit}"
    return ">99y"


def round_duration(seconds: float) -> str:
    """Return a duration that is a round one, as on a scale.

    >>> [round_duration(s) for s in (20, 60, 3600, 86400, 604800)]
    ['20s', '1m', '1h', '1d', '7d']
    """
    for size, unit in ((365.25 * 86400, "y"), (86400.0, "d"), (3600.0, "h"), (60.0, "m")):
        if seconds >= size:
            return f"{seconds / size:.3g}{unit}"
    return f"{seconds:.2g}s"


def signed_duration(seconds: float) -> str:
    """Return a change of a duration in at most five characters; nothing is ±0.

    >>> [signed_duration(s) for s in (-90, 0.04, 7200)]
    ['−90s', '±0', '+2h']
    """
    if abs(seconds) < 0.05:
        return "±0"
    return f"{'−' if seconds < 0 else '+'}{two_digits(abs(seconds))}"


def short_count(count: int) -> str:
    """Return a count in at most three characters.

    >>> [short_count(n) for n in (7, 999, 1000, 99_499, 250_000, 3_000_000)]
    ['7', '999', '1k', '99k', '.2M', '3M']
    """
    if count < 1000:
        return str(count)
    for scale, unit, next_unit in ((1e3, "k", "M"), (1e6, "M", "G"), (1e9, "G", "T")):
        if count < 99.5 * scale:
            return f"{count / scale:.0f}{unit}"
        if count < 950 * scale:
            return f".{count // (100 * scale):.0f}{next_unit}"
    return ">1T"


def plain_name(name: str, limit: int = 60) -> str:
    """Return a name fit to be shown: control characters and turns of direction become �, and its end is cut off.

    >>> plain_name("<b>\\u202eacme\\n"), plain_name("abcdef", 4)
    ('<b>�acme�', 'abc…')
    """
    fit = _UNFIT.sub("�", name)
    return fit if len(fit) <= limit else fit[: limit - 1] + "…"
