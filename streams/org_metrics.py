"""Figures about orgs, kept per partition and turned into a bounded number of series when scraped.

Invariant: only the allowed orgs, else the `limit` most active ones, and "all" have series of their own. Sizes of the
others add up under ``org="other"``; ratios and latencies do not add up and are left out. How many orgs are left out is
a series itself.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from prometheus_client.core import GaugeMetricFamily, Metric

ALL, OTHER = "all", "other"
WEEKDAYS = ("1 Mon", "2 Tue", "3 Wed", "4 Thu", "5 Fri", "6 Sat", "7 Sun")  # so that text sorts
HOURS = tuple(f"{hour:02}" for hour in range(24))
REPLY_BOUNDS_SECONDS = (
    60, 180, 600, 1_200, 2_400, 3_600, 7_200, 10_800, 14_400, 21_600, 28_800, 43_200, 64_800, 86_400, 129_600, 172_800,
    259_200, 345_600, 604_800,
)  # fmt: skip
"""Of the replies of the rolling week; one more group without a bound follows."""


@dataclass(frozen=True, slots=True)
class ChatFigures:
    """An org's chat at the moment; `online` None = not known, `last_message` (seconds since the epoch) 0 = none."""

    online: int | None
    per_minute: float
    window_messages: int
    last_message: float


@dataclass(slots=True)
class WeekLatency:
    """An org's latency by hour of the week (0 = Monday 00:00) and of the whole week; None = no reply, no message."""

    hours: Mapping[int, float]  # seconds
    seconds: float | None = None
    answered_ratio: float | None = None
    within_ratio: float | None = None  # first reply within the target
    quantile: str = "0.8"


@dataclass(slots=True)
class _Org:
    ratios: dict[str, float] = field(default_factory=dict)
    active_users: int = 0
    activities: int = 0
    latency: WeekLatency | None = None
    alert_since_ms: int = 0
    chat: ChatFigures | None = None
    week_replies: tuple[int, ...] = ()


@dataclass(slots=True)
class _Partition:
    orgs: dict[str, _Org] = field(default_factory=dict)
    users_by_band: dict[str, int] = field(default_factory=dict)


def label_of(org: str) -> str:
    """Return the label of a real org; one that is called like a total is told apart.

    >>> label_of("acme"), label_of("all")
    ('acme', 'org:all')
    """
    return f"org:{org}" if org in (ALL, OTHER) else org


