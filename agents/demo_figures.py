"""Owns what the demo reads from its workers' own pages: readiness, counts, lag, delays.

Invariant: it reads what Prometheus would read, over HTTP; a worker that does not answer has no figures, not zeros.
"""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from collections import defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from prometheus_client.parser import text_string_to_metric_families

TIMEOUT_SECONDS = 2.0
WINDOW_SECONDS = 15.0
FEWEST_DELAYS = 20  # a quantile of fewer says nothing
SOURCES = ("product-events", "syslog-activities", "chat-messages", "transactions")
_DELAY = "orgpulse_event_to_score_seconds_bucket"
_WANTED = (
    "orgpulse_events_total",
    "orgpulse_lag_messages",
    "orgpulse_directory_users",
    "orgpulse_redis_pending",
    _DELAY,
)
Buckets = dict[float, float]


@dataclass(slots=True)
class Scrape:
    """One worker's figures at one moment."""

    events: float = 0.0
    """Source messages accounted for since the process began."""
    lag: float = 0.0
    """Messages of all input topics that are not committed."""
    directory_users: int = 0
    directory_entries: float = 0.0
    """Messages of the directory handled since the process began."""
    pending_writes: float = 0.0
    delays: Buckets = field(default_factory=dict)
    """Upper bound (seconds) → messages at or below it since the process began."""


@dataclass(frozen=True, slots=True)
class Figures:
    """All workers together, over the last seconds."""

    events: float = 0.0
    events_per_second: float | None = None
    lag: float = 0.0
    pending_writes: float = 0.0
    p50_seconds: float | None = None
    p99_seconds: float | None = None
    answering: int = 0


def read_page(url: str) -> tuple[int, str]:
    """Return (status, text) of a worker's page; status 0 when it does not answer."""
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(errors="replace")
    except (OSError, ValueError):
        return 0, ""


def parse(text: str) -> Scrape:
    """Return the figures in a metrics page; the thousands of lines that are not wanted are not looked at.

    >>> parse('orgpulse_lag_messages{partition="0",topic="users"} 3.0\\n').lag
    3.0
    """
    found = Scrape()
    lines = "\n".join(line for line in text.splitlines() if line.startswith(_WANTED))
    for family in text_string_to_metric_families(lines + "\n"):
        for sample in family.samples:
            consumed = sample.name == "orgpulse_events_total" and sample.labels["outcome"] == "consumed"
            if consumed and sample.labels["topic"] in SOURCES:
                found.events += sample.value
            elif consumed and sample.labels["topic"] in ("users", "orgs"):
                found.directory_entries += sample.value
            elif sample.name == "orgpulse_lag_messages":
                found.lag += sample.value
            elif sample.name == "orgpulse_directory_users":
                found.directory_users = int(sample.value)
            elif sample.name == "orgpulse_redis_pending_writes":
                found.pending_writes = sample.value
            elif sample.name == _DELAY:
                found.delays[float(sample.labels["le"])] = sample.value
    return found


def quantile(buckets: Mapping[float, float], share: float) -> float | None:
    """Return the *share* quantile of cumulated *buckets*, interpolated within its bucket; None without counts.

    >>> quantile({0.5: 50.0, 1.0: 100.0, float("inf"): 100.0}, 0.75)
    0.75
    """
    bounds = sorted(buckets)
    total = buckets[bounds[-1]] if bounds else 0.0
    below_bound, below = 0.0, 0.0
    for bound in bounds if total > 0 else ():
        if buckets[bound] >= share * total:
            if bound == float("inf") or buckets[bound] == below:
                return below_bound
            return below_bound + (bound - below_bound) * (share * total - below) / (buckets[bound] - below)
        below_bound, below = bound, buckets[bound]
    return None


class Watch:
    """Looks at the workers again and again, and tells what happened in the last seconds."""

    def __init__(self) -> None:
        """Start with nothing seen."""
        self._last: dict[str, Scrape] = {}
        self._steps: deque[tuple[float, float, Buckets]] = deque()
        self.events = 0.0
        """Source messages since the first look, over restarts of workers."""

    def look(self, addresses: Sequence[str]) -> Figures:
        """Return the figures of the workers at *addresses* (``http://host:port``)."""
        scrapes = {url: parse(text) for url in addresses for status, text in [read_page(url + "/metrics")] if status}
        events, delays = 0.0, defaultdict[float, float](float)
        for url, found in scrapes.items():
            before = self._last.get(url, Scrape())
            if found.events < before.events:  # the process is a new one
                before = Scrape()
            events += found.events - before.events
            for bound, count in found.delays.items():
                delays[bound] += max(0.0, count - before.delays.get(bound, 0.0))
            self._last[url] = found
        self.events += events
        now = time.monotonic()
        self._steps.append((now, events, dict(delays)))
        while now - self._steps[0][0] > WINDOW_SECONDS:
            self._steps.popleft()
        return self._summary(scrapes.values(), now)

    def _summary(self, scrapes: Iterable[Scrape], now: float) -> Figures:
        present = list(scrapes)
        delays = defaultdict[float, float](float)
        for _, _, step in self._steps:
            for bound, count in step.items():
                delays[bound] += count
        enough = max(delays.values(), default=0.0) >= FEWEST_DELAYS
        passed = now - self._steps[0][0]
        recent = sum(events for at, events, _ in self._steps if at > self._steps[0][0])
        return Figures(
            events=self.events,
            events_per_second=recent / passed if passed > 0 else None,
            lag=sum(each.lag for each in present),
            pending_writes=sum(each.pending_writes for each in present),
            p50_seconds=quantile(delays, 0.5) if enough else None,
            p99_seconds=quantile(delays, 0.99) if enough else None,
            answering=len(present),
        )
