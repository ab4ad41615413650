"""Writes the manifests that follow from other files, so that nothing is said twice.

    deploy/prometheus/rules/*.yml ─► components/monitoring/prometheus-rule.yaml
    deploy/grafana/dashboards/*.json ─► deploy/grafana/kustomization.yaml
    settings of overlays/production, streams/topic_specs.py ─► components/strimzi/{topics,user}.yaml

    python -m deploy.kubernetes.generate          (part of `make docs`)

Owns these files and the address under which an installation's runbooks are read. Invariant: the same inputs give the
same bytes; nothing here runs in a cluster, so it may read `streams`, and is not installed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from streams.kafka_rights import rights_of, strimzi_rules
from streams.settings import Settings, load_settings
from streams.topic_specs import TopicSpec, topic_specs

HERE = Path(__file__).resolve().parent
DEPLOY = HERE.parent
RULES = DEPLOY / "prometheus" / "rules"
DASHBOARDS = DEPLOY / "grafana" / "dashboards"
SETTINGS = (HERE / "base" / "settings.env", HERE / "overlays" / "production" / "settings.env")

RUNBOOKS_HERE = "http://127.0.0.1:6066/runbooks"
"""The address that the rule files name: a worker on this machine."""
RUNBOOKS = "https://orgpulse.example.com/runbooks"
"""The address that people of the cluster read them under: the page, behind its proxy. The one place to change it."""
KAFKA_CLUSTER = "kafka"
"""Strimzi's name of the Kafka cluster whose Topic and User Operators take care of the objects."""
DASHBOARD_LABEL = {"grafana_dashboard": "1"}
"""What the sidecar of Grafana's chart looks for."""

_WRITTEN = "# Written by `make docs` (deploy/kubernetes/generate.py); change {source} instead.\n"


def settings_from(paths: Sequence[Path] = SETTINGS) -> Settings:
    """Return the settings that files of variables, the later over the earlier, give a worker.

    Raises:
        SettingsError: If a variable is none of ours or its value does not fit.
    """
    return load_settings(None, variables_of(paths))


def variables_of(paths: Sequence[Path]) -> dict[str, str]:
    """Return the variables of files in the form `NAME=value`, one a line, `#` before a comment."""
    lines = [line.strip() for path in paths for line in path.read_text(encoding="utf-8").splitlines()]
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def prometheus_rule(rules: Path = RULES, runbooks: str = RUNBOOKS) -> dict[str, Any]:
    """Return the rules of all files in *rules* as one object, with runbooks read under *runbooks*."""
    groups = [
        group
        for path in sorted(rules.glob("*.yml"))
        for group in yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]
    ]
    for rule in (rule for group in groups for rule in group["rules"]):
        annotations = rule.get("annotations", {})
        if "runbook_url" in annotations:
            annotations["runbook_url"] = annotations["runbook_url"].replace(RUNBOOKS_HERE, runbooks, 1)
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "orgpulse"},
        "spec": {"groups": groups},
    }


def kafka_topic(spec: TopicSpec) -> dict[str, Any]:
    """Return a topic as an object. Deleting the object deletes the topic: Strimzi takes it at its word."""
    return {
        "apiVersion": "kafka.strimzi.io/v1",
        "kind": "KafkaTopic",
        "metadata": {"name": spec.name, "labels": {"strimzi.io/cluster": KAFKA_CLUSTER}},
        "spec": {
            "partitions": spec.partitions,
            "replicas": spec.replication,
            "config": {name: _plain(value) for name, value in spec.configs.items()},
        },
    }


def _plain(value: str) -> int | str:
    """Return a configuration value as YAML has it: whole numbers as numbers.

    >>> _plain("-1"), _plain("compact")
    (-1, 'compact')
    """
    return int(value) if value.removeprefix("-").isdigit() else value


def worker_rights(settings: Settings) -> list[dict[str, Any]]:
    """Return what a worker's user must be allowed, and no more, as Strimzi writes it."""
    return strimzi_rules(rights_of(settings, "worker"))


def kafka_user(settings: Settings) -> dict[str, Any]:
    """Return the workers' user with its rights."""
    return {
        "apiVersion": "kafka.strimzi.io/v1",
        "kind": "KafkaUser",
        "metadata": {"name": settings.kafka.application, "labels": {"strimzi.io/cluster": KAFKA_CLUSTER}},
        "spec": {"authorization": {"type": "simple", "acls": worker_rights(settings)}},
    }


def dashboards_component(dashboards: Path = DASHBOARDS) -> dict[str, Any]:
    """Return the component that makes a ConfigMap of each dashboard; it lies above them, as kustomize wants it."""
    component: dict[str, Any] = {"apiVersion": "kustomize.config.k8s.io/v1alpha1", "kind": "Component"}
    component["configMapGenerator"] = [
        {"name": f"orgpulse-dashboard-{path.stem}", "files": [f"{dashboards.name}/{path.name}"]}
        for path in sorted(dashboards.glob("*.json"))
    ]
    component["generatorOptions"] = {"disableNameSuffixHash": True, "labels": DASHBOARD_LABEL}
    return component


def generated() -> Iterator[tuple[Path, str]]:
    """Yield each file that is written here with its content."""
    settings = settings_from()
    monitoring, strimzi = HERE / "components" / "monitoring", HERE / "components" / "strimzi"
    yield monitoring / "prometheus-rule.yaml", _text("deploy/prometheus/rules", prometheus_rule())
    source = "streams/topic_specs.py or the settings of overlays/production"
    yield strimzi / "topics.yaml", _text(source, *map(kafka_topic, topic_specs(settings)))
    yield strimzi / "user.yaml", _text("streams/kafka_rights.py", kafka_user(settings))
    yield DASHBOARDS.parent / "kustomization.yaml", _text("deploy/grafana/dashboards", dashboards_component())


class _Dumper(yaml.SafeDumper):
    """Writes long texts as blocks, and repeats equal parts instead of referring to them."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


_Dumper.add_representer(
    str,
    lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None),
)


def _text(source: str, *objects: Mapping[str, Any]) -> str:
    """Return *objects* as one YAML file that says where it comes from."""
    documents = [
        yaml.dump(dict(each), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100_000) for each in objects
    ]
    return _WRITTEN.format(source=source) + "---\n".join(documents)


def main() -> None:
    """Write the files."""
    for path, content in generated():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")


if __name__ == "__main__":
    main()
