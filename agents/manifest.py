"""Says what belongs to a checkpoint, so that a damaged one is never taken for a state.

    manifest ─► position, and of each segment: how many parts, and a digest over theirs
    ring:hour#000000, ring:hour#000001, …   meta#000000

Owns the names of parts in the table `shard` and the record that lists them. Invariant: `whole` returns exactly what
was written at the manifest's position, or raises; parts that do not belong to it are left out.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import xxhash

from state.records import record_of

KEY = b"manifest"

Digests = dict[bytes, int]  # key of a part → hash of its bytes


class DamagedCheckpointError(ValueError):
    """Parts of a checkpoint are missing, or not the ones that were written."""


class Manifest(msgspec.Struct, array_like=True, frozen=True):
    """What a checkpoint consists of; later versions may append fields."""

    position: int
    segments: dict[str, tuple[int, int]]  # name → number of parts, digest over their digests

    def dump(self) -> bytes:
        """Return the manifest as bytes."""
        return msgspec.msgpack.encode(self)


_decoder = msgspec.msgpack.Decoder(Manifest)


def part_key(segment: str, number: int) -> bytes:
    """Return the key of a part.

    >>> part_key("ring:hour", 3)
    b'ring:hour#000003'
    """
    return f"{segment}#{number:06d}".encode()


def digest_of(raw: bytes) -> int:
    """Return the hash of a part's bytes."""
    return xxhash.xxh3_64_intdigest(raw)


def manifest_of(position: int, segments: Mapping[str, list[int]]) -> Manifest:
    """Return the manifest of *segments* (name → digests of its parts, in order)."""
    return Manifest(position, {name: (len(digests), _over(digests)) for name, digests in segments.items()})


def whole(content: Mapping[bytes, bytes]) -> dict[str, bytes]:
    """Return segment name → bytes from a table's content (key → part).

    Raises:
        DamagedCheckpointError: If there are parts but no manifest, or not all of its parts, or others.
    """
    raw = content.get(KEY)
    if raw is None:
        raise DamagedCheckpointError(f"{len(content)} parts, but no manifest")
    try:
        manifest = record_of(_decoder, raw)
    except msgspec.DecodeError as error:
        raise DamagedCheckpointError(f"the manifest can't be read: {error}") from error
    segments = {}
    for name, (count, digest) in manifest.segments.items():
        parts = [content.get(part_key(name, number)) for number in range(count)]
        found = [part for part in parts if part is not None]
        if len(found) != count:
            raise DamagedCheckpointError(f"{count - len(found)} of {count} parts of {name} are missing")
        if _over([digest_of(part) for part in found]) != digest:
            raise DamagedCheckpointError(f"{name} is not what was written at {manifest.position}")
        segments[name] = b"".join(found)
    return segments


def _over(digests: list[int]) -> int:
    return xxhash.xxh3_64_intdigest(b"".join(digest.to_bytes(8, "little") for digest in digests))
