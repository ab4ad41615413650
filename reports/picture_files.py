"""Pictures as SVG and PNG files.

Invariant: equal figures give equal bytes (no dates, no names made up at random), texts in an SVG are texts, and whoever
can't see the picture is told by its title and description what it shows.
"""

from __future__ import annotations

import io
import logging
import re
from xml.sax.saxutils import escape

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from reports.pictures import drawing
from reports.short_text import plain_name

PNG_DPI = 120
_OPENING = re.compile(r"<svg [^>]*>")
_METADATA = re.compile(r"\s*<metadata>.*?</metadata>", re.DOTALL)
_FONTS = "'DejaVu Sans', Verdana, 'Noto Sans', 'Liberation Sans', Arial, sans-serif"


def svg(figure: Figure, title: str, description: str) -> str:
    """Return the figure as an SVG document that tells its *title* and *description*."""
    file = io.StringIO()
    _quiet()
    with drawing():
        FigureCanvasSVG(figure).print_svg(file, metadata={"Date": None, "Creator": None})  # type: ignore[no-untyped-call]
    text = _METADATA.sub("", file.getvalue(), count=1).replace("'DejaVu Sans'", _FONTS)
    spoken = (
        f'\n <title id="picture-title">{escape(plain_name(title, 300))}</title>'
        f'\n <desc id="picture-description">{escape(plain_name(description, 2000))}</desc>'
    )
    opening = _OPENING.search(text)
    assert opening is not None
    tag = opening[0][:-1] + ' role="img" aria-labelledby="picture-title picture-description">'
    return text[: opening.start()] + tag + spoken + text[opening.end() :]


def png(figure: Figure, title: str = "") -> bytes:
    """Return the figure as a PNG; its *title* stands in the file's own text too."""
    file = io.BytesIO()
    _quiet()
    with drawing():
        figure.set_dpi(PNG_DPI)
        about = {"Software": None, "Title": plain_name(title, 300).encode("latin-1", "replace").decode("latin-1")}
        FigureCanvasAgg(figure).print_png(file, metadata=about, pil_kwargs={"optimize": True})  # type: ignore[no-untyped-call]
    return file.getvalue()


def _quiet() -> None:
    """Do not log that a font lacks a letter: the picture shows it."""
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
