"""Draws docs/reports.png: a part of a report over the made-up base, as a browser shows it.

Run ``python -m tests.reports.report_picture``; without a browser it says so and leaves the picture as it is.
"""

from __future__ import annotations

import io
import sys
import tempfile
from pathlib import Path

import pytest
from PIL import Image

from reports.history import HistoryReader
from reports.report_document import Report, html_of
from reports.report_sections import coverage_of, sections_of
from tests.reports.browsing import browser
from tests.reports.history_base import make, week_rows

FILE = Path(__file__).resolve().parents[2] / "docs" / "reports.png"
_SHOWN = ("active-bands", "users-by-band")
_COLOURS = 64


def main() -> int:
    """Write the file."""
    reader = HistoryReader()
    for key, value in week_rows(make()):
        reader.add(key, value)
    history = reader.history()
    sections = tuple(section for *_, section in sections_of(history, "bands"))
    pictures = []
    try:
        with tempfile.TemporaryDirectory() as folder, browser() as found:
            page = Path(folder) / "bands.html"
            page.write_text(html_of(Report("Report: bands", "", coverage_of(history), sections)), "utf-8")
            with found.visitor(viewport={"width": 1000, "height": 900}) as visitor:
                visitor.page.goto(page.as_uri(), wait_until="load")
                for name in _SHOWN:
                    article = visitor.page.locator(f"article[aria-labelledby='{name}']")
                    pictures.append(Image.open(io.BytesIO(article.screenshot())).convert("RGB"))
    except pytest.skip.Exception as reason:
        print(f"docs/reports.png stays as it is: {reason}", file=sys.stderr)
        return 0
    whole = Image.new("RGB", (max(p.width for p in pictures), sum(p.height + 12 for p in pictures)), "#fbfbfa")
    top = 0
    for picture in pictures:
        whole.paste(picture, (0, top))
        top += picture.height + 12
    whole.quantize(_COLOURS).save(FILE, optimize=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
