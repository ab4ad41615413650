"""How a reader reaches Redis.

Invariant: a look-up never waits longer than its time-out, twice: a connection that died in the pool is replaced once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Connect:
    """Options beside the URL; ``rediss://`` asks for TLS.

    Attributes:
        timeout_seconds: How long connecting, a reply, or a free connection may take.
        max_connections: The size of the pool; who finds none free waits for one.
        username: In place of the URL's.
        password: In place of the URL's.
        tls_ca_file: Certificates to trust in place of the system's.
        tls_cert_file: The client's certificate, where the server wants one.
        tls_key_file: The key of that certificate.
    """

    timeout_seconds: float = 5.0
    max_connections: int = 16
    username: str | None = None
    password: str | None = None
    tls_ca_file: str | None = None
    tls_cert_file: str | None = None
    tls_key_file: str | None = None

    def login_options(self, url: str) -> dict[str, Any]:
        """Return the arguments of a client for *url* that say who asks, how, and that nothing is asked on its own.

        Raises:
            ValueError: If there are TLS files and the URL asks for no TLS.
        """
        names = {
            "username": self.username,
            "password": self.password,
            "ssl_ca_certs": self.tls_ca_file,
            "ssl_certfile": self.tls_cert_file,
            "ssl_keyfile": self.tls_key_file,
        }
        given = {name: value for name, value in names.items() if value is not None}
        if any(name.startswith("ssl_") for name in given) and not url.startswith("rediss://"):
            raise ValueError("TLS files were given, but the URL does not begin with rediss://")
        # Without these the client tells its name and asks for news of maintenance, which an ACL user would need
        # further rights for.
        return given | {"protocol": 2, "driver_info": None}

    def pool_options(self, url: str) -> dict[str, Any]:
        """Return the arguments of the client's pool for *url*.

        Raises:
            ValueError: If there are TLS files and the URL asks for no TLS.
        """
        return self.login_options(url) | {
            "decode_responses": True,
            "timeout": self.timeout_seconds,
            "socket_timeout": self.timeout_seconds,
            "socket_connect_timeout": self.timeout_seconds,
            "max_connections": self.max_connections,
        }

    def block_ms(self, wait_seconds: float) -> int | None:
        """Return how long Redis may hold a reply back; None = not at all.

        Raises:
            ValueError: If that is not well below the time-out.
        """
        if wait_seconds >= self.timeout_seconds:
            raise ValueError(f"wait_seconds is {wait_seconds:g}, must be below the time-out, {self.timeout_seconds:g}")
        return max(1, int(wait_seconds * 1000)) if wait_seconds > 0 else None
