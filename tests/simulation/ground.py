"""What every simulated world has in common: settings, a small health model, names, tables.

Owns the sizes. Invariant: small enough that a shrunken failure can be read, large enough that orgs, people and
their messages lie in different partitions.
"""

from __future__ import annotations

from typing import Any

from agents.wiring import limits_of
from reports.recount import Options
from state.model import build_model
from streams.settings import Settings, override
from streams.tables import ChunkTable
from streams.topic_specs import TopicNames, topic_names

MINUTE_MS, HOUR_MS = 60_000, 3_600_000
DAY_MS = 24 * HOUR_MS
START_MS = 1_774_728_000_000
"""2026-03-28 20:00 UTC, a Saturday: the week ends soon, and so does winter time in Berlin."""
PARTITIONS = 2
LATENESS_HOURS = 14 * 24
LONGEST_DAYS = 5
"""How far the clock may go in one run; with as much event time behind it nothing is late by chance."""

MODEL: dict[str, Any] = {
    "bands": {"healthy": 60, "at_risk": 30, "hysteresis": 2},
    "measures": {
        "search": {"events": ["Search"], "feature": True},
        "upload": {"events": ["Upload"], "summed": True},
        "login": {"actions": ["login"]},
        "order": {"events": ["Order"], "hours": True},
        "acknowledged": {"events": ["Ack"], "hours": True, "since": "created_at", "summed": True},
        "served": {"events": ["Served"], "hours": True, "duration": "min", "passive": True},
        "signup": {"events": ["Signup"], "hours": True, "time": "signed_up_at"},
        "transaction": {"hours": True},
        "message": {"hours": True},
    },
    "attributes": [
        {"name": "searches", "kind": "count", "weight": 3, "measures": ["search"], "cuts": list(range(1, 10))},
        {"name": "bytes", "kind": "sum", "weight": 2, "measures": ["upload"], "cuts": list(range(10, 100, 10))},
        {"name": "latency", "kind": "mean", "weight": 1, "measures": ["reply_given"], "missing": "reweight",
         "cuts": [-9000, -8000, -7000, -6000, -5000, -4000, -3000, -2000, -1000]},
        {"name": "share", "kind": "share_of_org", "weight": 2, "cuts": list(range(1000, 10_000, 1000))},
        {"name": "wait", "kind": "median", "weight": 1, "measures": ["acknowledged", "served"], "missing": "reweight",
         "cuts": [-9000, -8000, -7000, -6000, -5000, -4000, -3000, -2000, -1000]},
    ],
}  # fmt: skip
MIN_POPULATION = 1  # cut points must not depend on whether there were ever enough people
CHECKPOINT_ROWS, CHECKPOINT_SECONDS = 6, 3600.0
TEAMS = {"help": "support", "desk": "support"}
SETTINGS = override(
    Settings(),
    {
        "kafka.partitions": PARTITIONS,
        "time.allowed_lateness_hours": LATENESS_HOURS,
        "latency.min_count": 1,
        "ingest.teams": TEAMS,
    },
)
NAMES = topic_names(SETTINGS)
SHARD_MODEL = build_model(MODEL)
LIMITS = limits_of(SETTINGS)
OPTIONS = Options(lateness_hours=LATENESS_HOURS, min_population=MIN_POPULATION, teams=TEAMS)
SOURCES = (NAMES.product_events, NAMES.syslog_activities, NAMES.chat_messages, NAMES.transactions)


def tables_of(names: TopicNames) -> dict[str, str]:
    """Return table → changelog."""
    return {
        "ledger": names.ledger_changelog,
        "members": names.members_changelog,
        "park": names.park_changelog,
        "shard": names.shard_changelog,
        "census": names.census_changelog,
    }


class LogTable(ChunkTable):
    """The real table without the Faust app around it."""

    def __init__(self, changelog: str) -> None:
        self._contents: dict[int, dict[bytes, bytes]] = {}
        self._name = changelog

    @property
    def changelog(self) -> str:
        """Name of the changelog topic."""
        return self._name
