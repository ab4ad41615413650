"""Owns how raw values (a TOML file, environment variables) become checked settings values.

Invariant: no value passes here unchecked, and every refusal names the place (file and line, or the
variable), the key, what is wanted, and what to do.
"""

from __future__ import annotations

import difflib
import re
import tomllib
import types
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

VARIABLE_PREFIX = "ORGPULSE_"


class SettingsError(Exception):
    """Say that the configuration can't be used: *message* is what is wrong, *remedy* what to do."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message}\n{self.remedy}"


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """One parsed TOML file with its text, which is kept so that errors can name lines."""

    path: Path
    text: str
    tables: dict[str, Any]

    def place(self, section: str, key: str = "") -> str:
        """Return ``file, line n`` for *key* of *section*, or only the file when it can't be found."""
        line = line_of(self.text, section, key)
        return f"{self.path}, line {line}" if line else str(self.path)


def read_source(path: Path) -> Source:
    """Read and parse one TOML file.

    Raises:
        SettingsError: If the file is missing, unreadable, not UTF-8 or not TOML.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise SettingsError(
            f"{path}: there is no such settings file",
            "Name an existing file with --config, or copy orgpulse.example.toml there.",
        ) from None
    except OSError as error:
        raise SettingsError(
            f"{path}: the settings file can't be read: {error.strerror}", "Make it readable for this user."
        ) from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise SettingsError(f"{path}, line {line}: not UTF-8 text", "Save the file as UTF-8.") from None
    try:
        tables = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # also numbers too long to be read, and too deep nesting
        raise SettingsError(_syntax_message(path, str(error)), "See https://toml.io for the format.") from None
    return Source(path=path, text=text, tables=tables)


def _syntax_message(path: Path, reason: str) -> str:
    """Move the line that tomllib reports to where all other errors have it."""
    found = re.search(r"\s*\(at (?:line (\d+), column \d+|end of document)\)", reason)
    place = f"{path}, line {found[1]}" if found and found[1] else str(path)
    return f"{place}: not valid TOML: {reason[: found.start()] if found else reason}"


def line_of(text: str, section: str, key: str = "") -> int:
    """Return the 1-based line of *key* in *section* (or of the section itself), 0 when not found.

    tomllib keeps no positions, so this reads headers and keys line by line. Inside a multi-line string
    it may be fooled; then an error names a wrong line, never a wrong key.

    >>> line_of("[kafka]\\nprefix = 'a'\\n[web]\\nport = 1\\n", "web", "port")
    4
    >>> line_of("web.port = 1", "web", "port")
    1
    """
    wanted = f"{section}.{key}" if key else section
    current = ""
    nearest = 0
    for number, line in enumerate(text.splitlines(), start=1):
        header = re.match(r"\s*\[{1,2}\s*([^\]]+?)\s*\]{1,2}", line)
        if header:
            current = _plain(header[1])
            name = current
        else:
            pair = re.match(r"""\s*((?:"[^"]*"|'[^']*'|[\w.\s-])+?)\s*=""", line)
            if not pair:
                continue
            name = f"{current}.{_plain(pair[1])}" if current else _plain(pair[1])
        if name == wanted or name.startswith(f"{wanted}."):
            return number
        if name == section and not nearest:
            nearest = number
    return nearest


def _plain(dotted: str) -> str:
    """Drop the quotes and blanks of a (dotted) TOML key."""
    return re.sub(r"""["']|\s*(\.)\s*""", r"\1", dotted).strip()


def nearest_name(name: str, known: Iterable[str]) -> str:
    """Return the known name most like *name*, or an empty text when none is near.

    >>> nearest_name("partition", ["partitions", "prefix"])
    'partitions'
    """
    lowered = {item.lower(): item for item in known}
    found = difflib.get_close_matches(name.lower(), lowered, n=1, cutoff=0.6)
    return lowered[found[0]] if found else ""


def unknown_name(place: str, what: str, name: str, known: Iterable[str]) -> SettingsError:
    """Build the error for a name that no setting has, with the nearest one that exists."""
    names = list(known)
    near = nearest_name(name, names)
    hint = f'Did you mean "{near}"? ' if near else f"Known are: {', '.join(names)}. " if len(names) < 16 else ""
    return SettingsError(f'{place}: unknown {what} "{name}"', f"{hint}docs/settings.md lists all settings.")


def base_of(annotation: Any) -> Any:
    """Return the type inside ``Annotated``."""
    return typing.get_args(annotation)[0] if hasattr(annotation, "__metadata__") else annotation


def metas_of(annotation: Any) -> tuple[msgspec.Meta, ...]:
    """Return the ``msgspec.Meta`` of ``Annotated``, outermost last."""
    return tuple(item for item in getattr(annotation, "__metadata__", ()) if isinstance(item, msgspec.Meta))


