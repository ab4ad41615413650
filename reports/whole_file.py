"""Files that are replaced at once.

Invariant: who reads a file meanwhile sees all of the old or all of the new content, and a writer that fails leaves the
old one and nothing beside it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield where to write what becomes *path* at the end of the block, unless the block fails."""
    new = path.with_name(f".{path.name}.new")
    try:
        yield new
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)


def put(path: Path, content: bytes) -> None:
    """Replace a file by *content*."""
    with replacing(path) as new:
        new.write_bytes(content)
