"""Keeps this worker's copy of the directory up to date.

Owns the translation of directory records into the resolver's state. Invariant:
a record that can't be read changes nothing here (the members agent puts it
into the dead letters).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from state.identity import Directory
from streams.read_directory import DirectoryLimits, org_entry, user_entry
from streams.reading import Rejected


def directory_taker(directory: Directory, users_topic: str, limits: DirectoryLimits) -> Callable[[str, Any], None]:
    """Return what takes a topic's record into *directory*."""

    def take(topic: str, record: Any) -> None:
        try:
            if topic == users_topic:
                directory.learn_user(*user_entry(record.key, record.value, limits), record.timestamp)
            else:
                directory.learn_org(*org_entry(record.key, record.value, limits))
        except Rejected:
            return

    return take
