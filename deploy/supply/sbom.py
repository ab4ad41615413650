"""Writes the bill of materials (CycloneDX 1.6) of what is shipped: wheel, locked packages, vendored files, base image.

Invariant: it follows from the repository alone: the same files give the same bytes, on every machine and at any time.
Run ``python -m deploy.supply.sbom [FILE]``; without a name it goes to dist/sbom.cdx.json.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
import tomllib
import uuid
from pathlib import Path
from typing import Any

from deploy.supply.licences import licence_of
from deploy.supply.locked import OURSELVES, ROOT, RUNNING, Locked, read_lock

OUT = ROOT / "dist" / "sbom.cdx.json"
_PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
_CONTAINERFILE = ROOT / "deploy" / "container" / "Containerfile"
_VENDORED = ROOT / "agents" / "page" / "static"
_NAMESPACE = uuid.UUID("8f1c1f0e-8a43-5c0d-9f0e-0b1f3c6f2a11")


def bill() -> dict[str, Any]:
    """Return the whole document."""
    locked = read_lock(RUNNING)
    components = [*map(_package, locked), *_vendored(), _base_image()]
    document: dict[str, Any] = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": _ourselves(), "lifecycles": [{"phase": "pre-build"}]},
        "components": components,
        "dependencies": _dependencies(locked, [each["bom-ref"] for each in components[len(locked) :]]),
    }
    serial = uuid.uuid5(_NAMESPACE, json.dumps(document, sort_keys=True))
    return {**document, "serialNumber": f"urn:uuid:{serial}"}


def text() -> str:
    """Return the document as it is written."""
    return json.dumps(bill(), indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def _ourselves() -> dict[str, Any]:
    version = _PROJECT["version"]
    return {
        "type": "application", "bom-ref": _own_ref(), "name": OURSELVES, "version": version,
        "description": _PROJECT["description"], "purl": f"pkg:pypi/{OURSELVES}@{version}",
        "licenses": [{"license": {"id": _PROJECT["license"]}}],
    }  # fmt: skip


def _own_ref() -> str:
    return f"{OURSELVES}@{_PROJECT['version']}"


def _ref(locked: Locked) -> str:
    return f"pkg:pypi/{locked.name}@{locked.version}"


def _package(locked: Locked) -> dict[str, Any]:
    files = [{"alg": "SHA-256", "content": digest} for digest in locked.hashes]
    found: dict[str, Any] = {
        "type": "library", "bom-ref": _ref(locked), "name": locked.name, "version": locked.version,
        "purl": _ref(locked), "scope": "required", "licenses": [{"expression": licence_of(locked.name)}],
        # One hash a file that the index has of this version: any of them may be what is installed.
        "externalReferences": [
            {"type": "distribution", "url": f"https://pypi.org/project/{locked.name}/{locked.version}/",
             "hashes": files},
        ],
    }  # fmt: skip
    if locked.marker:
        found["scope"] = "optional"
        found["properties"] = [{"name": "orgpulse:marker", "value": locked.marker}]
    return found


def _vendored() -> list[dict[str, Any]]:
    """Return the files of others that stand in the repository: each names its version in its first line."""
    found = []
    for file in sorted(_VENDORED.glob("uPlot*.js")) + sorted(_VENDORED.glob("uPlot*.mjs")):
        content = file.read_bytes()
        version = _vendored_version(content.decode("utf-8"))
        found.append({
            "type": "library", "bom-ref": f"pkg:npm/uplot@{version}#{file.name}", "name": "uplot", "version": version,
            "purl": f"pkg:npm/uplot@{version}", "scope": "required", "licenses": [{"license": {"id": "MIT"}}],
            "hashes": [{"alg": "SHA-256", "content": hashlib.sha256(content).hexdigest()}],
            "properties": [{"name": "orgpulse:file", "value": file.relative_to(ROOT).as_posix()}],
        })  # fmt: skip
    return found


def _vendored_version(text_of_file: str) -> str:
    found = re.search(r"uPlot[^\n]*?v?(\d+\.\d+\.\d+)", text_of_file)
    assert found is not None, "the vendored library no longer says its version"
    return found[1]


def _base_image() -> dict[str, Any]:
    images = re.findall(r"(?m)^FROM (\S+?):(\S+?)(?: AS \w+)?$", _CONTAINERFILE.read_text(encoding="utf-8"))
    name, version = images[-1]
    return {
        "type": "container", "bom-ref": f"pkg:docker/{name}@{version}", "name": name, "version": version,
        "purl": f"pkg:docker/{name}@{version}", "scope": "required",
    }  # fmt: skip


def _dependencies(locked: list[Locked], others: list[str]) -> list[dict[str, Any]]:
    """Return who depends on whom; what the project itself names and brings along hangs on itself."""
    refs: dict[str, list[str]] = {OURSELVES: [_own_ref()]}
    for each in locked:
        refs.setdefault(each.name, []).append(_ref(each))
    wants: dict[str, set[str]] = {ref: set() for group in refs.values() for ref in group}
    wants |= {ref: set() for ref in others}
    wants[_own_ref()] |= set(others)
    for each in locked:
        for parent in each.wanted_by:
            for ref in refs[parent]:
                wants[ref].add(_ref(each))
    return [{"ref": ref, "dependsOn": sorted(below)} for ref, below in sorted(wants.items())]


def main() -> None:
    """Write it."""
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else OUT
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(text(), encoding="utf-8")
    print(f"{out}: {len(bill()['components'])} components")


if __name__ == "__main__":
    main()
