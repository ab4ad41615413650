"""Owns the identity of topics: the request that asks for their ids, and the note of them in a committed offset.

    offset 4711 of events-0  +  note {"topic": "mF2x…", "logs": {"app-counts-changelog": "8Q1e…"}}

Invariant: an offset is used only with the topics that it was committed for. A topic that was deleted and created
again has another id (KIP-516) under the same name; its offsets mean nothing.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from io import BytesIO
from typing import Any, NamedTuple

import msgspec
from aiokafka.errors import NodeNotReadyError, UnknownTopicOrPartitionError, for_code
from aiokafka.protocol.abstract import AbstractType
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import (
    Boolean,
    CompactArray,
    CompactString,
    Int16,
    Int32,
    Schema,
    TaggedFields,
)

from streams.errors import REBUILD, OperatorError

_METADATA = 3
_FIRST_VERSION_WITH_IDS = 11  # Kafka 3.0; its form is ours, and later ones keep it within their range of versions
_NO_ID = bytes(16)


class Layout(NamedTuple):
    """What a topic is now: its id as Kafka's tools show it ("" if the broker knows none), and its partitions."""

    id: str
    partitions: int


class RecreatedTopicError(OperatorError):
    """A topic is not the one that offsets were committed for: it was deleted and created again."""

    def __init__(self, topic: str, then: str, now: str) -> None:
        super().__init__(
            f"topic {topic} was made anew: its id was {then} and is {now}; what is committed belongs to the former one",
            REBUILD,
        )


class _Id(AbstractType[str]):  # type: ignore[misc]  # aiokafka carries no types
    """A topic's id: 16 bytes, told as text."""

    @classmethod
    def encode(cls, value: str) -> bytes:
        return base64.urlsafe_b64decode(value + "==") if value else _NO_ID

    @classmethod
    def decode(cls, data: BytesIO) -> str:
        raw = data.read(16)
        return "" if raw == _NO_ID else base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


_TAGS = ("tags", TaggedFields)


class _LayoutResponse(Response):  # type: ignore[misc]  # aiokafka carries no types
    API_KEY = _METADATA
    API_VERSION = _FIRST_VERSION_WITH_IDS
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "brokers",
            CompactArray(
                ("node_id", Int32), ("host", CompactString("utf-8")), ("port", Int32), ("rack", CompactString("utf-8")),
                _TAGS,
            ),
        ),
        ("cluster_id", CompactString("utf-8")),
        ("controller_id", Int32),
        (
            "topics",
            CompactArray(
                ("error_code", Int16),
                ("name", CompactString("utf-8")),
                ("topic_id", _Id),
                ("is_internal", Boolean),
                (
                    "partitions",
                    CompactArray(
                        ("error_code", Int16), ("partition", Int32), ("leader", Int32), ("leader_epoch", Int32),
                        ("replicas", CompactArray(Int32)), ("isr", CompactArray(Int32)),
                        ("offline", CompactArray(Int32)), _TAGS,
                    ),
                ),
                ("authorized_operations", Int32),
                _TAGS,
            ),
        ),
        _TAGS,
    )  # fmt: skip


class _LayoutRequestStruct(RequestStruct):  # type: ignore[misc]  # aiokafka carries no types
    API_KEY = _METADATA
    API_VERSION = _FIRST_VERSION_WITH_IDS
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = _LayoutResponse
    SCHEMA = Schema(
        ("topics", CompactArray(("topic_id", _Id), ("name", CompactString("utf-8")), _TAGS)),
        ("allow_auto_topic_creation", Boolean),
        ("include_topic_authorized_operations", Boolean),
        _TAGS,
    )


class _LayoutRequest(Request[_LayoutRequestStruct]):  # type: ignore[misc]  # aiokafka carries no types
    API_KEY = _METADATA

    def __init__(self, topics: Iterable[str]) -> None:
        self._topics = list(topics)

    def build(self, request_struct_class: type[_LayoutRequestStruct]) -> _LayoutRequestStruct:
        return request_struct_class([("", name, {}) for name in self._topics], False, False, {})


async def layouts(client: Any, topics: Iterable[str]) -> dict[str, Layout]:
    """Return what each of *topics* is now; one that does not exist has no partitions. One light request.

    Args:
        client: An `AIOKafkaClient` that has bootstrapped.

    Raises:
        KafkaError: If no broker answers, or it may not tell.
    """
    node = client.get_random_node()
    if node is None:
        raise NodeNotReadyError("no broker is known")
    response = await client.send(node, _LayoutRequest(topics))
    found: dict[str, Layout] = {}
    for code, name, topic_id, _, partitions, *_ in response.topics:
        error = for_code(code)
        if code and error is not UnknownTopicOrPartitionError:
            raise error(name)
        found[name] = Layout("", 0) if code else Layout(topic_id, len(partitions))
    return found


class Note(msgspec.Struct, frozen=True):
    """Which topics a committed offset belongs to: the one it is of, and the logs that only we write."""

    topic: str
    logs: dict[str, str] = {}

    def text(self) -> str:
        """Return the note as an offset's metadata."""
        return msgspec.json.encode(self).decode()


def note_of(topic: str, kept: Iterable[str], now: Mapping[str, Layout]) -> str:
    """Return the note for an offset of *topic*, "" while no id is known.

    >>> note_of("a", ["b"], {"a": Layout("A1", 2), "b": Layout("B1", 2)})
    '{"topic":"A1","logs":{"b":"B1"}}'
    """
    if topic not in now or not now[topic].id:
        return ""
    return Note(now[topic].id, {name: now[name].id for name in sorted(kept) if name in now}).text()


def check_note(topic: str, text: str | None, now: Mapping[str, Layout]) -> None:
    """Check that an offset of *topic* was committed for the topics that are there *now*.

    A text of another form, or none, was written by an older version: there is nothing to compare, and the next
    commit brings the note.

    Raises:
        RecreatedTopicError: If one of the topics is another one by now.

    >>> check_note("a", '{"topic":"A1"}', {"a": Layout("A1", 2)})
    >>> check_note("a", "", {"a": Layout("A2", 2)})
    """
    try:
        note = msgspec.json.decode(text or "", type=Note)
    except msgspec.DecodeError:
        return
    for name, then in {**note.logs, topic: note.topic}.items():
        known = now.get(name)
        if known is not None and known.id and then and known.id != then:
            raise RecreatedTopicError(name, then, known.id)


def check_same(then: Mapping[str, Layout], now: Mapping[str, Layout]) -> None:
    """Check that topics kept their ids; a look at a running worker's topics.

    Raises:
        RecreatedTopicError: If one has another id.
    """
    for topic, layout in then.items():
        found = now.get(topic)
        if found is not None and layout.id and found.id and found.id != layout.id:
            raise RecreatedTopicError(topic, layout.id, found.id)
