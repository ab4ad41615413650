"""The Kubernetes manifests: built by kustomize, valid for Kubernetes and the operators, and of one mind with the rest.

No cluster is needed: `kubectl kustomize` builds, the schemas of Kubernetes and of the operators' CRDs check.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from aiohttp import ClientSession
from prometheus_client import CollectorRegistry

from deploy.kubernetes import generate
from streams.http import HttpServer
from streams.metrics import Metrics
from streams.settings import Settings, load_settings
from streams.topic_specs import topic_names, topic_specs
from streams.worker import STOP_SECONDS
from tests.deploy.command_lines import refusal
from tests.deploy.operator_models import problems

ROOT = Path(__file__).resolve().parents[2]
KUBERNETES = ROOT / "deploy" / "kubernetes"
ROOTS = sorted(path.parent.relative_to(KUBERNETES).as_posix() for path in KUBERNETES.glob("*/*/kustomization.yaml"))
OVERLAYS = ["base", *(name for name in ROOTS if name.startswith("overlays/"))]
COMPONENTS = [name for name in ROOTS if name.startswith("components/")]
VERSIONS = ("1.31", "1.34", "1.37")
"""Of Kubernetes: about the oldest that clouds still run, one in between, and the newest that the schemas know."""
OPERATORS = ("monitoring.coreos.com/", "kafka.strimzi.io/", "keda.sh/")
FORBIDDEN_WORDS = re.compile(r"\b(hostNetwork|hostPID|hostIPC|hostPath|privileged)\b")

Objects = list[dict[str, Any]]


@cache
def built(name: str) -> Objects:
    """Build one of the kustomizations: an overlay as it is, a component upon the base."""
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("kubectl, which builds the manifests, is not installed here")
    folder = KUBERNETES / name
    if name in COMPONENTS:
        folder = ROOT / ".run" / "kustomize" / Path(name).name
        folder.mkdir(parents=True, exist_ok=True)
        above = {"resources": ["base"], "components": [name]}
        whole = {kind: [os.path.relpath(KUBERNETES / each, folder) for each in names] for kind, names in above.items()}
        (folder / "kustomization.yaml").write_text(yaml.safe_dump(whole), encoding="utf-8")
    done = subprocess.run([kubectl, "kustomize", folder], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "deprecated" not in done.stderr.lower(), done.stderr
    return [each for each in yaml.safe_load_all(done.stdout) if each]


def of_kind(objects: Objects, *kinds: str) -> Objects:
    """Return the objects of these kinds."""
    return [each for each in objects if each["kind"] in kinds]


def named(objects: Objects, kind: str, name: str) -> dict[str, Any]:
    """Return one object."""
    (found,) = [each for each in of_kind(objects, kind) if each["metadata"]["name"] == name]
    return found


def pod_specs(objects: Objects) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the pods that the objects make, each with its owner's name."""
    for each in of_kind(objects, "StatefulSet", "Deployment", "Job", "DaemonSet"):
        yield f"{each['kind']} {each['metadata']['name']}", each["spec"]["template"]["spec"]


def worker_of(objects: Objects) -> dict[str, Any]:
    """Return the only container of the workers' pods."""
    (container,) = named(objects, "StatefulSet", "orgpulse-worker")["spec"]["template"]["spec"]["containers"]
    found: dict[str, Any] = container
    return found


def environment_of(objects: Objects, container: dict[str, Any], secrets: Path) -> dict[str, str]:
    """Return the variables that a container of ours gets; its secrets are laid into *secrets* meanwhile."""
    found: dict[str, str] = {}
    for source in container["envFrom"]:
        found |= named(objects, "ConfigMap", source["configMapRef"]["name"])["data"]
    for variable in container.get("env", []):
        field = variable.get("valueFrom", {}).get("fieldRef", {}).get("fieldPath")
        found[variable["name"]] = variable.get("value") or {"metadata.name": "orgpulse-worker-0"}[field]
    for name in [name for name in found if name.endswith("_FILE")]:
        secret = secrets / Path(found[name]).name
        secret.write_text("redis://:secret@redis:6379/0\n", encoding="utf-8")
        found[name] = str(secret)
    return found


def worker_settings(objects: Objects, secrets: Path) -> Settings:
    """Return the settings that a worker starts with."""
    return load_settings(None, environment_of(objects, worker_of(objects), secrets))


