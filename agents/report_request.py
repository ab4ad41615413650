"""What a report is asked for: the options that all kinds have.

Invariant: what is wrong with the options is told here, with what to write instead, before anything is read.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import click

from agents.cli_errors import EXIT_USAGE, ToldError
from state.week import monday_of, week_label, week_number, week_of_day

_OPTIONS: tuple[Callable[[Any], Any], ...] = (
    click.option("--from", "first", metavar="WEEK", help="First week, such as 2026-W05, or a day of it (2026-01-31)."),
    click.option("--to", "last", metavar="WEEK", help="Last week (included), written the same way."),
    click.option("--out", type=click.Path(file_okay=False, path_type=Path), default=Path("report"), show_default=True,
                 help="Folder for the document and the tables; made if it isn't there."),
)  # fmt: skip


@dataclass(frozen=True)
class Request:
    """Weeks (numbers, both included; None = as far as there are any), where it goes, which orgs (none = the
    default)."""

    first: int | None
    last: int | None
    out: Path
    orgs: tuple[str, ...] = ()

    @property
    def months(self) -> range | None:
        """The calendar months (year × 12 + month − 1) that the weeks lie in; None = no week was named.

        >>> request_of("2026-W05", None, Path(".")).months
        """
        if self.first is None or self.last is None:
            return None
        begin, end = monday_of(self.first), date.fromordinal(monday_of(self.last).toordinal() + 6)
        return range(begin.year * 12 + begin.month - 1, end.year * 12 + end.month)


def with_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give *command* the options of all kinds."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def request_of(first: str | None, last: str | None, out: Path, orgs: tuple[str, ...] = ()) -> Request:
    """Return what the options say.

    Raises:
        ToldError: If a week is none, or they are in the wrong order.
    """
    begin, end = _week(first, "--from"), _week(last, "--to")
    if begin is not None and end is not None and begin > end:
        raise ToldError(
            f"--from {week_label(begin)} comes after --to {week_label(end)}", "Exchange the two", EXIT_USAGE
        )
    return Request(begin, end, out, orgs)


def _week(text: str | None, option: str) -> int | None:
    if text is None:
        return None
    try:
        return week_number(text.upper()) if "W" in text.upper() else week_of_day(date.fromisoformat(text))
    except ValueError:
        remedy = f"Write {option} 2026-W05, or a day of that week, {option} 2026-01-31"
        raise ToldError(f'{option}: "{text}" is no week', remedy, EXIT_USAGE) from None
