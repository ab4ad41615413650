"""The command `orgpulse chat`: an org's chat activity in the terminal, as JSON, or as a picture.

Invariant: it only reads. An org without chat activity ends with exit code 1 and the nearest names, not with zeros.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec
from rich.console import Console

from agents.cli_errors import ToldError, unknown
from agents.cli_show import reading
from agents.render_chat import chat_day, chat_figures, moment, people_table, window_table
from reports.rate import WINDOW_SECONDS
from streams.published_chat import ChatActivity
from streams.settings import Settings

if TYPE_CHECKING:
    from reports.chat_picture import ChatReport

_File = click.Path(dir_okay=False, path_type=Path)


@click.command()
@click.argument("org")
@click.option("--json", "as_json", is_flag=True, help="Print JSON; what is missing is null.")
@click.option("--top", type=click.IntRange(min=1), default=15, show_default=True, help="Show only so many people.")
@click.option("--svg", type=_File, help="Draw a report into this file.")
@click.option("--png", type=_File, help="Draw a report into this file.")
@click.pass_obj
def chat(settings: Settings, org: str, as_json: bool, top: int, svg: Path | None, png: Path | None) -> None:
    """Show who is online and how much is written in the chat of ORG, in the time zone of its server.

    The figures are those of the last days (`[chat] window_days`), by windows of ten minutes.
    """
    with reading(settings) as reader:
        found = reader.chat(org)
        if found is None:
            raise unknown(org, reader.org_ids(), f'no chat activity of "{org}" in the last days')
    for file, kind in ((svg, "svg"), (png, "png")):
        if file is not None:
            draw(found, file, kind)
            click.echo(f"wrote {file}", err=True)
    if as_json:
        click.echo(msgspec.json.encode(msgspec.to_builtins(found)).decode())
    elif svg is None and png is None:
        show(found, top)


def show(found: ChatActivity, top: int) -> None:
    """Print the activity."""
    console = Console(highlight=False)
    console.print(f"Chat of {found.org}", style="bold", markup=False)
    console.print(chat_figures(found))
    console.print()
    console.print(chat_day(found))
    console.print()
    console.print(window_table(found))
    if found.people:
        console.print()
        console.print(people_table(found.people, found.people_left_out or 0, top))


def draw(found: ChatActivity, file: Path, kind: str) -> None:
    """Draw the report.

    Raises:
        ToldError: If the file can't be written.
    """
    from reports.chat_picture import drawn  # Matplotlib takes longer to load than all else together

    try:
        file.write_bytes(drawn(report_of(found), kind))
    except OSError as error:
        raise ToldError(
            f"{file} can't be written: {error.strerror}", "Name a file in a folder that is there."
        ) from error


def report_of(found: ChatActivity) -> ChatReport:
    """Return what the picture needs of an org's chat activity."""
    from reports.chat_picture import ChatReport

    return ChatReport(
        title=f"Chat of {found.org}",
        timezone=found.timezone,
        updated=moment(found.updated) + (" (stale)" if found.stale else ""),
        until=0 if found.updated is None else int(found.updated.timestamp()),
        windows=[(int(w.start.timestamp()) // WINDOW_SECONDS, w.messages, w.online) for w in found.windows],
        people=[(person.name, person.messages) for person in found.people],
        people_left_out=found.people_left_out or 0,
    )
