"""Owns how a stream of bytes is cut into lines of syslog: RFC 6587, both framings, mixed as senders like.

A frame that begins with a number and a blank has so many bytes after it (octet counting, also RFC 5425); any other
ends at a line feed (or a NUL, as some senders do). Invariant: lines come out as they were sent, without what frames
them, and never more than `longest` bytes of an unfinished one are held.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_COUNT = re.compile(rb"([1-9]\d{0,8}) ")
_MAYBE_COUNT = re.compile(rb"[1-9]\d{0,8}\Z")
_END = re.compile(rb"[\n\0]")


@dataclass(slots=True)
class Framing:
    """The cutting of one connection's bytes.

    >>> framing = Framing(100)
    >>> framing.feed(b"<13>one\\r\\n7 <13>tw"), framing.feed(b"o<13>thr"), framing.finish()
    ([b'<13>one'], [b'<13>two'], b'<13>thr')
    """

    longest: int
    too_long: int = 0
    """Lines that were dropped because they are too long."""
    _held: bytes = field(default=b"")
    _skip: int = 0
    """Bytes of a counted frame that are still to be dropped."""
    _skip_line: bool = False
    """Whether everything up to the next end of line is to be dropped."""

    def feed(self, data: bytes) -> list[bytes]:
        """Return the lines that *data* brings to an end; blank ones are none."""
        data, at, lines = self._held + data, 0, list[bytes]()
        end, plain = len(data), b"\0" not in data
        while at < end:
            if self._skip:
                step = min(self._skip, end - at)
                self._skip -= step
                at += step
                continue
            first = data[at]
            if 48 < first < 58 and not self._skip_line:  # 1 to 9: perhaps a count
                counted = _COUNT.match(data, at)
                if counted is None and _MAYBE_COUNT.match(data, at):
                    break  # the number goes on in what comes next
                if counted is not None:
                    begin, size = counted.end(), int(counted[1])
                    if size > self.longest:
                        self.too_long += 1
                        self._skip, at = size, begin
                        continue
                    if begin + size > end:
                        break
                    self._take(data[begin : begin + size], lines)
                    at = begin + size
                    continue
            found = data.find(b"\n", at) if plain else _end_of(data, at)
            if found < 0:
                break
            if self._skip_line:
                self._skip_line = False
            elif found - at > self.longest:
                self.too_long += 1
            else:
                self._take(data[at:found], lines)
            at = found + 1
        self._keep(data[at:])
        return lines

    def _take(self, line: bytes, lines: list[bytes]) -> None:
        line = line.rstrip(b"\r\n\0")
        if line and not line.isspace():
            lines.append(line)

    def _keep(self, rest: bytes) -> None:
        """Hold the beginning of a line; drop it once it is longer than any may be."""
        counted = _COUNT.match(rest)
        if self._skip_line:
            rest = b""
        elif counted is None and len(rest) > self.longest:
            self.too_long += 1
            self._skip_line, rest = True, b""
        self._held = rest

    def finish(self) -> bytes:
        """Return the last line of a sender that closed in good order without ending it; empty when there is none.

        A counted frame that is cut off is no line.
        """
        rest, self._held = self._held, b""
        if self._skip_line or _COUNT.match(rest):
            return b""
        rest = rest.rstrip(b"\r\n\0")
        return b"" if rest.isspace() else rest


def _end_of(data: bytes, at: int) -> int:
    found = _END.search(data, at)
    return found.start() if found else -1
