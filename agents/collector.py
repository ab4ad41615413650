"""Holds Python's collector of cycles back while very many objects are made at once that stay.

It would look at all of them again and again, and find nothing: half of the time that a recovery takes.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collector_paused() -> Iterator[None]:
    """Hold the collector back; nested in another pause it stays so after this one."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
