"""Builds the Kubernetes manifests for tests, and finds things in them.

Owns what is built: overlays as they are, components upon the base. Invariant: each is built once a session, and nobody
changes what was built.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from streams.settings import Settings, load_settings

ROOT = Path(__file__).resolve().parents[2]
KUBERNETES = ROOT / "deploy" / "kubernetes"
ROOTS = sorted(path.parent.relative_to(KUBERNETES).as_posix() for path in KUBERNETES.glob("*/*/kustomization.yaml"))
OVERLAYS = ["base", *(name for name in ROOTS if name.startswith("overlays/"))]
COMPONENTS = [name for name in ROOTS if name.startswith("components/")]

Objects = list[dict[str, Any]]


@cache
def built(name: str) -> Objects:
    """Build one of the kustomizations: an overlay as it is, a component upon the base."""
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("kubectl, which builds the manifests, is not installed here")
    if name not in COMPONENTS:
        return _built(kubectl, KUBERNETES / name)
    # Below the repository, since kustomize takes relative paths only; of this process alone.
    above = ROOT / ".run"
    above.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=above, prefix="kustomize-") as scratch:
        whole = {
            kind: [os.path.relpath(KUBERNETES / each, scratch)]
            for kind, each in (("resources", "base"), ("components", name))
        }
        (Path(scratch) / "kustomization.yaml").write_text(yaml.safe_dump(whole), encoding="utf-8")
        return _built(kubectl, Path(scratch))


def _built(kubectl: str, folder: Path) -> Objects:
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
