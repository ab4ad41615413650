"""The compose file, the container file and Prometheus's: valid for their own parsers, and of one mind.

No container engine is needed: compose-go is the parser that `docker compose` itself uses.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from agents import cli
from streams.settings import load_settings, setting_types, variable_of

ROOT = Path(__file__).resolve().parents[2]
COMPOSE = ROOT / "docker-compose.yml"
CONTAINERFILE = ROOT / "deploy" / "container" / "Containerfile"
PROMETHEUS = ROOT / "deploy" / "prometheus" / "prometheus.yml"
PARSER_MODULE = "github.com/compose-spec/compose-go/v2/cmd"
PARSER_VERSION = "v2.16.2"
PARSER = ROOT / ".run" / "tools" / f"compose-go-{PARSER_VERSION}" / "cmd"
"""Built once (half a minute), kept beside the other things that runs leave behind."""


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    """The compose file as the official parser understands it, anchors and defaults resolved."""
    if not PARSER.is_file():
        go = shutil.which("go")
        if go is None:
            pytest.skip("the official compose parser is built with go, which is not installed here")
        built = subprocess.run(
            [go, "install", f"{PARSER_MODULE}@{PARSER_VERSION}"],
            env=go_environment(),
            capture_output=True,
            text=True,
            timeout=280,
            check=False,
        )
        if built.returncode:
            pytest.skip(f"the official compose parser could not be built: {built.stderr.strip()[-200:]}")
    parsed = subprocess.run([PARSER, "-format", "json", COMPOSE], capture_output=True, text=True, check=False)
    assert parsed.returncode == 0, parsed.stderr
    document: dict[str, Any] = json.loads(parsed.stdout)
    return document


def go_environment() -> dict[str, str]:
    """The surroundings of `go install`: as they are, with the binary put where the cache is."""
    PARSER.parent.mkdir(parents=True, exist_ok=True)
    return {**os.environ, "GOBIN": str(PARSER.parent), "GOFLAGS": "-mod=mod"}


def orgpulse_services(project: dict[str, Any]) -> dict[str, Any]:
    """The services that run our image."""
    return {name: service for name, service in project["services"].items() if "build" in service}


def test_a_plain_up_starts_kafka_redis_the_topics_and_two_workers(project: dict[str, Any]) -> None:
    plain = {name for name, service in project["services"].items() if not service.get("profiles")}
    assert plain == {"kafka", "redis", "topic-init", "worker-1", "worker-2"}
    assert project["services"]["prometheus"]["profiles"] == ["monitoring"]


def test_every_service_is_confined(project: dict[str, Any]) -> None:
    for name, service in project["services"].items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert "no-new-privileges:true" in service["security_opt"], name
        assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", service["user"]), f"{name} runs as root"
        assert "mem_limit" in service, name
        assert not service.get("privileged"), name


def test_every_port_is_open_on_this_machine_only_and_just_once(project: dict[str, Any]) -> None:
    ports = [port for service in project["services"].values() for port in service.get("ports", [])]
    assert {port["host_ip"] for port in ports} == {"127.0.0.1"}
    published = [port["published"] for port in ports]
    assert len(published) == len(set(published))


def test_every_image_has_an_exact_version(project: dict[str, Any]) -> None:
    images = [service["image"] for service in project["services"].values()]
    images += re.findall(r"(?m)^FROM (\S+)", CONTAINERFILE.read_text())
    for image in images:
        assert re.search(r":v?\d+\.\d+\.\d+(-[a-z]+)*$", image), f"{image} can change under us"


def test_every_server_has_a_health_check_and_starts_in_order(project: dict[str, Any]) -> None:
    services = project["services"]
    for name in ("kafka", "redis", "worker-1", "worker-2", "prometheus"):
        assert services[name]["healthcheck"]["test"], name
    assert services["topic-init"]["depends_on"]["kafka"]["condition"] == "service_healthy"
    for worker in ("worker-1", "worker-2"):
        needs = {name: need["condition"] for name, need in services[worker]["depends_on"].items()}
        assert needs == {"topic-init": "service_completed_successfully", "redis": "service_healthy"}


def test_every_variable_is_a_setting_and_every_value_is_accepted(project: dict[str, Any]) -> None:
    known = {variable_of(section, key) for section, keys in setting_types().items() for key in keys}
    names = set()
    for name, service in orgpulse_services(project).items():
        assert set(service["environment"]) <= known, name
        settings = load_settings(None, service["environment"])
        names.add(settings.worker.name if name.startswith("worker") else "")
        assert settings.kafka.brokers == "kafka:19092"
        assert settings.redis.url == "redis://redis:6379/0"
    assert names == {"worker-1", "worker-2", ""}
    in_image = dict(re.findall(r"(ORGPULSE_\w+)=(\S+)", CONTAINERFILE.read_text()))
    load_settings(None, in_image)


def test_every_command_exists(project: dict[str, Any]) -> None:
    assert {service["command"][0] for service in orgpulse_services(project).values()} <= set(cli.COMMANDS)


def test_clients_find_kafka_from_inside_and_from_this_machine(project: dict[str, Any]) -> None:
    kafka = project["services"]["kafka"]
    assert kafka["environment"]["KAFKA_ADVERTISED_LISTENERS"] == "INSIDE://kafka:19092,OUTSIDE://127.0.0.1:9092"
    assert kafka["ports"][0]["published"] == "9092"
    assert kafka["environment"]["KAFKA_AUTO_CREATE_TOPICS_ENABLE"] == "false"
    assert load_settings(None, {}).kafka.brokers == "127.0.0.1:9092"


def test_prometheus_asks_every_worker_where_it_listens(project: dict[str, Any]) -> None:
    targets = set(
        re.findall(r'"([\w.-]+:\d+)"', PROMETHEUS.read_text().split("job_name: orgpulse")[1].split("job_name")[0])
    )
    workers = {name for name in project["services"] if name.startswith("worker-")}
    listening = {f"{name}:{load_settings(None, project['services'][name]['environment']).web.port}" for name in workers}
    assert targets == listening
    for name in workers:
        port = load_settings(None, project["services"][name]["environment"]).web.port
        assert project["services"][name]["ports"][0]["target"] == port
        assert f"127.0.0.1:{port}/ready" in project["services"][name]["healthcheck"]["test"][-1]


def test_what_compose_mounts_exists(project: dict[str, Any]) -> None:
    for service in project["services"].values():
        for volume in service.get("volumes", []):
            assert volume["type"] == "volume" or Path(volume["source"]).exists(), volume


def test_the_container_file_is_clean_to_hadolint() -> None:
    found = subprocess.run(
        [Path(sys.executable).parent / "hadolint", CONTAINERFILE], capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stdout + found.stderr


def test_the_container_file_installs_from_the_lock_with_hashes_and_does_not_run_as_root() -> None:
    text = CONTAINERFILE.read_text()
    assert "--require-hashes --no-deps --only-binary :all: -r requirements.lock" in text
    assert re.search(r"(?m)^USER [1-9]\d*:[1-9]\d*$", text)


def test_the_image_gets_every_package_of_the_house() -> None:
    """What pyproject.toml doesn't list is missing from the wheel, and so from the image."""
    listed = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    house = {
        ".".join(init.parent.relative_to(ROOT).parts)
        for top in ("state", "streams", "agents", "reports", "deploy")
        for init in (ROOT / top).rglob("__init__.py")
    }
    assert house == listed
    copied = set(re.findall(r"(?m)^COPY (\S+) ", CONTAINERFILE.read_text()))
    let_in = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert {"state", "streams", "agents", "reports", "deploy/local"} <= copied & let_in
