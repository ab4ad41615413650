"""Reads a lock: what is installed, with which hashes, and who wants it.

Invariant: a line that can't be understood is an error, so nothing that is installed is left out of a list.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RUNNING, WHOLE = ROOT / "requirements.lock", ROOT / "requirements-dev.lock"
"""What production installs, and what development and tests do."""
OURSELVES = "orgpulse"
_HEAD = re.compile(r"([a-z0-9][a-z0-9._-]*)(?:\[[a-z0-9,_-]+\])?==([A-Za-z0-9.!+_-]+)(?: ; (.+?))? \\")
_HASH = re.compile(r"    --hash=sha256:([0-9a-f]{64})( \\)?")
_VIA = re.compile(r"    #(?: via)?(?:   ?)?(.*)")


class LockError(ValueError):
    """A lock that can't be understood."""


@dataclass(frozen=True, slots=True)
class Locked:
    """One package of a lock."""

    name: str
    version: str
    marker: str
    """Where it is installed; empty = everywhere."""
    hashes: tuple[str, ...]
    wanted_by: tuple[str, ...]
    """Packages that depend on it; `OURSELVES` among them when the project names it."""


def read_lock(file: Path) -> list[Locked]:
    """Return the packages of a lock, in its order.

    Raises:
        LockError: If a line is none that `make lock` writes, or a package has no hash.
    """
    found: list[Locked] = []
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
        if head := _HEAD.fullmatch(line):
            found.append(Locked(head[1], head[2], head[3] or "", (), ()))
        elif found and (digest := _HASH.fullmatch(line)):
            found[-1] = _with(found[-1], hashes=(*found[-1].hashes, digest[1]))
        elif found and (via := _VIA.fullmatch(line)):
            name = via[1].strip()
            if name and not name.startswith("-c "):
                name = OURSELVES if name.startswith(OURSELVES) else name
                found[-1] = _with(found[-1], wanted_by=(*found[-1].wanted_by, name))
        else:
            raise LockError(f"{file.name}, line {number}: {line!r} is no line of a lock with hashes")
    for each in found:
        if not each.hashes:
            raise LockError(f"{file.name}: {each.name} has no hash")
    return found


def _with(locked: Locked, *, hashes: tuple[str, ...] | None = None, wanted_by: tuple[str, ...] | None = None) -> Locked:
    return Locked(
        locked.name, locked.version, locked.marker, locked.hashes if hashes is None else hashes,
        locked.wanted_by if wanted_by is None else wanted_by,
    )  # fmt: skip