@cache
def taken(text: str) -> None:
    """See that all versions of Kubernetes take an object (as JSON), once: most stand in several overlays."""
    for version in VERSIONS:
        kubernetes_validate.validate(json.loads(text), version, strict=True)


@pytest.mark.parametrize("name", [*OVERLAYS, *COMPONENTS])
def test_every_kustomization_builds_and_kubernetes_takes_its_objects(name: str) -> None:
    objects = built(name)
    assert {"StatefulSet", "Service", "PodDisruptionBudget", "NetworkPolicy"} <= {each["kind"] for each in objects}
    for each in objects:
        if not each["apiVersion"].startswith(OPERATORS):
            taken(json.dumps(each, sort_keys=True))
    identities = [(each["kind"], each["metadata"]["name"]) for each in objects]
    assert len(identities) == len(set(identities))


def test_the_schemas_notice_a_field_that_is_not_there() -> None:
    broken = json.loads(json.dumps(named(built("base"), "StatefulSet", "orgpulse-worker")))
    broken["spec"]["template"]["spec"]["containers"][0]["readinesProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, VERSIONS[-1], strict=True)


def test_operators_take_their_objects_and_notice_a_wrong_value_and_a_field_that_is_not_there() -> None:
    objects = [each for name in (*OVERLAYS, *COMPONENTS) for each in built(name)]
    theirs = [each for each in objects if each["apiVersion"].startswith(OPERATORS)]
    kinds = {"PodMonitor", "PrometheusRule", "KafkaTopic", "KafkaUser", "ScaledObject"}
    assert {each["kind"] for each in theirs} == kinds
    unique = list({json.dumps(each, sort_keys=True): each for each in theirs}.values())
    found = problems([*unique, *wrong(unique)])
    assert [line for line in found if "wrong-" not in line] == []
    assert {kind for kind in kinds if any(line.startswith(f"{kind} wrong-value") for line in found)} == kinds
    assert {kind for kind in kinds if any(line.startswith(f"{kind} wrong-field") for line in found)} == kinds


def wrong(objects: Objects) -> Objects:
    """Return of each kind an object with a wrong value, and one with a field that is not there."""
    values: dict[str, dict[str, Any]] = {
        "PodMonitor": {"podMetricsEndpoints": "web"},
        "PrometheusRule": {"groups": [{"rules": []}]},
        "KafkaTopic": {"partitions": 0},
        "KafkaUser": {"authorization": {"type": "simple", "acls": [{"operations": ["Fly"], "resource": {}}]}},
        "ScaledObject": {"triggers": [{"type": "prometheus"}]},
    }
    found: Objects = []
    for kind, value in values.items():
        sound = of_kind(objects, kind)[0]
        for name, change in (("wrong-value", value), ("wrong-field", {"fieldThatIsNotThere": True})):
            spec = {**sound["spec"], **change}
            found.append({**sound, "metadata": {"name": name}, "spec": spec})
    return found


@pytest.mark.parametrize("name", [*OVERLAYS, *COMPONENTS])
def test_every_pod_is_restricted(name: str) -> None:
    pods = list(pod_specs(built(name)))
    assert pods
    for owner, pod in pods:
        assert pod["securityContext"]["runAsNonRoot"] is True and pod["securityContext"]["runAsUser"] > 0, owner
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, owner
        assert pod["automountServiceAccountToken"] is False, owner
        assert pod["enableServiceLinks"] is False, owner
        assert not FORBIDDEN_WORDS.search(json.dumps(pod)), owner
        for container in pod["containers"] + pod.get("initContainers", []):
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
            }, owner  # fmt: skip
            assert container["resources"]["requests"]["memory"] and container["resources"]["limits"]["memory"], owner
            assert re.search(r":\d+\.\d+\.\d+(-[a-z]+)*$", container["image"]), f"{container['image']} can change"
            mounts = {mount["name"] for mount in container.get("volumeMounts", [])}
            assert mounts == {volume["name"] for volume in pod["volumes"]}, owner
        for volume in pod["volumes"]:
            assert volume.get("emptyDir", {"sizeLimit": "none kept"}).get("sizeLimit"), (owner, volume["name"])


def test_namespaces_refuse_pods_that_are_not_restricted() -> None:
    for name in ("overlays/dev", "overlays/production"):
        (namespace,) = of_kind(built(name), "Namespace")
        assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
        assert {each["metadata"].get("namespace") for each in built(name) if each["kind"] != "Namespace"} == {
            namespace["metadata"]["name"]
        }


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


