"""Sees whether command lines that stand in other files are ones that `orgpulse` takes.

Invariant: nothing is run; click's own parser decides.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

from click import Command, Context, Group, UsageError

from agents import cli


def refusal(arguments: Sequence[str]) -> str:
    """Return what `orgpulse` says against a command line; nothing if it takes it.

    >>> refusal(["topics", "create", "--wait", "5"]), refusal(["topics", "creat"])
    ('', 'there is no command topics creat')
    """
    command: Command = cli.orgpulse
    context, rest, path = Context(command, info_name="orgpulse"), list(arguments), []
    while isinstance(command, Group):
        if not rest:
            return ""
        path.append(rest.pop(0))
        found = command.get_command(context, path[-1])
        if found is None:
            return f"there is no command {' '.join(path)}"
        command = found
    try:
        command.make_context(path[-1], rest)
    except UsageError as error:
        return f"{' '.join(arguments)}: {error.format_message()}"
    return ""


def commands_in(markdown: str) -> list[list[str]]:
    """Return the arguments of every `orgpulse …` that a Markdown file shows, in a line of code or in its text.

    >>> commands_in("Say `orgpulse ledger --watch`, or:\\n```sh\\nsudo orgpulse doctor   # all well?\\n```")
    [['ledger', '--watch'], ['doctor']]
    """
    blocks = re.findall(r"(?ms)^```sh\n(.*?)^```", markdown)
    rest = re.sub(r"(?ms)^```.*?^```", "", markdown)
    lines = [*re.findall(r"`([^`\n]*)`", rest), *(line for block in blocks for line in block.splitlines())]
    # For kubectl orgpulse is a namespace too; what it runs in a pod comes after two dashes.
    own = [line.split(" -- ")[-1] if line.startswith("kubectl") else line for line in lines]
    found = [re.search(r"(?:^|[ /])orgpulse ([a-z].*)", line) for line in own if not line.startswith("kubectl")]
    return [shlex.split(re.split(r" #| \| |  | && ", match[1])[0]) for match in found if match]
