"""Owns `orgpulse settings`: shows the settings in effect.

Invariant: no secret is printed.
"""

from __future__ import annotations

import click

from agents.cli import config_in_use, settings_of
from streams.settings_docs import effective_toml


@click.command("settings")
@click.option("--changed", is_flag=True, help="Only those that differ from the default.")
@click.pass_context
def settings_command(ctx: click.Context, changed: bool) -> None:
    """Show the settings in effect, as TOML; passwords are covered.

    \b
    Examples:
      orgpulse settings
      orgpulse settings --changed
      ORGPULSE_KAFKA_PARTITIONS=8 orgpulse settings --changed
    """
    path = config_in_use(ctx.find_root().params.get("config"))
    click.echo(f"# Settings file: {path or 'none'}")
    click.echo(effective_toml(settings_of(ctx), only_changed=changed), nl=False)
