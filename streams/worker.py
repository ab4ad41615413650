"""Owns the life of the worker process: start, signals, failure, exit code.

Invariant: the process ends with 0 only after a clean stop; a failed worker ends
with 1, says why in one line, and commits nothing after its failure.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from aiokafka.errors import KafkaError

from streams.errors import OperatorError

if TYPE_CHECKING:
    from streams.faust_app import ChunkApp

log = logging.getLogger(__name__)

#: Seconds a stopping worker may take before the process is ended without further ado.
STOP_SECONDS = 60.0
CRASH_STOP_SECONDS = 8.0
#: How often the main task looks for a crash: the consumer's thread can't wake it (seconds).
LOOK_SECONDS = 0.1
#: How long a failed worker waits for its producers to close (seconds).
LET_GO_SECONDS = 2.0


def run_worker(app: ChunkApp, services: Sequence[Any] = ()) -> int:
    """Run *app* until SIGTERM or SIGINT and return the exit code: 0, or 1 after a failure.

    *services* (mode services) start before the app and stop after it. On a signal,
    chunks under way end, `on_revoke` runs and the group is left. On a failure
    nothing is committed any more, and one line on stderr says why. A process that
    can't be stopped in time ends itself with 1.
    """
    try:
        return asyncio.run(_serve(app, services))
    finally:
        logging.shutdown()


async def _serve(app: ChunkApp, services: Sequence[Any]) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    starting = asyncio.create_task(_start(app, services))
    while app.failure is None and not (starting.done() and starting.exception()):
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), LOOK_SECONDS)
            break
    if starting.done() and starting.exception() and app.failure is None:
        app.failure = starting.exception()
    guard = _end_process_after(STOP_SECONDS if app.failure is None else CRASH_STOP_SECONDS)
    if app.failure is not None:
        _say(app.failure)
    reported = app.failure is not None
    for service in (app, *reversed(services)):
        try:
            await service.stop()
        except Exception as error:  # noqa: BLE001  # the rest must be stopped all the same
            log.warning("%r did not stop cleanly: %r", service, error)
            app.failure = app.failure or error
    starting.cancel()
    if app.failure is not None:
        # Whatever is open in them is aborted by the next owner; here they only have to let go of their sockets.
        with contextlib.suppress(KafkaError, OSError, TimeoutError):
            async with asyncio.timeout(LET_GO_SECONDS):
                await app.transactions.disown(app.transactions.owned)
    if app.failure is not None and not reported:
        _say(app.failure)
    guard.cancel()
    return 0 if app.failure is None else 1


async def _start(app: ChunkApp, services: Sequence[Any]) -> None:
    for service in services:
        await service.start()
    await app.start()


def _say(reason: BaseException) -> None:
    print(f"worker stopped: {type(reason).__name__}: {reason}", file=sys.stderr, flush=True)
    if isinstance(reason, OperatorError):
        print(f"  {reason.remedy}", file=sys.stderr, flush=True)


def _end_process_after(seconds: float) -> threading.Timer:
    """End the process with 1 unless cancelled; a hung broker must not keep a failed worker alive."""

    def end() -> None:
        print(f"worker did not stop within {seconds} s", file=sys.stderr, flush=True)
        os._exit(1)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    return timer
