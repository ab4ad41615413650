"""Owns how rows get into each table: the input table, and the statements that upsert and delete by it.

    COPY ─► input table ─► INSERT … ON CONFLICT DO UPDATE … WHERE the new fence is higher
    keys that are gone ─► DELETE

Invariant: a row gives way to one with a higher fence only; the input tables are empty after each use.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

_WEEK = (
    "status text, score numeric, band text, coverage numeric, contributions jsonb, calibration bigint,"
    " activities bigint, transactions_count bigint, transactions_cents bigint, replies bigint,"
    " reply_latency_seconds_sum bigint, counts jsonb, sums jsonb, fence bigint"
)


FIRST = "(excluded.fence, excluded.source_partition) < (t.fence, t.source_partition)"
"""The first row of a key counts. Between partitions the place decides, so that it is the same whoever is read first."""


@dataclass(frozen=True)
class Table:
    """A table that rows go to; `columns` are `name type`, the key's first and the fence last."""

    name: str
    key: tuple[str, ...]
    columns: str
    newer: str = "excluded.fence > t.fence"
    """Which of two rows of one key counts: when the new one does."""
    lookup: tuple[str, str] | None = None
    """A column that is a name here, and the dimension table in which the table has its id."""

    @property
    def names(self) -> list[str]:
        """The columns' names."""
        return [column.split()[0] for column in self.columns.split(", ")]

    @property
    def input(self) -> str:
        """The input table's name."""
        return f"in_{self.name}"

    def setup(self) -> list[str]:
        """Return what a connection needs once."""
        keys = ", ".join(f"{key} text" for key in self.key)
        return [
            f"CREATE TEMP TABLE {self.input} ({self.columns}) ON COMMIT DELETE ROWS",
            f"CREATE TEMP TABLE gone_{self.name} ({keys}) ON COMMIT DELETE ROWS",
        ]

    def copy_rows(self) -> str:
        """Return the statement that takes rows in."""
        return f"COPY {self.input} ({', '.join(self.names)}) FROM STDIN"

    def copy_gone(self) -> str:
        """Return the statement that takes keys in whose rows are gone."""
        return f"COPY gone_{self.name} ({', '.join(self.key)}) FROM STDIN"

    def merge(self) -> list[str]:
        """Return the statements that bring what was taken in into the table, the last one being the upsert."""
        target, names, said = list(self.names), [f"i.{name}" for name in self.names], list[str]()
        join = ""
        if self.lookup is not None:
            column, dimension = self.lookup
            at = target.index(column)
            target[at], names[at] = f"{dimension}_id", f"d.{dimension}_id"
            join = f" LEFT JOIN {dimension} AS d ON d.name = i.{column}"
            # In order: two that add the same names at a time must not wait for each other.
            said.append(
                f"INSERT INTO {dimension} (name) SELECT DISTINCT {column} FROM {self.input} AS i WHERE {column} IS NOT"
                f" NULL AND NOT EXISTS (SELECT FROM {dimension} AS d WHERE d.name = i.{column}) ORDER BY 1"
                " ON CONFLICT DO NOTHING"
            )
        changed = ", ".join(f"{name} = excluded.{name}" for name in target if name not in self.key)
        said.append(
            f"INSERT INTO {self.name} AS t ({', '.join(target)}) SELECT {', '.join(names)} FROM {self.input} AS i{join}"
            f" ORDER BY {', '.join(f'i.{key}' for key in self.key)}"
            f" ON CONFLICT ({', '.join(self.key)}) DO UPDATE SET {changed} WHERE {self.newer}"
        )
        return said

    def delete(self) -> str:
        """Return the statement that deletes the rows whose keys are gone."""
        same = " AND ".join(f"t.{key} = g.{key}" for key in self.key)
        return f"DELETE FROM {self.name} AS t USING gone_{self.name} AS g WHERE {same}"

    def clear(self) -> list[str]:
        """Return what empties the input tables."""
        return [f"DELETE FROM {self.input}", f"DELETE FROM gone_{self.name}"]


USER_SCORE = Table(
    "user_score", ("org_id", "user_id", "week"),
    f"org_id text, user_id text, week text, week_start date, attributes jsonb, {_WEEK}",
)  # fmt: skip
COMPANY_SCORE = Table(
    "company_score_history", ("org_id", "week"),
    "org_id text, week text, week_start date, score_licensed numeric, score_median numeric, active_users bigint, "
    + _WEEK,
)  # fmt: skip
LIVE_SCORE = Table(
    "live_score", ("subject",),
    "subject text, org_id text, user_id text, window_end timestamptz, score numeric, band text, coverage numeric,"
    " document jsonb, fence bigint",
)  # fmt: skip
PRODUCT_EVENT = Table(
    "product_event", ("event_id",),
    "event_id text, occurred_at timestamptz, name text, alias text, alias_key text, org_id text, quantity bigint,"
    " unit text, properties jsonb, source_partition integer, fence bigint",
    newer=FIRST,
)  # fmt: skip
APP_USER = Table(
    "app_user", ("user_id",),
    "user_id text, org_id text, email text, username text, display_name text, job_type text, licensed boolean,"
    " bot boolean, since timestamptz, until timestamptz, fence bigint",
    newer="true",  # under the lock of its partition; a user who changes partitions comes last from the new one
    lookup=("job_type", "job_type"),
)  # fmt: skip
ORG = Table(
    "org", ("org_id",),
    "org_id text, name text, group_type text, account_value_usd numeric, timezone text, licenses numeric, fence bigint",
    newer="true",
    lookup=("group_type", "group_type"),
)  # fmt: skip
IDENTITY_LINK = Table("identity_link", ("alias",), "alias text, user_id text, said_by text, fence bigint", newer="true")

CLAIMS = (
    "CREATE TEMP TABLE in_user_alias (user_id text, alias text, claimed_ms bigint, anew boolean) ON COMMIT DELETE ROWS"
)
COPY_CLAIMS = "COPY in_user_alias (user_id, alias, claimed_ms, anew) FROM STDIN"
MERGE_CLAIMS: Sequence[str] = (
    "DELETE FROM user_alias AS t USING in_app_user AS u WHERE t.user_id = u.user_id AND NOT EXISTS"
    " (SELECT FROM in_user_alias AS i WHERE i.user_id = t.user_id AND i.alias = t.alias AND NOT i.anew)",
    "INSERT INTO user_alias (user_id, alias, claimed_ms) SELECT user_id, alias, claimed_ms FROM in_user_alias"
    " ORDER BY user_id, alias ON CONFLICT DO NOTHING",
)
"""Claims that were kept stay as old as they are; all others of these users go, or begin when they were made."""
CLEAR_CLAIMS = "DELETE FROM in_user_alias"
