"""Three kinds of metric that cost a dictionary update on the hot path and become samples only when scraped.

Invariant: what was never set has no sample (missing is not zero); a counter without labels starts at zero.
The library's own classes take a lock and a child look-up per change; a chunk would pay that thousands of times.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

Labels = tuple[str, ...]


class Count:
    """A sum that only grows; its sample's name ends in ``_total``."""

    def __init__(self, name: str, comment: str, labels: Labels = ()) -> None:
        self.name, self.comment, self.labels = name, comment, labels
        self.values: dict[Labels, float] = {} if labels else {(): 0}

    def add(self, amount: float, *labels: str) -> None:
        """Add *amount* (not negative) to the sum under *labels*, in the order declared."""
        self.values[labels] = self.values.get(labels, 0) + amount

    def value(self, *labels: str) -> float:
        """Return the sum under *labels*; zero when nothing was added."""
        return self.values.get(labels, 0)

    def family(self) -> CounterMetricFamily:
        """Return the samples as of now."""
        family = CounterMetricFamily(self.name, self.comment, labels=self.labels)
        for labels, value in self.values.items():
            family.add_metric(labels, value)
        return family


class Level:
    """A value that goes up and down."""

    def __init__(self, name: str, comment: str, labels: Labels = ()) -> None:
        self.name, self.comment, self.labels = name, comment, labels
        self.values: dict[Labels, float] = {}

    def set(self, value: float, *labels: str | int) -> None:
        """Set the value under *labels*; whole numbers become text."""
        self.values[tuple(map(str, labels))] = value

    def value(self, *labels: str | int) -> float | None:
        """Return the value under *labels*, or None when it was never set."""
        return self.values.get(tuple(map(str, labels)))

    def drop(self, **named: str | int) -> None:
        """Remove every series whose labels have the *named* values."""
        wanted = [(self.labels.index(name), str(value)) for name, value in named.items()]
        for labels in [found for found in self.values if all(found[at] == value for at, value in wanted)]:
            del self.values[labels]

    def family(self) -> GaugeMetricFamily:
        """Return the samples as of now."""
        family = GaugeMetricFamily(self.name, self.comment, labels=self.labels)
        for labels, value in self.values.items():
            family.add_metric(labels, value)
        return family


class Spread:
    """A histogram without labels: counts per bucket, and the sum."""

    def __init__(self, name: str, comment: str, bounds: Sequence[float]) -> None:
        """Count into buckets with the upper *bounds*, ascending; one more without a bound is added."""
        self.name, self.comment, self.bounds = name, comment, tuple(bounds)
        self.counts = [0] * (len(self.bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float, times: int = 1) -> None:
        """Count *value*, *times* over."""
        self.counts[bisect_left(self.bounds, value)] += times
        self.sum += value * times

    def family(self) -> HistogramMetricFamily:
        """Return the samples as of now, cumulated as the format wants them."""
        family = HistogramMetricFamily(self.name, self.comment)
        buckets: list[tuple[str, float]] = []
        running = 0
        for bound, count in zip([*map(str, self.bounds), "+Inf"], self.counts, strict=True):
            running += count
            buckets.append((bound, running))
        family.add_metric((), buckets, self.sum)
        return family
