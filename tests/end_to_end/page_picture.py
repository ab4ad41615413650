"""Draws docs/page.png: the page of an org that slips, of a made-up base, as a browser shows it.

Run ``python -m tests.end_to_end.page_picture``; without a browser it says so and leaves the picture as it is.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

from deploy.local.redis import LocalRedis
from streams.clock import FixedClock
from tests.agents.page.filled import make, put
from tests.agents.page.served import Served
from tests.reports.browsing import browser

FILE = Path(__file__).resolve().parents[2] / "docs" / "page.png"
NOW = 1_796_040_000.0
SIZE = {"width": 1180, "height": 1240}
MOST_BYTES = 200_000
COLOURS = 256


def main() -> int:
    """Write the file."""
    made = make(int(NOW * 1000) - 40_000)
    try:
        with tempfile.TemporaryDirectory() as folder, LocalRedis(Path(folder)) as server:
            put(server.url, "picture:", made.writes())
            with (
                Served(server.url, "picture:", FixedClock(NOW)) as page,
                browser() as found,
                found.visitor(viewport=SIZE) as visitor,
            ):
                visitor.go(page.url + "/")
                upper = visitor.page.screenshot(clip={"x": 0, "y": 0, "width": SIZE["width"], "height": 620})
                visitor.go(page.url + "/orgs/northwind")
                visitor.page.locator(".chart .uplot").wait_for()
                box = visitor.page.locator("section[aria-labelledby=hours]").bounding_box()
                visitor.page.set_viewport_size({"width": SIZE["width"], "height": 3600})
                head = visitor.page.screenshot(clip={"x": 0, "y": 40, "width": SIZE["width"], "height": 546})
                week = {"x": 0, "y": box["y"] - 6, "width": SIZE["width"], "height": box["height"] + 10}
                lower = visitor.page.screenshot(clip=week)
    except pytest.skip.Exception as reason:
        print(f"docs/page.png stays as it is: {reason}", file=sys.stderr)
        return 0
    FILE.write_bytes(together([upper, head, lower]))
    assert FILE.stat().st_size <= MOST_BYTES, f"{FILE.stat().st_size} bytes"
    return 0


def together(parts: list[bytes]) -> bytes:
    """Return pictures one below the other as a PNG of few colours."""
    import io

    from PIL import Image

    images = [Image.open(io.BytesIO(part)).convert("RGB") for part in parts]
    whole = Image.fromarray(np.concatenate([np.asarray(image) for image in images]))
    file = io.BytesIO()
    whole.quantize(COLOURS, dither=Image.Dither.NONE).save(file, "PNG", optimize=True)
    return file.getvalue()


if __name__ == "__main__":
    sys.exit(main())
