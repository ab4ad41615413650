"""The metrics as Prometheus reads them."""

from __future__ import annotations

import re

from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from state.effects import GroupTotal
from streams.metrics import Metrics
from streams.org_metrics import REPLY_BOUNDS_SECONDS, ChatFigures, WeekLatency
from streams.web_figures import WebFigures

PROMISED = {
    "orgpulse_org_health_ratio",
    "orgpulse_users_by_band",
    "orgpulse_reply_latency_seconds",
    "orgpulse_events_total",
    "orgpulse_dead_letters_total",
    "orgpulse_watermark_timestamp_seconds",
    "orgpulse_lag_messages",
    "orgpulse_last_commit_timestamp_seconds",
    "orgpulse_event_to_score_seconds",
    "orgpulse_recovery_duration_seconds",
    "orgpulse_rebalances_total",
    "orgpulse_redis_pending_writes",
    "orgpulse_redis_fenced_writes_total",
    "orgpulse_churn_threshold_ratio",
    "orgpulse_orgs_left_out",
    "orgpulse_chunk_records",
    "orgpulse_redis_up",
    "orgpulse_redis_resyncs_total",
    "orgpulse_backlog",
    "orgpulse_open_messages",
    "orgpulse_dedupe_ids",
    "orgpulse_dedupe_horizon_seconds",
    "orgpulse_population_users",
    "orgpulse_group_health_ratio",
    "orgpulse_group_users",
    "orgpulse_chat_online_members",
    "orgpulse_chat_messages_per_minute",
    "orgpulse_chat_window_messages",
    "orgpulse_chat_last_message_timestamp_seconds",
    "orgpulse_calibration_generation",
    "orgpulse_checkpoint_bytes_total",
    "orgpulse_build_info",
    "orgpulse_partitions",
    "orgpulse_partitions_owned",
    "orgpulse_recovering",
    "orgpulse_series",
    "orgpulse_series_limit",
    "orgpulse_start_timestamp_seconds",
    "orgpulse_org_week_replies",
}
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def scraped(metrics: Metrics) -> Samples:
    """What a scrape reads, through the text format and back."""
    text = generate_latest(metrics.registry).decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def series(samples: Samples, name: str) -> dict[tuple[str, ...], float]:
    """The samples of one name by the values of their labels, labels in alphabetical order."""
    return {tuple(value for _, value in labels): found for (key, labels), found in samples.items() if key == name}


def test_every_promised_metric_is_declared_with_a_comment() -> None:
    text = generate_latest(Metrics().registry).decode()
    told = {line.split()[2]: line for line in text.splitlines() if line.startswith("# HELP")}
    assert told.keys() >= PROMISED
    assert all(len(line.split()) > 4 for line in told.values())


def test_no_metric_can_carry_a_user() -> None:
    metrics = Metrics()
    metrics.set_org(0, "acme", "active", 0.5)
    metrics.set_org_size(0, "acme", 3, 4)
    metrics.orgs.set_latency(0, "acme", WeekLatency({0: 1.0}))
    metrics.set_bands(0, {"watch": 1})
    labels = {name for _, pairs in scraped(metrics) for name, _ in pairs}
    declared = {label for value in vars(metrics).values() for label in getattr(value, "labels", ())}
    assert not {label for label in labels | declared if "user" in label}


def test_what_was_never_set_has_no_sample_and_a_count_starts_at_zero() -> None:
    samples = scraped(Metrics())
    assert series(samples, "orgpulse_population_users") == {}
    assert series(samples, "orgpulse_rebalances_total") == {(): 0.0}


def test_what_is_said_by_group_type_replaces_what_was_said_before() -> None:
    metrics = Metrics()
    metrics.set_groups({"SMB": GroupTotal(2, 4, 5, 20_000, 20_001), "Internal": GroupTotal(1, 0, 3, 0, 0)})
    samples = scraped(metrics)
    assert series(samples, "orgpulse_group_users") == {
        ("SMB", "active"): 4, ("SMB", "licensed"): 5, ("Internal", "active"): 0, ("Internal", "licensed"): 3,
    }  # fmt: skip
    ratios = series(samples, "orgpulse_group_health_ratio")
    assert ratios == {("SMB", "active"): 0.5, ("SMB", "licensed"): 0.40002, ("Internal", "licensed"): 0.0}
    metrics.set_groups({"Enterprise": GroupTotal(1, 1, 1, 10_000, 10_000)})
    assert series(scraped(metrics), "orgpulse_group_users").keys() == {
        ("Enterprise", k) for k in ("active", "licensed")
    }


