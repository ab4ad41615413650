"""An installation whose orgs do the same every day until told otherwise, in a time of its own: weeks pass in seconds.

Invariant: time is the messages', and a step of it is over when all shards have seen and shown it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import orjson

from agents.simulate import Message
from reports.collect import Rest, Samples, by_label, read_changes, read_metrics, read_raw, read_redis
from reports.compare_alerts import compare_alerts
from streams.topic_specs import topic_names
from tests.faults.system import Size, System, wait_until
from tests.state.worlds import DAY, HOUR, at

# Usually 28 a week: a step of a day that one source partition is ahead by makes nobody fall.
MODEL = """
[bands]
healthy = 60.0
at_risk = 20.0
hysteresis = 2.0

[measures]
search = { events = ["Search"] }
view = { actions = ["view"] }

[[attributes]]
name = "searches"
kind = "count"
weight = 3
measures = ["search"]
cuts = [2, 4, 7, 9, 12, 14, 17, 19, 22]

[[attributes]]
name = "views"
kind = "count"
weight = 1
measures = ["view"]
cuts = [2, 4, 7, 9, 12, 14, 17, 19, 22]
"""
PARTITIONS = 2
START = at("2024-03-04T00:00")  # a Monday
ORGS = ("acme", "bolt", "core", "dyne", "echo", "flux", "gild", "hive", "iris", "jade")
USERS = ("ann", "bob", "cat")
HOURS = (1, 7, 13, 19)
LONG = 60.0
_STEP_HOURS, _MOST_STEPS, _MOMENT = 6, 24, 1.0


class Life:
    """Orgs of three users who search and look around four times a day, in an installation with a clock of its own."""

    def __init__(self, system: System) -> None:
        self.system, self.now, self._number = system, START, 0
        self.silent: set[str] = set()
        self.quartered: set[str] = set()
        self.sources = {"product-events", "syslog-activities"}

    def live(self, days: float, *, step_hours: int = 24) -> None:
        """Let time pass in steps, each seen by all shards before the next one begins."""
        end = self.now + round(days * DAY)
        while self.now < end:
            messages: list[Message] = []
            last = self.now
            for time_ms in range(self.now, self.now + step_hours * HOUR, HOUR):
                if time_ms // HOUR % 24 in HOURS:
                    messages += self._acts(time_ms)
                    last = time_ms
            self.now += step_hours * HOUR
            self.system.send(messages)
            wait_until(lambda last=last: self._unseen(last), LONG)

    def _acts(self, time_ms: int) -> Iterator[Message]:
        for org in ORGS:
            less = org in self.quartered and time_ms // HOUR % 24 != HOURS[0]
            for user in () if org in self.silent or less else USERS:
                self._number += 1
                who = f"{org}-{user}"
                event = {"event_id": f"e{self._number}", "name": "Search", "distinct_id": who, "org_id": org}
                line = {"id": self._number, "org": org, "userid": who, "ghost": 0, "action": "view"}
                made = {"product-events": event | {"time": time_ms}, "syslog-activities": line | {"created": time_ms}}
                for topic in sorted(self.sources):
                    yield Message(topic, org.encode(), orjson.dumps(made[topic]))

    def _unseen(self, time_ms: int) -> str:
        """Return what is not read, folded and shown yet up to *time_ms*."""
        marks: dict[str, float] = {}
        for page in self.pages():
            for topic, lag in by_label(page, "orgpulse_lag_messages", "topic").items():
                if lag and topic != topic_names(self.system.settings).activities:
                    return f"{topic} lags by {lag:g}"
            marks |= by_label(page, "orgpulse_watermark_timestamp_seconds", "partition")
        return "" if len(marks) == PARTITIONS and min(marks.values()) * 1000 >= time_ms else f"watermarks {marks}"

    def pages(self) -> list[Samples]:
        """Return what the running workers show."""
        return [read_metrics(url, ("orgpulse_",)) for url in self.system.workers.urls]

    def alerting(self) -> dict[str, int]:
        """Return the orgs with an alert in Prometheus, each with the number of the worker that shows it."""
        shown = zip(self.system.workers.running, self.pages(), strict=True)
        return {dict(labels)["org"]: n for n, page in shown for labels in page.get("orgpulse_org_alert", {})}

    def total(self, metric: str) -> float:
        """Return a metric of all workers and partitions together."""
        return sum(value for page in self.pages() for value in page.get(metric, {}).values())

    def told(self) -> list[tuple[str, str, str]]:
        """Return (org, kind, fingerprint) of the records in the topic."""
        kafka = self.system.settings.kafka
        records = [orjson.loads(raw[4] or b"{}") for raw in read_raw(kafka.brokers, kafka.prefix, ("alerts",))]
        return sorted((record["org"], record["kind"], record["fingerprint"]) for record in records)

    def until(self, condition: Callable[[], bool], what: str) -> None:
        """Wait for something that comes within moments, without any time passing."""
        wait_until(lambda: "" if condition() else what, LONG)

    def live_until(self, condition: Callable[[], bool], what: str) -> None:
        """Let time pass in small steps until something has come.

        A shard looks once an hour of its time, and holds alerts back when one source is a day ahead of the other at
        that moment; how often that happens depends on who reads faster. It looks again when time has gone on.
        """
        for _ in range(_MOST_STEPS):
            with suppress(AssertionError):
                wait_until(lambda: "" if condition() else what, _MOMENT)
                return
            self.live(_STEP_HOURS / 24, step_hours=_STEP_HOURS)
        self.until(condition, what)

    def disagreement(self) -> str:
        """Return where topic, Redis, changes and metrics do not say the same of alerts."""
        kafka, redis = self.system.settings.kafka, self.system.settings.redis
        rest = Rest(self.now, self.pages(), read_redis(redis.url, redis.prefix))
        told = read_raw(kafka.brokers, kafka.prefix, ("alerts",))
        result = compare_alerts(rest, told, read_changes(redis.url, redis.prefix))
        assert result.kinds["alert"] and result.fields > 20
        return ", ".join(map(str, result.differences))


@contextmanager
def three_weeks(brokers: str, redis_url: str, folder: Path) -> Iterator[Life]:
    """Yield an installation in which everybody did as usual for three weeks; two workers run."""
    model = folder / "model.toml"
    model.write_text(MODEL, "utf-8")
    changes = {
        "time.clock": "event", "time.tick_seconds": 0.1, "kafka.partitions": PARTITIONS, "model.file": str(model),
        "ingest.unknown_product_events": "create", "checkpoint.every_seconds": 1.0,
        "calibration.min_population": 1_000_000,  # all are alike: deciles of their own would tell nobody from anybody
    }  # fmt: skip
    with System(brokers, redis_url, folder, size=Size(3, 50, 1), changes=changes) as system:
        system.wait_recovered(workers=2)
        life = Life(system)
        life.live(14, step_hours=14 * 24)
        life.live(7)  # with two closed weeks an alert is possible, so no source may be much ahead of another
        yield life
