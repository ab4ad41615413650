"""Checks objects of operators against the operators' own types, by npm's models of their CRDs.

Owns where these are kept (.run/tools) and when they cannot be had. Invariant: whatever is installed is what
tests/deploy/models/package-lock.json names, by hash.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCE = Path(__file__).with_name("models")
FILES = ("package.json", "package-lock.json", "check.mjs")


def problems(objects: Sequence[dict[str, Any]]) -> list[str]:
    """Return what is wrong with *objects* by kind and name; without Node or npm's registry, skip."""
    done = subprocess.run(
        ["node", "check.mjs"], input=json.dumps(objects), cwd=_installed(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found: list[str] = json.loads(done.stdout)
    return found


def _installed() -> Path:
    """Return the folder of the models, installed once (a quarter of a minute)."""
    digest = hashlib.sha256(b"".join((SOURCE / name).read_bytes() for name in FILES)).hexdigest()[:12]
    folder = ROOT / ".run" / "tools" / f"operator-models-{digest}"
    if (folder / "whole").exists():
        return folder
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        pytest.skip("the operators' types come from npm, which is not installed here")
    folder.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        shutil.copyfile(SOURCE / name, folder / name)
    command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=200, check=False)
    if done.returncode:
        pytest.skip(f"the operators' types could not be installed: {done.stderr.strip()[-200:]}")
    (folder / "whole").touch()
    return folder
