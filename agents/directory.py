"""Keeps this worker's copy of the directory up to date.

Owns the translation of directory records into the resolver's state. Invariant:
a record that can't be read changes nothing here (the members agent puts it
into the dead letters).
"""

from __future__ import annotations

from collections.abc import Callable

from state.identity import Directory
from streams.read_directory import DirectoryLimits, org_entry, user_entry
from streams.reading import Rejected


def directory_taker(
    directory: Directory, users_topic: str, limits: DirectoryLimits
) -> Callable[[str, bytes | None, bytes | None], None]:
    """Return what takes (topic, key, value) into *directory*."""

    def take(topic: str, key: bytes | None, value: bytes | None) -> None:
        try:
            if topic == users_topic:
                directory.learn_user(*user_entry(key, value, limits))
            else:
                directory.learn_org(*org_entry(key, value, limits))
        except Rejected:
            return

    return take
