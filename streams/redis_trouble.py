"""Says in words why Redis can't be reached or lets nobody in, and what to do.

Invariant: nothing said here holds a password.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from streams.kafka_trouble import Trouble
from streams.redaction import cover, redacted_url
from streams.redis_errors import kind_of
from streams.settings_wire import RedisSettings


def redis_trouble(error: Exception, redis: RedisSettings) -> Trouble:
    """Explain *error* of a client of *redis*.

    >>> redis_trouble(ConnectionError("[SSL: CERTIFICATE_VERIFY_FAILED] … certificate has expired"), RedisSettings())[0]
    'the certificate of redis://127.0.0.1:6379/0 has expired'
    """
    where, text, kind = redacted_url(redis.url), cover(str(error)), kind_of(error)
    user = redis.username or urlsplit(redis.url).username or "default"
    if kind == "NOAUTH" or "WRONGPASS" in text or "invalid username-password" in text:
        if not (redis.password or redis.password_file or urlsplit(redis.url).password):
            return Trouble(
                f"{where} wants a login", "Set [redis] username and password_file (ORGPULSE_REDIS_PASSWORD_FILE)."
            )
        return Trouble(
            f"{where} refuses the login of user {user}",
            "Check [redis] username and password_file; `ACL LIST` shows who there is, and that the user is `on`.",
        )
    if kind == "NOPERM":
        return Trouble(
            f"{where} does not let user {user} do this: {text}",
            "`orgpulse doctor` names the rights that are missing, `orgpulse acl redis` prints the user's line.",
        )
    return _connection(where, text, redis)


def _connection(where: str, text: str, redis: RedisSettings) -> Trouble:
    tls = redis.url.startswith("rediss://")
    if "certificate has expired" in text:
        return Trouble(f"the certificate of {where} has expired", "Have it renewed; check the clocks of both machines.")
    if "Hostname mismatch" in text or "IP address mismatch" in text:
        return Trouble(
            f"the certificate of {where} is for another host",
            "Put the name that it is for into [redis] url, or this one among its subjectAltNames.",
        )
    if "CERTIFICATE_VERIFY_FAILED" in text:
        file = redis.ca_file or "the system's authorities ([redis] ca_file is not set)"
        return Trouble(
            f"the certificate of {where} is not certified by {file}",
            "Name the file of the authority that certified it as [redis] ca_file.",
        )
    hung_up = any(
        part in text for part in ("Connection closed by server", "reset by peer", "Broken pipe", "EOF occurred")
    )
    if "CERTIFICATE_REQUIRED" in text or "ALERT" in text or (tls and hung_up):
        wanted = "take the certificate of [redis] certificate_file" if redis.certificate_file else "go on"
        return Trouble(
            f"{where} does not {wanted} ({text})",
            "If it wants a client certificate (`tls-auth-clients`), name one that its authority certified as [redis] "
            "certificate_file.",
        )
    if "SSL" in text:
        return Trouble(f"{where} speaks no TLS there", "Name its TLS port, or begin [redis] url with redis://.")
    if hung_up:
        return Trouble(
            f"{where} closes the connection", "If it is a TLS port, begin [redis] url with rediss:// and set ca_file."
        )
    if tls and "Timeout" in text:
        return Trouble(
            f"no answer from {where}: {text}",
            "Is it a TLS port? A Redis without TLS waits there for ever: begin [redis] url with redis:// then.",
            away=True,
        )
    return Trouble(
        f"no answer from {where}: {text}", "Start it, or set [redis] url (ORGPULSE_REDIS_URL) to where it listens."
    )
