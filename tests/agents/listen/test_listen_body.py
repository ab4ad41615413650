"""How bodies are read: bounded in size, time and memory, whatever the sender claims."""

from __future__ import annotations

import asyncio
import gzip
import tracemalloc
import zlib
from collections.abc import AsyncIterator

import pytest

from agents.listen.body import Bodies, Busy
from agents.listen.rows import Refused
from streams.settings_bridges import ListenSettings


async def pieces(body: bytes, size: int, seconds: float = 0.0) -> AsyncIterator[bytes]:
    """Yield a body in pieces, as a connection would."""
    for at in range(0, len(body), size):
        await asyncio.sleep(seconds)
        yield body[at : at + size]


def read(bodies: Bodies, body: bytes, encoding: str = "", size: int = 1_000, seconds: float = 0.0) -> bytes:
    found: list[bytes] = []
    asyncio.run(bodies.read(pieces(body, size, seconds), encoding, None, found.append))
    return found[0]


def test_every_encoding_gives_what_was_packed_in_pieces_of_any_size() -> None:
    text = b"".join(b"line %d\n" % number for number in range(20_000))
    for size in (1, 7, 1_000, 1_000_000):
        bodies, few = Bodies(ListenSettings()), text[: 200 * size]
        assert read(bodies, few, size=size) == few
        assert read(bodies, gzip.compress(few), "gzip", size) == few
        assert read(bodies, zlib.compress(few), " Deflate ", size) == few
        assert bodies.held_bytes == 0


def test_a_bomb_takes_no_more_memory_than_the_limit() -> None:
    limits = ListenSettings(max_unpacked_bytes=1_000_000)
    bomb = gzip.compress(bytes(200_000_000), 9)
    tracemalloc.start()
    try:
        with pytest.raises(Refused, match="unpacked"):
            read(Bodies(limits), bomb, "gzip", 65_536)
        assert tracemalloc.get_traced_memory()[1] < 6_000_000
    finally:
        tracemalloc.stop()


def test_bodies_under_way_have_a_limit_together_and_give_back_what_they_held() -> None:
    bodies = Bodies(ListenSettings(max_buffer_bytes=1_048_576, max_body_bytes=2_000_000))

    async def run() -> list[object]:
        slow = [bodies.read(pieces(b"x" * 700_000, 100_000, 0.001), "", None, lambda body: None) for _ in range(3)]
        return list(await asyncio.gather(*slow, return_exceptions=True))

    outcomes = asyncio.run(run())
    assert any(isinstance(each, Busy) for each in outcomes) and None in outcomes
    assert bodies.held_bytes == 0
    assert len(read(bodies, b"y" * 900_000)) == 900_000


def test_what_is_too_large_too_slow_or_damaged_is_refused() -> None:
    limits = ListenSettings(max_body_bytes=10_000, body_seconds=0.5)
    for body, encoding, reason in (
        (b"x" * 10_001, "", "body_too_large"), (gzip.compress(b"x")[:-3], "gzip", "bad_encoding"),
        (b"no gzip", "gzip", "bad_encoding"), (b"x", "br", "bad_encoding"),
    ):  # fmt: skip
        bodies = Bodies(limits)
        with pytest.raises(Refused) as refusal:
            read(bodies, body, encoding)
        assert refusal.value.reason == reason and refusal.value.remedy and bodies.held_bytes == 0
    with pytest.raises(Refused, match="was not there within") as slow:
        read(Bodies(limits), b"x" * 100, size=1, seconds=0.1)
    assert slow.value.reason == "too_slow"
    with pytest.raises(Refused):
        asyncio.run(Bodies(limits).read(pieces(b"", 1), "", 10_001, lambda body: None))
