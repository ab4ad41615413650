"""A real browser that opens a page and says what it shows."""

from __future__ import annotations

import html
import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
_READ = """
const parts = [];
for (const part of document.querySelectorAll('svg text, svg g[id^="hatched"], svg g[id^="cell"], svg g[id^="mark"]')) {
  const box = part.getBoundingClientRect();
  const group = part.closest('g[id^="text"], g[id^="count"], g[id="title"], g[id^="subtitle"]');
  const shapes = part.querySelectorAll('path'), shape = shapes[shapes.length - 1];
  parts.push({id: part.tagName === 'g' ? part.id : (group ? group.id : ''), tag: part.tagName,
    text: part.tagName === 'text' ? part.textContent : '', fill: shape ? getComputedStyle(shape).fill : '',
    left: box.left, right: box.right, top: box.top, bottom: box.bottom});
}
const root = document.querySelector('svg');
const label = root.getAttribute('aria-labelledby').split(' ').map(id => document.getElementById(id).textContent);
document.getElementById('seen').textContent = JSON.stringify({parts: parts, role: root.getAttribute('role'),
  label: label, width: root.getBoundingClientRect().width, height: root.getBoundingClientRect().height,
  alien: document.querySelectorAll('svg script, svg image[href^="http"], svg b').length, broken: window.broken || 0});
"""


@dataclass(frozen=True)
class Part:
    """Something in the picture: what it is called, its text, its colour, and its place in pixels."""

    id: str
    tag: str
    text: str
    fill: str
    left: float
    right: float
    top: float
    bottom: float

    @property
    def centre(self) -> tuple[float, float]:
        return (self.left + self.right) / 2, (self.top + self.bottom) / 2


@dataclass(frozen=True)
class Seen:
    """What the browser says of an SVG in a page."""

    parts: list[Part]
    role: str
    label: list[str]
    width: float
    height: float
    alien: int
    broken: int

    def texts(self, kind: str) -> list[Part]:
        """Return the texts of the parts whose name begins with *kind*."""
        return [part for part in self.parts if part.tag == "text" and part.id.startswith(kind)]

    def shapes(self, kind: str) -> list[Part]:
        """Return the shapes whose name begins with *kind*."""
        return [part for part in self.parts if part.tag == "g" and part.id.startswith(kind)]


def chromium() -> str:
    """Return the browser's path; without one the test is skipped."""
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"no browser to open pictures in: none of {', '.join(NAMES)} is installed")
    return found


def look_at(svg: str, folder: Path) -> Seen:
    """Open a page that holds *svg*, and return what is in it and where."""
    page = folder / "page.html"
    inline = svg[svg.index("<svg") :]
    page.write_text(
        f'<!doctype html><meta charset="utf-8"><body style="margin:0">{inline}<pre id="seen"></pre>'
        f"<script>{_READ}</script></body>",
        "utf-8",
    )
    found = re.search(r'<pre id="seen">(.*?)</pre>', _run(folder, "--dump-dom", page.as_uri()), re.DOTALL)
    assert found is not None
    seen = json.loads(html.unescape(found[1]))
    seen["parts"] = [Part(**part) for part in seen["parts"]]
    return Seen(**seen)


def photograph(page: Path, folder: Path, width: int = 1920, height: int = 1080) -> Path:
    """Return a PNG of what the browser shows of *page*."""
    target = folder / "screen.png"
    _run(folder, f"--screenshot={target}", f"--window-size={width},{height}", page.as_uri())
    return target


def _run(folder: Path, *arguments: str) -> str:
    own = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--user-data-dir={folder / 'profile'}"]
    done = subprocess.run(
        [chromium(), *own, *arguments], capture_output=True, timeout=120, env={**os.environ, "HOME": str(folder)}
    )
    assert done.returncode == 0, done.stderr.decode(errors="replace")[-2000:]
    return done.stdout.decode()
