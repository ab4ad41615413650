"""The command `orgpulse report`: its kinds."""

from __future__ import annotations

import click

from agents.cli_report_storage import storage


@click.group()
def report() -> None:
    """Write reports: one readable HTML file, and its tables as CSV and Parquet."""


report.add_command(storage)
