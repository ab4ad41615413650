"""Calendar periods: months, quarters, years, and ranges of months.

Owns their names and which months they hold. Invariant: a period is a range of whole calendar months (year × 12 + month
− 1), in whatever zone it is looked at.
"""

from __future__ import annotations

import re

_CENTURIES = r"((?:19|2\d)\d\d)"  # every month of them begins and ends at an instant that a date can tell
_YEAR = re.compile(_CENTURIES, re.ASCII)
_QUARTER = re.compile(_CENTURIES + "-?Q([1-4])", re.ASCII | re.IGNORECASE)
_MONTH = re.compile(_CENTURIES + r"-(\d{2})", re.ASCII)
MAX_MONTHS = 1200


class PeriodError(ValueError):
    """It is no period."""


def month_name(month: int) -> str:
    """Return the name of a month.

    >>> month_name(2026 * 12 + 10)
    '2026-11'
    """
    return f"{month // 12}-{month % 12 + 1:02d}"


def months_up_to(month: int, count: int) -> range:
    """Return the last *count* months up to *month*, it included."""
    return range(month - count + 1, month + 1)


def months_of(period: str) -> range:
    """Return the months of a year, a quarter, a month, or of all from one of them to another.

    Raises:
        PeriodError: If *period* is none.

    >>> [len(months_of(p)) for p in ("2025", "2025-Q3", "2025-11", "2024-Q4/2025-02")]
    [12, 3, 1, 5]
    """
    first, slash, last = period.strip().partition("/")
    months = _single(first)
    if slash:
        months = range(months.start, _single(last).stop)
    if not 0 < len(months) <= MAX_MONTHS:
        raise PeriodError(f"{period!r} ends before it begins, or is longer than {MAX_MONTHS // 12} years")
    return months


def _single(text: str) -> range:
    if match := _YEAR.fullmatch(text):
        return range(int(match[1]) * 12, int(match[1]) * 12 + 12)
    if match := _QUARTER.fullmatch(text):
        start = int(match[1]) * 12 + (int(match[2]) - 1) * 3
        return range(start, start + 3)
    if (match := _MONTH.fullmatch(text)) and 1 <= int(match[2]) <= 12:
        month = int(match[1]) * 12 + int(match[2]) - 1
        return range(month, month + 1)
    raise PeriodError(f"{text!r} is no period: write 2025, 2025-Q3, 2025-11 or 2024-06/2025-05")


def period_name(months: range) -> str:
    """Return the shortest name of a period.

    >>> [period_name(months_of(p)) for p in ("2025", "2025-Q3", "2025-11", "2024-Q4/2025-02")]
    ['2025', '2025-Q3', '2025-11', '2024-10/2025-02']
    """
    first, size = months[0], len(months)
    if size == 12 and first % 12 == 0:
        return str(first // 12)
    if size == 3 and first % 3 == 0:
        return f"{first // 12}-Q{first % 12 // 3 + 1}"
    return month_name(first) if size == 1 else f"{month_name(first)}/{month_name(months[-1])}"
