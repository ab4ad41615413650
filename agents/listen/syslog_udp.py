"""Owns syslog over UDP: one datagram is one line.

Invariant: a datagram is in the buffer, or counted with the reason why not; those that the kernel dropped are counted
too, where it tells.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import time
from pathlib import Path

import structlog

from agents.listen.figures import Figures
from agents.listen.pace import Pace
from streams.http import ListenError
from streams.outbox import Outbox
from streams.settings_bridges import ListenSettings

NAME = "syslog_udp"
_AT_ONCE = 512
"""Most datagrams read before others have their turn."""
_LARGEST_DATAGRAM = 65_535
_TABLES = (Path("/proc/net/udp"), Path("/proc/net/udp6"))
_log = structlog.get_logger(__name__)


class SyslogUdp:
    """Takes datagrams between `start` and `stop`."""

    def __init__(self, listen: ListenSettings, topic: str, outbox: Outbox, figures: Figures, pace: Pace) -> None:
        self._listen, self._topic, self._outbox, self._figures, self._pace = listen, topic, outbox, figures, pace
        self._socket: socket.socket | None = None
        self.port = listen.syslog_udp_port
        self.buffer_bytes = 0
        """Receive buffer that the kernel gave."""

    def start(self) -> None:
        """Listen.

        Raises:
            ListenError: If the address can't be listened on.
        """
        host = self._listen.syslog_host
        try:
            family, _, _, _, address = socket.getaddrinfo(host, self.port, type=socket.SOCK_DGRAM)[0]
            opened = socket.socket(family, socket.SOCK_DGRAM)
            opened.setblocking(False)
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._listen.udp_buffer_bytes)
            opened.bind(address)
        except OSError as error:
            remedy = "Set [listen] syslog_host and its ports; below 1024 needs more rights."
            raise ListenError(f"can't listen on {host}:{self.port}/udp ({error.strerror})", remedy) from error
        self._socket, self.port = opened, opened.getsockname()[1]
        # Linux doubles what is asked for, for its own needs, and tells the double.
        self.buffer_bytes = opened.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) // 2
        asyncio.get_running_loop().add_reader(opened.fileno(), self._read)
        _log.info("syslog taken", over=NAME, host=host, port=self.port, kernel_buffer_bytes=self.buffer_bytes)
        if self.buffer_bytes < self._listen.udp_buffer_bytes:
            _log.warning("the kernel gives a smaller receive buffer; raise net.core.rmem_max", got=self.buffer_bytes,
                         wanted=self._listen.udp_buffer_bytes)  # fmt: skip

    def stop(self) -> None:
        """Take what the kernel holds, then close."""
        opened, self._socket = self._socket, None
        if opened is None:
            return
        asyncio.get_running_loop().remove_reader(opened.fileno())
        while self._take(opened):
            pass
        opened.close()

    def _read(self) -> None:
        if self._socket is not None:
            self._take(self._socket)

    def _take(self, opened: socket.socket) -> bool:
        """Read what is there, up to `_AT_ONCE`; say whether there may be more."""
        found: list[tuple[str, bytes | None, bytes | None]] = []
        now, read = time.monotonic(), 0
        receive = opened.recvfrom
        for _ in range(_AT_ONCE):
            try:
                data, address = receive(_LARGEST_DATAGRAM)
            except (BlockingIOError, InterruptedError):
                break
            except OSError:  # an error of an earlier datagram, told late
                continue
            read += 1
            line = data.rstrip(b"\r\n\0")
            if not line or line.isspace():
                self._figures.refused.add(1, NAME, "blank")
            elif len(line) > self._listen.max_line_bytes:
                self._figures.refused.add(1, NAME, "too_long")
            elif not self._pace.allows(address[0], now):
                self._figures.refused.add(1, NAME, "too_fast")
            else:
                found.append((self._topic, address[0].encode(), line))
        if found:
            if self._outbox.toss(found):
                self._figures.accepted.add(len(found), NAME, "syslog")
            else:
                self._figures.refused.add(len(found), NAME, "buffer_full")
        return read == _AT_ONCE

    def kernel_drops(self) -> int | None:
        """Return how many datagrams the kernel dropped for want of room; None where it does not tell."""
        if self._socket is None:
            return None
        inode = str(os.fstat(self._socket.fileno()).st_ino)
        for table in _TABLES:
            with contextlib.suppress(OSError, ValueError):
                for line in table.read_text().splitlines()[1:]:
                    words = line.split()
                    if len(words) > 12 and words[9] == inode:
                        return int(words[12])
        return None
