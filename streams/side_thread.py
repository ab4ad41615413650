"""Owns blocking calls that may hang: each in a thread of its own that nobody waits for at the end.

Invariant: such a call never keeps the process from ending (`asyncio.to_thread` does: the loop's end waits for it).
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import TypeVar

Found = TypeVar("Found")


async def run_aside(call: Callable[[], Found]) -> Found:
    """Run *call* in a thread and return what it returns or raise what it raises; cancelled, it is left to itself."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Found] = loop.create_future()

    def settle(found: Found | None, error: BaseException | None) -> None:
        if done.done():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(found)  # type: ignore[arg-type]  # None only where the call returns it

    def work() -> None:
        found, error = None, None
        try:
            found = call()
        except BaseException as raised:  # noqa: BLE001  # raised again where it is awaited
            error = raised
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(settle, found, error)

    threading.Thread(target=work, name="aside", daemon=True).start()
    return await done