@pytest.mark.parametrize("name", OVERLAYS)
def test_probes_ask_for_pages_that_are_served(name: str) -> None:
    worker = worker_of(built(name))
    probes = {kind: worker[f"{kind}Probe"]["httpGet"] for kind in ("startup", "liveness", "readiness")}
    paths = {kind: probe["path"] for kind, probe in probes.items()}
    assert paths == {"startup": "/live", "liveness": "/live", "readiness": "/ready"}
    assert {probe["port"] for probe in probes.values()} == {worker["ports"][0]["name"]}
    assert asyncio.run(statuses(paths.values(), well=True)) == {"/live": 200, "/ready": 200}
    assert asyncio.run(statuses(paths.values(), well=False)) == {"/live": 200, "/ready": 503}
    liveness = worker["livenessProbe"]
    assert liveness["periodSeconds"] * liveness["failureThreshold"] >= 120, "recovery is no reason to end a worker"


async def statuses(paths: Iterable[str], *, well: bool) -> dict[str, int]:
    """Ask a worker's own server for pages, with one check that passes or not."""
    server = HttpServer("127.0.0.1", 0, CollectorRegistry(), lambda: [("recovered", well, "")])
    await server.start()
    try:
        async with ClientSession(server.url) as client:
            return {path: (await client.get(path)).status for path in set(paths)}
    finally:
        await server.stop()


def test_a_worker_may_take_its_time_to_leave_and_is_waited_for_as_a_static_member(tmp_path: Path) -> None:
    objects = built("overlays/production")
    pod = named(objects, "StatefulSet", "orgpulse-worker")["spec"]["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] > STOP_SECONDS
    settings = worker_settings(objects, tmp_path)
    assert settings.kafka.request_timeout_seconds >= settings.kafka.session_timeout_seconds >= 30


@pytest.mark.parametrize("name", [*OVERLAYS, *COMPONENTS])
def test_selectors_find_the_pods_they_mean(name: str) -> None:
    objects = built(name)
    pods = [each["spec"]["template"]["metadata"]["labels"] for each in of_kind(objects, "StatefulSet", "Deployment")]
    workers = named(objects, "StatefulSet", "orgpulse-worker")["spec"]["template"]["metadata"]["labels"]
    for service in of_kind(objects, "Service"):
        found = [labels for labels in pods if service["spec"]["selector"].items() <= labels.items()]
        assert len(found) == 1, service["metadata"]["name"]
    for each in of_kind(objects, "PodMonitor", "PodDisruptionBudget"):
        assert each["spec"]["selector"]["matchLabels"].items() <= workers.items()
    policies = {each["metadata"]["name"]: each["spec"] for each in of_kind(objects, "NetworkPolicy")}
    for policy in policies.values():
        assert policy["podSelector"]["matchLabels"].items() <= workers.items()
        assert policy["podSelector"]["matchLabels"].get("app.kubernetes.io/name") == "orgpulse"
    for other in of_kind(objects, "StatefulSet", "Deployment"):
        if other["metadata"]["name"] != "orgpulse-worker":
            labels = other["spec"]["template"]["metadata"]["labels"]
            assert not policies["orgpulse"]["podSelector"]["matchLabels"].items() <= labels.items()


@pytest.mark.parametrize("name", OVERLAYS)
def test_workers_are_let_out_to_where_their_settings_point(name: str, tmp_path: Path) -> None:
    settings = worker_settings(built(name), tmp_path)
    policy = named(built(name), "NetworkPolicy", "orgpulse")["spec"]
    ports = {(port["protocol"], port["port"]) for rule in policy["egress"] for port in rule["ports"]}
    brokers = {("TCP", int(broker.rsplit(":", 1)[1])) for broker in settings.kafka.brokers.split(",")}
    assert ports == {*brokers, ("TCP", 6379), ("TCP", 53), ("UDP", 53)}


def test_the_headless_service_is_the_stateful_sets() -> None:
    objects = built("base")
    service = named(objects, "Service", named(objects, "StatefulSet", "orgpulse-worker")["spec"]["serviceName"])
    assert service["spec"]["clusterIP"] == "None" and service["spec"]["publishNotReadyAddresses"] is True
    assert {each["metadata"]["name"] for each in of_kind(objects, "Service")} == {"orgpulse", "orgpulse-workers"}


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
        assert {"Describe", "DescribeConfigs"} < allowed(spec.name), spec.name
    assert all("Write" not in allowed(topic) for topic in (*names.sources, *names.directory, names.control))
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
