"""The Kubernetes manifests: built by kustomize, valid for Kubernetes and the operators, and confined.

No cluster is needed: `kubectl kustomize` builds, the schemas of Kubernetes and of the operators' CRDs check.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterable
from functools import cache
from typing import Any

import kubernetes_validate
import pytest
from aiohttp import ClientSession
from prometheus_client import CollectorRegistry

from streams.http import HttpServer
from streams.settings import load_settings
from tests.deploy.command_lines import refusal
from tests.deploy.kustomized import COMPONENTS, OVERLAYS, Objects, built, named, of_kind, pod_specs, worker_of
from tests.deploy.operator_models import problems

VERSIONS = ("1.31", "1.34", "1.37")
"""Of Kubernetes: about the oldest that clouds still run, one in between, and the newest that the schemas know."""
OPERATORS = ("monitoring.coreos.com/", "kafka.strimzi.io/", "keda.sh/")
FORBIDDEN_WORDS = re.compile(r"\b(hostNetwork|hostPID|hostIPC|hostPath|privileged)\b")


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
    own = policies.pop("orgpulse-listen", None)
    if own is not None:  # of other pods, with other rights
        (listeners,) = [labels for labels in pods if own["podSelector"]["matchLabels"].items() <= labels.items()]
        assert listeners["app.kubernetes.io/name"] == "orgpulse-listen"
    for policy in policies.values():
        assert policy["podSelector"]["matchLabels"].items() <= workers.items()
        assert policy["podSelector"]["matchLabels"].get("app.kubernetes.io/name") == "orgpulse"
    for other in of_kind(objects, "StatefulSet", "Deployment"):
        if other["metadata"]["name"] != "orgpulse-worker":
            labels = other["spec"]["template"]["metadata"]["labels"]
            assert not policies["orgpulse"]["podSelector"]["matchLabels"].items() <= labels.items()


def test_listeners_get_settings_that_are_taken_and_ports_that_they_listen_on() -> None:
    objects = built("components/listen")
    pod = named(objects, "Deployment", "orgpulse-listen")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    given = {each["name"]: each["value"] for each in container["env"]}
    tokens = given.pop("ORGPULSE_LISTEN_TOKENS_FILE")
    assert tokens.startswith(container["volumeMounts"][0]["mountPath"])
    listen = load_settings(None, named_settings(objects) | given).listen
    assert (listen.http_host, listen.syslog_host, listen.pages_host) == ("0.0.0.0",) * 3
    ports = {each["name"]: each["containerPort"] for each in container["ports"]}
    assert ports == {
        "http": listen.http_port, "syslog-tcp": listen.syslog_tcp_port, "syslog-udp": listen.syslog_udp_port,
        "pages": listen.pages_port,
    }  # fmt: skip
    assert pod["terminationGracePeriodSeconds"] > listen.stop_seconds
    assert not refusal(container["args"])


def named_settings(objects: Objects) -> dict[str, str]:
    """Return the variables of the ConfigMap that all pods of ours get."""
    (found,) = [
        each for each in of_kind(objects, "ConfigMap") if each["metadata"]["name"].startswith("orgpulse-settings")
    ]
    return dict(found["data"])


def test_the_headless_service_is_the_stateful_sets() -> None:
    objects = built("base")
    service = named(objects, "Service", named(objects, "StatefulSet", "orgpulse-worker")["spec"]["serviceName"])
    assert service["spec"]["clusterIP"] == "None" and service["spec"]["publishNotReadyAddresses"] is True
    assert {each["metadata"]["name"] for each in of_kind(objects, "Service")} == {"orgpulse", "orgpulse-workers"}
