"""Owns the tables `[tenants.NAME]` of a settings file: a tenant's quota, and what it has otherwise than the rest.

Invariant: no table sets what a tenant's namespace follows from; every table is checked, whoever's settings are wanted.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from streams.settings_file import SettingsError, Source, file_value, table_of, unknown_name
from streams.tenants import DERIVED, NAME_TEXT, NO_TENANT, is_tenant_name

SECTION = "tenants"
QUOTA = "quota"
_PER_PROCESS = (("worker", "name"), ("worker", "generation"), ("worker", "aside"), ("worker", "tenant"))
"""What each process is told by itself."""

Kinds = Mapping[str, Mapping[str, Any]]
"""Section → key → annotated type of all settings."""


class Said(NamedTuple):
    """What a table says of one setting, and where."""

    value: Any
    place: str


Table = dict[tuple[str, str], Said]


def tenants_in(source: Source, kinds: Kinds) -> dict[str, Table]:
    """Return tenant → what its tables set, in the order of the file.

    Raises:
        SettingsError: If a name, a key or a value can't be used.
    """
    found: dict[str, Table] = {}
    for name in table_of(source.tables, SECTION, source.place(SECTION)):
        section = f"{SECTION}.{name}"
        if name == NO_TENANT:
            raise SettingsError(
                f'{source.place(section)}: no tenant may be called "{NO_TENANT}"',
                f"`--tenant {NO_TENANT}` means what runs beside the tenants; choose another name.",
            )
        if not is_tenant_name(name):
            raise SettingsError(f'{source.place(section)}: "{name}" is no name of a tenant', f"Use {NAME_TEXT}.")
        found[name] = _table(source, section, table_of(source.tables[SECTION], name, source.place(section)), kinds)
    return found


def unknown_tenant(name: str, known: Mapping[str, Table], file: object) -> SettingsError:
    """Build the error for a tenant that the settings file does not have."""
    if file is None:
        return SettingsError(
            f'there is no tenant "{name}", for there is no settings file', "Name it with --config, or add [tenants]."
        )
    if not known:
        return SettingsError(f'{file} has no tenant "{name}", and no other', f"Add [{SECTION}.{name}] to it.")
    return SettingsError(
        f'{file} has no tenant "{name}"', f"There are: {', '.join(sorted(known))}. Or add [{SECTION}.{name}] to it."
    )


def unsaid_tenant(known: Mapping[str, Table], file: object) -> SettingsError:
    """Build the error for somebody who did not say which of the tenants is meant, or that none is."""
    return SettingsError(
        f"{file} has tenants, and it is not said whose data this is about",
        f"Say `orgpulse --tenant NAME …` or set ORGPULSE_TENANT; there are: {', '.join(known)}. "
        f"`--tenant {NO_TENANT}` is what runs without one.",
    )


def _table(source: Source, section: str, table: Mapping[str, Any], kinds: Kinds) -> Table:
    found: Table = {}
    for name, raw in table.items():
        if name in kinds[QUOTA]:
            place = source.place(section, name)
            found[QUOTA, name] = Said(file_value(raw, kinds[QUOTA][name], place, QUOTA, name), place)
        elif name == QUOTA:
            raise SettingsError(
                f"{source.place(f'{section}.{name}')}: a tenant's quota has no table of its own",
                f"Write its keys into [{section}]: {', '.join(kinds[QUOTA])}.",
            )
        elif name not in kinds:
            raise unknown_name(source.place(section, name), f"key in [{section}]", name, [*kinds[QUOTA], *kinds])
        else:
            place = source.place(f"{section}.{name}")
            found |= _section(source, f"{section}.{name}", name, table_of(table, name, place), kinds)
    return found


def _section(source: Source, path: str, section: str, table: Mapping[str, Any], kinds: Kinds) -> Table:
    found: Table = {}
    for key, raw in table.items():
        place = source.place(path, key)
        if key not in kinds[section]:
            raise unknown_name(place, f"key in [{path}]", key, kinds[section])
        if (section, key) in DERIVED:
            raise SettingsError(
                f"{place}: {section}.{key} can't be set for one tenant",
                f"It follows from the tenant's name, which keeps tenants apart; [{section}] {key} holds for all.",
            )
        if (section, key) in _PER_PROCESS:
            raise SettingsError(
                f"{place}: {section}.{key} is no matter of a tenant", "Each process is told it by itself."
            )
        found[section, key] = Said(file_value(raw, kinds[section][key], place, section, key), place)
    return found
