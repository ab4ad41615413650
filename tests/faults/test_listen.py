"""What was answered 202 is in Kafka, whatever happens meanwhile; so is every line that came over TCP.

clients   ▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒  send, and send again what was not answered 202
listener  ▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓✗▓▓▓▓▓▓✗▓▓▓▓▓▓
broker    ▓▓▓▓▓▓frozen▓▓▓▓▓▓✗ killed ▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓
syslog    ▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▌ ended by its sender before the listener is killed: TCP has no acknowledgement
"""

from __future__ import annotations

import json
import random
import signal
import socket
import threading
import urllib.error
from collections import Counter
from pathlib import Path

import pytest

from deploy.local.kafka import LocalKafka
from streams.settings import override
from streams.topic_specs import topic_names
from streams.topics import create_topics
from tests.agents.listen.process import Listening, post, records
from tests.faults.extent import fresh_seed, times
from tests.faults.system import quick_settings, wait_until

CLIENTS = 4
KILLS = times(1)
pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(300 + 60 * KILLS)]


class Client(threading.Thread):
    """Sends small batches of events, each until it is answered 202."""

    def __init__(self, number: int, url: str, seed: int) -> None:
        super().__init__(daemon=True)
        self._number, self._url, self._chance = number, url, random.Random(seed)
        self.ended = threading.Event()
        self.answered: list[str] = []
        self.outcomes: Counter[str] = Counter()

    def run(self) -> None:
        batch = 0
        while not self.ended.is_set():
            ids = [f"{self._number}-{batch}-{row}" for row in range(self._chance.randint(1, 20))]
            rows = [{"event_id": i, "name": "Search", "distinct_id": f"u{hash(i) % 50}", "time": 1} for i in ids]
            while not self._sent(rows):
                if self.ended.wait(0.2):
                    return
            self.answered += ids
            batch += 1

    def _sent(self, rows: list[dict[str, object]]) -> bool:
        try:
            status, said = post(f"{self._url}/v1/events", rows)
        except (OSError, urllib.error.URLError) as error:
            self.outcomes[type(error).__name__] += 1
            return False
        self.outcomes[str(status)] += 1
        assert status in (202, 503), said
        return status == 202


class Syslog(threading.Thread):
    """Sends lines over one TCP connection until it is told to end."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self._port, self.sent, self.ended = port, 0, threading.Event()

    def run(self) -> None:
        with socket.create_connection(("127.0.0.1", self._port)) as connection:
            while not self.ended.wait(0.05):
                connection.sendall(b"".join(b"<13>line %d\n" % (self.sent + number) for number in range(50)))
                self.sent += 50


def test_every_202_is_in_kafka_and_every_line_of_tcp(tmp_path: Path) -> None:
    seed = fresh_seed()
    chance = random.Random(seed)
    # A broker that was killed may come back once the controller has missed it for so long.
    soon = {"broker.session.timeout.ms": "2000", "broker.heartbeat.interval.ms": "500"}
    with LocalKafka(tmp_path / "kafka", fast_start=True, extra=soon) as broker:
        settings = quick_settings(broker.bootstrap, "redis://127.0.0.1:1/0", "l-")
        create_topics(settings)
        changes = {"listen.acknowledge_seconds": 2.0, "listen.stop_seconds": 60.0}
        listening = Listening(settings, tmp_path / "listen.log", changes=changes)
        with listening:
            clients = [Client(number, listening.url, chance.randrange(2**30)) for number in range(CLIENTS)]
            syslog = Syslog(listening.syslog_port)
            for each in (*clients, syslog):
                each.start()

            def progress(since: list[int]) -> str:
                now = [len(client.answered) for client in clients]
                return "" if all(b > a for a, b in zip(since, now, strict=True)) else f"{now}, before {since}"

            def go_on() -> None:
                since = [len(client.answered) for client in clients]
                wait_until(lambda: progress(since), 120)

            go_on()
            broker.freeze()
            wait_until(lambda: "" if sum(each.outcomes["503"] for each in clients) >= CLIENTS else "no 503", 60)
            broker.thaw()
            go_on()
            broker.kill()
            before = sum(each.outcomes["503"] for each in clients)
            wait_until(lambda: "" if sum(each.outcomes["503"] for each in clients) > before else "no 503", 60)
            broker.start()
            go_on()
            syslog.ended.set()
            syslog.join(60)
            wait_until(
                lambda: "" if listening.figure("orgpulse_listen_accepted_total", form="syslog_tcp") == syslog.sent
                and listening.figure("orgpulse_listen_connections", kind="syslog_tcp") == 0 else "not all read", 60,
            )  # fmt: skip
            wait_until(lambda: "" if len(lines(listening)) == syslog.sent else "not all in Kafka", 60)
            patient = {"listen.acknowledge_seconds": 120.0, "listen.stop_seconds": 120.0}
            listening.settings = override(listening.settings, patient)
            for _ in range(KILLS):
                listening.kill()
                listening.start()
                go_on()
            for each in clients:
                each.ended.set()
            for each in clients:
                each.join(120)
            assert answered_while_ending(listening, broker) == 202

        assert listening.kills == KILLS
        assert all(each.outcomes["202"] and each.outcomes["503"] for each in clients)
        assert sum(n for each in clients for what, n in each.outcomes.items() if not what.isdigit()), "no kill was felt"
        found = Counter(
            json.loads(value)["event_id"] for _, value in records(settings, topic_names(settings).product_events)
        )
        answered = ["the last one", *(id_ for each in clients for id_ in each.answered)]
        lost = set(answered) - set(found)
        assert not lost, f"{len(lost)} of {len(answered)} answered 202 are not in Kafka"
        again = sum(found[id_] - 1 for id_ in answered)
        assert lines(listening) == {b"<13>line %d" % number for number in range(syslog.sent)}
        print(f"{len(answered)} answered 202, {again} written more than once, {syslog.sent} lines, {seed=}")


def answered_while_ending(listening: Listening, broker: LocalKafka) -> int:
    """Ask a listener to end while a request waits for a frozen Kafka; return how it is answered once Kafka goes on."""
    answers: list[int] = []
    last = [{"event_id": "the last one", "name": "Search", "distinct_id": "ann", "time": 1}]
    sender = threading.Thread(target=lambda: answers.append(post(f"{listening.url}/v1/events", last)[0]), daemon=True)
    broker.freeze()
    sender.start()
    assert listening.process is not None
    wait_until(lambda: "" if listening.figure("orgpulse_listen_buffer_records") else "not taken in yet", 60)
    listening.process.send_signal(signal.SIGTERM)
    wait_until(lambda: "" if refuses(listening.url) else "still takes connections", 60)
    assert not answers and listening.process.poll() is None
    broker.thaw()
    sender.join(120)
    assert listening.process.wait(120) == 0
    return answers[0]


def refuses(url: str) -> bool:
    """Whether nobody listens there."""
    try:
        with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), timeout=5):
            return False
    except ConnectionRefusedError:
        return True


def lines(listening: Listening) -> set[bytes]:
    """Return the lines of syslog that are in Kafka."""
    return {value for _, value in records(listening.settings, topic_names(listening.settings).syslog_activities)}
