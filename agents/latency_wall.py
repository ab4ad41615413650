"""Files that are made anew on a schedule, and the page for a wall that shows them.

Owns the page: no scripts, no clicks; it asks for itself again, and turns over when there are more maps than fit.
Invariant: trouble (Redis is away, the disk is full) is told and lived through, on the page too; files stay as they
were, and are made anew as soon as that is possible.
"""

from __future__ import annotations

import hashlib
import html
import re
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from agents.cli_errors import EXIT_USAGE, ToldError, told
from reports.short_text import plain_name
from reports.whole_file import put

PER_PAGE = 4
"""Maps on one page: more would be too small to read across a room."""
_TURN_SECONDS = 20
_LEAST_REFRESH_SECONDS = 10
_UNSAFE = re.compile(r"[^A-Za-z0-9]+")

_ALLOWED = "default-src 'none'; img-src 'self' file:; style-src 'unsafe-inline'"  # nothing from elsewhere, no scripts
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="refresh" content="{refresh}">
<meta http-equiv="Content-Security-Policy" content="{allowed}">
<title>Reply latency</title>
<style>
* {{ margin: 0; box-sizing: border-box; }}
html, body {{ height: 100%; }}
body {{ display: flex; flex-direction: column; background: #fff; color: #1a1a1a; font: 1.6vmin sans-serif; }}
main {{ flex: 1; min-height: 0; display: grid; gap: 1vmin; padding: 1vmin;
  grid-template-columns: repeat({columns}, minmax(0, 1fr)); grid-template-rows: repeat({rows}, minmax(0, 1fr)); }}
img {{ width: 100%; height: 100%; object-fit: contain; }}
footer {{ padding: 0 1.5vmin 1vmin; text-align: right; color: #555; }}
.trouble {{ padding: 1vmin 1.5vmin; background: #1a1a1a; color: #ffea46; font-size: 2.4vmin; }}
</style>
</head>
<body>
{trouble}<main>
{pictures}
</main>
<footer>drawn {drawn}{page}</footer>
</body>
</html>
"""


@dataclass(frozen=True)
class Picture:
    """A map on the wall: its file's name, and what it shows in words."""

    file: str
    title: str
    digest: str

    @classmethod
    def of(cls, org: str, title: str, svg: str) -> Picture:
        """Return the picture of an org; its file's name says nothing that a path could mean otherwise."""
        return cls(file_name(org), title, hashlib.sha256(svg.encode()).hexdigest()[:12])


def file_name(org: str) -> str:
    """Return the name of an org's file.

    >>> file_name("../Acme & Söhne")
    'Acme-S-hne-d7c5e6f1.svg'
    """
    readable = _UNSAFE.sub("-", org).strip("-")[:40]
    return f"{readable or 'org'}-{hashlib.sha256(org.encode('utf-8', 'replace')).hexdigest()[:8]}.svg"


def pages(pictures: Sequence[Picture], every_seconds: float, drawn_seconds: float | None, trouble: str) -> list[str]:
    """Return the pages; each leads to the next one by itself, the last one to the first."""
    groups = [pictures[start : start + PER_PAGE] for start in range(0, len(pictures), PER_PAGE)] or [()]
    single = max(min(every_seconds / 2, 60), _LEAST_REFRESH_SECONDS)
    moment = "not yet" if drawn_seconds is None else f"{datetime.fromtimestamp(drawn_seconds, UTC):%Y-%m-%d %H:%M} UTC"
    found = []
    for number, group in enumerate(groups):
        following = page_name((number + 1) % len(groups))
        refresh = f"{single:.0f}" if len(groups) == 1 else f"{_TURN_SECONDS}; url={following}"
        images = (
            f'<img src="{html.escape(each.file)}?{each.digest}" alt="{html.escape(plain_name(each.title, 300))}">'
            for each in group
        )
        across = 1 if len(group) < 3 else 2
        found.append(
            _PAGE.format(
                refresh=refresh,
                allowed=_ALLOWED,
                columns=across,
                rows=max(-(-len(group) // across), 1),
                trouble=f'<p class="trouble">{html.escape(plain_name(trouble, 300))}</p>\n' if trouble else "",
                pictures="\n".join(images),
                drawn=moment,
                page="" if len(groups) == 1 else f" · {number + 1} of {len(groups)}",
            )
        )
    return found


def page_name(number: int) -> str:
    """Return the file of a page; the first one is what a browser opens."""
    return "index.html" if number == 0 else f"page-{number + 1}.html"


def write_pages(folder: Path, texts: Sequence[str]) -> None:
    """Write the pages, the first one last: it leads to the others."""
    for number in reversed(range(len(texts))):
        put(folder / page_name(number), texts[number].encode())


def repeat(
    make: Callable[[], None],
    every_seconds: float,
    stop: threading.Event,
    say: Callable[[str], None],
    on_trouble: Callable[[str], None],
) -> None:
    """Call *make* now and every *every_seconds* until *stop*; what a user can mend is told once, and gone on after."""
    trouble = ""
    while not stop.is_set():
        try:
            make()
            if trouble:
                say("it works again")
            trouble = ""
        except Exception as error:
            plain = error if isinstance(error, ToldError) else told(error)
            if plain is None or plain.exit_code == EXIT_USAGE:
                raise
            if plain.message != trouble:
                say(f"{plain.message}; trying again every {every_seconds:.0f} s")
            trouble = plain.message
            on_trouble(trouble)
        stop.wait(every_seconds)
