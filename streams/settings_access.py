"""Owns what is checked of the settings that say how one gets in: logins, passwords, certificates, of Kafka and Redis.

Invariant: what can be seen to be wrong before anything is connected is said here, with the setting it is about.
"""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

from streams.redaction import remember
from streams.settings_wire import KafkaSettings, RedisSettings
from streams.tls_files import TlsFiles, password_in

Problem = tuple[tuple[str, str], str, str]
"""(section, key), what is wrong with it, what to do."""


def access_problems(kafka: KafkaSettings, redis: RedisSettings) -> Iterator[Problem]:
    """Yield what is wrong, most basic first; passwords that are read on the way are known as secrets from then on."""
    yield from _kafka_problems(kafka)
    yield from _redis_problems(redis)


def tls_of(settings: KafkaSettings | RedisSettings) -> TlsFiles:
    """Return the files of TLS that *settings* name."""
    return TlsFiles(settings.ca_file, settings.certificate_file, settings.key_file)


def password_of(settings: KafkaSettings | RedisSettings) -> str:
    """Return the password as it is now; a file is read every time, so that it may be renewed.

    Raises:
        OSError, UnicodeDecodeError: If its file can't be read.
    """
    found = password_in(settings.password_file) if settings.password_file else settings.password
    if found:
        remember(found)
    return found


def _kafka_problems(kafka: KafkaSettings) -> Iterator[Problem]:
    with_login, with_tls = kafka.security.startswith("sasl"), kafka.security in ("ssl", "sasl_ssl")
    if with_login:
        if not kafka.username:
            yield ("kafka", "security"), f'= "{kafka.security}" needs [kafka] username', "Set it, and password_file."
        elif not (kafka.password or kafka.password_file):
            yield (
                ("kafka", "username"),
                "has no password",
                "Name its file as [kafka] password_file, or set ORGPULSE_KAFKA_PASSWORD.",
            )
    else:
        for key in ("username", "password", "password_file"):
            if getattr(kafka, key):
                wanted = "sasl_ssl" if kafka.security == "ssl" else "sasl_ssl or sasl_plaintext"
                yield ("kafka", key), f'has no effect with security = "{kafka.security}"', f"Set security to {wanted}."
    if kafka.sasl_mechanism == "PLAIN" and kafka.security == "sasl_plaintext":
        yield (
            ("kafka", "sasl_mechanism"),
            '= "PLAIN" would send the password readable by everybody on the way',
            "Use SCRAM-SHA-512, or security = sasl_ssl.",
        )
    yield from _password_problems("kafka", kafka)
    yield from _tls_problems("kafka", kafka, with_tls, 'Set security to "ssl" or "sasl_ssl", or take the file out.')


def _redis_problems(redis: RedisSettings) -> Iterator[Problem]:
    try:
        parts = urlsplit(redis.url)
        inside = {"username": bool(parts.username), "password": bool(parts.password)}
    except ValueError:
        yield (
            ("redis", "url"),
            "is no URL",
            "Write it as redis://host:port/db; spell / : @ in a password as %2F %3A %40.",
        )
        return
    for key in ("username", "password", "password_file"):
        if getattr(redis, key) and inside[key.removesuffix("_file")]:
            yield ("redis", key), "is set, and the URL says it too", "Take it out of [redis] url."
    yield from _password_problems("redis", redis)
    if redis.username and not (redis.password or redis.password_file or inside["password"]):
        yield (
            ("redis", "username"),
            "has no password",
            "Name its file as [redis] password_file, or set ORGPULSE_REDIS_PASSWORD.",
        )
    yield from _tls_problems("redis", redis, redis.url.startswith("rediss://"), "Begin [redis] url with rediss://.")


def _password_problems(section: str, settings: KafkaSettings | RedisSettings) -> Iterator[Problem]:
    if settings.password and settings.password_file:
        yield (section, "password_file"), f"is set, and {section}.password too", "Set only one of the two."
    elif settings.password_file:
        try:
            if not password_of(settings):
                yield (
                    (section, "password_file"),
                    f'= "{settings.password_file}" is empty',
                    "Write the password into it.",
                )
        except UnicodeDecodeError:
            yield (section, "password_file"), f'= "{settings.password_file}" is not UTF-8 text', "Save it as UTF-8."
        except OSError as error:
            yield (
                (section, "password_file"),
                f'= "{settings.password_file}" can\'t be read: {error.strerror}',
                "Name a file that this user may read.",
            )


def _tls_problems(
    section: str, settings: KafkaSettings | RedisSettings, with_tls: bool, remedy: str
) -> Iterator[Problem]:
    files = tls_of(settings)
    if not with_tls:
        for key in ("ca_file", "certificate_file", "key_file"):
            if getattr(files, key):
                yield (section, key), "has no effect without TLS", remedy
        return
    for key, what, todo in files.problems():
        yield (section, key), what, todo
