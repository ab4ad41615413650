"""A real server with its web configuration, asked over real sockets."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import datetime
import http.client
import ipaddress
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import bcrypt
import uvloop
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from streams.http import Check, HttpServer
from streams.metrics import Metrics
from streams.settings_web import WebSettings

PATIENCE_SECONDS = 60.0


@cache
def hashed(password: str, cost: int = 10) -> str:
    """Return a bcrypt hash, each made once."""
    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(cost)).decode()


@dataclass(frozen=True)
class Reply:
    """What came back."""

    status: int
    text: str
    headers: http.client.HTTPMessage


def basic(name: str, password: str) -> dict[str, str]:
    """Return the header of a user with a password."""
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()}


class House:
    """One server in a loop of its own thread."""

    new_loop: Callable[[], asyncio.AbstractEventLoop] = staticmethod(uvloop.new_event_loop)

    def __init__(
        self, config: Path | None = None, host: str = "127.0.0.1",
        extend: Callable[[web.Application], None] | None = None, checks: Sequence[Check] = (), **settings: Any,
    ) -> None:  # fmt: skip
        self.metrics = Metrics()
        given = WebSettings(config_file=str(config or ""), **{"requests_per_second": 0, **settings})
        self.server = HttpServer(host, 0, self.metrics.registry, lambda: checks, extend, web_settings=given)
        self.loop = self.new_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)

    def __enter__(self) -> House:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self.server.start(), self.loop).result(PATIENCE_SECONDS)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self.loop).result(PATIENCE_SECONDS)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(PATIENCE_SECONDS)
        self.loop.close()

    async def _end(self) -> None:
        await self.server.stop()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    @property
    def port(self) -> int:
        return self.server.port

    def get(
        self, path: str, method: str = "GET", headers: dict[str, str] | None = None,
        tls: ssl.SSLContext | None = None, body: bytes | None = None,
    ) -> Reply:  # fmt: skip
        """Return what is answered over a connection of its own."""
        return ask(self.port, path, method, headers, tls, body)

    def count(self, reason: str) -> float:
        """Return how often something was refused for *reason*."""
        return self.server.figures.refused.value(reason)

    def connections(self) -> int:
        """Return how many connections stand, however many are counted."""
        doors = self.server._runner.doors  # type: ignore[union-attr]
        assert doors is not None
        return len(doors.all)

    def on_loop(self, look: Callable[[], int]) -> int:
        """Return what *look* finds between two turns of the server's loop."""

        async def looked() -> int:
            return look()

        return asyncio.run_coroutine_threadsafe(looked(), self.loop).result(PATIENCE_SECONDS)

    def connect(self, sent: bytes = b"", source: str = "127.0.0.1") -> socket.socket:
        """Return a connection on which *sent* has been sent."""
        return connect(self.port, sent, source)


def ask(
    port: int, path: str, method: str = "GET", headers: dict[str, str] | None = None,
    tls: ssl.SSLContext | None = None, body: bytes | None = None, source: str = "127.0.0.1",
) -> Reply:  # fmt: skip
    """Return what is answered on a port of this machine."""
    where: dict[str, Any] = {"timeout": PATIENCE_SECONDS, "source_address": (source, 0)}
    client = (
        http.client.HTTPConnection("127.0.0.1", port, **where)
        if tls is None
        else http.client.HTTPSConnection("127.0.0.1", port, context=tls, **where)
    )
    with contextlib.closing(client):
        client.request(method, path, body, headers or {})
        reply = client.getresponse()
        return Reply(reply.status, reply.read().decode(), reply.headers)


def connect(port: int, sent: bytes = b"", source: str = "127.0.0.1") -> socket.socket:
    """Return a connection to a port of this machine."""
    found = socket.create_connection(("127.0.0.1", port), PATIENCE_SECONDS, (source, 0))
    if sent:
        found.sendall(sent)
    return found


def is_closed(connection: socket.socket) -> bool:
    """Say whether the other side has ended the connection, without waiting."""
    connection.setblocking(False)
    try:
        return connection.recv(65536) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


@contextlib.contextmanager
def many(make: Callable[[], socket.socket], number: int) -> Iterator[list[socket.socket]]:
    """Hold *number* connections open."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(make()) for _ in range(number)]


@dataclass(frozen=True)
class Signed:
    """A certificate with its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    def write(self, folder: Path, name: str) -> tuple[Path, Path]:
        """Write both, in PEM."""
        files = folder / f"{name}.pem", folder / f"{name}.key"
        files[0].write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))
        files[1].write_bytes(
            self.key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return files


def sign(name: str, by: Signed | None = None) -> Signed:
    """Return a certificate for this machine, of an authority or its own."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    today = datetime.datetime.now(datetime.UTC)
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(by.certificate.subject if by else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(today - datetime.timedelta(days=1))
        .not_valid_after(today + datetime.timedelta(days=2))
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=by is None, path_length=None), critical=True)
        .sign(by.key if by else key, hashes.SHA256())
    )
    return Signed(made, key)
