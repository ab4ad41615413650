"""Owns reading a request's body: how large it may be, packed and unpacked, and how long it may take.

Invariant: never more than the limit is held, whatever a compressed body claims to be: it is unpacked piece by piece.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator, Callable, Mapping

from agents.listen.rows import Refused
from streams.settings_bridges import ListenSettings

_PIECE_BYTES = 65_536
_WINDOWS: Mapping[str, int] = {"gzip": 31, "x-gzip": 31, "deflate": 15}
"""Content-Encoding → zlib's window bits."""


class Busy(Exception):  # noqa: N818  # it is an outcome, not a fault of the program
    """Bodies that are being read take as much memory as they may."""


class Bodies:
    """Reads bodies; counts what those under way hold together."""

    def __init__(self, limits: ListenSettings) -> None:
        self._limits = limits
        self.held_bytes = 0

    async def read(
        self, pieces: AsyncIterator[bytes], encoding: str, length: int | None, use: Callable[[bytes], None]
    ) -> None:
        """Read a body and hand it to *use*.

        Args:
            pieces: What comes from the connection.
            encoding: `Content-Encoding`.
            length: `Content-Length`, if there is one.
            use: Called once with the whole, while it counts as held.

        Raises:
            Refused: If it is too large, too slow, or compressed in a way that is not known or damaged.
            Busy: If there is no memory for it at present.
        """
        if length is not None and length > self._limits.max_body_bytes:
            raise self._too_large("the body", length, self._limits.max_body_bytes)
        counted = _Counted(self)
        try:
            try:
                async with asyncio.timeout(self._limits.body_seconds):
                    body = await self._whole(pieces, encoding.strip().lower(), counted)
            except TimeoutError:
                said = f"the body was not there within {self._limits.body_seconds:g} s"
                raise Refused("too_slow", said, "Send smaller requests.") from None
            use(body)
        finally:
            counted.release()

    async def _whole(self, pieces: AsyncIterator[bytes], encoding: str, counted: _Counted) -> bytes:
        unpack = None
        if encoding not in ("", "identity"):
            if encoding not in _WINDOWS:
                raise Refused("bad_encoding", "the Content-Encoding is not known", "Send gzip, deflate or plain.")
            unpack = zlib.decompressobj(_WINDOWS[encoding])
        found, packed_bytes = bytearray(), 0
        async for piece in pieces:
            packed_bytes += len(piece)
            if packed_bytes > self._limits.max_body_bytes:
                raise self._too_large("the body", packed_bytes, self._limits.max_body_bytes)
            if unpack is None:
                counted.add(len(piece))
                found += piece
            else:
                self._unpack(unpack, piece, found, counted)
        if unpack is not None and not unpack.eof:
            raise Refused("bad_encoding", f"the {encoding} data is cut off", "Send the body whole.")
        return bytes(found)

    def _unpack(self, unpack: zlib._Decompress, piece: bytes, found: bytearray, counted: _Counted) -> None:
        most = self._limits.max_unpacked_bytes
        while piece and not unpack.eof:
            try:
                part = unpack.decompress(piece, _PIECE_BYTES)
            except zlib.error as error:
                said = f"the compressed data is damaged ({error})"
                raise Refused("bad_encoding", said, "Send what Content-Encoding says.") from None
            counted.add(len(part))
            found += part
            if len(found) > most:
                raise self._too_large("the unpacked body", len(found), most)
            piece = unpack.unconsumed_tail

    def _too_large(self, what: str, size: int, most: int) -> Refused:
        return Refused(
            "body_too_large", f"{what} has {size} bytes or more, at most {most}", "Send fewer rows a request."
        )

    def room_for(self, size: int) -> bool:
        """Say whether *size* more bytes may be held."""
        return self.held_bytes + size <= self._limits.max_buffer_bytes or not self.held_bytes


class _Counted:
    """What one request holds of it."""

    def __init__(self, bodies: Bodies) -> None:
        self._bodies, self._held = bodies, 0

    def add(self, size: int) -> None:
        """Hold *size* bytes more.

        Raises:
            Busy: If that is too much.
        """
        if not self._bodies.room_for(size):
            raise Busy
        self._held += size
        self._bodies.held_bytes += size

    def release(self) -> None:
        """Hold nothing any more."""
        self._bodies.held_bytes -= self._held
        self._held = 0
