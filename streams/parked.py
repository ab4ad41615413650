"""Owns what travels on `unresolved`: activities that wait for an alias, and aliases that were learnt.

Invariant: both sorts about one alias are in one partition, so that whichever
comes first, they meet.
"""

from __future__ import annotations

import msgspec

from state.membership import Membership, org_at
from state.records import record_of

NO_CLAIM_MS = 2**63 - 1
"""Stands for when the directory first said so where it did not: what an event says counts after all that it says."""


class Parked(msgspec.Struct, array_like=True, tag="p", frozen=True):
    """An activity of somebody the directory doesn't know; `org` empty = the message didn't say."""

    alias: str
    org: str
    measure: str
    time_ms: int
    amount: int
    id: str
    ref: str
    topic: str
    partition: int
    offset: int
    place: str = ""
    """Channel or team of a message."""


class Alias(msgspec.Struct, array_like=True, tag="a", frozen=True):
    """What the directory, an operator or an event says of an alias: whom it leads to.

    `user` empty = an org; `gone` = nobody any more.
    """

    alias: str
    org: str
    user: str
    bot: bool = False
    gone: bool = False
    claimed_ms: int = 0
    """When the directory first said so (epoch), 0 = an operator did; of several claims the earliest counts."""
    memberships: list[Membership] = []
    """Of the user; empty = always of `org`."""

    def org_of(self, parked: Parked) -> str:
        """Return the org that *parked* belongs to now that its alias is known; empty = to none yet."""
        if parked.org or not self.memberships:
            return parked.org or self.org
        return org_at(self.memberships, parked.time_ms)


class Forgotten(msgspec.Struct, array_like=True, tag="f", frozen=True):
    """Whoever waits under these aliases is to be forgotten; it does not name them (see `state.forgotten.digest_of`)."""

    salt: bytes
    digests: list[bytes]


_decoder: msgspec.msgpack.Decoder[Parked | Alias | Forgotten] = msgspec.msgpack.Decoder(Parked | Alias | Forgotten)
_claims, _alias = msgspec.msgpack.Decoder(list[Alias]), msgspec.msgpack.Decoder(Alias)
_encoder = msgspec.msgpack.Encoder()


def encode_parked(record: Parked | Alias | Forgotten) -> bytes:
    """Return *record* as bytes."""
    return _encoder.encode(record)


def decode_parked(raw: bytes) -> Parked | Alias | Forgotten:
    """Return the record in *raw*.

    Raises:
        msgspec.DecodeError: If *raw* is none.
    """
    return record_of(_decoder, raw)


def read_claims(raw: bytes) -> list[Alias]:
    """Return who claims an alias, from a row of the table `park`; a version before kept the last one alone.

    Raises:
        msgspec.DecodeError: If *raw* is no such row.
    """
    try:
        return record_of(_claims, raw)
    except msgspec.ValidationError:
        return [record_of(_alias, raw)]
