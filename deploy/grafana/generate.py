"""Writes the dashboards that Grafana is provisioned with: `python -m deploy.grafana.generate` (`make docs`).

Invariant: what is committed below `dashboards/` is what this writes; a test holds one against the other.
"""

from __future__ import annotations

from pathlib import Path

from deploy.grafana import accounts, hours, pipeline
from deploy.grafana.board import render

FOLDER = Path(__file__).with_name("dashboards")


def dashboards() -> dict[str, str]:
    """Return every dashboard by the name of its file.

    >>> sorted(dashboards())
    ['accounts.json', 'hours.json', 'pipeline.json']
    """
    return {f"{board.name}.json": render(board) for board in (accounts.BOARD, hours.BOARD, pipeline.BOARD)}


def main() -> None:
    """Write them all."""
    FOLDER.mkdir(exist_ok=True)
    for name, text in dashboards().items():
        (FOLDER / name).write_text(text, "utf-8")


if __name__ == "__main__":
    main()
