"""The Kubernetes manifests are of one mind with settings, topics, rules, dashboards, the command line and compose."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest
import yaml

from deploy.kubernetes import generate
from streams.metrics import Metrics
from streams.settings import load_settings
from streams.topic_specs import topic_names, topic_specs
from streams.worker import STOP_SECONDS
from tests.deploy.command_lines import refusal
from tests.deploy.kustomized import (
    COMPONENTS,
    OVERLAYS,
    ROOT,
    built,
    environment_of,
    named,
    of_kind,
    pod_specs,
    worker_of,
    worker_settings,
)


@pytest.mark.parametrize("name", OVERLAYS)
def test_a_worker_starts_with_settings_that_exist_and_fit(name: str, tmp_path: Path) -> None:
    objects = built(name)
    settings = worker_settings(objects, tmp_path)
    assert settings.worker.name == "orgpulse-worker-0" and settings.worker.static_membership
    assert settings.redis.url == "redis://:secret@redis:6379/0"
    assert settings.web.port == worker_of(objects)["ports"][0]["containerPort"] and settings.web.host == "0.0.0.0"
    mount = next(each for each in worker_of(objects)["volumeMounts"] if each["name"] == "redis")
    pod = named(objects, "StatefulSet", "orgpulse-worker")["spec"]["template"]["spec"]
    secret = next(each["secret"] for each in pod["volumes"] if each["name"] == "redis")
    given = {each["name"]: each.get("value") for each in worker_of(objects)["env"]}
    assert given["ORGPULSE_REDIS_URL_FILE"] == f"{mount['mountPath']}/{secret['items'][0]['path']}"


@pytest.mark.parametrize("name", OVERLAYS)
def test_there_are_not_more_workers_than_partitions(name: str, tmp_path: Path) -> None:
    objects = built(name)
    partitions = worker_settings(objects, tmp_path).kafka.partitions
    replicas = named(objects, "StatefulSet", "orgpulse-worker")["spec"].get("replicas")
    for scaled in of_kind(objects, "ScaledObject"):
        assert replicas is None, "applying the manifests again would undo KEDA's number"
        assert scaled["spec"]["maxReplicaCount"] == partitions
        assert scaled["spec"]["minReplicaCount"] <= scaled["spec"]["fallback"]["replicas"] <= partitions
    assert of_kind(objects, "ScaledObject") or 1 <= replicas <= partitions


def test_keda_asks_for_a_metric_that_exists_under_the_job_that_it_has() -> None:
    (scaled,) = of_kind(built("overlays/autoscaled"), "ScaledObject")
    (trigger,) = scaled["spec"]["triggers"]
    metrics = {value.name for value in vars(Metrics()).values() if hasattr(value, "family")}
    assert set(re.findall(r"orgpulse_\w+", trigger["metadata"]["query"])) == {"orgpulse_lag_messages"} <= metrics
    assert 'job="orgpulse"' in trigger["metadata"]["query"]
    assert scaled["spec"]["scaleTargetRef"]["name"] == "orgpulse-worker"
    down = scaled["spec"]["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]["scaleDown"]
    assert down["policies"] == [{"type": "Pods", "value": 1, "periodSeconds": 900}], "static members leave one by one"


@pytest.mark.parametrize("name", [*OVERLAYS, *COMPONENTS])
def test_every_command_exists_with_its_options(name: str, tmp_path: Path) -> None:
    for owner, pod in pod_specs(built(name)):
        for container in pod["containers"]:
            if "orgpulse" not in container["image"]:
                continue
            load_settings(None, environment_of(built(name), container, tmp_path))
            assert "command" not in container, "the image's entry point is orgpulse"
            assert not refusal(container["args"]), owner


def test_a_worker_may_take_its_time_to_leave_and_is_waited_for_as_a_static_member(tmp_path: Path) -> None:
    objects = built("overlays/production")
    pod = named(objects, "StatefulSet", "orgpulse-worker")["spec"]["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] > STOP_SECONDS
    settings = worker_settings(objects, tmp_path)
    assert settings.kafka.request_timeout_seconds >= settings.kafka.session_timeout_seconds >= 30


@pytest.mark.parametrize("name", OVERLAYS)
def test_workers_are_let_out_to_where_their_settings_point(name: str, tmp_path: Path) -> None:
    settings = worker_settings(built(name), tmp_path)
    policy = named(built(name), "NetworkPolicy", "orgpulse")["spec"]
    ports = {(port["protocol"], port["port"]) for rule in policy["egress"] for port in rule["ports"]}
    brokers = {("TCP", int(broker.rsplit(":", 1)[1])) for broker in settings.kafka.brokers.split(",")}
    assert ports == {*brokers, ("TCP", 6379), ("TCP", 53), ("UDP", 53)}


def test_the_image_is_this_version_and_the_one_that_compose_builds() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    compose = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    images = {c["image"] for name in COMPONENTS for _, pod in pod_specs(built(name)) for c in pod["containers"]}
    assert images == {f"orgpulse:{version}"} and f"image: orgpulse:{version}\n" in compose
    servers = {c["image"] for _, pod in pod_specs(built("overlays/dev")) for c in pod["containers"]} - images
    assert servers and all(f"image: {image}\n" in compose for image in servers)


def test_metrics_carry_the_labels_that_rules_and_dashboards_stand_on() -> None:
    prometheus = yaml.safe_load((ROOT / "deploy" / "prometheus" / "prometheus.yml").read_text(encoding="utf-8"))
    job = next(each for each in prometheus["scrape_configs"] if each["job_name"] == "orgpulse")
    objects = built("components/monitoring")
    (monitor,) = of_kind(objects, "PodMonitor")
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    labels = named(objects, "StatefulSet", "orgpulse-worker")["spec"]["template"]["metadata"]["labels"]
    assert labels[monitor["spec"]["jobLabel"]] == job["job_name"]
    assert monitor["spec"]["sampleLimit"] == job["sample_limit"] and endpoint["path"] == job["metrics_path"]
    assert endpoint["port"] == worker_of(objects)["ports"][0]["name"]
    assert {each["targetLabel"] for each in endpoint["relabelings"]} == {"instance"}


def test_what_is_generated_is_current() -> None:
    for path, content in generate.generated():
        assert path.read_text(encoding="utf-8") == content, f"{path.relative_to(ROOT)}: run `make docs`"


def test_every_rule_file_is_in_the_cluster_with_runbooks_where_people_can_read_them() -> None:
    (rule,) = of_kind(built("overlays/production"), "PrometheusRule")
    there = [each for group in rule["spec"]["groups"] for each in group["rules"]]
    groups = [
        group["name"]
        for path in sorted((ROOT / "deploy" / "prometheus" / "rules").glob("*.yml"))
        for group in yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]
    ]
    assert [group["name"] for group in rule["spec"]["groups"]] == groups and groups
    assert not [each for each in there if generate.RUNBOOKS_HERE in json.dumps(each)]
    linked = [each["annotations"]["runbook_url"] for each in there if "runbook_url" in each.get("annotations", {})]
    assert all(url.startswith(f"{generate.RUNBOOKS}#") for url in linked)


def test_runbooks_move_and_nothing_else_changes(tmp_path: Path) -> None:
    here = f"{generate.RUNBOOKS_HERE}#ledger"
    rules = {"groups": [{"name": "g", "rules": [
        {"alert": "A", "expr": "up == 0", "annotations": {"runbook_url": here, "summary": "s"}},
        {"record": "r", "expr": "1"},
    ]}]}  # fmt: skip
    (tmp_path / "a.yml").write_text(yaml.safe_dump(rules), encoding="utf-8")
    (group,) = generate.prometheus_rule(tmp_path, "https://there/runbooks")["spec"]["groups"]
    assert group["rules"][0]["annotations"] == {"runbook_url": "https://there/runbooks#ledger", "summary": "s"}
    assert group["rules"][1] == {"record": "r", "expr": "1"}


def test_every_topic_is_an_object_as_declared_and_no_job_makes_them(tmp_path: Path) -> None:
    objects = built("overlays/production")
    settings = worker_settings(objects, tmp_path)
    assert settings.kafka.replication == 3
    specs = {spec.name: spec for spec in topic_specs(settings)}
    topics = {each["metadata"]["name"]: each for each in of_kind(objects, "KafkaTopic")}
    assert topics.keys() == specs.keys()
    for name, topic in topics.items():
        assert topic["spec"]["partitions"] == specs[name].partitions, name
        assert topic["spec"]["replicas"] == specs[name].replication, name
        assert {key: str(value) for key, value in topic["spec"]["config"].items()} == specs[name].configs, name
        assert re.fullmatch(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?", name), f"{name} is no name for an object"
    assert not of_kind(objects, "Job") and of_kind(built("base"), "Job")


def test_a_workers_rights_name_every_topic_and_no_more(tmp_path: Path) -> None:
    (user,) = of_kind(built("overlays/production"), "KafkaUser")
    settings = worker_settings(built("overlays/production"), tmp_path)
    names = topic_names(settings)
    rights = [(each["resource"], set(each["operations"])) for each in user["spec"]["authorization"]["acls"]]

    def allowed(topic: str) -> set[str]:
        fits = {"prefix": topic.startswith, "literal": topic.__eq__}
        return set().union(
            *(
                operations
                for resource, operations in rights
                if resource["type"] == "topic" and fits[resource["patternType"]](resource["name"])
            )
        )

    for spec in topic_specs(settings):
        # Who may read or write may also describe.
        assert "DescribeConfigs" in allowed(spec.name) and {"Read", "Write"} & allowed(spec.name), spec.name
    assert all("Write" not in allowed(topic) for topic in (*names.sources, names.orgs, names.control, names.suppressed))
    assert allowed(names.users) == {"Read", "Write", "DescribeConfigs"}  # who was forgotten is taken out of it
    assert all("Read" not in allowed(topic) for topic in (names.scores, names.weeks, names.alerts))
    assert allowed("orgpulse-g1-shard-changelog") == allowed(names.shard_changelog) == allowed("activities-g1")
    assert not allowed("payments") and {resource["type"] for resource, _ in rights} == {
        "topic", "group", "transactionalId",
    }  # fmt: skip
    assert not set().union(*(operations for _, operations in rights)) & {"Create", "Delete", "Alter", "All"}


def test_every_dashboard_is_a_config_map_that_grafana_finds(tmp_path: Path) -> None:
    (tmp_path / "dashboards").mkdir()
    for name in ("accounts", "hours"):
        (tmp_path / "dashboards" / f"{name}.json").write_text('{"uid": "x"}', encoding="utf-8")
    component = generate.dashboards_component(tmp_path / "dashboards")
    assert [each["name"] for each in component["configMapGenerator"]] == [
        "orgpulse-dashboard-accounts", "orgpulse-dashboard-hours",
    ]  # fmt: skip
    maps = [
        each
        for each in of_kind(built("overlays/production"), "ConfigMap")
        if each["metadata"].get("labels", {}).items() >= generate.DASHBOARD_LABEL.items()
    ]
    files = {path.name: path.read_text(encoding="utf-8") for path in generate.DASHBOARDS.glob("*.json")}
    assert {name: text for each in maps for name, text in each["data"].items()} == files
    assert all(len(json.dumps(each)) < 1_000_000 for each in maps), "no ConfigMap is larger than a mebibyte"


def test_with_passwords_a_worker_reads_its_secret_and_prometheus_has_one_too(tmp_path: Path) -> None:
    plain, closed = built("overlays/production"), built("components/passwords")
    assert worker_settings(plain, tmp_path).web.allow_anonymous
    worker = worker_of(closed)
    given = {each["name"]: each.get("value") for each in worker["env"]}
    assert given["ORGPULSE_WEB_ALLOW_ANONYMOUS"] == "false"
    mount = next(each for each in worker["volumeMounts"] if each["name"] == "web")
    assert given["ORGPULSE_WEB_CONFIG_FILE"] == f"{mount['mountPath']}/web.yml" and mount["readOnly"]
    pod = named(closed, "StatefulSet", "orgpulse-worker")["spec"]["template"]["spec"]
    volume = next(each for each in pod["volumes"] if each["name"] == "web")
    assert volume["secret"]["secretName"] == "orgpulse-web"
