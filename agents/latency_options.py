"""The options of `orgpulse latency` and how its help shows them, in sections.

Invariant: every option stands in exactly one section of the help.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from agents.latency_request import seconds_of
from reports.week_map import SHOWN

F = TypeVar("F", bound=Callable[..., Any])
_FILE = click.Path(path_type=Path, dir_okay=False)


class SectionedCommand(click.Command):
    """A command whose help lists options under headings."""

    def __init__(self, *args: Any, sections: dict[str, tuple[str, ...]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.sections = sections

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write each section with its options."""
        records = {
            param.name: record for param in self.get_params(ctx) if (record := param.get_help_record(ctx)) is not None
        }
        for heading, names in self.sections.items():
            with formatter.section(heading):
                formatter.write_dl([records[name] for name in names])


def _seconds(ctx: click.Context, param: click.Parameter, value: str | None) -> float | None:
    return seconds_of(value, param.opts[0])


_OPTIONS: dict[str, dict[str, Callable[[F], F]]] = {
    "When": {
        "period": click.option("--period", metavar="P", help="2025, 2025-Q3, 2025-11 or 2024-06/2025-05."),
        "versus": click.option("--versus", metavar="P", help="Show what changed from this period to --period."),
        "years": click.option("--years", metavar="Y-Y", help="Years side by side: 2023-2025, or 2023,2025."),
        "zone": click.option("--zone", metavar="ZONE", help="Hours of this zone instead of the org's: Europe/Berlin."),
    },
    "What": {
        "channel": click.option("--channel", metavar="NAME", help="Replies in this channel or team alone."),
        "measure": click.option("--measure", metavar="NAME", help="A measure instead of replies."),
        "line": click.option("--line", metavar="LINE", help="The same by full name: replies/#help, measure/order."),
        "show": click.option(
            "--show", type=click.Choice(SHOWN), help="How long is waited, how much is written, or which share answered."
        ),
        "quantile": click.option("--quantile", metavar="Q", help="0.95 or p95 instead of the one in the settings."),
        "first": click.option("--first", is_flag=True, help="Only the first reply to a message."),
        "target": click.option(
            "--target", metavar="TIME", callback=_seconds, help="Show the share answered within this time: 4h, 30m."
        ),
        "min_count": click.option(
            "--min-count", type=click.IntRange(min=1), metavar="N", help="Fewer than so many are no data."
        ),
    },
    "Coverage": {
        "coverage": click.option("--coverage", is_flag=True, help="Show at which hours --target is not kept."),
        "hours": click.option("--hours", metavar="WEEK", help='Hours that should be covered: "mon-fri 09-17".'),
        "staff": click.option(
            "--staff", type=click.IntRange(min=1), metavar="N", help="Suggest N hours at which to add somebody."
        ),
    },
    "How": {
        "terminal": click.option("--terminal", is_flag=True, help="Draw here; the default if no file is named."),
        "counts": click.option("--counts", is_flag=True, help="Write on how many each figure stands."),
        "no_data_hours": click.option(
            "--no-data-hours", type=click.FloatRange(min=0, min_open=True), metavar="H",
            help="Draw hours without data as H hours, for one flat map.",
        ),
        "as_json": click.option("--json", "as_json", is_flag=True, help="Print JSON; what is not known is null."),
        "svg": click.option("--svg", type=_FILE, metavar="FILE", help="Draw a picture that scales."),
        "png": click.option("--png", type=_FILE, metavar="FILE", help="Draw a picture, 1920 × 1080."),
        "csv": click.option("--csv", type=_FILE, metavar="FILE", help="Write one row for each hour."),
        "wall": click.option(
            "--wall", type=click.Path(path_type=Path, file_okay=False), metavar="DIR",
            help="Write index.html and pictures for a screen on a wall.",
        ),
        "every": click.option(
            "--every", metavar="TIME", callback=_seconds, help="Write the files anew, every 5m say, until stopped."
        ),
        "help": lambda command: command,
    },
}  # fmt: skip
SECTIONS = {heading: tuple(options) for heading, options in _OPTIONS.items()}
"""Heading → the options below it."""


def with_options(command: F) -> F:
    """Give a command all of the options."""
    for options in reversed(_OPTIONS.values()):
        for option in reversed(options.values()):
            command = option(command)
    return command