def test_counts_add_up_over_chunks() -> None:
    metrics = Metrics()
    metrics.events.add(5000, "product-events", "accepted")
    metrics.events.add(12, "product-events", "accepted")
    metrics.events.add(1, "product-events", "duplicate")
    assert series(scraped(metrics), "orgpulse_events_total") == {
        ("accepted", "product-events"): 5012.0,
        ("duplicate", "product-events"): 1.0,
    }


def test_a_histogram_cumulates_and_keeps_its_sum() -> None:
    metrics = Metrics()
    metrics.event_to_score.observe(0.05)
    metrics.event_to_score.observe(0.3, times=2)
    metrics.event_to_score.observe(9999)
    samples = scraped(metrics)
    buckets = series(samples, "orgpulse_event_to_score_seconds_bucket")
    assert (buckets[("0.05",)], buckets[("0.25",)], buckets[("0.5",)], buckets[("+Inf",)]) == (1, 1, 3, 4)
    assert series(samples, "orgpulse_event_to_score_seconds_sum") == {(): 0.05 + 0.3 * 2 + 9999}
    assert series(samples, "orgpulse_event_to_score_seconds_count") == {(): 4}


def test_the_most_active_orgs_have_series_and_the_sizes_of_the_rest_add_up_as_other() -> None:
    metrics = Metrics(org_limit=2)
    for partition, org, activities in ((0, "big", 90), (1, "middle", 50), (0, "small", 7), (1, "tiny", 3)):
        metrics.set_org(partition, org, "active", 0.5)
        metrics.set_org_size(partition, org, activities // 3, activities)
    samples = scraped(metrics)
    assert series(samples, "orgpulse_org_health_ratio").keys() == {("active", "big"), ("active", "middle")}
    assert series(samples, "orgpulse_org_activities") == {("big",): 90, ("middle",): 50, ("other",): 10}
    assert series(samples, "orgpulse_org_active_users")[("other",)] == 2 + 1
    assert series(samples, "orgpulse_orgs_left_out") == {(): 2}


def test_an_allow_list_decides_alone() -> None:
    metrics = Metrics(allowed_orgs=["tiny", "absent"], org_limit=1)
    for org, activities in (("big", 90), ("tiny", 3)):
        metrics.set_org(0, org, "active", 0.5)
        metrics.set_org_size(0, org, 1, activities)
    samples = scraped(metrics)
    assert series(samples, "orgpulse_org_health_ratio").keys() == {("active", "tiny")}
    assert series(samples, "orgpulse_orgs_left_out") == {(): 1}


def test_an_org_called_like_a_total_is_told_apart_from_it() -> None:
    metrics = Metrics()
    metrics.set_org(0, "other", "active", 0.25)
    metrics.set_org(0, "all", "active", 0.75)
    assert series(scraped(metrics), "orgpulse_org_health_ratio") == {
        ("active", "org:other"): 0.25,
        ("active", "org:all"): 0.75,
    }


def test_latency_cells_are_labelled_so_that_text_sorts_and_no_data_is_absent() -> None:
    metrics = Metrics(org_limit=0)
    metrics.orgs.set_latency(0, "acme", WeekLatency({0: 1.0}))
    metrics.orgs.set_latency(0, "all", WeekLatency({0: 60.0, 167: 61.5, 5: float("nan")}, 60.5, 0.5, 0.25))
    assert series(scraped(metrics), "orgpulse_reply_latency_seconds") == {
        ("00", "all", "0.8", "1 Mon"): 60.0,
        ("23", "all", "0.8", "7 Sun"): 61.5,
    }
    assert series(scraped(metrics), "orgpulse_org_reply_latency_seconds") == {("all", "0.8"): 60.5}
    assert series(scraped(metrics), "orgpulse_org_answered_ratio") == {("all",): 0.5}
    assert series(scraped(metrics), "orgpulse_org_answered_within_target_ratio") == {("all",): 0.25}


def test_chat_activity_is_of_orgs_with_series_alone_and_what_is_not_known_is_absent() -> None:
    metrics = Metrics(org_limit=2)
    for org, activities in (("a", 90), ("b", 50), ("c", 7)):
        metrics.set_org_size(0, org, 1, activities)
        metrics.orgs.set_chat(0, org, ChatFigures(5 if org == "a" else None, 1.5, 14, 1000.0))
    samples = scraped(metrics)
    assert series(samples, "orgpulse_chat_online_members") == {("a",): 5}
    assert series(samples, "orgpulse_chat_messages_per_minute") == {("a",): 1.5, ("b",): 1.5}
    assert series(samples, "orgpulse_chat_window_messages") == {("a",): 14, ("b",): 14}
    assert series(samples, "orgpulse_chat_last_message_timestamp_seconds") == {("a",): 1000, ("b",): 1000}
    metrics.orgs.set_chat(0, "a", None)
    assert series(scraped(metrics), "orgpulse_chat_window_messages") == {("b",): 14}


def test_bands_are_summed_over_owned_partitions_and_a_dropped_one_leaves_nothing() -> None:
    metrics = Metrics()
    for partition in (0, 1):
        metrics.set_bands(partition, {"healthy": 10 + partition, "watch": 1})
        metrics.set_org(partition, f"org{partition}", "active", 0.5)
        metrics.orgs.set_latency(partition, "all", WeekLatency({0: 1.0}))
        metrics.watermark.set(100.0, partition)
        metrics.lag.set(5, "activities", partition)
    assert series(scraped(metrics), "orgpulse_users_by_band") == {("healthy",): 21, ("watch",): 2}
    metrics.drop_partition(1)
    metrics.drop_source("activities", 1)
    samples = scraped(metrics)
    assert series(samples, "orgpulse_users_by_band") == {("healthy",): 10, ("watch",): 1}
    assert series(samples, "orgpulse_org_health_ratio").keys() == {("active", "org0")}
    assert series(samples, "orgpulse_watermark_timestamp_seconds") == {("0",): 100.0}
    assert series(samples, "orgpulse_lag_messages") == {("0", "activities"): 5.0}
    metrics.drop_partition(0)
    assert series(scraped(metrics), "orgpulse_reply_latency_seconds") == {}


def test_a_page_says_how_many_series_it_has_and_how_many_may_be() -> None:
    metrics = Metrics(series_limit=500)
    for org in ("acme", "bolt"):
        metrics.set_org(0, org, "active", 0.5)
        metrics.orgs.set_latency(0, org, WeekLatency(dict.fromkeys(range(168), 1.0)))
    samples = scraped(metrics)
    assert series(samples, "orgpulse_series") == {(): len(samples)} and len(samples) > 336
    assert series(samples, "orgpulse_series_limit") == {(): 500}


def test_replies_of_the_week_add_up_over_all_orgs_shown_or_not() -> None:
    metrics = Metrics(org_limit=1)
    groups = len(REPLY_BOUNDS_SECONDS) + 1
    for partition, org, replies in ((0, "big", 4), (1, "small", 2), (1, "quiet", 0)):
        metrics.set_org_size(partition, org, 1, 10 * replies)
        metrics.orgs.set_week_replies(partition, org, (1,) * (groups - 1) + (replies,) if replies else ())
    shown = series(scraped(metrics), "orgpulse_org_week_replies")
    assert {org for _, org in shown} == {"all", "big"} and len(shown) == 2 * groups
    assert (shown["+Inf", "big"], shown["+Inf", "all"], shown["60", "all"]) == (4, 6, 2)
    metrics.drop_partition(0)
    assert series(scraped(metrics), "orgpulse_org_week_replies")["+Inf", "all"] == 2
    metrics.drop_partition(1)
    assert series(scraped(metrics), "orgpulse_org_week_replies") == {}


def test_an_open_alert_is_shown_with_its_beginning_until_it_ends() -> None:
    metrics = Metrics()
    metrics.orgs.set_alert(0, "acme", 1_790_000_000_500)
    metrics.orgs.set_alert(0, "bolt", 0)
    shown = scraped(metrics)
    assert series(shown, "orgpulse_org_alert") == {("acme",): 1}
    assert series(shown, "orgpulse_org_alert_since_timestamp_seconds") == {("acme",): 1_790_000_000.5}
    metrics.orgs.set_alert(0, "acme", 0)
    assert not series(scraped(metrics), "orgpulse_org_alert_since_timestamp_seconds")


def test_every_sample_carries_the_tenant_and_without_one_not_a_byte_differs() -> None:
    def told(tenant: str) -> str:
        metrics = Metrics(tenant=tenant)
        metrics.events.add(3, "product-events", "consumed")
        metrics.event_to_score.observe(0.2)
        WebFigures(metrics.registry, lambda: 0)
        metrics.lag.set(5, "t.acme.weeks", 0)
        return generate_latest(metrics.registry).decode()

    plain, named = told(""), told("acme")
    samples = [line for line in named.splitlines() if not line.startswith("#")]
    assert len(samples) > 20 and all('tenant="acme"' in line for line in samples)
    assert re.sub(r',?tenant="acme"', "", named).replace("{}", "") == plain
