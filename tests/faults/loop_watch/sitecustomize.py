"""Read by Python itself as it starts: has a process write down each time a thread touches another thread's event loop.

uvloop is written in C: what asyncio's own loop bears (or answers with an error) can bring the process down there,
and seldom does, so a worker that does it passes nearly every test.
"""

from __future__ import annotations

import asyncio
import os
import threading
import traceback
from pathlib import Path
from typing import Any

try:
    import uvloop
except ImportError:  # pragma: no cover  # not on every platform
    pass
else:

    class WatchedLoop(uvloop.Loop):
        """A loop that says when it is called from outside; threads are to use `call_soon_threadsafe`."""

        def _look(self, callback: Any) -> None:
            if not self.is_running() or asyncio._get_running_loop() is self:
                return
            with Path(os.environ["LOOP_WATCH_REPORT"]).open("a") as report:
                stack = "".join(traceback.format_stack(limit=30)[:-2])
                report.write(f"{threading.current_thread().name} touches another's loop for {callback!r}\n{stack}\n")

        def call_soon(self, callback: Any, *args: Any, context: Any = None) -> Any:
            self._look(callback)
            return super().call_soon(callback, *args, context=context)

        def call_later(self, delay: float, callback: Any, *args: Any, context: Any = None) -> Any:
            self._look(callback)
            return super().call_later(delay, callback, *args, context=context)

        def call_at(self, when: float, callback: Any, *args: Any, context: Any = None) -> Any:
            self._look(callback)
            return super().call_at(when, callback, *args, context=context)

    uvloop.EventLoopPolicy._loop_factory = lambda self: WatchedLoop()  # type: ignore[method-assign]