def wanted(annotation: Any) -> str:
    """Say in words what a setting takes.

    >>> from typing import Annotated
    >>> wanted(Annotated[int, msgspec.Meta(ge=1, le=9)])
    'a whole number from 1 to 9'
    """
    base = base_of(annotation)
    origin = typing.get_origin(base)
    if origin is typing.Literal:
        return "one of " + ", ".join(f'"{choice}"' for choice in typing.get_args(base))
    if origin is dict:
        return f"a table of name = {wanted(typing.get_args(base)[1])}"
    if origin in (list, tuple):
        return f"a list of {wanted(typing.get_args(base)[0])}"
    if origin in (typing.Union, types.UnionType):
        return " or ".join(wanted(part) for part in typing.get_args(base))
    words = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
    return words.get(base, str(base)) + _bounds(metas_of(annotation))


def _bounds(metas: tuple[msgspec.Meta, ...]) -> str:
    """Say the limits that the metas set, as the end of a phrase."""
    limits = {
        name: getattr(meta, name)
        for meta in metas
        for name in ("ge", "gt", "le", "pattern", "min_length")
        if getattr(meta, name) is not None
    }
    text = ""
    if "ge" in limits and "le" in limits:
        text = f" from {limits['ge']} to {limits['le']}"
    elif "ge" in limits:
        text = f" of at least {limits['ge']}"
    elif "gt" in limits:
        text = f" above {limits['gt']}" + (f" and at most {limits['le']}" if "le" in limits else "")
    if "pattern" in limits:
        text += f" that matches {limits['pattern']}"
    elif "min_length" in limits:
        text += " that is not empty"
    return text


def checked_value(raw: object, annotation: Any, place: str, name: str, *, from_text: bool = False) -> Any:
    """Return *raw* as the setting's type.

    Args:
        from_text: The value is text from the environment: numbers and booleans are read from it, lists
            are comma separated, tables are ``name=value`` pairs, comma separated.

    Raises:
        SettingsError: If type or range don't fit.
    """
    value = _split(str(raw), annotation) if from_text else _with_text_ids(raw)
    try:
        return msgspec.convert(value, annotation, strict=not from_text)
    except msgspec.ValidationError:
        raise SettingsError(
            f"{place}: {name} = {_shown(raw, annotation)} can't be used", f"It takes {wanted(annotation)}."
        ) from None


def file_value(raw: object, annotation: Any, place: str, section: str, key: str) -> Any:
    """Return what a settings file says as the setting's type.

    Raises:
        SettingsError: If it may not stand in a file, or type or range don't fit.
    """
    if raw and only_from_environment(annotation):
        raise SettingsError(
            f"{place}: {section}.{key} may not stand in a settings file",
            next((extra["remedy"] for meta in metas_of(annotation) if "remedy" in (extra := meta.extra or {})), "")
            or f"Put it into a file of its own and name that as {key}_file, or set {variable_of(section, key)}.",
        )
    return checked_value(raw, annotation, place, f"{section}.{key}")


def variable_of(section: str, key: str) -> str:
    """Return the environment variable of a setting.

    >>> variable_of("kafka", "brokers")
    'ORGPULSE_KAFKA_BROKERS'
    """
    return f"{VARIABLE_PREFIX}{section}_{key}".upper()


def _with_text_ids(raw: object) -> object:
    """Let org ids in lists and tables be written as whole numbers too; inside they are text."""
    if isinstance(raw, list | tuple):
        return [str(item) if type(item) is int else item for item in raw]
    if isinstance(raw, dict):
        return {name: str(item) if type(item) is int else item for name, item in raw.items()}
    return raw


def is_secret(annotation: Any) -> bool:
    """Say whether a setting's value must not be shown as it is."""
    return any((meta.extra or {}).get("secret", False) for meta in metas_of(annotation))


def only_from_environment(annotation: Any) -> bool:
    """Say whether a settings file may not hold the value: it is copied, shown and kept in version control."""
    return any((meta.extra or {}).get("environment_only", False) for meta in metas_of(annotation))


def _shown(raw: object, annotation: Any) -> str:
    """Return *raw* short enough for one line; a secret is never shown."""
    if is_secret(annotation):
        return "(secret)"
    text = f'"{raw}"' if isinstance(raw, str) else str(raw)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _split(text: str, annotation: Any) -> object:
    """Turn the environment's text into what a list or a table setting takes."""
    origin = typing.get_origin(base_of(annotation))
    if origin not in (dict, list, tuple):
        return text
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if origin in (list, tuple):
        return parts
    pairs = [part.rpartition("=") for part in parts]
    if any(not name for name, _, _ in pairs):
        return text  # not pairs: the type check refuses it and says what is wanted
    return {name.strip(): value.strip() for name, _, value in pairs}


def table_of(tables: Mapping[str, Any], section: str, place: str) -> Mapping[str, Any]:
    """Return a section of the file, which must be a table."""
    table = tables.get(section, {})
    if not isinstance(table, dict):
        raise SettingsError(f"{place}: {section} is not a section", f"Write it as [{section}] with its keys below.")
    return table
