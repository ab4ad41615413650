"""Owns queries as inputs: any database that SQLAlchemy has a dialect for.

Invariant: the database streams, memory holds a few thousand rows; nothing is ever committed; no password is shown.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Iterator, Sequence
from typing import IO, Any, cast

from agents.importers.source import InputError, Source
from agents.importers.tables import Query
from streams.settings import redacted_url

_ROWS_AT_ONCE = 2_000
_ORDER = re.compile(r"(?is)\border\s+by\b(?!.*\bunion\b)")
_COMMENTS = re.compile(r"(?s)--[^\n]*|/\*.*?\*/|'(?:[^']|'')*'")


def is_ordered(sql: str) -> bool:
    """Return whether a query says in which order its rows come.

    >>> is_ordered("SELECT 1 -- order by hand"), is_ordered("select * from t Order  By id")
    (False, True)
    """
    return bool(_ORDER.search(_COMMENTS.sub(" ", sql)))


class SqlEntry:
    """A query as one input of an import."""

    def __init__(self, url: str, sql: str) -> None:
        self._url, self._sql = url, sql
        self.ordered = is_ordered(sql)
        digest = hashlib.sha256(sql.encode()).hexdigest()
        self.name = f"query-{digest[:8]}"
        where = re.sub(r"(://[^:/?#@\s]*):\S+@", r"\1@", url)
        # Without an order the n-th row is another one each time: then there is no place to go on from.
        self.key = f"{self.name}-{hashlib.sha256((where + sql).encode()).hexdigest()[:16]}" if self.ordered else ""

    def open(self) -> Source:
        """Connect and send the query.

        Raises:
            InputError: If the address or the query is no good, said without the password.
        """
        rows = SqlRows(self._url, self._sql, self.ordered)
        empty = io.BytesIO()
        return Source(self.name, empty, cast(IO[bytes], empty), None, content=rows)


class SqlRows(Query):
    """The rows of one query, streamed by the server where its driver can."""

    def __init__(self, url: str, sql: str, ordered: bool) -> None:
        self.ordered, self.columns = ordered, ()
        self._engine: Any = None
        self._connection: Any = None
        self._result: Any = None
        self._cover = url
        try:
            self._connect(url, sql)
        except InputError:
            self.close()
            raise

    def _connect(self, url: str, sql: str) -> None:
        from sqlalchemy import create_engine
        from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError
        from sqlalchemy.pool import NullPool

        try:
            engine: Any = create_engine(with_driver(url), poolclass=NullPool)
            options = {"stream_results": True, "yield_per": _ROWS_AT_ONCE, "no_parameters": True}
            if engine.dialect.name == "postgresql":
                options["postgresql_readonly"] = True
            self._engine = engine
            self._connection = engine.connect().execution_options(**options)
            self._result = self._connection.exec_driver_sql(sql)
        except (ArgumentError, NoSuchModuleError) as error:
            raise InputError(
                f"the database address is not one that SQLAlchemy knows ({self._covered(error)}); "
                "write for example postgresql://user@host/base or sqlite:///file.db"
            ) from None
        except ModuleNotFoundError as error:
            raise InputError(f"the driver {error.name} is not installed: pip install {error.name}") from None
        except (SQLAlchemyError, OSError) as error:
            raise InputError(f"the database refuses: {self._covered(error)}") from None
        if not self._result.returns_rows:
            raise InputError("the query gives no rows: it has to be a SELECT (nothing was committed)")
        self.columns = list(self._result.keys())
        doubled = sorted({name for name in self.columns if list(self.columns).count(name) > 1})
        if doubled:
            raise InputError(f"the query has two columns called {doubled[0]!r}: name one with AS")

    def rows(self) -> Iterator[Sequence[Any]]:
        """Yield the rows as they come from the server."""
        from sqlalchemy.exc import SQLAlchemyError

        try:
            yield from self._result
        except (SQLAlchemyError, ValueError, ArithmeticError) as error:
            raise InputError(f"the database stopped in the middle: {self._covered(error)}") from None

    def close(self) -> None:
        """Leave without a commit."""
        if self._connection is not None:
            self._connection.close()
        if self._engine is not None:
            self._engine.dispose()

    def _covered(self, error: Exception) -> str:
        """Return the first line of what the driver says, without the password, in whatever form it repeats it."""
        text = str(getattr(error, "orig", None) or error).strip()
        return covered(text.splitlines()[0][:300] if text else type(error).__name__, self._cover)


def covered(text: str, url: str) -> str:
    """Return *text* without the password of *url*.

    >>> covered("connecting to postgresql://a:pw%40x@h/b failed for pw@x", "postgresql://a:pw%40x@h/b")
    'connecting to postgresql://a:***@h/b failed for ***'
    """
    from urllib.parse import unquote

    found = re.search(r"://[^:/?#@\s]*:(\S+)@", url)
    for secret in (found[1], unquote(found[1])) if found else ():
        text = text.replace(secret, "***")
    return redacted_url(text)


def with_driver(url: str) -> str:
    """Return a database's address with the driver that comes along, where it names none.

    >>> with_driver("postgres://h/b"), with_driver("mysql+pymysql://h/b")
    ('postgresql+psycopg://h/b', 'mysql+pymysql://h/b')
    """
    return re.sub(r"^(postgres|postgresql)://", "postgresql+psycopg://", url)
