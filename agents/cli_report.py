"""The command `orgpulse report`: the list of its kinds.

Invariant: a kind is one line here, and no kind's module is imported before that kind runs.
"""

from __future__ import annotations

import click

from agents.cli_group import LazyGroup

KINDS: dict[str, tuple[str, str]] = {
    "activity": ("agents.cli_report_kinds:activity", "Totals, and activity of orgs against their transactions."),
    "lifetime": ("agents.cli_report_kinds:lifetime", "For how many weeks users are there, by how much they do."),
    "bands": ("agents.cli_report_kinds:bands", "Transactions by active users, and users by weekly mean."),
    "correlations": ("agents.cli_report_kinds:correlations", "Every correlation, and whether a score is ahead."),
    "quartiles": ("agents.cli_report_kinds:quartiles", "Orgs by volume, and what those at the top are like."),
    "chat": ("agents.cli_report_kinds:chat", "Who is online in the chat and how much is written."),
    "latency": ("agents.cli_report_kinds:latency", "How long replies take by hour of the week."),
    "all": ("agents.cli_report_kinds:everything", "All of these in one document."),
    "storage": ("agents.cli_report_storage:storage", "One row per user of a storage network, from its exports."),
}
"""Kind → (where its command lives, what it shows in one line)."""

_EPILOG = """\b
Examples:
  orgpulse report all --out report
  orgpulse report bands --from 2026-W01 --to 2026-W26 --out first-half
  orgpulse report latency --org acme --from 2026-01-01 --out acme
"""


class _Kinds(LazyGroup):
    """The kinds."""

    known, noun = KINDS, "report"


@click.group(cls=_Kinds, epilog=_EPILOG)
def report() -> None:
    """Write a report: one HTML file with pictures, every table as CSV and Parquet beside it, a summary here.

    Reports of history read the topic `weeks`: closed weeks only, the last word on each. Those of chat and latency read
    Redis. docs/reports.md says what each table means.
    """
