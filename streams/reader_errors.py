"""What a reader of Redis can fail with.

Invariant: whatever a reader raises is a `ReaderError`, but for wrong arguments (ValueError).
"""

from __future__ import annotations

from redis.exceptions import AuthenticationError, AuthorizationError, RedisError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError


class ReaderError(RedisError):
    """A question without an answer; not the same as an answer that there is nothing."""


class RedisAwayError(ReaderError):
    """Redis can't be reached or does not reply in time: try again later."""


class RedisRefusedError(ReaderError):
    """Redis replied that it will not: a password, a permission, a key of another type."""


class NewerSchemaError(ReaderError):
    """The document was written by a newer orgpulse than this reader knows: update the reader."""


class UnreadableError(ReaderError):
    """The document is not one of orgpulse's: something else writes under the prefix."""


def reader_error(error: Exception) -> ReaderError:
    """Return what *error* of the client or the socket means to a reader."""
    said = f"{type(error).__name__}: {error}"
    if isinstance(error, AuthenticationError | AuthorizationError):
        return RedisRefusedError(said)
    if isinstance(error, RedisConnectionError | RedisTimeoutError | OSError):
        return RedisAwayError(said)
    return RedisRefusedError(said)
