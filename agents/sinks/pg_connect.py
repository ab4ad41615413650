"""Owns connections to PostgreSQL: how they are opened, and that nothing on them takes for ever.

Invariant: every error that leaves here is one of `agents.sinks.errors`; a server that hangs is let go of.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import psycopg
from psycopg import sql

from agents.sinks.errors import StoreAwayError, StoreRefusesError
from agents.sinks.pg_errors import meaning_of, text_of

Connection = psycopg.AsyncConnection[tuple[Any, ...]]
Found = TypeVar("Found")
_AFTER_CUT_SECONDS = 5.0


async def connect(url: str, schema: str, timeout_seconds: float, setup: Sequence[str] = ()) -> Connection:
    """Return a connection that finds the tables of *schema*, with *setup* done on it.

    Raises:
        StoreAwayError: If there is no answer, or none in time.
        StoreRefusesError: If the server does not let us in, or *url* can't be read.
    """
    if not is_readable(url):
        raise _unreadable()
    try:
        connection = await psycopg.AsyncConnection.connect(
            url, autocommit=True, connect_timeout=max(2, round(timeout_seconds)), application_name="orgpulse-sink",
            keepalives_idle=10, keepalives_interval=5, keepalives_count=3,
        )  # fmt: skip
    except psycopg.ProgrammingError:  # its text may hold a piece of the password
        raise _unreadable() from None
    except psycopg.Error as error:
        if "invalid integer value" in str(error) or "invalid port" in str(error):
            raise _unreadable() from None
        raise meaning_of(error) from None
    except OSError as error:  # a name that can't be looked up
        raise StoreAwayError("connection", text_of(error)) from None

    async def begin() -> None:
        await connection.execute("SET client_min_messages = warning")
        await connection.execute("SET timezone = 'UTC'")
        # A process that was put to sleep in a transaction holds its partition's position; then the server ends it.
        for limit in ("statement_timeout", "idle_in_transaction_session_timeout"):
            await connection.execute("SELECT set_config(%s, %s, false)", (limit, f"{round(1000 * timeout_seconds)}ms"))
        await connection.execute(sql.SQL("SET search_path = {}").format(sql.Identifier(schema)))
        for statement in setup:
            await connection.execute(statement)

    try:
        await in_time(connection, timeout_seconds, begin)
    except BaseException:
        await let_go(connection)
        raise
    return connection


def is_readable(url: str) -> bool:
    """Say whether name and password of *url* end where they seem to: else what is told of its host could be secret.

    >>> is_readable("postgresql://app:se%40cret@db/x"), is_readable("postgresql://app:se@cret@db/x")
    (True, False)
    """
    login = url.partition("://")[2].rpartition("@")[0]
    return not set(login) & set("@/?#") and login.count(":") <= 1


def _unreadable() -> StoreRefusesError:
    return StoreRefusesError(
        "[sink] postgres_url can't be read",
        "Write it as postgresql://user:password@host:port/database, with special characters of the password as %40 "
        "and so on.",
    )


async def in_time(connection: Connection, seconds: float, work: Callable[[], Awaitable[Found]]) -> Found:
    """Return what *work* on *connection* leads to; after *seconds* the connection is cut under it.

    Raises:
        StoreAwayError: If it took too long, or the server went away.
        StoreRefusesError: If somebody has to act.
        RowRefusedError: If a row does not fit.
    """
    task = asyncio.ensure_future(work())
    try:
        done, _ = await asyncio.wait({task}, timeout=seconds)
        if not done:
            cut(connection)
            # Its end may wait for the server too, for ever; then it is left to itself.
            await asyncio.wait({task}, timeout=_AFTER_CUT_SECONDS)
            raise StoreAwayError("timeout", f"no answer within {seconds:g} s")
        return task.result()
    except psycopg.Error as error:
        raise meaning_of(error) from None
    except OSError as error:
        raise StoreAwayError("connection", text_of(error)) from None
    finally:
        if not task.done():
            task.cancel()
        elif not task.cancelled():
            task.exception()  # looked at: it is told already


def cut(connection: Connection) -> None:
    """End the connection's socket, so that whoever waits for the server wakes up; a hung one never would."""
    with contextlib.suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(connection.fileno())) as mine:
        mine.shutdown(socket.SHUT_RDWR)


async def let_go(connection: Connection) -> None:
    """Close *connection*, whatever state it is in."""
    with contextlib.suppress(psycopg.Error, OSError, TimeoutError):
        async with asyncio.timeout(_AFTER_CUT_SECONDS):
            await connection.close()
