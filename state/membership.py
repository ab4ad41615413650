"""Where a person belongs at which time: membership of orgs, with dates.

Owns the succession of a user's memberships. Invariant: they are ascending and do not overlap, so that at any time a
user belongs to one org at most.

        org a        org b                 org b
    ──┤▓▓▓▓▓▓▓▓├┤▒▒▒▒▒▒▒▒▒▒├── nowhere ──┤▒▒▒▒▒▒▒▒▒ for ever
"""

from __future__ import annotations

from collections.abc import Sequence

ALWAYS_MS, FOREVER_MS = 0, 2**62
"""The beginning and the end of a membership without dates; no event is older than the year 2000."""
MAX_MEMBERSHIPS = 20
"""Memberships of a user that are remembered; the oldest go first."""

Membership = tuple[int, int, str]
"""From (ms, inclusive), until (ms, exclusive), org."""


def joined(
    former: Sequence[Membership], org: str, since_ms: int | None, until_ms: int | None, at_ms: int
) -> list[Membership]:
    """Return the memberships after the directory said, at *at_ms*, that a user belongs to *org*.

    What it says of dates holds against everything said before. Without *since_ms* a user begins in another org when
    the directory says so, goes on in the same one, and was always in the first one. Saying the same again changes
    nothing.

    >>> joined([(0, FOREVER_MS, "a")], "b", None, None, 500)[0]
    (0, 500, 'a')
    """
    last = former[-1] if former else None
    if since_ms is not None:
        start = since_ms
    elif last is None:
        start = ALWAYS_MS
    else:
        start = last[0] if last[2] == org else at_ms
    stop = FOREVER_MS if until_ms is None else until_ms
    if last is not None and last[2] == org and start > last[0] and since_ms is not None and not _is_new(last, start):
        former = former[:-1]  # the same membership began later than was said
    found = [(begin, min(end, start), where) for begin, end, where in former if begin < start]
    if since_ms is None and found and found[-1][1:] == (start, org):
        start = found.pop()[0]  # one membership, told in two parts
    if start < stop:
        found.append((start, stop, org))
    return found[-MAX_MEMBERSHIPS:]


def _is_new(last: Membership, start: int) -> bool:
    """Say whether a membership of the same org that begins at *start* is another one: the former had ended by then."""
    return last[1] <= start


def org_at(memberships: Sequence[Membership], time_ms: int) -> str:
    """Return the org that a user belonged to at *time_ms*, empty = to none.

    >>> org_at([(0, 500, "a"), (500, 900, "b")], 500), org_at([(0, 500, "a")], 500)
    ('b', '')
    """
    return next((org for begin, end, org in memberships if begin <= time_ms < end), "")


def last_stints(memberships: Sequence[Membership]) -> dict[str, tuple[int, int]]:
    """Return by org the last (from, until) of a user's memberships."""
    return {org: (begin, end) for begin, end, org in memberships}
