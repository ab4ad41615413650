"""Who was forgotten lately, without saying who: so that what is still under way of them does not bring them back.

Owns salted digests of the ids of users who were forgotten, for as long as a record that names them may still come in.
Invariant: an id can be recognised by it, and is not in it.
"""

from __future__ import annotations

import hashlib
from typing import Any, NamedTuple

DIGEST_BYTES = 16
SALT_BYTES = 16


class Guard(NamedTuple):
    """One user who was forgotten."""

    salt: bytes
    digest: bytes
    slot: int
    until_ms: int


def digest_of(salt: bytes, user: str) -> bytes:
    """Return by what *user* is recognised: BLAKE2b of the id, keyed with *salt*, 16 bytes.

    >>> digest_of(b"a", "ann") == digest_of(b"a", "ann"), digest_of(b"a", "ann") == digest_of(b"b", "ann")
    (True, False)
    """
    return hashlib.blake2b(user.encode("utf-8", "surrogatepass"), key=salt[:64], digest_size=DIGEST_BYTES).digest()


class Guards:
    """The guards of a partition, by org."""

    def __init__(self) -> None:
        self._by_org: dict[str, list[Guard]] = {}

    def __bool__(self) -> bool:
        return bool(self._by_org)

    def add(self, org: str, guard: Guard) -> None:
        """Recognise somebody from now on."""
        self._by_org.setdefault(org, []).append(guard)

    def find(self, org: str, user: str) -> int | None:
        """Return the slot of *user*, whose name it no longer has; None = was not forgotten."""
        for guard in self._by_org.get(org, ()) if user else ():
            if digest_of(guard.salt, user) == guard.digest:
                return guard.slot
        return None

    def advance(self, watermark_ms: int) -> None:
        """Let go of those of whom nothing can come in any more."""
        for org, guards in list(self._by_org.items()):
            kept = [guard for guard in guards if guard.until_ms > watermark_ms]
            if not kept:
                del self._by_org[org]
            elif len(kept) < len(guards):
                self._by_org[org] = kept

    def segment(self) -> list[Any]:
        """Return the content for a checkpoint."""
        return [[org, *guard] for org, guards in sorted(self._by_org.items()) for guard in guards]

    def restore(self, segment: list[Any]) -> None:
        """Take over what `segment` returned."""
        for org, *rest in segment:
            self.add(org, Guard(*rest))
