"""Owns TLS of the pages: from `tls_server_config` to a context that can be served with.

Invariant: certificate, key and authorities were read and fit each other, or there is no context.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from streams.settings_file import SettingsError
from streams.tls_files import EncryptedKeyError, refuse_to_ask
from streams.web_yaml import Value

TLS_KEYS = ("cert_file", "key_file", "client_auth_type", "client_ca_file", "min_version", "max_version")
_VERSIONS = {"TLS12": ssl.TLSVersion.TLSv1_2, "TLS13": ssl.TLSVersion.TLSv1_3}
_REQUIRE = "RequireAndVerifyClientCert"
_CLIENT_AUTH = {
    "NoClientCert": ssl.CERT_NONE, "VerifyClientCertIfGiven": ssl.CERT_OPTIONAL, _REQUIRE: ssl.CERT_REQUIRED,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Tls:
    """What every connection is encrypted with."""

    context: ssl.SSLContext
    asks: bool
    """Whether a client must show a certificate of an authority that is named."""
    files: tuple[Path, ...]
    """What it was read from."""


def tls_of(fields: Mapping[str, Value], folder: Path) -> Tls:
    """Return the context that *fields* ask for; their files are relative to *folder*.

    Raises:
        SettingsError: If something is missing, can't be read, or contradicts something else.
    """
    some = next(iter(fields.values()))
    if "cert_file" not in fields or "key_file" not in fields:
        raise SettingsError(f"{some.place}: tls_server_config needs cert_file and key_file", "Name both, in PEM.")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    _set_versions(context, fields)
    certificate, key = _file(fields["cert_file"], folder), _file(fields["key_file"], folder)
    try:
        context.load_cert_chain(certificate, key, refuse_to_ask)
    except ssl.SSLError as error:
        raise fields["cert_file"].refuse(
            f"and key_file are no certificate and its key ({error.reason or 'not PEM'})",
            "Name a PEM file with the certificate chain, and the one with the key that belongs to it.",
        ) from None
    except EncryptedKeyError:
        raise fields["key_file"].refuse("is encrypted", "Name a key without a passphrase.") from None
    kind = fields["client_auth_type"].choice(tuple(_CLIENT_AUTH)) if "client_auth_type" in fields else "NoClientCert"
    files = [certificate, key]
    if _CLIENT_AUTH[kind] is not ssl.CERT_NONE:
        if "client_ca_file" not in fields:
            raise fields["client_auth_type"].refuse("wants a client_ca_file", "Name the authorities' PEM file.")
        files.append(_trust(context, fields["client_ca_file"], folder))
        context.verify_mode = _CLIENT_AUTH[kind]
    elif "client_ca_file" in fields:
        raise fields["client_ca_file"].refuse(
            "has no effect", f"Set client_auth_type to {_REQUIRE} too, or remove the line."
        )
    return Tls(context, kind == _REQUIRE, tuple(files))


def _set_versions(context: ssl.SSLContext, fields: Mapping[str, Value]) -> None:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if "min_version" in fields:
        context.minimum_version = _VERSIONS[fields["min_version"].choice(tuple(_VERSIONS))]
    if "max_version" in fields:
        context.maximum_version = _VERSIONS[fields["max_version"].choice(tuple(_VERSIONS))]
        if context.maximum_version < context.minimum_version:
            raise fields["max_version"].refuse("is below min_version", "Raise it, or remove it.")


def _file(value: Value, folder: Path) -> Path:
    file = folder / value.text()
    try:
        with file.open("rb") as opened:
            opened.read(1)
    except OSError as error:
        raise value.refuse(f"can't be read: {error.strerror}", "Name a file that this user may read.") from None
    return file


def _trust(context: ssl.SSLContext, value: Value, folder: Path) -> Path:
    file = _file(value, folder)
    try:
        context.load_verify_locations(file)
    except (ssl.SSLError, UnicodeDecodeError):
        raise value.refuse("holds no certificate", "Name a PEM file with the authorities' certificates.") from None
    return file
