"""Owns syslog over TCP and TLS: connections, and how fast they are read.

Invariant: a line that was read is in the buffer or next in the queue for it, and while it waits nothing more is read
from that connection, so that its sender waits too.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time

import structlog

from agents.listen.figures import Figures
from agents.listen.framing import Framing
from agents.listen.pace import Pace
from streams.bulk_sender import Record
from streams.http import ListenError
from streams.outbox import Outbox
from streams.settings_bridges import ListenSettings

_SWEEP_SECONDS = 1.0
_QUIET_SECONDS = 0.3
"""On the way out a connection is closed once nothing has come for so long."""
_LAST_WORDS_SECONDS = 5.0
"""And all of them after so long."""
_HANDSHAKE_SECONDS = 10.0
_log = structlog.get_logger(__name__)


class SyslogTcp:
    """Takes lines between `start` and `stop`; *name* is `syslog_tcp` or `syslog_tls`."""

    def __init__(
        self, name: str, listen: ListenSettings, port: int, topic: str, outbox: Outbox, figures: Figures, pace: Pace
    ) -> None:
        self.name, self.port = name, port
        self.listen, self.topic, self.outbox, self.figures, self.pace = listen, topic, outbox, figures, pace
        self.open: set[_Connection] = set()
        self.waiting: set[asyncio.Task[None]] = set()
        """What waits for room in the buffer, also of connections that have gone."""
        self.stopping = False
        self._server: asyncio.Server | None = None
        self._sweeper: asyncio.Task[None] | None = None

    @property
    def connections(self) -> int:
        """How many are open."""
        return len(self.open)

    async def start(self, tls: ssl.SSLContext | None = None) -> None:
        """Listen.

        Raises:
            ListenError: If the address can't be listened on.
        """
        loop = asyncio.get_running_loop()
        try:
            self._server = await loop.create_server(
                lambda: _Connection(self), self.listen.syslog_host, self.port, ssl=tls,
                ssl_handshake_timeout=_HANDSHAKE_SECONDS if tls else None,
            )  # fmt: skip
        except OSError as error:
            where = f"{self.listen.syslog_host}:{self.port}"
            remedy = "Set [listen] syslog_host and its ports; below 1024 needs more rights."
            raise ListenError(f"can't listen on {where} ({error.strerror})", remedy) from error
        self.port = self._server.sockets[0].getsockname()[1]
        self._sweeper = asyncio.create_task(self._sweep())
        _log.info("syslog taken", over=self.name, host=self.listen.syslog_host, port=self.port)

    async def stop(self) -> None:
        """Tell senders that this is the end, take what has arrived already, then close."""
        self.stopping = True
        if self._server is None:
            return
        self._server.close()
        if self._sweeper is not None:
            self._sweeper.cancel()
        for each in list(self.open):
            each.say_goodbye()
        deadline = time.monotonic() + min(_LAST_WORDS_SECONDS, self.listen.stop_seconds / 2)
        while self.open and time.monotonic() < deadline:
            for each in list(self.open):
                each.close_if_quiet(_QUIET_SECONDS)
            await asyncio.sleep(_QUIET_SECONDS / 3)
        for each in list(self.open):
            each.close()
        if self.waiting:
            await asyncio.wait(list(self.waiting), timeout=self.listen.stop_seconds)

    async def _sweep(self) -> None:
        """Close connections on which nothing comes."""
        while True:
            await asyncio.sleep(_SWEEP_SECONDS)
            for each in list(self.open):
                if each.close_if_quiet(self.listen.syslog_idle_seconds):
                    self.figures.refused.add(1, self.name, "idle")


class _Connection(asyncio.Protocol):
    """One sender's connection."""

    def __init__(self, owner: SyslogTcp) -> None:
        self._owner, self._framing = owner, Framing(owner.listen.max_line_bytes)
        self._transport: asyncio.Transport | None = None
        self._key, self._last, self._too_long = "unknown", time.monotonic(), 0
        self._held: list[Record] = []
        self.waits: asyncio.Task[None] | None = None
        """Waits for room, or for the sender's pace, while nothing is read."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport) or hasattr(transport, "pause_reading")
        self._transport = transport  # type: ignore[assignment]  # uvloop's are not of asyncio's class
        peer = transport.get_extra_info("peername")
        self._key = str(peer[0]) if peer else "unknown"
        if len(self._owner.open) >= self._owner.listen.max_connections or self._owner.stopping:
            self._owner.figures.refused.add(1, self._owner.name, "too_many_connections")
            self._transport.abort()  # type: ignore[union-attr]
            return
        self._owner.open.add(self)

    def data_received(self, data: bytes) -> None:
        self._last = time.monotonic()
        self._take(self._framing.feed(data))
        if self._framing.too_long > self._too_long:
            self._owner.figures.refused.add(self._framing.too_long - self._too_long, self._owner.name, "too_long")
            self._too_long = self._framing.too_long

    def eof_received(self) -> None:
        """The sender has ended in good order: a last line without its end is a line."""
        last = self._framing.finish()
        if last:
            self._take([last])

    def connection_lost(self, error: Exception | None) -> None:
        self._owner.open.discard(self)
        if self._framing.finish():  # half a line: the connection was cut, or closed by us
            self._owner.figures.refused.add(1, self._owner.name, "cut_off")

    def _take(self, lines: list[bytes]) -> None:
        """Bring lines to the buffer; when there is no room, or they come too fast, read no further until there is."""
        if not lines:
            return
        owner, key = self._owner, self._key.encode()
        records = [(owner.topic, key, line) for line in lines]
        wait = owner.pace.wait_seconds(self._key, len(lines), self._last)
        if self.waits is None and not wait and owner.outbox.toss(records):
            owner.figures.accepted.add(len(lines), owner.name, "syslog")
            return
        self._held.extend(records)
        if self.waits is None:
            with contextlib.suppress(RuntimeError):  # it is closing
                self._transport.pause_reading()  # type: ignore[union-attr]
            self.waits = asyncio.get_running_loop().create_task(self._wait(wait))
            owner.waiting.add(self.waits)
            self.waits.add_done_callback(owner.waiting.discard)

    async def _wait(self, seconds: float) -> None:
        owner = self._owner
        while self._held:
            records, self._held = self._held, []
            await owner.outbox.put(records)
            owner.figures.accepted.add(len(records), owner.name, "syslog")
        if seconds and not owner.stopping:
            await asyncio.sleep(seconds)
        self.waits, self._last = None, time.monotonic()
        if self._held:  # came while it slept
            records, self._held = self._held, []
            self._take([value for _, _, value in records if value])
        elif self._transport is not None and not self._transport.is_closing():
            with contextlib.suppress(RuntimeError):
                self._transport.resume_reading()

    def say_goodbye(self) -> None:
        """Close our side, so that the sender stops; what it has sent is still read."""
        with contextlib.suppress(OSError, RuntimeError, NotImplementedError):
            if self._transport is not None and self._transport.can_write_eof():
                self._transport.write_eof()

    def close_if_quiet(self, seconds: float) -> bool:
        """Close when nothing has come for *seconds* and nothing waits; say whether."""
        if self.waits is not None or time.monotonic() - self._last < seconds:
            return False
        self.close()
        return True

    def close(self) -> None:
        """Close."""
        if self._transport is not None:
            self._transport.close()
