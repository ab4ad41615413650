"""Owns how bytes of strangers are written to a terminal.

Invariant: only printable characters and line ends come out, so no message can steer the terminal.
"""

from __future__ import annotations

import msgspec


def safe(text: str) -> str:
    r"""Return *text* with everything but printable characters and line ends spelled out.

    >>> safe("a\x1b[31m\nb")
    'a\\x1b[31m\nb'
    """
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)


def shown(value: bytes) -> str:
    """Return bytes for the terminal: JSON indented, other text as it is, the rest in hex."""
    try:
        return safe(msgspec.json.format(value, indent=2).decode())
    except (msgspec.DecodeError, UnicodeDecodeError):
        pass  # no JSON: many letters are there because of that
    try:
        return safe(value.decode())
    except UnicodeDecodeError:
        return value.hex(" ")
