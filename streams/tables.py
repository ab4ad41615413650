"""Owns the Faust table of bytes whose changelog is written by the chunk's transaction only.

Invariant: after a recovery a partition's content equals its committed
changelog, and nothing is written to a changelog but what `stage` returned.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import faust

from streams.transactions import Outgoing


class ChunkTable(faust.Table):  # type: ignore[misc]  # Faust carries no usable types
    """A table of bytes by bytes, partition by partition, in memory.

    The changelog topic `<app>-<name>-changelog` must exist with as many
    partitions as the source topics.
    """

    def __init__(self, app: Any, *, name: str, partitions: int, **options: Any) -> None:
        self._contents: dict[int, dict[bytes, bytes]] = {}
        super().__init__(app, name=name, partitions=partitions, key_type=bytes, value_type=bytes, **options)

    @property
    def changelog(self) -> str:
        """Name of the changelog topic."""
        name: str = self._changelog_topic_name()
        return name

    def stage(self, partition: int, key: bytes, value: bytes | None, *, keep: bool = True) -> Outgoing:
        """Set *key* (or remove it, with None) and return the record to put into the commit.

        With `keep=False` memory is left as it is: for values that are only read
        after a recovery.
        """
        if keep:
            content = self._contents.setdefault(partition, {})
            if value is None:
                content.pop(key, None)
            else:
                content[key] = value
        return Outgoing(self.changelog, partition, key, value)

    def read(self, partition: int, key: bytes) -> bytes | None:
        """Return the value of *key* in *partition*, or None."""
        return self.content(partition).get(key)

    def content(self, partition: int) -> dict[bytes, bytes]:
        """Return the content of *partition*; change it through `stage` only."""
        return self._contents.setdefault(partition, {})

    def items(self, partition: int) -> list[tuple[bytes, bytes]]:  # type: ignore[override,unused-ignore]
        """Return keys and values of *partition*, in the order of their first write."""
        return list(self._contents.get(partition, {}).items())

    def clear(self, partition: int) -> None:  # type: ignore[override,unused-ignore]
        """Drop *partition* from memory; its changelog stays."""
        self._contents.pop(partition, None)

    def drop(self, partitions: Iterable[int]) -> None:
        """Drop several partitions from memory, as after a revoke."""
        for partition in partitions:
            self.clear(partition)

    def restore(self, partition: int, records: Sequence[Any]) -> None:
        """Apply changelog records of *partition*, in their order."""
        content = self._contents.setdefault(partition, {})
        for record in records:
            value = record.value
            if value is None:
                content.pop(record.key, None)
            else:
                content[record.key] = value

    def on_key_set(self, key: Any, value: Any) -> None:
        """Refuse item assignment: it would write the changelog outside of the transaction.

        Raises:
            TypeError: Always.
        """
        raise TypeError(f"table {self.name}: write through stage()")

    def on_key_del(self, key: Any) -> None:
        """Refuse item deletion, like `on_key_set`.

        Raises:
            TypeError: Always.
        """
        raise TypeError(f"table {self.name}: write through stage()")
