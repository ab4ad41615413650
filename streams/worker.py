"""Owns the life of the worker process: start, signals, failure, what follows it.

Invariant: the process ends with 0 only when it was asked to; a failed worker says why in one line, commits nothing
after its failure, and ends with 1 or starts anew with fresh memory (`streams.restart` decides).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from aiokafka.errors import KafkaError

from streams.errors import OperatorError
from streams.kafka_trouble import refusal_in
from streams.redaction import cover
from streams.restart import STOP_SIGNALS, Life, Restarts, listen_for_stop

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


def run_worker(app: ChunkApp, services: Sequence[Any] = (), restarts: Restarts | None = None) -> int:
    """Run *app* until SIGTERM or SIGINT and return the exit code: 0, or 1 after a failure.

    *services* (mode services) start before the app and stop after it. On a signal,
    chunks under way end, `on_revoke` runs and the group is left. On a failure
    nothing is committed any more, and one line on stderr says why; given *restarts*,
    the process then starts anew instead of returning, unless an operator is needed.
    A failed process that can't be stopped in time goes the same way all the same.
    """
    end = _End(app, restarts)
    try:
        asyncio.run(_serve(app, services, end))
    finally:
        logging.shutdown()
    return end.leave()


class _End:
    """How the process leaves: asked to, failed for good, or for a new life."""

    def __init__(self, app: ChunkApp, restarts: Restarts | None) -> None:
        self._app, self._restarts = app, restarts
        self._guard: threading.Timer | None = None
        self._life: Life | None = None
        self._told = False
        self.asked = asyncio.Event()
        """Whether the process was asked to end."""

    def begin(self) -> None:
        """Note that the worker stops; from now on it has a limited time for it."""
        failed = self._app.failure is not None
        self.tell()
        self._guard = threading.Timer(CRASH_STOP_SECONDS if failed else STOP_SECONDS, self._force)
        self._guard.daemon = True
        self._guard.start()

    def tell(self) -> None:
        """Say once why the worker failed and what follows."""
        error = self._app.failure
        if error is None or self._told:
            return
        self._told = True
        _say(error)
        if self._restarts is not None and not self.asked.is_set():
            self._life = self._restarts.after(error)
        if self._life is not None:
            _write(f"worker starts anew in {self._life.pause_seconds:g} s, for the {self._life.restarts}. time")

    def leave(self) -> int:
        """Return the exit code, or begin a new life and not return.

        Asked to end in the middle of a failure that would have led to a new life, there is nothing left to do.
        """
        if self._guard is not None:
            self._guard.cancel()
        if self._life is not None:
            if self.asked.is_set():
                return 0
            self._again(self._life)
        return 0 if self._app.failure is None else 1

    def _force(self) -> None:
        """Leave a process that can't be stopped; a hung broker must not keep a failed worker alive."""
        _write("worker did not stop in time")
        if self._life is not None and not self.asked.is_set():
            self._again(self._life)
        os._exit(0 if self._life is not None else 1)

    def _again(self, life: Life) -> None:
        assert self._restarts is not None
        sys.stdout.flush()
        sys.stderr.flush()
        self._restarts.begin(life)


async def _serve(app: ChunkApp, services: Sequence[Any], end: _End) -> None:
    loop = asyncio.get_running_loop()
    for number in STOP_SIGNALS:
        loop.add_signal_handler(number, end.asked.set)
    listen_for_stop()
    starting = asyncio.create_task(_start(app, services))
    while app.failure is None and not (starting.done() and starting.exception()):
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(end.asked.wait(), LOOK_SECONDS)
            break
    if starting.done() and starting.exception() and app.failure is None:
        app.failure = starting.exception()
    end.begin()
    if not app.started:
        # Nothing may start behind the back of what is being stopped.
        starting.cancel()
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
    end.tell()


async def _start(app: ChunkApp, services: Sequence[Any]) -> None:
    for service in services:
        await service.start()
    await app.start()


def _say(reason: BaseException) -> None:
    _write(f"worker stopped: {type(reason).__name__}: {reason}")
    if isinstance(reason, OperatorError):
        _write(f"  {reason.remedy}")
    elif (refusal := refusal_in(reason)) is not None:
        _write(f"  {refusal.text}")


def _write(line: str) -> None:
    print(cover(line), file=sys.stderr, flush=True)
