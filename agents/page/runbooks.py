"""The runbooks as a page: every alert links to its heading.

Owns where the file is found and its HTML. Invariant: what stands in the file is text: no HTML of it reaches a browser.
"""

from __future__ import annotations

import re
import sysconfig
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

NAME = "runbooks.md"
PLACES = (
    Path(__file__).resolve().parents[2] / "docs" / NAME,  # a checkout
    Path(sysconfig.get_path("data")) / "share" / "orgpulse" / NAME,  # an installed wheel
)


@dataclass(frozen=True, slots=True)
class Runbooks:
    """The rendered file.

    Attributes:
        html: Safe to be put into a page.
        headings: Anchor and text of the headings of the second level.
    """

    html: str
    headings: list[tuple[str, str]]


def find(places: tuple[Path, ...] = PLACES) -> Path | None:
    """Return where the file is; None = it came with neither checkout nor wheel."""
    return next((path for path in places if path.is_file()), None)


def read(path: Path) -> Runbooks:
    """Return the file as HTML, its first heading left out: the page has its own."""
    return render(path.read_text("utf-8"))


def render(text: str) -> Runbooks:
    """Return Markdown as HTML, with an anchor for each heading.

    >>> render("# Runbooks\\n## OrgAtRisk\\n<b>x</b>").headings
    [('orgatrisk', 'OrgAtRisk')]
    """
    markdown = MarkdownIt("commonmark", {"html": False}).enable("table").disable("image")
    tokens = markdown.parse(text)
    if tokens and tokens[0].type == "heading_open" and tokens[0].tag == "h1":
        tokens = tokens[3:]
    headings: list[tuple[str, str]] = []
    taken: set[str] = set()
    for opened, inline in pairwise(tokens):
        if opened.type == "heading_open":
            anchor = _anchor(inline, taken)
            opened.attrSet("id", anchor)
            if opened.tag == "h2":
                headings.append((anchor, _plain(inline)))
        elif opened.type == "table_open":
            opened.attrSet("class", "plain")
    return Runbooks(_scrollable(markdown.renderer.render(tokens, markdown.options, {})), headings)


def _scrollable(html: str) -> str:
    """Let what is wide scroll by itself, by keyboard too."""
    html = html.replace("<pre>", '<pre tabindex="0">')
    opened = '<div class="scroll" tabindex="0" role="group" aria-label="Table"><table'
    return html.replace("<table", opened).replace("</table>", "</table></div>")


def _anchor(heading: Token, taken: set[str]) -> str:
    """Return a heading in lower case, words joined by hyphens, like no other before it."""
    plain = re.sub(r"[^\w-]+", "-", _plain(heading).lower()).strip("-") or "section"
    anchor, number = plain, 1
    while anchor in taken:
        number += 1
        anchor = f"{plain}-{number}"
    taken.add(anchor)
    return anchor


def _plain(heading: Token) -> str:
    return "".join(child.content for child in heading.children or [])
