"""Owns what `orgpulse listen` tells Prometheus; each metric is declared once.

Invariant: labels are forms, topics, reasons and statuses, all of which are written in this program: nothing that a
sender chose is ever a label.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from prometheus_client.core import Metric

from streams.metric_kinds import Count, Level, Spread
from streams.tenant_label import registry_of

ACKNOWLEDGE_BOUNDS_SECONDS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Figures:
    """The listener's figures: plain attributes to add to and set, read through `registry`."""

    def __init__(self, look: Callable[[Figures], None] = lambda figures: None, tenant: str = "") -> None:
        """Start with nothing counted; *look* is called before each reading, to set levels. *tenant* labels all."""
        self.look = look
        self.requests = Count("orgpulse_listen_requests", "Requests by form and status.", ("form", "status"))
        self.accepted = Count(
            "orgpulse_listen_accepted",
            "Rows and lines taken in: over HTTP once Kafka has them, over syslog when they are in the buffer.",
            ("form", "topic"),
        )
        self.refused = Count("orgpulse_listen_refused", "Rows and lines not taken in, by reason.", ("form", "reason"))
        self.ignored = Count("orgpulse_listen_ignored", "Rows that say nothing of use here.", ("form",))
        self.acknowledge = Spread(
            "orgpulse_listen_acknowledge_seconds", "From a request's rows in the buffer to Kafka's acknowledgement.",
            ACKNOWLEDGE_BOUNDS_SECONDS,
        )  # fmt: skip
        self.kernel_drops = Level(
            "orgpulse_listen_udp_kernel_drops", "Datagrams that the kernel dropped since the socket was opened."
        )
        self.buffer_bytes = Level("orgpulse_listen_buffer_bytes", "What was accepted and waits for Kafka.")
        self.buffer_records = Level("orgpulse_listen_buffer_records", "Likewise, in records.")
        self.oldest = Level("orgpulse_listen_oldest_wait_seconds", "How long the oldest of them has been waiting.")
        self.kafka_up = Level("orgpulse_listen_kafka_up", "1 while Kafka takes what is accepted.")
        self.connections = Level("orgpulse_listen_connections", "Open connections.", ("kind",))
        self.registry = registry_of(tenant)
        self.registry.register(self)

    def collect(self) -> Iterable[Metric]:
        """Yield all families as of now."""
        self.look(self)
        for each in vars(self).values():
            if isinstance(each, Count | Level | Spread):
                yield each.family()
