"""Spells an org's alert episode: for the topic `alerts`, for Redis and its stream of changes.

Invariant: what Redis holds follows from the episode alone, so telling it again says the same; the causes, which
belong to one moment, are in the topic's records only.
"""

from __future__ import annotations

from typing import Any

import orjson

from agents.documents import SCHEMA, Documents, percent
from state.alerts import RAISED, RESOLVED
from state.effects import Alert
from state.week import iso_time
from streams.fenced_write import Write
from streams.transactions import Outgoing

OPEN_KEY = "alerts:open"


class AlertDocuments:
    """Spells alerts, with the causes as score documents have them."""

    def __init__(self, documents: Documents) -> None:
        self._documents, self._topic = documents, documents.topics.alerts

    def record(self, found: Alert, position: int, partition: int) -> Outgoing:
        """Return the record for the topic: an episode that began or ended, or what somebody noted of it."""
        alert: dict[str, Any] = {"org": found.org, **self._fields(found), "needed": percent(found.needed)}
        if found.causes is not None:
            shown = self._documents.org(found.causes, position, partition)[1].fields
            alert["causes"] = orjson.loads(shown["reasons"])
            alert |= {name: orjson.loads(shown[name]) for name in ("change", "movers", "history")}
        return Outgoing(self._topic, partition, found.org.encode(), orjson.dumps(alert))

    def write(self, found: Alert, position: int, partition: int, *, again: bool = False) -> Write:
        """Return the hash for Redis, with the entry for `changes`; *again* adds only one that Redis lacks."""
        fields = self._fields(found)
        former = RESOLVED if found.kind == RAISED else RAISED
        entry = {
            "subject": f"org:{found.org}",
            "from": former,
            "to": found.kind,
            "score": fields["score"],
            "previous": fields["from"],
            "cause": "alert",
            "fingerprint": found.fingerprint,
        }
        # The first episode of an org finds no hash; the end of one that nobody saw is no news.
        missed = {former: entry} | ({"": entry} if found.kind == RAISED else {})
        ranks = ((OPEN_KEY, found.org, found.since_ms / 1000 if found.kind == RAISED else None),)
        fence = self._documents.fence(position)
        # The script leads from one `band` of a hash to the next.
        fields |= {"band": found.kind, "schema": SCHEMA, "fence": fence}
        return Write(
            f"alert:{{{found.org}}}", fields, fence, ranks, None if again else entry, partition,
            missed if again else None,
        )  # fmt: skip

    def _fields(self, found: Alert) -> dict[str, str]:
        return {
            "kind": found.kind,
            "rule": found.rule,
            "fingerprint": found.fingerprint,
            "name": found.name,
            "from": percent(found.origin),
            "score": percent(found.score),
            "since": iso_time(found.since_ms),
            "until": iso_time(found.until_ms) if found.until_ms else "",
            "acknowledged_by": found.acknowledged_by,
            "muted_until": iso_time(found.muted_until_ms) if found.muted_until_ms else "",
        }
