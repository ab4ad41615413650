"""Tenants on one broker and one Redis: the noisy one is held to its quota, and the quiet one has what it sent alone."""

from __future__ import annotations

import asyncio
import json
import time
import urllib.request
from pathlib import Path
from typing import Any

import orjson
import pytest
from redis import Redis

from agents.ledger_sum import accounts_of
from agents.simulate import Message, directory
from reports.collect import read_metrics
from streams.topic_specs import topic_names
from tests.faults import proof
from tests.faults.extent import N
from tests.faults.system import Size, System, wait_until

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

PER_SECOND, BURST_SECONDS, FLOOD = 80, 1.0, 30_000
CHUNK_SECONDS = 0.25
"""What is taken at once may be so much of a second's quota more than is left."""
SIZE = Size(6, 48, 1)
QUOTA = {"quota.events_per_second": PER_SECOND, "quota.burst_seconds": BURST_SECONDS}


def flood_of(system: System) -> list[Message]:
    """Return events by the people of *system*, with its ids, and as many that are of no use."""
    now, users = time.time(), system.base.users
    good = [
        {"event_id": f"e{n}", "name": "Search", "distinct_id": users[n % len(users)].id, "time": now - n % 600}
        for n in range(FLOOD // 2)
    ]
    events = [Message("product-events", b"%d" % n, orjson.dumps(fields)) for n, fields in enumerate(good)]
    garbage = [Message("product-events", b"%d" % n, b'{"name": "Search", "dist' * 3) for n in range(FLOOD // 2)]
    return [each for pair in zip(events, garbage, strict=True) for each in pair]


def taken_by(system: System) -> float:
    """Return how many raw messages of events a tenant's worker has taken."""
    (url,) = system.workers.urls
    found = read_metrics(url, ["orgpulse_events_total"]).get("orgpulse_events_total", {})
    return sum(
        n for labels, n in found.items() if ("outcome", "consumed") in labels and "product-events" in str(labels)
    )


def all_that_waits(system: System) -> bool:
    """Say whether the lag shows all of the flood that was not taken, whether it was fetched or not."""
    lag = read_metrics(system.workers.urls[0], ["orgpulse_lag_messages"])["orgpulse_lag_messages"]
    return sum(lag.values()) + taken_by(system) >= FLOOD


def page_of(system: System, path: str) -> str:
    """Return a page of a tenant's worker."""
    with urllib.request.urlopen(system.workers.urls[0].replace("/metrics", path), timeout=30) as reply:
        text: str = reply.read().decode()
        return text


def test_a_noisy_tenant_is_held_to_its_quota_and_a_quiet_one_has_what_it_sent(
    kafka: Any, redis_server: Any, tmp_path: Path
) -> None:
    for name in ("quiet", "noisy"):
        (tmp_path / name).mkdir()
    quiet = System(kafka.bootstrap, redis_server.url, tmp_path / "quiet", workers=1, size=SIZE, tenant="quiet")
    noisy = System(
        kafka.bootstrap, redis_server.url, tmp_path / "noisy", workers=1, size=SIZE, tenant="noisy", like=quiet,
        changes={**QUOTA, "ingest.flood_ratio": 1.0},
    )  # fmt: skip
    with quiet, noisy:
        noisy.send(list(directory(noisy.base)))
        quiet.play(0.0)
        noisy.wait_for_directory()
        began, before = time.monotonic(), taken_by(noisy)
        noisy.flood(flood_of(noisy))
        wait_until(lambda: "" if "held to its quota" in page_of(noisy, "/ready") else "not held back", 60)
        quiet.rest()  # served to the end meanwhile
        taken, seconds = taken_by(noisy) - before, time.monotonic() - began
        allowed = PER_SECOND * (seconds + BURST_SECONDS + CHUNK_SECONDS)
        print(f"noisy: {taken:,.0f} of {FLOOD:,} taken in {seconds:.1f} s, {allowed:,.0f} allowed; quiet: all of it")
        assert 0 < taken <= allowed < FLOOD, "or the flood was over before it was looked at"
        shown = read_metrics(noisy.workers.urls[0], ["orgpulse_quota", "orgpulse_lag"])
        assert shown["orgpulse_quota_events_per_second"][()] == PER_SECOND and shown["orgpulse_quota_held"][()] == 1
        assert shown["orgpulse_quota_held_seconds_total"][()] > 0
        wait_until(lambda: "" if all_that_waits(noisy) else "not known to wait: what is not fetched, or not let on", 60)
        assert all('tenant="noisy"' in line for line in page_of(noisy, "/metrics").splitlines() if line[0] != "#")
        assert all(json.loads(line)["tenant"] == "noisy" for line in _lines(noisy))
        stopped = time.monotonic()
        noisy.workers.stop(0)
        print(f"the one held back stopped in {time.monotonic() - stopped:.1f} s")
        accounts = asyncio.run(accounts_of(quiet.settings, 5.0))
        assert sum(each.consumed for each in accounts) == quiet.sent and not any(each.gap for each in accounts)
        if N:
            assert not proof.differences(quiet)
            _everything_comes_in_once_the_quota_is_gone(noisy)
        _nothing_outside(quiet, noisy, redis_server.url)


def _everything_comes_in_once_the_quota_is_gone(noisy: System) -> None:
    """Kill a worker while it holds messages back; then let in what waits, and see that nothing was lost or doubled."""
    noisy.workers.start(0)
    wait_until(lambda: "" if "held to its quota" in page_of(noisy, "/ready") else "not held back", 60)
    noisy.workers.kill(0)
    noisy.workers.change({"quota.events_per_second": 0})
    noisy.workers.start(0)
    noisy.rest()
    assert not proof.ledger(noisy)


def _lines(system: System) -> list[str]:
    return [line for line in system.workers.log(0).read_text("utf-8").splitlines() if line.startswith("{")]


def _nothing_outside(quiet: System, noisy: System, redis_url: str) -> None:
    """See that every key of the installation, and every topic of it, is in one of the two namespaces."""
    keys = [key for key in Redis.from_url(redis_url, decode_responses=True).scan_iter(count=1000) if quiet.name in key]
    spaces = [system.settings.redis.prefix for system in (quiet, noisy)]
    assert spaces == [f"t:{name}:{quiet.name}:" for name in ("quiet", "noisy")]
    assert keys and all(key.startswith(tuple(spaces)) for key in keys)
    assert not set(_topics(quiet)) & set(_topics(noisy))


def _topics(system: System) -> list[str]:
    names = topic_names(system.settings)
    return [getattr(names, field) for field in names.__struct_fields__]
