"""The kustomization that docs/tenants.md shows is built, and gives workers and topics the tenant's names."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from pathlib import Path

import pytest

from streams.settings import load_settings
from tests.deploy.kustomized import KUBERNETES, ROOT, _built, environment_of, of_kind

TENANTS = "[tenants.acme]\nevents_per_second = 500\n"


def test_the_kustomization_of_a_tenant_gives_its_workers_and_topics_its_names(tmp_path: Path) -> None:
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("kubectl, which builds the manifests, is not installed here")
    guide = (ROOT / "docs" / "tenants.md").read_text("utf-8")
    (text,) = [block for block in re.findall(r"```yaml\n(.*?)```", guide, re.DOTALL) if "kind: Kustomization" in block]
    above = ROOT / ".run"  # below the repository, since kustomize takes relative paths only
    above.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=above, prefix="kustomize-") as scratch:
        base = os.path.relpath(KUBERNETES / "base", scratch)
        (Path(scratch) / "kustomization.yaml").write_text(text.replace("../../base", base), "utf-8")
        (Path(scratch) / "orgpulse.toml").write_text(TENANTS, "utf-8")
        objects = _built(kubectl, Path(scratch))
    (tmp_path / "orgpulse.toml").write_text(TENANTS, "utf-8")
    for each in of_kind(objects, "StatefulSet", "Job"):
        pod = each["spec"]["template"]["spec"]
        (volume,) = [volume for volume in pod["volumes"] if volume["name"] == "tenants"]
        assert volume["configMap"]["name"] in {found["metadata"]["name"] for found in of_kind(objects, "ConfigMap")}
        (container,) = pod["containers"]
        assert {"name": "tenants", "mountPath": "/etc/orgpulse", "readOnly": True} in container["volumeMounts"]
        environ = environment_of(objects, container, tmp_path)
        assert environ["ORGPULSE_CONFIG"] == "/etc/orgpulse/orgpulse.toml"
        settings = load_settings(tmp_path / "orgpulse.toml", environ)
        assert (settings.worker.tenant, settings.kafka.prefix, settings.kafka.partitions) == ("acme", "t.acme.", 1)
        assert settings.quota.events_per_second == 500
    assert {each["metadata"]["namespace"] for each in of_kind(objects, "StatefulSet", "Job")} == {"orgpulse-acme"}
