"""Decides which partition gets what.

Owns the mapping from orgs and aliases to partitions. Invariant: everything of
one org lands in one partition of `activities`, everything about one alias in
one partition of `unresolved`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
import numpy as np
import xxhash

from state.activity import SEPARATOR, Record, Rows, are_rows, encode_bundle, encode_record
from state.identity import EVENT, Link, UserRecord, unlinked_alias
from state.packing import only_used
from streams.parked import NO_CLAIM_MS, Alias, encode_parked
from streams.read_directory import encode_link
from streams.settings import Settings
from streams.topic_specs import TopicNames, topic_names
from streams.transactions import Outgoing

_LARGEST_CACHE = 200_000
_RAW_HEAD = 8  # bytes of a bundle's own, for each of its rows


class Router:
    """Makes outgoing records with their partitions."""

    def __init__(self, topics: TopicNames, partitions: int, max_message_bytes: int) -> None:
        self._topics, self._partitions = topics, partitions
        self._max_bytes = max_message_bytes * 9 // 10  # room for the record's own head
        self._cache: dict[str, int] = {}

    @property
    def users_topic(self) -> str:
        """The directory of users."""
        return self._topics.users

    def partition(self, name: str) -> int:
        """Return the partition of an org or alias."""
        found = self._cache.get(name)
        if found is None:
            if len(self._cache) >= _LARGEST_CACHE:
                self._cache.clear()
            found = self._cache[name] = xxhash.xxh3_64_intdigest(name.encode()) % self._partitions
        return found

    def partition_of_subject(self, subject: str) -> int:
        """Return the partition of a subject: that of its org."""
        return self.partition(subject[: subject.index(SEPARATOR)])

    def activity(self, org: str, record: Record) -> Outgoing:
        """Return *record* on its way to the shard of *org*."""
        return Outgoing(self._topics.activities, self.partition(org), None, encode_record(record))

    def packed(self, partition: int, rows: Rows) -> list[Outgoing]:
        """Return packed rows on their way to *partition*, halved until each fits in a message.

        Raises:
            ValueError: If a single activity fits in none.
        """
        raw = encode_record(rows)
        if len(raw) <= self._max_bytes:
            return [Outgoing(self._topics.activities, partition, None, raw)]
        if len(rows.measure) < 2:
            raise ValueError(f"one activity takes {len(raw)} bytes, at most {self._max_bytes}: raise max_message_bytes")
        return [out for half in halves(rows) for out in self.packed(partition, half)]

    def bundled(self, records: Iterable[Outgoing]) -> list[Outgoing]:
        """Return *records* of one transaction with packed rows for the same partition put into one record.

        Rows stay in their order, and before and behind what else goes to their partition.
        """
        out: list[Outgoing] = []
        bundles: list[tuple[int, list[bytes]]] = []  # place in `out`, and the rows that go there
        open_: dict[int, tuple[int, list[bytes], int]] = {}  # the same by partition, and their bytes
        for record in records:
            if record.topic == self._topics.activities and record.value is not None:
                raw, at = record.value, record.partition
                place, rows, size = open_.get(at, (0, [], 0))
                if not are_rows(raw):
                    open_.pop(at, None)
                elif rows and size + len(raw) <= self._max_bytes:
                    rows.append(raw)
                    open_[at] = (place, rows, size + len(raw) + _RAW_HEAD)
                    continue
                else:
                    open_[at] = (len(out), [raw], len(raw) + _RAW_HEAD)
                    bundles.append(open_[at][:2])
            out.append(record)
        for place, rows in bundles:
            out[place] = out[place]._replace(value=encode_bundle(rows))
        return out

    def unresolved(self, alias: str, value: bytes) -> Outgoing:
        """Return *value* on its way to where *alias* is waited for."""
        return Outgoing(self._topics.unresolved, self.partition(alias), alias.encode(), value)

    def link(self, link: Link, record: UserRecord | None) -> list[Outgoing]:
        """Return what is said of an alias on its way to all workers, and to the activities that wait for it.

        *record* is the user's; None = it is said that nobody has the alias, and whoever waits waits on.
        """
        value, key = encode_link(link), link.alias.encode()
        out = [Outgoing(self._topics.identities, self.partition(link.alias), key, value)]
        for name in (link.alias, unlinked_alias(link.alias)) if record is not None else ():
            assert record is not None
            claim = Alias(
                name, record.org, link.user, record.bot,
                claimed_ms=NO_CLAIM_MS if link.by == EVENT else 0, memberships=record.memberships,
            )  # fmt: skip
            out.append(self.unresolved(name, encode_parked(claim)))
        return out


def router_of(settings: Settings) -> Router:
    """Return the router of the generation in *settings*."""
    return Router(topic_names(settings), settings.kafka.partitions, settings.kafka.max_message_bytes)


def halves(rows: Rows) -> tuple[Rows, Rows]:
    """Return the rows in two halves, each with just the subjects it names."""
    widths = {"subject": 2, "measure": 1, "time_ms": 8, "amount": 8, "id": 8, "ref": 8, "at": 4, "place": 2}
    middle = len(rows.measure) // 2

    def part(start: int, stop: int | None) -> Rows:
        columns: dict[str, Any] = {
            name: getattr(rows, name)[start * width : None if stop is None else stop * width]
            for name, width in widths.items()
        }
        used, renumbered = np.unique(np.frombuffer(columns["subject"], "<u2"), return_inverse=True)
        columns["subject"] = renumbered.astype("<u2").tobytes()
        places, place = only_used(rows.places, np.frombuffer(columns["place"], "<u2"))
        columns |= {"places": places, "place": place.tobytes() if places else b""}
        columns["before"] = rows.before if rows.before < 0 else rows.before + start
        return msgspec.structs.replace(rows, subjects=[rows.subjects[i] for i in used.tolist()], **columns)

    return part(0, middle), part(middle, None)
