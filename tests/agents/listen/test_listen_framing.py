"""RFC 6587: whatever pieces a stream comes in, the lines are the same."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from agents.listen.framing import Framing

LONGEST = 60
texts = st.text(st.characters(min_codepoint=33, max_codepoint=1000), min_size=1, max_size=20)


def lines_of(stream: bytes, sizes: list[int]) -> tuple[list[bytes], Framing]:
    """Feed *stream* in pieces of *sizes*, again and again."""
    framing, found, at, turn = Framing(LONGEST), list[bytes](), 0, 0
    while at < len(stream):
        step = sizes[turn % len(sizes)]
        found += framing.feed(stream[at : at + step])
        at, turn = at + step, turn + 1
    last = framing.finish()
    return found + ([last] if last else []), framing


@given(st.lists(st.tuples(texts, st.sampled_from(["count", "feed", "crlf", "nul"])), max_size=12), st.data())
def test_both_framings_mixed_give_the_lines_that_were_sent(said: list[tuple[str, str]], data: st.DataObject) -> None:
    stream, expected = b"", []
    for text, framing in said:
        line = b"<13>" + text.encode()
        expected.append(line)
        ends = {"feed": b"\n", "crlf": b"\r\n", "nul": b"\0"}
        stream += f"{len(line)} ".encode() + line if framing == "count" else line + ends[framing]
    sizes = data.draw(st.lists(st.integers(1, 40), min_size=1, max_size=5))
    assert lines_of(stream, sizes)[0] == expected


def test_lines_with_a_number_in_front_are_not_taken_for_counted_ones() -> None:
    stream = b"2024-05-01T00:00:00Z host app: a\n12345678901 b\n7\n<13>c\n"
    for size in (1, 2, 7, 100):
        found, _ = lines_of(stream, [size])
        assert found == [b"2024-05-01T00:00:00Z host app: a", b"12345678901 b", b"7", b"<13>c"]


def test_a_counted_line_may_hold_line_feeds_and_a_last_line_may_lack_one() -> None:
    assert lines_of(b"9 <13>a\nb\r\n<13>last", [3])[0] == [b"<13>a\nb", b"<13>last"]
    assert lines_of(b"99 <13>cut off", [3])[0] == []
    assert lines_of(b"\n\r\n  \n\0<13>a\n\n", [2])[0] == [b"<13>a"]


def test_lines_that_are_too_long_are_dropped_counted_and_not_held() -> None:
    chance = random.Random(7)
    for _ in range(50):
        stream = b"<13>a\n" + b"x" * chance.randrange(LONGEST + 1, 500) + b"\n<13>b\n"
        stream += b"300 " + b"y" * 300 + b"6 <13>cc" + b"<13>d\n"
        framing, found, at = Framing(LONGEST), list[bytes](), 0
        while at < len(stream):
            step = chance.randrange(1, 80)
            found += framing.feed(stream[at : at + step])
            assert len(framing._held) <= LONGEST + 80
            at += step
        assert (found, framing.too_long) == ([b"<13>a", b"<13>b", b"<13>cc", b"<13>d"], 2)
