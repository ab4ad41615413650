"""A Chromium that is driven page by page: one for a session of tests, a fresh profile for each visitor.

Invariant: what a page logs as an error, a refused policy or a failed script is an error of the test.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.reports.browser import chromium

ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
SCREENSHOTS = Path(__file__).parents[2] / ".run" / "screenshots"
_FAULTS = ("moderate", "serious", "critical")


@dataclass
class Visitor:
    """Somebody with a browser window."""

    page: Any
    complaints: list[str] = field(default_factory=list)
    expected: str = ""
    """What is no complaint: a text that a message holds. Messages may come long after what they are of."""

    def go(self, url: str) -> int:
        """Open a page; return its status."""
        answer = self.page.goto(url, wait_until="load")
        return int(answer.status)

    def texts(self, selector: str) -> list[str]:
        """Return the visible texts of all that fits, blanks joined."""
        found = self.page.locator(selector).all_inner_texts()
        return [" ".join(text.split()) for text in found]

    def violations(self, rules: Sequence[str] = (), within: str = "html") -> list[str]:
        """Return what axe-core finds, but for what is minor, as text; *rules* = only these, else all.

        Only what lies *within* is looked at.
        """
        from axe_playwright_python.sync_playwright import Axe

        options = {"runOnly": {"type": "rule", "values": list(rules)}} if rules else {}
        found = Axe().run(self.page, context=within, options=options).response["violations"]
        return [
            f"{each['id']} ({each['impact']}): {each['help']}: "
            + json.dumps([node["html"][:160] + " " + node["failureSummary"] for node in each["nodes"][:3]])
            for each in found
            if each["impact"] in _FAULTS
        ]

    def overflow(self) -> int:
        """Return by how many pixels the page is wider than the window."""
        return int(self.page.evaluate("document.documentElement.scrollWidth - window.innerWidth"))

    def photograph(self, name: str) -> None:
        """Keep a picture of the whole page."""
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=str(SCREENSHOTS / f"{name}.png"), full_page=True)


class Browser:
    """One running Chromium."""

    def __init__(self, browser: Any) -> None:
        self._browser = browser

    @contextmanager
    def visitor(self, **options: Any) -> Iterator[Visitor]:
        """Give a visitor; what their pages complain of fails the test."""
        context = self._browser.new_context(**options)
        context.set_default_timeout(60_000)
        page = context.new_page()
        visitor = Visitor(page)
        page.on("pageerror", lambda error: visitor.complaints.append(str(error)))
        page.on("console", lambda said: said.type == "error" and visitor.complaints.append(said.text))
        try:
            yield visitor
        finally:
            context.close()
        left = [said for said in visitor.complaints if not visitor.expected or visitor.expected not in said]
        assert left == [], left  # said here: pytest does not look into this file


@contextmanager
def browser() -> Iterator[Browser]:
    """Start a Chromium; without one, or without Playwright, the test is skipped."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    program = chromium()
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program, args=ARGUMENTS)
        try:
            yield Browser(started)
        finally:
            started.close()
