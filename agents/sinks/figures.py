"""Every metric of the sinks, each declared once with its comment and unit.

Invariant: no label holds what comes out of a message.
"""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client.core import Metric

from streams.faust_app import ChunkApp
from streams.metric_kinds import Count, Level, Spread

_BOUNDS_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class SinkFigures:
    """One sink's figures; a registry collects them."""

    def __init__(self, sink: str) -> None:
        self._sink = sink
        self.up = Level("orgpulse_sink_up", "1 while the store takes writes, else 0.", ("sink",))
        self.outages = Count("orgpulse_sink_outages", "Times the store was found away.", ("sink",))
        self.errors = Count("orgpulse_sink_errors", "Failed attempts to write, by kind.", ("sink", "kind"))
        self.messages = Count(
            "orgpulse_sink_messages",
            "Messages by what became of them: taken, skipped (what workers refuse, or no event), mended (stored with"
            " U+FFFD or text in the place of what the store can't hold), dead_lettered.",
            ("sink", "topic", "outcome"),
        )
        self.rows = Count(
            "orgpulse_sink_rows",
            "Rows by what became of them: stored, unchanged (there was a newer one, or the same), deleted, refused.",
            ("sink", "table", "outcome"),
        )
        self.lag = Level("orgpulse_sink_lag_messages", "Messages not stored yet.", ("sink", "topic", "partition"))
        self.last_write = Level(
            "orgpulse_sink_last_write_timestamp_seconds", "When the store last took a write, seconds since epoch.",
            ("sink",),
        )  # fmt: skip
        self.write_seconds = Spread("orgpulse_sink_write_seconds", "How long a write took, seconds.", _BOUNDS_SECONDS)

    def collect(self) -> Iterable[Metric]:
        """Yield every metric as of now."""
        for value in vars(self).values():
            if isinstance(value, (Count, Level, Spread)):
                yield value.family()

    def told(self, topic: str, outcome: str, messages: int) -> None:
        """Count messages."""
        if messages:
            self.messages.add(messages, self._sink, topic, outcome)

    def wrote(self, rows: dict[tuple[str, str], int], seconds: float, now: float) -> None:
        """Count a write that the store took at *now* (seconds since the epoch)."""
        for (table, outcome), number in rows.items():
            self.rows.add(number, self._sink, table, outcome)
        self.write_seconds.observe(seconds)
        self.last_write.set(now, self._sink)

    def set_up(self, up: bool) -> None:
        """Say whether the store takes writes."""
        self.up.set(int(up), self._sink)

    def failed(self, kind: str, *, began: bool) -> None:
        """Count a failed attempt; *began*: the store was well before."""
        self.errors.add(1, self._sink, kind)
        if began:
            self.outages.add(1, self._sink)

    def bring(self, app: ChunkApp, stored: dict[tuple[str, int], int]) -> None:
        """Set how much waits: up to the log's end from what is *stored*, (topic, partition) → next offset."""
        self.lag.values.clear()
        for tp, position in app.positions().items():
            held = min(stored.get((tp.topic, tp.partition), position.next_offset), position.next_offset)
            self.lag.set(max(0, position.end - held), self._sink, tp.topic, tp.partition)
