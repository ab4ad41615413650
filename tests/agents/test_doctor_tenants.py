"""What the doctor says of tenants that share a way in, and that one's password does not open another's pages."""

from __future__ import annotations

from pathlib import Path

import pytest

from agents.doctor_tenants import tenant_findings

APART = """
[kafka]
brokers = "kafka:9092"
security = "sasl_ssl"

[redis]
url = "redis://cache:6379/0"

[tenants.acme.kafka]
username = "t.acme.worker"
[tenants.acme.redis]
username = "t-acme-worker"
[tenants.acme.web]
config_file = "acme-web.yml"

[tenants.globex.kafka]
username = "t.globex.worker"
[tenants.globex.redis]
username = "t-globex-worker"
[tenants.globex.web]
config_file = "globex-web.yml"
"""


def said(tmp_path: Path, text: str) -> list[tuple[str, str]]:
    file = tmp_path / "orgpulse.toml"
    file.write_text(text, "utf-8")
    passwords = {"ORGPULSE_KAFKA_PASSWORD": "of-kafka", "ORGPULSE_REDIS_PASSWORD": "of-redis"} if "sasl" in text else {}
    return [(found.state, found.found) for found in tenant_findings(file, passwords)]


def test_tenants_with_ways_in_of_their_own_are_well(tmp_path: Path) -> None:
    assert said(tmp_path, APART) == [("ok", "acme, globex: each has ways in of its own")]


@pytest.mark.parametrize(
    ("former", "now", "found"),
    [
        ("globex-web.yml", "acme-web.yml", "the passwords of one open the pages of all"),
        ("t.globex.worker", "t.acme.worker", "one user (or none) of Kafka"),
        ("t-globex-worker", "t-acme-worker", "one user (or none) of Redis"),
    ],
)
def test_a_way_in_that_two_tenants_share_is_named(tmp_path: Path, former: str, now: str, found: str) -> None:
    assert said(tmp_path, APART.replace(former, now)) == [("warning", f"acme, globex: {found}")]


def test_servers_of_their_own_keep_apart_whatever_the_users_are_called(tmp_path: Path) -> None:
    own = APART.replace('username = "t-globex-worker"', 'username = "t-acme-worker"\nurl = "redis://other:6379/0"')
    assert said(tmp_path, own) == [("ok", "acme, globex: each has ways in of its own")]


def test_where_nobody_is_asked_for_anything_that_is_said(tmp_path: Path) -> None:
    assert said(tmp_path, "[tenants.acme]\n[tenants.globex]\n") == [
        ("warning", "acme, globex: one user (or none) of Kafka"),
        ("warning", "acme, globex: one user (or none) of Redis"),
    ]


def test_without_tenants_nothing_is_said_and_a_file_that_can_not_be_meant_fails(tmp_path: Path) -> None:
    assert said(tmp_path, "[kafka]\nbrokers = 'kafka:9092'\n") == []
    assert said(tmp_path, "[tenants.acme]\n[tenants.acme.kafka]\nprefix = 'x'\n")[0][0] == "failed"
    assert list(tenant_findings(None, {})) == []


def test_a_tenant_whose_secrets_are_not_here_is_named_and_the_others_are_compared(tmp_path: Path) -> None:
    elsewhere = '[tenants.initech.kafka]\nusername = "t.initech.worker"\nca_file = "/nowhere/ca.pem"\n'
    (state, found), *others = said(tmp_path, APART.replace("globex-web.yml", "acme-web.yml") + elsewhere)
    assert state == "warning" and found.startswith("initech is not compared") and "/nowhere/ca.pem" in found
    assert others == [("warning", "acme, globex: the passwords of one open the pages of all")]
