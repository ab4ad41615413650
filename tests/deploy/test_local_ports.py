"""Ports are free, different, and not among those that the system gives to clients' connections."""

from __future__ import annotations

import socket

import pytest

from deploy.local import ports
from deploy.local.ports import HOST, free_ports


def test_ports_are_different_and_out_of_the_way_of_clients() -> None:
    found = free_ports(50)
    assert len(set(found)) == 50
    assert max(found) < 32_768


def test_a_taken_port_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    (first,) = free_ports(1)
    with socket.socket() as taken:
        taken.bind((HOST, first))
        taken.listen()
        monkeypatch.setattr(ports, "_NOT_FOR_CLIENTS", range(first, first + 1))
        (other,) = free_ports(1)
    assert other != first
