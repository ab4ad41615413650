"""Keeps a copy of the directory up to date: a worker's, or that of a command that looks once.

Owns the translation of records into the resolver's state. `users` says who there is now, the table `members` where
they were before, and `identities` what operators and events said of aliases. Invariant: of two records of one user the
later one of `users` counts, whichever is read first; a record that can't be read changes nothing here (the members
agent puts it into the dead letters).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgspec

from agents.members import ROW_OF_USER, decode_user, with_past
from state.identity import Directory
from streams.log_state import ends_of, stretches
from streams.pseudonyms import pseudonyms_of
from streams.read_directory import DirectoryLimits, link_entry, org_entry, user_entry
from streams.reading import Rejected
from streams.settings import Settings
from streams.topic_specs import TopicNames, topic_names

_NEVER = (-1, 0)


@dataclass
class DirectoryReader:
    """Takes records into *directory*."""

    directory: Directory
    topics: TopicNames
    limits: DirectoryLimits
    _read: dict[str, tuple[int, int]] = field(default_factory=dict)
    """User → offset and time (ms) of their newest record of `users` that was read."""

    @property
    def followed(self) -> list[str]:
        """The topics to read, all of them from their beginning."""
        topics = self.topics
        return [topics.users, topics.orgs, topics.members_changelog, topics.identities]

    def take(self, topic: str, record: Any) -> None:
        """Take in a record of one of the topics."""
        try:
            if topic == self.topics.users:
                self._take_user(record)
            elif topic == self.topics.orgs:
                self.directory.learn_org(*org_entry(record.key, record.value, self.limits))
            elif topic == self.topics.identities:
                self.directory.learn_link(*link_entry(record.key, record.value, self.limits))
            elif record.key and record.key.startswith(ROW_OF_USER):
                self._take_row(record)
        except (Rejected, msgspec.DecodeError):
            return

    def _take_user(self, record: Any) -> None:
        user, found = user_entry(record.key, record.value, self.limits)
        former = self.directory.users.get(user)
        self._read[user] = (record.offset, record.timestamp)
        if former is not None and former.offset >= record.offset:
            return  # a row told of it already, or of a later one
        if found is not None:
            found = with_past(found, former, record.timestamp, record.offset)
        self.directory.learn_user(user, found)

    def _take_row(self, record: Any) -> None:
        """Take in a row of the table `members`: it knows of memberships that `users` has forgotten."""
        user = record.key.removeprefix(ROW_OF_USER).decode()
        row = None if record.value is None else decode_user(record.value)
        (offset, at_ms), known = self._read.get(user, _NEVER), self.directory.users.get(user)
        if row is None:
            if known is not None and offset < 0:  # `users` has forgotten even that they are gone
                self.directory.learn_user(user, None)
        elif row.offset >= offset:
            self.directory.learn_user(user, row)
        elif known is not None:
            self.directory.learn_user(user, with_past(known, row, at_ms, offset))


def directory_limits_of(settings: Settings) -> DirectoryLimits:
    """Return how much of a directory's entry is taken in."""
    ingest, pseudonyms = settings.ingest, pseudonyms_of(settings)
    covered = None if pseudonyms is None else pseudonyms.of_user
    return DirectoryLimits(ingest.max_id_chars, ingest.max_aliases, ingest.max_value_bytes, covered)


async def read_directory(settings: Settings) -> Directory:
    """Return the directory as it is now, of the generation in *settings*.

    Raises:
        OperatorError: If a topic is missing or could not be read to its end.
    """
    reader = DirectoryReader(Directory(), topic_names(settings), directory_limits_of(settings))
    ends = await ends_of(settings.kafka, reader.followed)
    async for tp, record in stretches(settings.kafka, dict.fromkeys(ends, 0), ends, whole=True):
        reader.take(tp.topic, record)
    return reader.directory
