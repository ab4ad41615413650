"""Kafka is not there yet, or goes away for long: the workers say so, wait, and go on with nothing lost.

workers │▒▒▒▒▒▒▒▒▒▒▒▒│▓▓▓▓▓▓▓▓▓▓▓▓│▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒│▓▓▓▓▓▓▓▓▓▓▓▓▓
broker               └─ starts ───┘ cut off, beyond the      └─ there again
                                    transaction timeout

The broker is cut off, not stopped: one that is alone loses ends of transactions when it stops or starts, because its
partitions have no leader then (DECISIONS.md, what Kafka itself can lose). How brokers of three go is `test_brokers`.
"""

from __future__ import annotations

import contextlib
import json
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from deploy.local.kafka import LocalKafka
from deploy.local.ports import free_ports
from reports.collect import read_metrics
from tests.faults import proof
from tests.faults.extent import N, long_form, times
from tests.faults.system import Size, System, wait_until
from tests.faults.tcp_cut import Wire

TRANSACTION_SECONDS = 3.0
AWAY_SECONDS = times(6)
WORKERS = 2 if N else 1
#: A commit that has taken longer than this is given up (TransactionSettings.give_up_seconds), and its worker with it.
GIVE_UP_SECONDS = 30.0
SOON_SECONDS = 30.0
AT_ONCE_SECONDS = 25.0  # it would look for Kafka for GIVE_UP_SECONDS

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(900 + 2 * AWAY_SECONDS)]


def page(system: System, number: int, path: str) -> tuple[int, dict[str, Any]]:
    """Return status and content of a worker's page."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{system.workers.port(number)}{path}", timeout=5) as answer:
            return answer.status, json.loads(answer.read() or "{}")
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def kafka_check(system: System, number: int) -> tuple[int, bool, str]:
    """Return the status of a worker's /ready, whether Kafka is well there, and what it says about it."""
    status, body = page(system, number, "/ready")
    check = next(check for check in body["checks"] if check["name"] == "kafka")
    return status, check["ok"], check["detail"]


def said_to_be_away(system: System) -> str:
    """Return what is missing until every worker lives, is not ready, and names Kafka as the reason and since when."""
    for number in system.workers.running:
        status, well, detail = kafka_check(system, number)
        if status != 503 or well or "no broker answers at" not in detail or ", since 20" not in detail:
            return f"worker {number} says {status}: {detail}"
        assert page(system, number, "/live") == (200, {})
    return ""


def said_to_be_back(system: System) -> str:
    """Return what is missing until every worker is ready."""
    found = {number: kafka_check(system, number) for number in system.workers.running}
    return "" if all(status == 200 and well for status, well, _ in found.values()) else str(found)


def figure(system: System, name: str) -> float:
    """Return a figure of all workers together."""
    return sum(sum(read_metrics(url, (name,)).get(name, {}).values()) for url in system.workers.urls)


@long_form
def test_workers_wait_for_kafka_at_the_start_and_while_it_is_away(redis_server: Any, tmp_path: Path) -> None:
    port, behind = free_ports(2)
    extra = {"advertised.listeners": f"PLAINTEXT://127.0.0.1:{port}"}
    broker = LocalKafka(tmp_path / "kafka", port=behind, fast_start=True, extra=extra)
    system = System(f"127.0.0.1:{port}", redis_server.url, tmp_path, workers=WORKERS, size=Size(20, 150, 2))
    workers = system.workers
    with contextlib.ExitStack() as stack:
        stack.callback(broker.stop)
        wire = stack.enter_context(Wire(port, behind))
        stack.push(system.__exit__)
        workers.__enter__()
        wait_until(lambda: said_to_be_away(system), SOON_SECONDS)
        pids = [workers.pid(number) for number in workers.running]
        broker.start()
        wire.mend()
        system.prepare()
        player = system.play(6.0)
        assert figure(system, "orgpulse_kafka_outages_total") == WORKERS  # each worker noticed the one at its start

        player.join(timeout=2.0)
        assert 0 < player.acknowledged < player.total
        wire.cut()
        gone = time.monotonic()
        wait_until(lambda: said_to_be_away(system), SOON_SECONDS)
        wait_until(lambda: "" if time.monotonic() - gone > AWAY_SECONDS else "not long enough", 2 * AWAY_SECONDS)
        wire.mend()
        away_seconds = time.monotonic() - gone
        assert wire.cuts == 1 and away_seconds > TRANSACTION_SECONDS

        wait_until(lambda: said_to_be_back(system), 90.0)
        assert [workers.pid(number) for number in workers.running] == pids  # a worker that begins anew keeps its id
        restarts = figure(system, "orgpulse_restarts_total")
        print(f"away for {away_seconds:.0f} s, back after {time.monotonic() - gone:.0f} s, {restarts:.0f} restarts")
        assert restarts >= (WORKERS if away_seconds > GIVE_UP_SECONDS + 10.0 else 0)
        wait_until(lambda: "" if figure(system, "orgpulse_kafka_up") == WORKERS else "kafka_up is 0", 30.0)
        system.rest()
        assert not proof.differences(system)


def test_a_worker_that_waits_for_kafka_ends_at_once_when_asked_to(tmp_path: Path) -> None:
    nobody = f"127.0.0.1:{free_ports(1)[0]}"
    system = System(nobody, "redis://127.0.0.1:1/0", tmp_path, workers=1)
    with contextlib.ExitStack() as stack:
        stack.push(system.__exit__)
        system.workers.__enter__()
        wait_until(lambda: said_to_be_away(system), SOON_SECONDS)
        asked = time.monotonic()
        system.workers.stop(0)  # sees to it that the code is 0
        assert time.monotonic() - asked < AT_ONCE_SECONDS
    assert system.workers.done["stop"] == 1
