"""Says what an error of PostgreSQL means: it is away, somebody has to act, or a row does not fit.

Invariant: what may pass is waited for; everything else has a remedy, or names the row.
"""

from __future__ import annotations

import psycopg

from agents.sinks.errors import RowRefusedError, StoreAwayError, StoreRefusesError
from streams.settings import redacted_url

_CREATE = "Run `orgpulse sink postgres --create` with a role that may create, or set [sink] migrate = true."
_ROLE = "Correct [sink] postgres_url (ORGPULSE_SINK_POSTGRES_URL, or its _FILE), then start the sink again."
#: SQLSTATE or class of it → what to do.
_REMEDIES = {
    "28": _ROLE,
    "3D000": "Create the database (`createdb`), or correct its name in [sink] postgres_url.",
    "42501": "Grant it: USAGE on the schema, SELECT, INSERT, UPDATE and DELETE on its tables, and TEMPORARY on the "
    "database; for --create also CREATE on the database (docs/sinks.md).",
    "3F000": _CREATE,
    "42P01": _CREATE,
    "42": "The tables are not those that this version makes: set another [sink] schema, or see docs/sinks.md.",
    "0A": "Use PostgreSQL 13 or newer.",
}
#: Class of SQLSTATE → kind for the metrics; these pass.
_PASSING = {"08": "connection", "53": "resources", "57": "shutdown", "40": "conflict", "55": "locked", "58": "system"}
_READ_ONLY = "25006"  # a standby, until it is promoted
_ASLEEP = "25P03"  # this process slept in a transaction, and the server has ended it
_UNFIT = ("22", "23", "54")
#: What libpq says while connecting, which comes without a code.
_AT_CONNECT = (
    ("password authentication failed", "28"),
    ("no password supplied", "28"),
    ("no pg_hba.conf entry", "28"),
    ('role "', "28"),
    ("authentication failed", "28"),
    ('database "', "3D000"),
    ("permission denied for database", "42501"),
)


def meaning_of(error: psycopg.Error) -> Exception:
    """Return what to raise in the place of *error*."""
    said, state = text_of(error), error.sqlstate or _state_at_connect(str(error))
    if state[:2] in _UNFIT:
        return RowRefusedError(said)
    if state[:2] in _PASSING or state in (_READ_ONLY, _ASLEEP):
        return StoreAwayError(_PASSING.get(state[:2], "read_only" if state == _READ_ONLY else "timeout"), said)
    remedy = _REMEDIES.get(state) or _REMEDIES.get(state[:2])
    if remedy is not None:
        return StoreRefusesError(f"PostgreSQL refuses: {said}", remedy)
    if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
        return StoreAwayError("connection", said)
    return StoreAwayError("other", said)  # tried again, told on /ready; nothing is lost by that


def text_of(error: BaseException) -> str:
    """Return the first line of what an error says, without passwords."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return redacted_url(lines[0] if lines else type(error).__name__)[:300]


def _state_at_connect(text: str) -> str:
    if "FATAL" not in text and "fe_sendauth" not in text:
        return ""
    return next((state for said, state in _AT_CONNECT if said in text), "")
