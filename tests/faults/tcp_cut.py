"""A wire that can be cut: passes connections on to a server, or refuses them and breaks those there are.

Invariant: while it is cut nothing listens at its address; the server behind it never notices more than lost clients.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Coroutine
from types import TracebackType
from typing import Any

from deploy.local.ports import HOST

_BLOCK_BYTES = 65_536


class Wire:
    """Listens on *port* and passes on to *behind*, both on loopback; runs in a thread of its own."""

    def __init__(self, port: int, behind: int) -> None:
        """Describe it; it is cut until `mend`."""
        self.port, self._behind = port, behind
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="wire", daemon=True)
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        #: How often it was cut.
        self.cuts = 0

    def __enter__(self) -> Wire:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._run(self._cut())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=5)

    def mend(self) -> None:
        """Pass connections on."""
        self._run(self._mend())

    def cut(self) -> None:
        """Break all connections and refuse new ones."""
        self._run(self._cut())
        self.cuts += 1

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=10)

    async def _mend(self) -> None:
        self._server = await asyncio.start_server(self._pass_on, HOST, self.port)

    async def _cut(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in list(self._writers):
            writer.transport.abort()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            there_reader, there_writer = await asyncio.open_connection(HOST, self._behind)
            ends = {writer, there_writer}
            self._writers |= ends
            try:
                await asyncio.gather(_copy(reader, there_writer), _copy(there_reader, writer))
            finally:
                self._writers -= ends
                for end in ends:
                    end.transport.abort()
            return
        writer.transport.abort()


async def _copy(source: asyncio.StreamReader, to: asyncio.StreamWriter) -> None:
    while data := await source.read(_BLOCK_BYTES):
        to.write(data)
        await to.drain()
    raise ConnectionResetError
