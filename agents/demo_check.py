"""Owns the check at the end of `orgpulse demo --once`: what Redis and the metrics show against the recount.

Invariant: equal only if something of every kind was compared and nothing differed.
"""

from __future__ import annotations

import re
import threading
import tomllib
from collections import Counter
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from rich.table import Table

from agents.demo_workers import Crew
from agents.wiring import chat_zones
from deploy.local.errors import LocalError
from reports.collect import NotAtRestError, read_changes, read_raw, wait_at_rest
from reports.compare import Comparison, Difference, compare
from reports.compare_alerts import compare_alerts
from reports.compare_chat import compare_chat, compare_chat_metrics
from reports.compare_latency_metrics import compare_latency_metrics
from reports.compare_lines import compare_lines
from reports.recount import Options, Raw, Recount, recount
from streams.clock import WallClock
from streams.kafka_access import aiokafka_options
from streams.settings import Settings
from streams.topic_specs import topic_names

REST_SECONDS = 120.0
DIFFERENCES_SHOWN = 12
_HOUR_MS = 3_600_000
_MONTH = re.compile(r"latency:\{[^{}]*\}:\S+ (measure|replies)")
_KINDS = {
    "user": "users: scores, reasons, coverage",
    "org": "orgs: scores, reasons, seats; ranks of users",
    "latency": "latency maps: 168 hours each",
    "latency month": "latency by line, month and hour",
    "measure month": "measures by month and hour",
    "chat": "chat activity: windows, rate, people",
    "orgs": "rank of orgs",
    "alert": "alerts: topic, Redis, changes, metrics",
    "totals": "totals",
    "metric": "metrics of both workers: samples",
}


@dataclass(frozen=True, slots=True)
class Checked:
    """The outcome: what was compared, out of how many messages."""

    comparison: Comparison
    messages: int

    @property
    def equal(self) -> bool:
        """Say whether there was something of every important kind, and no difference."""
        kinds = self.comparison.kinds
        return not self.comparison.differences and all(kinds[kind] for kind in ("user", "org", "latency", "chat"))


class _Counting(threading.Thread):
    """Recounts while the system comes to rest: the raw topics are complete, and of the time only the hour matters."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(name="recount", daemon=True)
        self._settings = settings
        file = settings.model.file
        text = Path(file).read_text("utf-8") if file else (files("state") / "health.toml").read_text("utf-8")
        self.model = tomllib.loads(text)
        self.raw: list[Raw] = []
        self._began_ms = int(WallClock().now() * 1000)
        self._found: Recount | None = None

    def run(self) -> None:
        """Read the raw topics and recount them as of now."""
        kafka = self._settings.kafka
        self.raw = read_raw(aiokafka_options(kafka), kafka.prefix)
        self._found = self._recount(self._began_ms)

    def result(self, as_of_ms: int) -> Recount:
        """Return the recount as of *as_of_ms*, anew where that is in another hour."""
        self.join()
        if self._found is None or as_of_ms // _HOUR_MS != self._began_ms // _HOUR_MS:
            self._found = self._recount(as_of_ms)
        return self._found

    def _recount(self, as_of_ms: int) -> Recount:
        latency, chat = self._settings.latency, self._settings.chat
        options = Options(
            rolling_months=latency.rolling_months, reply_horizon_days=latency.reply_horizon_days,
            target_seconds=int(latency.target_minutes * 60), quantile=latency.quantile,
            min_population=self._settings.calibration.min_population, teams=self._settings.ingest.teams,
            chat_days=chat.window_days, chat_people=chat.max_people, chat_zones=chat_zones(self._settings),
        )  # fmt: skip
        return recount(self.raw, self.model, as_of_ms, options)


def check(settings: Settings, crew: Crew) -> Checked:
    """Wait until the system is at rest and compare it with a recount of the raw topics.

    Raises:
        LocalError: If it does not come to rest.
    """
    counting = _Counting(settings)
    counting.start()
    try:
        rest = wait_at_rest(
            [url + "/metrics" for url in crew.addresses], partitions=settings.kafka.partitions,
            activities_topic=topic_names(settings).activities,
            settle_seconds=2 * settings.calibration.every_seconds + 1.0, timeout_seconds=REST_SECONDS,
            redis_url=settings.redis.url, redis_prefix=settings.redis.prefix,
        )  # fmt: skip
    except NotAtRestError as error:
        raise LocalError(f"The workers have not come to rest: {error}", f"less {crew.workers[0].log}") from error
    found, latency = counting.result(rest.as_of_ms), settings.latency
    comparison = compare(
        found, rest, counting.model, quantile=latency.quantile, min_count=latency.min_count, counters=not crew.restarts
    )
    comparison.add(compare_lines(found.lines, rest.documents, int(latency.target_minutes * 60_000)))
    comparison.add(compare_chat(found.chat, rest.documents, rest.as_of_ms))
    comparison.add(compare_chat_metrics(found.chat, rest.metrics, rest.as_of_ms, rest.documents))
    comparison.add(compare_latency_metrics(found, rest.metrics, latency.quantile))
    kafka, store = settings.kafka, settings.redis
    told = read_raw(aiokafka_options(kafka), kafka.prefix, ("alerts",))
    comparison.add(compare_alerts(rest, told, read_changes(store.url, store.prefix)))
    return Checked(comparison, len(counting.raw))


def check_table(checked: Checked) -> Table:
    """Return what was compared, a line for each kind of thing."""
    wrong = Counter(_kind_of(difference) for difference in checked.comparison.differences)
    table = Table(title="Compared with a recount of the raw topics", title_justify="left", title_style="bold", box=None,
                  pad_edge=False)  # fmt: skip
    table.add_column("what")
    for heading in ("keys", "differences"):
        table.add_column(heading, justify="right")
    for kind, text in _KINDS.items():
        keys = checked.comparison.kinds[kind]
        if keys or wrong[kind]:
            table.add_row(text, f"{keys:,}", f"{wrong[kind]:,}")
    if wrong["metric"] == 0 == checked.comparison.kinds["metric"]:
        table.add_row(_KINDS["metric"], "", "0")
    return table


def difference_lines(checked: Checked) -> list[str]:
    """Return the first differences, a line each."""
    found = checked.comparison.differences
    lines = [f"{d.key} {d.field}: shown {d.system}, recounted {d.recount}" for d in found[:DIFFERENCES_SHOWN]]
    more = len(found) - len(lines)
    return [*lines, f"… and {more:,} more"] if more > 0 else lines


def summary(checked: Checked) -> str:
    """Return the outcome in one line."""
    result = checked.comparison
    outcome = "equal" if checked.equal else f"{len(result.differences):,} differences"
    return f"{checked.messages:,} messages recounted; {result.keys:,} keys, {result.fields:,} fields: {outcome}"


def _kind_of(difference: Difference) -> str:
    if month := _MONTH.match(difference.key):
        return "measure month" if month[1] == "measure" else "latency month"
    return difference.key.partition(":")[0].partition(" ")[0].replace("alerts", "alert").replace("changes", "alert")
