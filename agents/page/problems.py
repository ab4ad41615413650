"""What can keep a page from being shown, in words for people and as a document for programs (RFC 9457).

Invariant: nothing of a traceback or of an address with a password ever reaches the reader.
"""

from __future__ import annotations

import msgspec

from streams.reader_errors import NewerSchemaError, ReaderError, RedisAwayError, UnreadableError

RETRY_SECONDS = 5


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """Why there is no answer (RFC 9457)."""

    title: str
    status: int
    detail: str
    type: str = "about:blank"


class ProblemError(Exception):
    """A request that has no answer."""

    def __init__(self, status: int, title: str, detail: str, *, retry: bool = False, search: str = "") -> None:
        """Say what is the matter; *retry* = the same may work soon, *search* = what accounts to look for instead."""
        super().__init__(f"{status} {title}: {detail}")
        self.problem = Problem(title=title, status=status, detail=detail)
        self.retry, self.search = retry, search


def bad_request(detail: str) -> ProblemError:
    """Return what to say of a parameter that can't be."""
    return ProblemError(400, "Bad request", detail)


def not_found(detail: str, search: str = "") -> ProblemError:
    """Return what to say of something that isn't there."""
    return ProblemError(404, "Not found", detail, search=search)


def of_reader(error: ReaderError, since: str) -> ProblemError:
    """Return what an error of the reader means to somebody who looks at the page; *since* is when it began."""
    if isinstance(error, NewerSchemaError):
        return ProblemError(
            503, "Written by a newer version", f"{error}. Update this worker, or open the page of a newer one.",
        )  # fmt: skip
    if isinstance(error, UnreadableError):
        return ProblemError(503, "A document that can't be read", f"{error}. Something else writes under the prefix.")
    if isinstance(error, RedisAwayError):
        return ProblemError(
            503, "Redis is away", f"Scores can't be read since {since}. Workers go on counting and write them later.",
            retry=True,
        )  # fmt: skip
    return ProblemError(503, "Redis refuses", f"Redis does not let this page read ({kind(error)}), since {since}.")


def kind(error: Exception) -> str:
    """Return the first word of what Redis said; the rest may name users and addresses."""
    return str(error).partition(":")[0][:60]
