"""The compose file and Prometheus's: valid for their own parsers, and of one mind.

No container engine is needed: compose-go is the parser that `docker compose` itself uses.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from streams.settings import load_settings, setting_types, variable_of
from streams.worker import STOP_SECONDS
from tests.deploy.command_lines import refusal

ROOT = Path(__file__).resolve().parents[2]
COMPOSE = ROOT / "docker-compose.yml"
CONTAINERFILE = ROOT / "deploy" / "container" / "Containerfile"
PROMETHEUS = ROOT / "deploy" / "prometheus" / "prometheus.yml"
PARSER_MODULE = "github.com/compose-spec/compose-go/v2/cmd"
PARSER_VERSION = "v2.16.2"
DCLINT_VERSION = "3.1.0"
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
    profiles: dict[str, set[str]] = {}
    for name, service in project["services"].items():
        for profile in service.get("profiles", []):
            profiles.setdefault(profile, set()).add(name)
    assert profiles == {
        "monitoring": {"prometheus", "alertmanager", "grafana"}, "demo": {"demo"}, "bridges": {"listener"},
        "tools": {"cli"}, "warehouse": {"postgres", "sink"},
    }  # fmt: skip


def test_every_service_is_confined(project: dict[str, Any]) -> None:
    for name, service in project["services"].items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert "no-new-privileges:true" in service["security_opt"], name
        assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", service["user"]), f"{name} runs as root"
        assert "mem_limit" in service and service["pids_limit"] > 0, name
        assert not {"privileged", "cap_add", "devices", "network_mode", "pid", "ipc"} & service.keys(), name
        assert service["logging"]["options"].keys() == {"max-size", "max-file"}, name
        for volume in service.get("volumes", []):
            assert volume["type"] == "volume" or volume.get("read_only"), f"{name} may change {volume['source']}"


def test_every_port_is_open_on_this_machine_only_and_just_once(project: dict[str, Any]) -> None:
    ports = [port for service in project["services"].values() for port in service.get("ports", [])]
    assert {port["host_ip"] for port in ports} == {"127.0.0.1"}
    published = [(port["published"], port["protocol"]) for port in ports]
    assert len(published) == len(set(published))


def test_every_image_has_an_exact_version(project: dict[str, Any]) -> None:
    images = [service["image"] for service in project["services"].values()]
    images += re.findall(r"(?m)^FROM (\S+)", CONTAINERFILE.read_text())
    for image in images:
        # PostgreSQL's versions have two numbers; then the system's are there too.
        exact = r":\d+\.\d+-[a-z]+\d+\.\d+$" if image.startswith("postgres:") else r":v?\d+\.\d+\.\d+(-[a-z]+)*$"
        assert re.search(exact, image), f"{image} can change under us"


def test_every_service_has_a_health_check_or_says_why_not(project: dict[str, Any]) -> None:
    for name, service in project["services"].items():
        checked, excused = "healthcheck" in service, bool(service.get("x-no-healthcheck"))
        assert checked != excused, name
        if checked:
            probe = service["healthcheck"]
            assert probe["test"][0] == "CMD" and probe["retries"] and probe["timeout"] and probe["interval"], name
            assert service["restart"] == "unless-stopped", name


def test_everything_starts_in_order_and_no_one_waits_for_what_has_no_check(project: dict[str, Any]) -> None:
    services = project["services"]
    for name, service in services.items():
        for other, need in service.get("depends_on", {}).items():
            condition = "service_healthy" if "healthcheck" in services[other] else "service_completed_successfully"
            assert need["condition"] == condition, f"{name} needs {other}"
            assert not set(services[other].get("profiles", [])) - set(service.get("profiles", [])), name
    assert services["topic-init"]["depends_on"].keys() == {"kafka"}
    for worker in ("worker-1", "worker-2"):
        assert services[worker]["depends_on"].keys() == {"topic-init", "redis"}
    assert services["demo"]["depends_on"].keys() == {"topic-init"}


def test_whoever_ends_by_itself_is_waited_for_by_somebody(project: dict[str, Any]) -> None:
    """`up --wait` takes an end for a failure unless somebody needs it (docker/compose#10596)."""
    services = project["services"]
    ends = {name for name, each in services.items() if "healthcheck" not in each and not each.get("profiles")}
    awaited = {
        name
        for each in services.values()
        for name, need in each.get("depends_on", {}).items()
        if need["condition"] == "service_completed_successfully"
    }
    assert ends == awaited == {"topic-init"}


def test_a_worker_may_take_its_time_to_leave(project: dict[str, Any]) -> None:
    for worker in ("worker-1", "worker-2"):
        minutes, seconds = re.fullmatch(r"(?:(\d+)m)?(\d+)s", project["services"][worker]["stop_grace_period"]).groups()
        assert 60 * int(minutes or 0) + int(seconds) > STOP_SECONDS


def test_nobody_can_log_in_to_grafana_with_a_password_that_was_shipped(project: dict[str, Any]) -> None:
    grafana = project["services"]["grafana"]["environment"]
    assert grafana["GF_SECURITY_ADMIN_PASSWORD"] == "$__file{/proc/sys/kernel/random/uuid}"
    assert grafana["GF_AUTH_ANONYMOUS_ENABLED"] == "true" and grafana["GF_AUTH_ANONYMOUS_ORG_ROLE"] == "Viewer"
    assert grafana["GF_USERS_ALLOW_SIGN_UP"] == "false"
    assert "GF_SECURITY_ADMIN_PASSWORD: ${GRAFANA_ADMIN_PASSWORD:-$$__file{" in COMPOSE.read_text()


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


def test_every_command_exists_with_its_options(project: dict[str, Any]) -> None:
    for service in orgpulse_services(project).values():
        assert not refusal(service["command"])


def test_the_sink_finds_its_database_with_its_password(project: dict[str, Any]) -> None:
    database, sink = (project["services"][name] for name in ("postgres", "sink"))
    given, settings = database["environment"], load_settings(None, sink["environment"]).sink
    user, password, name = (given[f"POSTGRES_{each}"] for each in ("USER", "PASSWORD", "DB"))
    assert settings.postgres_url == f"postgresql://{user}:{password}@postgres:5432/{name}"
    assert sink["ports"][0]["target"] == settings.port
    assert f"127.0.0.1:{settings.port}/ready" in sink["healthcheck"]["test"][-1]


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


def test_the_listener_is_asked_and_reached_where_it_listens(project: dict[str, Any]) -> None:
    listener = project["services"]["listener"]
    listen = load_settings(None, listener["environment"]).listen
    ports = {(port["target"], port["protocol"]) for port in listener["ports"]}
    assert ports == {(listen.http_port, "tcp"), (listen.syslog_tcp_port, "tcp"), (listen.syslog_udp_port, "udp")}
    assert f"127.0.0.1:{listen.pages_port}/ready" in listener["healthcheck"]["test"][-1]
    job = PROMETHEUS.read_text().split("job_name: bridges")[1].split("job_name")[0]
    assert "[listener]" in job and f"port: {listen.pages_port}" in job
    assert int(re.fullmatch(r"(\d+)s", listener["stop_grace_period"])[1]) > listen.stop_seconds


def test_what_compose_mounts_exists(project: dict[str, Any]) -> None:
    mounted = {
        (Path(volume["source"]).relative_to(ROOT).as_posix(), volume["target"])
        for service in project["services"].values()
        for volume in service.get("volumes", [])
        if volume["type"] == "bind"
    }
    assert mounted == {
        ("deploy/prometheus/prometheus.yml", "/etc/prometheus/prometheus.yml"),
        ("deploy/prometheus/rules", "/etc/prometheus/rules"),
        ("deploy/alertmanager", "/etc/alertmanager"),
        ("deploy/grafana/provisioning", "/etc/grafana/provisioning"),
        ("deploy/grafana/dashboards", "/var/lib/grafana/dashboards"),
    }
    assert {source for source, _ in mounted if not (ROOT / source).exists()} <= absent_folders()
    volumes = {
        volume["source"]
        for service in project["services"].values()
        for volume in service.get("volumes", [])
        if volume["type"] == "volume"
    }
    assert volumes == set(project["volumes"])


def absent_folders() -> set[str]:
    """Folders that other parts of the project bring: what lies in them is checked as soon as they are there."""
    theirs = ("deploy/alertmanager", "deploy/grafana/provisioning", "deploy/grafana/dashboards")
    return {folder for folder in theirs if not (ROOT / folder).exists()}


def test_servers_read_the_files_that_are_mounted(project: dict[str, Any]) -> None:
    if absent_folders():
        pytest.skip(f"not there yet: {', '.join(sorted(absent_folders()))}")
    services = project["services"]
    for name, file in (("prometheus", "prometheus.yml"), ("alertmanager", "alertmanager.yml")):
        assert f"--config.file=/etc/{name}/{file}" in services[name]["command"]
        assert (ROOT / "deploy" / name / file).is_file()
    providers = [path.read_text() for path in (ROOT / "deploy/grafana/provisioning/dashboards").glob("*.y*ml")]
    assert any("/var/lib/grafana/dashboards" in text for text in providers)
    sources = [path.read_text() for path in (ROOT / "deploy/grafana/provisioning/datasources").glob("*.y*ml")]
    assert any("http://prometheus:9090" in text for text in sources)


def test_the_compose_file_is_clean_to_dclint() -> None:
    """Order and spelling of keys are ours: a reader meets Kafka before the dashboards, an image before its ports."""
    linter = dclint()
    config = Path(__file__).with_name("dclint.json")
    found = subprocess.run(
        [linter, "-c", config, "--max-warnings", "0", COMPOSE], capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stdout + found.stderr


def dclint() -> Path:
    """Return the linter, installed once beside the other things that runs leave behind; without npm, skip."""
    folder = ROOT / ".run" / "tools" / f"dclint-{DCLINT_VERSION}"
    linter = folder / "node_modules" / ".bin" / "dclint"
    if not linter.exists():
        npm = shutil.which("npm")
        if npm is None:
            pytest.skip("the linter comes from npm, which is not installed here")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "package.json").write_text('{"private": true}')
        command = [npm, "install", "--ignore-scripts", "--no-audit", "--no-fund", f"dclint@{DCLINT_VERSION}"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
        if done.returncode:
            pytest.skip(f"the linter could not be installed: {done.stderr.strip()[-200:]}")
    return linter


def test_passwords_are_laid_over_it_where_they_are_wanted(project: dict[str, Any]) -> None:
    over = ROOT / "deploy" / "container" / "passwords.yml"
    parsed = subprocess.run([PARSER, "-format", "json", COMPOSE, over], capture_output=True, text=True, check=False)
    assert parsed.returncode == 0, parsed.stderr
    both = json.loads(parsed.stdout)
    for name in ("worker-1", "worker-2", "sink", "listener"):
        service, plain = both["services"][name], project["services"][name]
        settings = load_settings(None, dict(each.split("=", 1) for each in service["environment"]))
        assert settings.web.config_file == "/run/secrets/web.yml" and not settings.web.allow_anonymous
        assert [each["source"] for each in service["secrets"]] == ["web.yml"]
        assert load_settings(None, plain["environment"]).web.allow_anonymous and "secrets" not in plain
        assert service["read_only"] and service["ports"] == plain["ports"]
    assert both["services"]["prometheus"]["secrets"][0]["source"] == "scrape-password"
    for secret in both["secrets"].values():
        folder = Path(secret["file"]).parent
        assert folder == ROOT / "secrets" and "secrets/" in (ROOT / ".gitignore").read_text().splitlines()