class OrgMetrics:
    """What each owned partition says about its orgs, its users' bands and latency."""

    def __init__(self, allowed: tuple[str, ...], limit: int) -> None:
        self.allowed, self.limit = frozenset(allowed), limit
        self._partitions: dict[int, _Partition] = {}
        self._overall: dict[int, _Org] = {}

    def set_org(self, partition: int, org: str, kind: str, ratio: float | None) -> None:
        """Set or, with None or NaN, remove one ratio (0-1) of an org."""
        ratios = self._org(partition, org).ratios
        if ratio is None or math.isnan(ratio):
            ratios.pop(kind, None)
        else:
            ratios[kind] = ratio

    def set_org_size(self, partition: int, org: str, active_users: int, activities: int) -> None:
        """Set the sizes of an org over the rolling week."""
        entry = self._org(partition, org)
        entry.active_users, entry.activities = active_users, activities

    def set_alert(self, partition: int, org: str, since_ms: int) -> None:
        """Set since when an org has an open alert; 0 = it has none."""
        self._org(partition, org).alert_since_ms = since_ms

    def set_latency(self, partition: int, org: str, latency: WeekLatency) -> None:
        """Replace an org's latency; org "all" is the overall one."""
        entry = self._overall.setdefault(partition, _Org()) if org == ALL else self._org(partition, org)
        entry.latency = latency

    def set_week_replies(self, partition: int, org: str, counts: tuple[int, ...]) -> None:
        """Set how many replies of the rolling week took up to each of REPLY_BOUNDS_SECONDS, and all; empty = none."""
        self._org(partition, org).week_replies = counts

    def with_week_replies(self, partition: int) -> set[str]:
        """Return the orgs of a partition of which any were set."""
        found = self._partitions.get(partition)
        return set() if found is None else {org for org, entry in found.orgs.items() if entry.week_replies}

    def set_chat(self, partition: int, org: str, figures: ChatFigures | None) -> None:
        """Set an org's chat activity; None = there is none."""
        self._org(partition, org).chat = figures

    def set_bands(self, partition: int, users: Mapping[str, int]) -> None:
        """Replace a partition's number of users by band."""
        self._partitions.setdefault(partition, _Partition()).users_by_band = dict(users)

    def drop_org(self, partition: int, org: str) -> None:
        """Forget an org."""
        if partition in self._partitions:
            self._partitions[partition].orgs.pop(org, None)

    def drop_partition(self, partition: int) -> None:
        """Forget everything a partition had set."""
        self._partitions.pop(partition, None)
        self._overall.pop(partition, None)

    def shown(self) -> list[str]:
        """Return the orgs that have series of their own now."""
        return self._shown(self._orgs())

    def families(self) -> Iterable[Metric]:
        """Yield the metrics as of now."""
        orgs = self._orgs()
        shown = self._shown(orgs)
        left_out = GaugeMetricFamily("orgpulse_orgs_left_out", "Orgs without series of their own.")
        left_out.add_metric((), len(orgs) - len(shown))
        yield left_out
        yield _ratios({org: orgs[org] for org in shown})
        yield from _sizes(orgs, set(shown))
        yield from self._alerts(orgs)
        yield from _chats([(label_of(org), orgs[org].chat) for org in shown])
        replies = {label_of(org): orgs[org].week_replies for org in shown}
        yield _week_replies(replies, [entry.week_replies for entry in orgs.values()])
        every = [(label_of(org), orgs[org]) for org in shown] + [(ALL, e) for e in self._last_overall()]
        yield from _latencies([(label, entry.latency) for label, entry in every if entry.latency is not None])
        yield _bands(self._partitions.values())

    def _alerts(self, orgs: Mapping[str, _Org]) -> Iterable[GaugeMetricFamily]:
        """Return the open alerts: of the allowed orgs, else the newest ones, however small the org."""
        family = GaugeMetricFamily("orgpulse_org_alert", "1 while an org has an open alert.", labels=("org",))
        since = GaugeMetricFamily(
            "orgpulse_org_alert_since_timestamp_seconds",
            "Since when an org's open alert is open (event time), seconds since epoch.",
            labels=("org",),
        )
        alerting = [org for org in (self.allowed or orgs) if org in orgs and orgs[org].alert_since_ms]
        for org in heapq.nsmallest(self.limit, alerting, key=lambda org: (-orgs[org].alert_since_ms, org)):
            family.add_metric((label_of(org),), 1)
            since.add_metric((label_of(org),), orgs[org].alert_since_ms / 1000)
        return family, since

    def _last_overall(self) -> list[_Org]:
        return [self._overall[max(self._overall)]] if self._overall else []

    def _orgs(self) -> dict[str, _Org]:
        return {org: entry for part in self._partitions.values() for org, entry in part.orgs.items()}

    def _shown(self, orgs: Mapping[str, _Org]) -> list[str]:
        if self.allowed:
            return sorted(self.allowed & orgs.keys())
        return heapq.nsmallest(self.limit, orgs, key=lambda org: (-orgs[org].activities, org))

    def _org(self, partition: int, org: str) -> _Org:
        orgs = self._partitions.setdefault(partition, _Partition()).orgs
        entry = orgs.get(org)
        if entry is None:
            entry = orgs[org] = _Org()
        return entry


def _ratios(orgs: Mapping[str, _Org]) -> GaugeMetricFamily:
    family = GaugeMetricFamily("orgpulse_org_health_ratio", "Score of an org, 0-1.", labels=("org", "kind"))
    for org, entry in orgs.items():
        for kind, ratio in entry.ratios.items():
            family.add_metric((label_of(org), kind), ratio)
    return family


