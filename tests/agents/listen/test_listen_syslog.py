"""Syslog through the real process to the real Kafka: over UDP, TCP and TLS."""

from __future__ import annotations

import shutil
import signal
import socket
import ssl
import subprocess
import urllib.request
from pathlib import Path

import pytest

from streams.settings import Settings
from streams.topic_specs import topic_names
from tests.agents.listen.process import TOKEN, Listening, records
from tests.faults.system import wait_until

pytestmark = pytest.mark.kafka

UDP, TCP, TLS = "syslog_udp", "syslog_tcp", "syslog_tls"


def accepted(listening: Listening, form: str) -> float:
    return listening.figure("orgpulse_listen_accepted_total", form=form)


def refused(listening: Listening, form: str, reason: str) -> float:
    return listening.figure("orgpulse_listen_refused_total", form=form, reason=reason)


def certificate(folder: Path) -> Path:
    """Return a file with a key and a certificate for 127.0.0.1, made just now."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl makes the certificate, and is not installed here")
    key, found = folder / "key.pem", folder / "both.pem"
    subprocess.run(
        [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", found],
        check=True, capture_output=True,
    )  # fmt: skip
    found.write_bytes(found.read_bytes() + key.read_bytes())
    return found


def test_lines_come_as_they_are_over_udp_tcp_and_tls(settings: Settings, tmp_path: Path) -> None:
    both = certificate(tmp_path)
    changes = {
        "listen.tls_certificate": str(both), "listen.tls_client_ca": str(both), "listen.max_line_bytes": 500,
    }  # fmt: skip
    with Listening(settings, tmp_path / "listen.log", changes=changes) as listening:
        address = ("127.0.0.1", listening.syslog_port)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            for line in (b"<13>udp one\n", b"<13>udp \xff two", b" ", b"x" * 501):
                udp.sendto(line, address)
        with socket.create_connection(address) as tcp:
            tcp.sendall(b"<13>tcp one\r\n12 <13>tcp\ntwo!" + b"y" * 600 + b"\n<13>tcp three, without its end")
        trusting = ssl.create_default_context(cafile=str(both))
        with (
            pytest.raises((ssl.SSLError, OSError)),
            socket.create_connection(("127.0.0.1", listening.tls_port)) as plain,
            trusting.wrap_socket(plain, server_hostname="127.0.0.1") as nobody,  # shows no certificate of its own
        ):
            nobody.sendall(b"16 <13>from nobody!")
            assert nobody.recv(1) == b"", "the connection is not ended"
            raise ConnectionResetError
        secure = (
            f"{listening.url.replace('http:', 'https:')}/v1/events"  # senders of webhooks prove themselves by token
        )
        request = urllib.request.Request(secure, b"{}", {"Authorization": f"Bearer {TOKEN}"})
        with urllib.request.urlopen(request, timeout=60, context=trusting) as answer:
            assert answer.status == 202
        trusting.load_cert_chain(both)
        with (
            socket.create_connection(("127.0.0.1", listening.tls_port)) as plain,
            trusting.wrap_socket(plain, server_hostname="127.0.0.1") as tls,
        ):
            tls.sendall(b"11 <13>tls one11 <13>tls two")
            tls.unwrap()
        wait_until(lambda: "" if accepted(listening, TCP) == 3 else "tcp", 60)
        wait_until(lambda: "" if accepted(listening, TLS) == 2 else "tls", 60)
        wait_until(lambda: "" if accepted(listening, UDP) == 2 else "udp", 60)
        assert refused(listening, UDP, "blank") == refused(listening, UDP, "too_long") == 1
        assert refused(listening, TCP, "too_long") == 1
        assert listening.figure("orgpulse_listen_udp_kernel_drops") == 0
        half = socket.create_connection(address)
        half.sendall(b"<13>ended\n<13>not ended")
        wait_until(lambda: "" if accepted(listening, TCP) == 4 else "tcp", 60)
        assert listening.stop() == 0  # a line that its sender has not ended is none
        half.close()
    found = records(settings, topic_names(settings).syslog_activities)
    assert {key for key, _ in found} == {b"127.0.0.1"}
    assert sorted(value for _, value in found) == sorted(
        [b"<13>udp one", b"<13>udp \xff two", b"<13>tcp one", b"<13>tcp\ntwo!", b"<13>tcp three, without its end",
         b"<13>tls one", b"<13>tls two", b"<13>ended"]
    )  # fmt: skip


def test_a_full_buffer_holds_tcp_back_and_drops_udp_and_says_so(settings: Settings, tmp_path: Path) -> None:
    """Kafka is not there: what is taken in is bounded, and comes through once it is."""
    changes = {"listen.max_buffer_bytes": 1_048_576, "kafka.brokers": "127.0.0.1:9", "listen.stop_seconds": 1.0}
    log = tmp_path / "listen.log"
    with Listening(settings, log, "--only", "syslog", changes=changes, ready=False) as listening:
        address, line = ("127.0.0.1", listening.syslog_port), b"<13>" + b"z" * 995 + b"\n"
        with socket.create_connection(address) as tcp:
            tcp.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65_536)
            tcp.settimeout(1.5)
            sent = 0
            with pytest.raises(TimeoutError):
                while sent < 200_000:
                    tcp.sendall(line * 100)
                    sent += 100
            wait_until(lambda: "" if held(listening) >= 1_000_000 - 300_000 else f"{held(listening)}", 60)
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
                for _ in range(5):
                    udp.sendto(b"<13>too much", address)
            wait_until(lambda: "" if refused(listening, UDP, "buffer_full") == 5 else "not dropped", 60)
        assert held(listening) <= 1_048_576
        assert listening.stop() == 1
        assert b"stopped before Kafka had everything" in listening.log.read_bytes()


def test_every_datagram_is_accepted_or_counted_as_dropped_by_the_kernel(settings: Settings, tmp_path: Path) -> None:
    """The listener sleeps while more comes than its socket can hold."""
    changes = {"listen.udp_buffer_bytes": 65_536}
    with Listening(settings, tmp_path / "listen.log", "--only", "syslog", changes=changes) as listening:
        assert listening.process is not None
        listening.process.send_signal(signal.SIGSTOP)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            for number in range(2_000):
                udp.sendto(b"<13>%0200d" % number, ("127.0.0.1", listening.syslog_port))
        listening.process.send_signal(signal.SIGCONT)

        def missing() -> str:
            got, dropped = accepted(listening, UDP), listening.figure("orgpulse_listen_udp_kernel_drops")
            return "" if got and dropped and got + dropped == 2_000 else f"{got} accepted, {dropped} dropped"

        wait_until(missing, 60)
        got = accepted(listening, UDP)
        assert listening.stop() == 0
    assert len(records(settings, topic_names(settings).syslog_activities)) == got


def held(listening: Listening) -> float:
    return listening.figure("orgpulse_listen_buffer_bytes")


def test_a_sender_that_is_too_fast_is_slowed_down_or_dropped(settings: Settings, tmp_path: Path) -> None:
    changes = {"listen.max_lines_per_second": 50}
    with Listening(settings, tmp_path / "listen.log", "--only", "syslog", changes=changes) as listening:
        address = ("127.0.0.1", listening.syslog_port)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            for number in range(200):
                udp.sendto(b"<13>%d" % number, address)
        wait_until(
            lambda: "" if accepted(listening, UDP) + refused(listening, UDP, "too_fast") == 200 else "not all read", 60
        )
        wait_until(lambda: "" if refused(listening, UDP, "too_fast") >= 50 else "nothing dropped", 60)
        with socket.create_connection(address) as tcp:
            tcp.sendall(b"".join(b"<13>%d\n" % number for number in range(100)))
        wait_until(lambda: "" if accepted(listening, TCP) == 100 else "slow", 60)
        assert listening.process is not None
        listening.process.send_signal(signal.SIGINT)
        assert listening.process.wait(60) == 0
