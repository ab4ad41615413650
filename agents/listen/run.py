"""Owns the life of `orgpulse listen`: what starts and stops in which order.

Invariant: on SIGTERM nothing new is taken, requests under way are answered, and the process ends well only if Kafka has
everything that was accepted.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import ssl
import time
from collections.abc import Sequence

import structlog

from agents.listen.auth import Tokens
from agents.listen.figures import Figures
from agents.listen.http_server import HttpIntake
from agents.listen.pace import Pace
from agents.listen.syslog_tcp import SyslogTcp
from agents.listen.syslog_udp import SyslogUdp
from streams.clock import WallClock
from streams.http import Check, HttpServer, ListenError
from streams.outbox import Outbox
from streams.settings import Settings
from streams.topic_specs import topic_names

_log = structlog.get_logger(__name__)


class Listener:
    """One process that takes data in."""

    def __init__(self, settings: Settings, tokens: Tokens, *, http: bool, syslog: bool) -> None:
        """Prepare; *http* and *syslog* say what is taken."""
        self.settings, listen, names = settings, settings.listen, topic_names(settings)
        topics = {"events": names.product_events, "transactions": names.transactions, "chat": names.chat_messages}
        used = [*(topics.values() if http else ()), *([names.syslog_activities] if syslog else ())]
        self.outbox = Outbox(settings.kafka, used, max_bytes=listen.max_buffer_bytes, client_id="orgpulse-listen")
        self.figures, pace = Figures(self._look, settings.worker.tenant), Pace(listen.max_lines_per_second)
        self.http = HttpIntake(settings, topics, tokens, self.outbox, self.figures, WallClock()) if http else None
        self.tcp: list[SyslogTcp] = []
        self.udp: SyslogUdp | None = None
        self._turned_away = 0
        if syslog:
            if listen.syslog_tcp_port >= 0:
                self.tcp.append(self._tcp("syslog_tcp", listen.syslog_tcp_port, names.syslog_activities, pace))
            if listen.tls_certificate and listen.syslog_tls_port >= 0:
                self.tcp.append(self._tcp("syslog_tls", listen.syslog_tls_port, names.syslog_activities, pace))
            if listen.syslog_udp_port >= 0:
                self.udp = SyslogUdp(listen, names.syslog_activities, self.outbox, self.figures, pace)
        self.pages = HttpServer(
            listen.pages_host, listen.pages_port, self.figures.registry, self._checks, setting="[listen] pages_",
            web_settings=settings.web,
        )  # fmt: skip

    def _tcp(self, name: str, port: int, topic: str, pace: Pace) -> SyslogTcp:
        return SyslogTcp(name, self.settings.listen, port, topic, self.outbox, self.figures, pace)

    async def start(self) -> None:
        """Listen everywhere.

        Raises:
            ListenError: If an address can't be listened on, or the certificate can't be read.
        """
        https, syslog_tls = _tls(self.settings, ask=False), _tls(self.settings, ask=True)
        self.outbox.start()
        await self.pages.start()
        if self.http is not None:
            await self.http.start(https)
        for each in self.tcp:
            await each.start(syslog_tls if each.name == "syslog_tls" else None)
        if self.udp is not None:
            self.udp.start()

    async def stop(self) -> int:
        """Stop; return how many accepted records Kafka does not have."""
        deadline = time.monotonic() + self.settings.listen.stop_seconds
        if self.udp is not None:
            self.udp.stop()
        await asyncio.gather(*(each.stop() for each in (self.http, *self.tcp) if each is not None))
        left = await self.outbox.stop(deadline - time.monotonic())
        await self.pages.stop()
        return left

    def run(self) -> int:
        """Run until SIGTERM or SIGINT; return the exit code."""
        return asyncio.run(self._run())

    async def _run(self) -> int:
        ended, loop = asyncio.Event(), asyncio.get_running_loop()
        for each in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(each, ended.set)
        try:
            await self.start()
        except BaseException:
            await self.stop()
            raise
        waiting = [asyncio.create_task(ended.wait()), asyncio.create_task(self.outbox.crashed())]
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        left = await self.stop()
        for task in waiting:
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await waiting[1]  # raises what brought it to its end
        if left:
            _log.error("stopped before Kafka had everything that was accepted", lost=left)
            return 1
        _log.info("stopped; Kafka has everything that was accepted")
        return 0

    def _checks(self) -> Sequence[Check]:
        outbox = self.outbox
        away = outbox.oldest_seconds > self.settings.listen.acknowledge_seconds or not outbox.connected
        full = not outbox.fits(0) or outbox.held_bytes > outbox.max_bytes
        return [
            ("kafka", not away, outbox.trouble or "takes what is accepted"),
            ("buffer", not full, f"{outbox.held_bytes} of {outbox.max_bytes} bytes, {outbox.held_records} records"),
        ]

    def _look(self, figures: Figures) -> None:
        """Set the levels before they are read."""
        outbox = self.outbox
        figures.buffer_bytes.set(outbox.held_bytes)
        figures.buffer_records.set(outbox.held_records)
        figures.oldest.set(outbox.oldest_seconds)
        figures.kafka_up.set(float(self._checks()[0][1]))
        for each in self.tcp:
            figures.connections.set(each.connections, each.name)
        if self.http is not None:
            figures.connections.set(self.http.connections, "http")
            figures.refused.add(self.http.turned_away - self._turned_away, "http", "too_many_connections")
            self._turned_away = self.http.turned_away
        if self.udp is not None and (drops := self.udp.kernel_drops()) is not None:
            figures.kernel_drops.set(drops)


def _tls(settings: Settings, *, ask: bool) -> ssl.SSLContext | None:
    """Return the context for TLS; None without a certificate. *ask* for the sender's where authorities are named.

    Raises:
        ListenError: If a file can't be read.
    """
    listen = settings.listen
    if not listen.tls_certificate:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(listen.tls_certificate, listen.tls_key or None)
        if ask and listen.tls_client_ca:
            context.load_verify_locations(listen.tls_client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
    except (OSError, ssl.SSLError) as error:
        remedy = "Set [listen] tls_certificate, tls_key and tls_client_ca to files in PEM."
        raise ListenError(f"the certificate can't be used ({error})", remedy) from error
    return context
