"""Owns groups of commands that load a command when it runs.

Invariant: no command's module is imported before that command runs, so `--help` is quick.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any, ClassVar

import click

from agents.cli_errors import ToldError
from streams.settings_file import nearest_name


class LazyGroup(click.Group):
    """A group whose commands are loaded when they run; a subclass says which there are."""

    known: ClassVar[Mapping[str, tuple[str, str]]]
    """Command → (`module:attribute`, what it does in one line), in the order in which a newcomer needs them."""
    noun: ClassVar[str] = "command"
    """What an unknown one is not."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands in the order in which they are declared."""
        return list(self.known)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command's module and return the command."""
        if cmd_name not in self.known:
            return None
        place = self.known[cmd_name][0]
        module_name, _, attribute = place.partition(":")
        try:
            command: Any = getattr(importlib.import_module(module_name), attribute)
        except ModuleNotFoundError as error:
            remedy = "Install orgpulse anew from its lock: pip install --require-hashes -r requirements.lock"
            raise ToldError(f"{cmd_name} can't run: {error.name} is not installed", remedy) from error
        if not isinstance(command, click.Command):
            raise TypeError(f"{place} is not a command")
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; for an unknown one name the nearest that exists."""
        if args[0] not in self.known and (near := nearest_name(args[0], self.known)):
            ctx.fail(f'no such {self.noun} "{args[0]}". Did you mean "{near}"?')
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in self.known.items()])
