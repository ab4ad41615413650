"""Owns the metrics of what is served over HTTP.

Invariant: labels are of a fixed set; nothing that a client sends becomes one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric

from streams.metric_kinds import Count, Level

REASONS = (
    "connections", "slow_head", "slow_answer", "idle", "tls", "malformed", "rate", "body", "host", "login", "throttled",
    "role", "busy",
)  # fmt: skip


class WebFigures:
    """Plain attributes to add to and set, read by Prometheus through a registry."""

    def __init__(self, registry: CollectorRegistry, connections: Callable[[], int]) -> None:
        """Be part of *registry*; *connections* says how many are open."""
        self._open = connections
        self.requests = Count("orgpulse_web_requests", "Requests answered, by status.", ("status",))
        self.refused = Count(
            "orgpulse_web_refused",
            "What was not let in or not let go on: connections displaced or too many (connections), too slow"
            " (slow_head, slow_answer, idle), no TLS (tls), no HTTP (malformed), too often (rate), with a body (body),"
            " under another name (host), without or with a wrong password (login), after too many wrong ones"
            " (throttled), without the role (role), too many at once (busy).",
            ("reason",),
        )
        for reason in REASONS:
            self.refused.add(0, reason)
        self.connections = Level("orgpulse_web_connections", "HTTP connections that are open.")
        self.config_ok = Level(
            "orgpulse_web_config_ok",
            "1 while the web configuration file is the one in force, 0 while it can't be used.",
        )
        self.config_loaded = Level(
            "orgpulse_web_config_loaded_timestamp_seconds", "When the configuration in force was read, since epoch."
        )
        registry.register(self)

    def collect(self) -> Iterable[Metric]:
        """Yield the samples as of now."""
        self.connections.set(self._open())
        for each in (self.requests, self.refused, self.connections, self.config_ok, self.config_loaded):
            yield each.family()