def _sizes(orgs: Mapping[str, _Org], shown: Collection[str]) -> Iterable[GaugeMetricFamily]:
    users = GaugeMetricFamily(
        "orgpulse_org_active_users", "Users with at least one activity in the rolling week.", labels=("org",)
    )
    activities = GaugeMetricFamily("orgpulse_org_activities", "Activities in the rolling week.", labels=("org",))
    for org in shown:
        users.add_metric((label_of(org),), orgs[org].active_users)
        activities.add_metric((label_of(org),), orgs[org].activities)
    rest = [entry for org, entry in orgs.items() if org not in shown]
    if rest:
        users.add_metric((OTHER,), sum(entry.active_users for entry in rest))
        activities.add_metric((OTHER,), sum(entry.activities for entry in rest))
    return users, activities


def _latencies(entries: Iterable[tuple[str, WeekLatency]]) -> Iterable[GaugeMetricFamily]:
    hours = GaugeMetricFamily(
        "orgpulse_reply_latency_seconds",
        "Time until a message got a reply, by the hour it was written, seconds.",
        labels=("org", "weekday", "hour", "quantile"),
    )
    whole = GaugeMetricFamily(
        "orgpulse_org_reply_latency_seconds",
        "Time until a message got a reply, over all hours of the week, seconds.",
        labels=("org", "quantile"),
    )
    answered = GaugeMetricFamily(
        "orgpulse_org_answered_ratio", "Share of messages that got a reply, 0-1.", labels=("org",)
    )
    within = GaugeMetricFamily(
        "orgpulse_org_answered_within_target_ratio",
        "Share of messages whose first reply came within `[latency] target_minutes`, 0-1.",
        labels=("org",),
    )
    for label, latency in entries:
        for hour, seconds in sorted(latency.hours.items()):
            if not math.isnan(seconds):
                hours.add_metric((label, WEEKDAYS[hour // 24], HOURS[hour % 24], latency.quantile), seconds)
        if latency.seconds is not None:
            whole.add_metric((label, latency.quantile), latency.seconds)
        for family, ratio in ((answered, latency.answered_ratio), (within, latency.within_ratio)):
            if ratio is not None:
                family.add_metric((label,), ratio)
    return hours, whole, answered, within


def _chats(entries: Iterable[tuple[str, ChatFigures | None]]) -> Iterable[GaugeMetricFamily]:
    """Return chat activity; what is not known has no sample."""
    online = GaugeMetricFamily("orgpulse_chat_online_members", "Members online.", labels=("org",))
    rate = GaugeMetricFamily(
        "orgpulse_chat_messages_per_minute",
        "Messages per minute at the end of the last whole ten minutes, smoothed.",
        labels=("org",),
    )
    window = GaugeMetricFamily(
        "orgpulse_chat_window_messages", "Messages in the last whole ten minutes.", labels=("org",)
    )
    last = GaugeMetricFamily(
        "orgpulse_chat_last_message_timestamp_seconds",
        "Time of the last message, seconds since epoch.",
        labels=("org",),
    )
    for label, chat in entries:
        if chat is None:
            continue
        if chat.online is not None:
            online.add_metric((label,), chat.online)
        rate.add_metric((label,), chat.per_minute)
        window.add_metric((label,), chat.window_messages)
        if chat.last_message:
            last.add_metric((label,), chat.last_message)
    return online, rate, window, last


def _week_replies(shown: Mapping[str, tuple[int, ...]], every: Iterable[tuple[int, ...]]) -> GaugeMetricFamily:
    """Return replies by how long they took; of all orgs those of this worker's, to be added up over workers."""
    family = GaugeMetricFamily(
        "orgpulse_org_week_replies",
        "Replies to messages of the rolling week that took at most `le` seconds.",
        labels=("org", "le"),
    )
    total = tuple(map(sum, zip(*filter(None, every), strict=True)))
    for label, counts in (*shown.items(), (ALL, total)):
        for bound, count in zip((*map(str, REPLY_BOUNDS_SECONDS), "+Inf"), counts, strict=False):
            family.add_metric((label, bound), count)
    return family


def _bands(partitions: Iterable[_Partition]) -> GaugeMetricFamily:
    total: Counter[str] = Counter()
    for partition in partitions:
        total.update(partition.users_by_band)
    family = GaugeMetricFamily("orgpulse_users_by_band", "Users by band of their score.", labels=("band",))
    for band, users in sorted(total.items()):
        family.add_metric((band,), users)
    return family
