"""Owns the shape of dead letters and the breaker that stops a flood of them.

Invariant: a dead letter holds the message's bytes, its place and the reason; a
bad deploy can't drain a topic into the dead letters, because the worker stops.
"""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import orjson

from streams.errors import OperatorError
from streams.reading import Rejected
from streams.redaction import cover
from streams.source_bytes import Place, SourceBytes
from streams.transactions import Outgoing

MAX_KEY_BYTES = 4096
MAX_LETTERS_BYTES = 4 << 20
"""Of the letters of one chunk, all together; further ones say where their message is, without its bytes. A chunk of
large messages would else leave in a transaction of hundreds of megabytes, which takes longer than a commit may."""
MAX_DETAIL_CHARS = 1000
"""What a letter keeps of them at most: with the value, it must fit in a record, or it could never leave."""


_NO_OFFSET = -(1 << 62)  # a number that stands for one
_ELSEWHERE = "read the bytes at this offset of the source topic"


class FloodError(OperatorError):
    """Too large a share of a source is unreadable: somebody must look before more is read."""


def _text(raw: bytes | None) -> str | None:
    return None if raw is None else base64.b64encode(raw).decode()


class Refused(NamedTuple):
    """An event that was refused after it was read; its letter goes to partition *home* of the dead letters."""

    error: Rejected
    place: Place
    home: int
    with_bytes: bool = True
    """Whether its bytes are looked up in the source: that delays the commit, so what comes in floods has none."""


class DeadLetters:
    """Makes dead letters; *now* gives epoch seconds."""

    def __init__(
        self, topic: str, now: Callable[[], float], max_value_bytes: int, sources: SourceBytes | None = None,
        covers: Callable[[bytes | None, bytes | None], str] = lambda key, value: "",
    ) -> None:  # fmt: skip
        """Prepare.

        Args:
            topic: Where letters go.
            now: Epoch seconds.
            max_value_bytes: More of a message is not kept.
            sources: Is asked for the bytes of events that are refused after they were read.
            covers: Why key and value of a message must not be in a letter; empty = they may.
        """
        self._covers = covers
        self._topic, self._now, self._max_value_bytes, self._sources = topic, now, max_value_bytes, sources

    def letter(self, error: Rejected, topic: str, partition: int, record: Any, before: int = 0) -> Outgoing:
        """Return the dead letter of *record*; of an oversized one the first bytes are kept, and that is said.

        *before* says how many bytes the letters have that leave with it.
        """
        key, value, detail = record.key, record.value, cover(error.detail)[:MAX_DETAIL_CHARS]
        if before > MAX_LETTERS_BYTES and (key, value) != (None, None):
            detail, key, value = f"{detail}; {_ELSEWHERE}", None, None
        if why := self._covers(key, value):
            return self._made(error.reason, f"{detail}; {why}", topic, partition, record.offset, None, None)
        if value is not None and len(value) > self._max_value_bytes:
            detail += f"; the first {self._max_value_bytes} bytes are kept"
            value = value[: self._max_value_bytes]
        return self._made(error.reason, detail, topic, partition, record.offset, key, value)

    async def of_refused(self, refused: Sequence[Refused]) -> list[Outgoing]:
        """Return the dead letters of events that were refused when only their places were known."""
        wanted = [one.place for one in refused if one.with_bytes]
        found = await self._sources.of(wanted) if wanted and self._sources is not None else {}
        letters, size, of_place = list[Outgoing](), 0, self._without_bytes()
        for one in refused:
            place, record = one.place, found.get(one.place)
            if record is None:
                letter = of_place(one)
            else:
                letter = self.letter(one.error, place.topic, place.partition, record, size)
            letters.append(letter._replace(partition=one.home))
            size += len(letter.value or b"")
        return letters

    def _without_bytes(self) -> Callable[[Refused], Outgoing]:
        """Return what makes letters that name the place alone: they come in floods and differ in their offset only."""
        topic, ends = self._topic, dict[tuple[str, str, str, int], tuple[bytes, bytes]]()

        def letter(one: Refused) -> Outgoing:
            of = one.error.reason, one.error.detail, one.place.topic, one.place.partition
            if of not in ends:
                detail = cover(f"{one.error.detail}; {_ELSEWHERE}")[:MAX_DETAIL_CHARS]
                whole = self._made(of[0], detail, *of[2:], _NO_OFFSET, None, None).value or b""
                head, _, tail = whole.rpartition(b"%d" % _NO_OFFSET)
                ends[of] = head, tail
            head, tail = ends[of]
            return Outgoing(topic, of[3], None, b"%b%d%b" % (head, one.place.offset, tail))

        return letter

    def _made(
        self, reason: str, detail: str, topic: str, partition: int, offset: int, key: bytes | None, value: bytes | None
    ) -> Outgoing:
        if key is not None and len(key) > MAX_KEY_BYTES:
            detail += f"; the first {MAX_KEY_BYTES} of {len(key)} bytes of the key are kept"
            key = key[:MAX_KEY_BYTES]
        letter = {
            "reason": reason,
            "detail": detail,
            "topic": topic,
            "partition": partition,
            "offset": offset,
            "key": _text(key),
            "value": _text(value),
            "time": self._now(),
        }
        return Outgoing(self._topic, partition, key, orjson.dumps(letter))


class ChunkLetters:
    """The letters of one chunk: bounded together, and counted."""

    def __init__(self, dead_letters: DeadLetters, topic: str, partition: int, counts: Counter[str]) -> None:
        """Begin; *counts* are the chunk's outcomes, to be added to."""
        self._dead_letters, self._topic, self._partition, self._counts = dead_letters, topic, partition, counts
        self._bytes = 0
        self.skipped = 0
        """Messages of batches that could not be unpacked, but for one of each, whose place a record takes."""

    def of(self, error: Rejected, record: Any) -> Outgoing:
        """Return the letter of *record*, which was refused with *error*."""
        self._counts["dead_lettered"] += error.messages
        self._counts["dead:" + error.reason] += error.messages
        self.skipped += error.messages - 1
        letter = self._dead_letters.letter(error, self._topic, self._partition, record, self._bytes)
        self._bytes += len(letter.value or b"")
        return letter


class FloodGuard:
    """Watches the share of dead letters among the last *window* messages of each partition."""

    def __init__(self, topic: str, ratio: float, window: int) -> None:
        self._topic, self._ratio, self._window = topic, ratio, window
        self._seen: dict[int, tuple[int, int]] = {}

    def watch(self, partition: int, messages: int, dead: int) -> None:
        """Count a chunk.

        Raises:
            FloodError: If a whole window had more than the allowed share of dead letters.
        """
        seen, lost = self._seen.get(partition, (0, 0))
        seen, lost = seen + messages, lost + dead
        if seen < self._window:
            self._seen[partition] = (seen, lost)
            return
        self._seen[partition] = (0, 0)
        if lost > self._ratio * seen:
            raise FloodError(
                f"{lost} of the last {seen} messages of {self._topic}-{partition} are unreadable (limit: "
                f"{self._ratio:.0%})",
                "Mend the producer and restart, or raise ingest.flood_ratio to let them go to the dead letters.",
            )
