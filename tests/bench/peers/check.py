"""Owns how an engine's result is read back from Kafka and held against the oracle.

Invariant: what is checked is what a reader of committed records would find; a time counts only if nothing differs.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Callable, Iterable, Mapping

import orjson

from tests.bench.peers.topic import Key

Record = tuple[bytes | None, bytes | None]
"""Key and value."""
Decode = Callable[[Iterable[Record]], dict[Key, int]]
"""Makes counts of a result topic's records, in the order of each partition."""


def key_of(text: bytes | str) -> Key:
    """Return the key that is spelt `org/user/week`.

    >>> key_of(b"1/2/2810")
    (1, 2, 2810)
    """
    org, user, week = text.split(b"/" if isinstance(text, bytes) else "/")  # type: ignore[arg-type]
    return int(org), int(user), int(week)


def text_counts(records: Iterable[Record]) -> dict[Key, int]:
    """Read keys `org/user/week` with counts in digits; the last of a key holds."""
    return {key_of(key): int(value) for key, value in records if key is not None and value is not None}


def long_counts(records: Iterable[Record]) -> dict[Key, int]:
    """Read keys `org/user/week` with counts of eight bytes, as Kafka Streams' changelog has them."""
    pairs = ((key, value) for key, value in records if key is not None and value is not None)
    return {key_of(key): int(struct.unpack(">q", value)[0]) for key, value in pairs}


def json_key_counts(records: Iterable[Record]) -> dict[Key, int]:
    """Read JSON keys with counts in digits: the changelog of a Faust table."""
    pairs = ((key, value) for key, value in records if key is not None and value is not None)
    return {key_of(orjson.loads(key)): int(value) for key, value in pairs}


def quix_counts(records: Iterable[Record]) -> dict[Key, int]:
    """Read Quix's changelog: the message key, a bar, the state's key in JSON; the count in digits."""
    found: dict[Key, int] = {}
    for key, value in records:
        if key is not None and value is not None and b'"' in key:
            found[key_of(key[key.index(b'"') :].strip(b'"'))] = int(value)
    return found


def difference_counts(records: Iterable[Record]) -> dict[Key, int]:
    """Read Pathway's stream of differences: rows that come (`diff` 1) and go (-1); what stays holds."""
    rows: Counter[tuple[Key, int]] = Counter()
    for _, value in records:
        if value is not None:
            row = orjson.loads(value)
            rows[(row["org_id"], row["user_id"], row["week"]), row["number"]] += row["diff"]
    found: dict[Key, int] = {}
    for (key, count), standing in rows.items():
        if standing:  # two counts that stand, or one that stands twice, must not look right
            found[key] = found.get(key, 0) + count * standing
    return found


def difference(expected: Mapping[Key, int], found: Mapping[Key, int]) -> str | None:
    """Say how *found* differs from the oracle, or None if it does not.

    >>> difference({(1, 1, 1): 3}, {(1, 1, 1): 2})
    '1 of 1 counts differ (0 missing, 0 too many); 2 events instead of 3'
    """
    if expected == found:
        return None
    missing = len(expected.keys() - found.keys())
    extra = len(found.keys() - expected.keys())
    other = sum(1 for key, count in found.items() if key in expected and expected[key] != count)
    return (
        f"{missing + extra + other:,} of {len(expected):,} counts differ ({missing:,} missing, {extra:,} too many); "
        f"{sum(found.values()):,} events instead of {sum(expected.values()):,}"
    )
