"""Owns the reading of keys from files, and keyed hashes of names.

Invariant: a key is never shown: no error, log line or representation holds a byte of it.
"""

from __future__ import annotations

import hashlib
import hmac
from pathlib import Path

from streams.errors import OperatorError
from streams.settings_file import SettingsError

FEWEST_BYTES = 32
HASH_CHARS = 32
"""Hexadecimal characters that are kept of HMAC-SHA256: 128 bits, so that no two of 10^9 names meet (p < 10^-20)."""


class KeyLostError(OperatorError):
    """What was made with a key can't be used without it."""


class NameKey:
    """A key for hashes of names; *use* keeps hashes for one purpose apart from those for another."""

    __slots__ = ("_started",)

    def __init__(self, secret: bytes, use: str) -> None:
        self._started = hmac.new(secret, use.encode() + b"\0", hashlib.sha256)

    def of(self, name: str) -> str:
        """Return the hash of *name*, in hexadecimal."""
        mac = self._started.copy()
        mac.update(name.encode("utf-8", "surrogatepass"))
        return mac.hexdigest()[:HASH_CHARS]


def read_key(path: str, setting: str, use: str) -> NameKey | None:
    """Return the key in the file at *path*; None for no path.

    Raises:
        SettingsError: If there is no such file, or too little in it.
    """
    if not path:
        return None
    try:
        secret = Path(path).read_bytes().strip()
    except OSError as error:
        raise SettingsError(
            f"{setting}: {path} can't be read: {error.strerror}",
            f"Make a key: (umask 077; openssl rand -hex 32 > {path}), and give the same to all workers.",
        ) from None
    if len(secret) < FEWEST_BYTES:
        raise SettingsError(
            f"{setting}: {path} holds {len(secret)} bytes, at least {FEWEST_BYTES} are wanted",
            f"Make a key: (umask 077; openssl rand -hex 32 > {path})",
        )
    return NameKey(secret, use)
