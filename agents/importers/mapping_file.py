"""Owns mapping files: a TOML file that says where a message's fields come from and how the form is written.

Invariant: a mistake stops the import before anything is read, with file, line and what to do.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from agents.importers.mapping import Rule, parse_rules
from agents.importers.source import InputError
from streams.settings_file import Source, line_of, nearest_name, read_source

_SECTIONS = ("kind", "options", "fields")
_WAYS = ("from", "value", "values", "format", "zone")


class MappingError(Exception):
    """A mapping file can't be used: *message* names file and line, *remedy* what to do."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message)
        self.message, self.remedy = message, remedy


@dataclass(frozen=True)
class MappingFile:
    """What a mapping file says: rules of fields, and options as on the command line (with their places)."""

    rules: tuple[Rule, ...]
    options: dict[str, Any]
    source: Source

    def error(self, section: str, key: str, what: str, remedy: str) -> MappingError:
        """Return the error about *key* of *section*, with its line."""
        return MappingError(f"{self.source.place(section, key)}: {what}", remedy)


def read_mapping(path: Path, kind: str, fields: Collection[str]) -> MappingFile:
    """Return the mapping in the file *path* for messages of *kind* that know *fields*.

    Raises:
        SettingsError: If the file can't be read or is not TOML.
        MappingError: If it says something that can't be meant.
    """
    source = read_source(path)
    found = MappingFile((), source.tables.get("options", {}), source)
    for section in source.tables:
        if section not in _SECTIONS:
            near = nearest_name(section, _SECTIONS)
            raise found.error(
                section, "", f"there is no section [{section}]",
                f"Did you mean [{near}]?" if near else "Sections are [fields] and [options]; `kind` stands above them.",
            )  # fmt: skip
    stated = source.tables.get("kind", kind)
    if stated != kind:
        raise found.error("kind", "", f"this mapping is for {stated}, not for {kind}", f"Run: orgpulse import {stated}")
    for section in ("options", "fields"):
        if not isinstance(source.tables.get(section, {}), dict):
            raise found.error(section, "", f"{section} is a table", f"Write [{section}] and below it one line a name.")
    told = source.tables.get("fields", {})
    return replace(found, rules=tuple(_rule(found, target, way, fields) for target, way in told.items()))


def _rule(file: MappingFile, target: str, way: Any, fields: Collection[str]) -> Rule:
    """Return the rule of one line of [fields]."""
    if isinstance(way, str):
        way = {"from": way}
    if not isinstance(way, dict) or not way or not set(way) <= set(_WAYS) or ("from" in way) == ("value" in way):
        raise file.error(
            "fields", target, f"{target} is neither a column nor a table of {', '.join(_WAYS)}",
            f'Write {target} = "Column", {{ value = "constant" }} or {{ from = "Column", values = {{ a = "b" }} }}.',
        )  # fmt: skip
    text = f"{target}:={way['value']}" if "value" in way else f"{target}={way['from']}"
    try:
        rule = parse_rules([text], fields)[0]
    except InputError as error:
        raise file.error("fields", target, str(error).partition(": ")[2], "See `orgpulse import mapping`.") from None
    values = way.get("values", {})
    if not isinstance(values, dict) or not all(isinstance(here, str) for here in values.values()):
        raise file.error("fields", target, "`values` is a table of texts", 'Write values = { theirs = "ours" }.')
    zone = way.get("zone", "")
    if zone:
        try:
            ZoneInfo(zone)
        except (ZoneInfoNotFoundError, ValueError, TypeError, OSError):
            raise file.error(
                "fields", target, f"no such time zone: {zone!r}", "Use an IANA name: Europe/London."
            ) from None
    if not isinstance(way.get("format", ""), str):
        raise file.error("fields", target, "`format` is a text", 'Write for example format = "%d.%m.%Y %H:%M".')
    return replace(rule, values=tuple(values.items()), time_format=way.get("format", ""), zone=zone)


def templates() -> list[str]:
    """Return the names of the mapping files that come along."""
    folder = files("agents.importers") / "mappings"
    return sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml"))


def template(name: str) -> str:
    """Return the commented mapping file *name* that comes along."""
    return (files("agents.importers") / "mappings" / f"{name}.toml").read_text("utf-8")


__all__ = ["MappingError", "MappingFile", "line_of", "read_mapping", "template", "templates"]
