"""How much one listener takes: lines a second over TCP, datagrams at stated rates, events a second over HTTP.

    python -m tests.bench.listen [--seconds 5] [--rates 10000,20000,40000]

Broker, listener and senders share the machine; Kafka has acknowledged everything that is counted.
"""

from __future__ import annotations

import argparse
import http.client
import json
import multiprocessing
import os
import socket
import statistics
import tempfile
import time
from pathlib import Path

from deploy.local.kafka import LocalKafka
from streams.topics import create_topics
from tests.agents.listen.process import TOKEN, Listening
from tests.faults.system import quick_settings

LINE = b'<13>1 2026-01-05T10:00:%02d.%06dZ host app - - [a@1 org="acme" userid="ann%d" action="view" id="%d"]'


def line(number: int) -> bytes:
    """Return a line of about 95 bytes."""
    return LINE % (number % 60, number % 1_000_000, number % 500, number)


def send_tcp(port: int, lines: int) -> None:
    """Send *lines* lines over one connection, as fast as they are read."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        for first in range(0, lines, 1_000):
            connection.sendall(b"".join(line(number) + b"\n" for number in range(first, first + 1_000)))


def send_udp(port: int, rate: int, seconds: float) -> int:
    """Send datagrams at *rate* a second; returns how many."""
    sent, some = 0, [line(number) for number in range(1_000)]
    began = time.monotonic()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.connect(("127.0.0.1", port))
        while (passed := time.monotonic() - began) < seconds:
            for _ in range(min(1_000, max(0, int(passed * rate) - sent))):
                udp.send(some[sent % 1_000])
                sent += 1
            time.sleep(0.001)
    return sent


def send_http(port: int, batch: int, seconds: float, found: multiprocessing.Queue[tuple[int, list[float]]]) -> None:
    """Send batches of events over one connection; tells how many rows were answered 202, and how long each took."""
    rows = [{"name": "Search", "distinct_id": f"u{n}", "time": 1_750_000_000, "event_id": f"{n}"} for n in range(batch)]
    body, rows_sent, took = json.dumps(rows).encode(), 0, list[float]()
    connection = http.client.HTTPConnection("127.0.0.1", port)
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        began = time.monotonic()
        connection.request("POST", "/v1/events", body, {"Authorization": f"Bearer {TOKEN}"})
        answer = connection.getresponse()
        answer.read()
        took.append(time.monotonic() - began)
        rows_sent += batch * (answer.status == 202)
    found.put((rows_sent, took))


def cpu_seconds(listening: Listening) -> float:
    """Return the processor time that the listener has used: what does not depend on what else runs here."""
    assert listening.process is not None
    fields = Path(f"/proc/{listening.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def drained(listening: Listening) -> None:
    """Wait until Kafka has everything."""
    while listening.figure("orgpulse_listen_buffer_records"):
        time.sleep(0.02)


def over_tcp(listening: Listening, connections: int, lines: int) -> float:
    """Return lines a second."""
    before = listening.figure("orgpulse_listen_accepted_total", form="syslog_tcp")
    began = time.monotonic()
    senders = [
        multiprocessing.Process(target=send_tcp, args=(listening.syslog_port, lines // connections))
        for _ in range(connections)
    ]
    for each in senders:
        each.start()
    while listening.figure("orgpulse_listen_accepted_total", form="syslog_tcp") - before < lines:
        time.sleep(0.02)
    drained(listening)
    return lines / (time.monotonic() - began)


def main() -> None:
    """Measure, and print a line for each figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--lines", type=int, default=1_000_000)
    parser.add_argument("--rates", default="10000,20000,40000,80000")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp())
    with LocalKafka(folder / "kafka") as broker:
        settings = quick_settings(broker.bootstrap, "redis://127.0.0.1:1/0", "b-")
        create_topics(settings)
        with Listening(settings, folder / "listen.log") as listening:
            over_tcp(listening, 1, 100_000)
            for connections in (1, 4):
                used = cpu_seconds(listening)
                rate = over_tcp(listening, connections, options.lines)
                cost = (cpu_seconds(listening) - used) / options.lines * 1e6
                print(
                    f"TCP, {connections} connections: {rate:,.0f} lines a second, {cost:.1f} µs of processor time each"
                )
            for rate in map(int, options.rates.split(",")):
                before = listening.figure("orgpulse_listen_accepted_total", form="syslog_udp")
                used = cpu_seconds(listening)
                sent = send_udp(listening.syslog_port, rate, options.seconds)
                time.sleep(1.0)
                drained(listening)
                got = listening.figure("orgpulse_listen_accepted_total", form="syslog_udp") - before
                drops = listening.figure("orgpulse_listen_udp_kernel_drops")
                print(
                    f"UDP: {sent / options.seconds:,.0f} a second sent, {(sent - got) / sent:.3%} lost"
                    f" (dropped by the kernel since the start: {drops:,.0f}),"
                    f" {(cpu_seconds(listening) - used) / sent * 1e6:.1f} µs each"
                )
            port = int(listening.url.rpartition(":")[2])
            for clients, batch in ((1, 1), (8, 1), (8, 500)):
                used = cpu_seconds(listening)
                queue: multiprocessing.Queue[tuple[int, list[float]]] = multiprocessing.Queue()
                arguments = (port, batch, options.seconds, queue)
                senders = [multiprocessing.Process(target=send_http, args=arguments) for _ in range(clients)]
                for each in senders:
                    each.start()
                found = [queue.get() for _ in senders]
                took = sorted(wait for _, waits in found for wait in waits)
                total = sum(rows for rows, _ in found)
                cost = (cpu_seconds(listening) - used) / max(1, total) * 1e6
                print(
                    f"HTTP, {clients} clients, {batch} a request: {total / options.seconds:,.0f} events a second,"
                    f" {cost:.0f} µs each, p50 {statistics.median(took) * 1000:.0f} ms,"
                    f" p99 {took[int(len(took) * 0.99)] * 1000:.0f} ms"
                )
            assert listening.stop() == 0


if __name__ == "__main__":
    main()
