"""Keeps this worker's copy of the directory up to date.

Owns the translation of directory records into the resolver's state. Invariant:
a record that can't be read changes nothing here (the members agent puts it
into the dead letters).
"""

from __future__ import annotations

from collections.abc import Callable

from state.identity import Directory
from streams.read_directory import read_org, read_user
from streams.reading import Rejected


def directory_taker(
    directory: Directory, users_topic: str, max_id: int, max_aliases: int
) -> Callable[[str, bytes | None, bytes | None], None]:
    """Return what takes (topic, key, value) into *directory*."""

    def take(topic: str, key: bytes | None, value: bytes | None) -> None:
        name = (key or b"").decode("utf-8", "replace")
        try:
            if topic == users_topic:
                user = None if value is None else read_user(value, max_id, max_aliases)
                directory.learn_user(user.user if user else name, user)
            else:
                org = None if value is None else read_org(value, max_id)
                directory.learn_org(org.org if org else name, org)
        except Rejected:
            return

    return take
