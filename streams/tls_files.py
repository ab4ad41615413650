"""Files of TLS: authorities to trust, this client's certificate and its key; what is wrong with them.

Invariant: a context made here asks for TLS 1.2 or newer, checks the server's certificate and its name, and never
asks a person for a password.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from streams.clock import WallClock


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Names of PEM files; empty: the system's authorities, no certificate, the key in the certificate's file."""

    ca_file: str = ""
    certificate_file: str = ""
    key_file: str = ""

    @property
    def any(self) -> bool:
        """Whether a file is named at all."""
        return bool(self.ca_file or self.certificate_file or self.key_file)

    def context(self) -> ssl.SSLContext:
        """Return a context for connections with these files as they are now; the same one while they stay the same.

        Raises:
            OSError, ValueError: If a file can't be used; `problems` says it in words.
        """
        return _context(self, tuple(_stamp(name) for name in (self.ca_file, self.certificate_file, self.key_file)))

    def problems(self) -> Iterator[tuple[str, str, str]]:
        """Yield (setting, what is wrong with its file, what to do)."""
        for key in ("ca_file", "certificate_file", "key_file"):
            name = getattr(self, key)
            if name and (why := _unreadable(name)):
                yield key, f'= "{name}" can\'t be read: {why}', "Name a PEM file that this user may read."
                return
        if self.key_file and not self.certificate_file:
            yield "key_file", "is set without certificate_file", "Set both, or none of them."
            return
        yield from self._problems_inside()

    def _problems_inside(self) -> Iterator[tuple[str, str, str]]:
        if self.ca_file:
            try:
                ssl.create_default_context(cafile=self.ca_file)
            except (OSError, ValueError):
                yield "ca_file", f'= "{self.ca_file}" holds no certificate', "It takes a file of certificates in PEM."
        if not self.certificate_file:
            return
        try:
            _with_certificate(ssl.create_default_context(), self)
        except (OSError, ValueError) as error:
            yield "certificate_file", *_pair_problem(self, error)
            return
        yield from _validity(self.certificate_file)


def _pair_problem(files: TlsFiles, error: Exception) -> tuple[str, str]:
    where, key = files.certificate_file, files.key_file or files.certificate_file
    reason = getattr(error, "reason", "") or ""
    if "MISMATCH" in reason:
        return f'= "{where}" does not belong to the key in {key}', "Name the key that the certificate was made for."
    if isinstance(error, EncryptedKeyError):
        return (
            f"has a key in {key} that is locked by a password",
            "Unlock it, `openssl pkey -in KEY -out PLAIN`, and let nobody else read the file.",
        )
    return (
        f'= "{where}" with the key in {key} can\'t be used',
        "It takes a certificate chain and a private key, both in PEM.",
    )


def _validity(name: str) -> Iterator[tuple[str, str, str]]:
    """Yield whether a certificate is not valid yet, or no longer."""
    decode: Any = getattr(getattr(ssl, "_ssl", None), "_test_decode_cert", None)
    if decode is None:  # private to Python's ssl, which offers no other way without a handshake
        return
    found, now = decode(name), WallClock().now()
    if ssl.cert_time_to_seconds(found["notAfter"]) < now:
        yield "certificate_file", f'= "{name}" expired at {found["notAfter"]}', "Have it renewed, then start anew."
    elif ssl.cert_time_to_seconds(found["notBefore"]) > now:
        yield (
            "certificate_file",
            f'= "{name}" is valid only from {found["notBefore"]}',
            "Wait for that, or put this machine's clock right.",
        )


class EncryptedKeyError(ValueError):
    """A key wants a password."""


def refuse_to_ask() -> str:
    """Raise instead of letting OpenSSL ask for a key's password on the terminal."""
    raise EncryptedKeyError


def _with_certificate(context: ssl.SSLContext, files: TlsFiles) -> None:
    context.load_cert_chain(files.certificate_file, files.key_file or None, password=refuse_to_ask)


@lru_cache(maxsize=16)
def _context(files: TlsFiles, _stamps: tuple[object, ...]) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=files.ca_file or None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if files.certificate_file:
        _with_certificate(context, files)
    return context


def _stamp(name: str) -> object:
    """Return what changes when a file does."""
    if not name:
        return None
    found = Path(name).stat()
    return found.st_mtime_ns, found.st_size, found.st_ino


def _unreadable(name: str) -> str:
    try:
        with Path(name).open("rb") as file:
            file.read(1)
    except OSError as error:
        return error.strerror or type(error).__name__
    return ""


def password_in(name: str) -> str:
    """Return the password in a file, without the newline that editors add.

    Raises:
        OSError, UnicodeDecodeError: If it can't be read.
    """
    return Path(name).read_text(encoding="utf-8").strip()
