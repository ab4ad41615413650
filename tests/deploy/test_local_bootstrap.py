"""`make env` on a machine that lacks something says what, in one line, and names one command.

The script runs as itself, in a copy of the project's skeleton, under Pythons that stand-ins make older or poorer.
"""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "deploy" / "local" / "bootstrap.py"
DIGEST = "0" * 64


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with the script, and a lock that asks for one package no index has."""
    place = tmp_path / "project" / "deploy" / "local"
    place.mkdir(parents=True)
    shutil.copy(SCRIPT, place)
    root = tmp_path / "project"
    (root / "pyproject.toml").write_text("", encoding="utf-8")
    (root / "requirements-dev.lock").write_text(f"no-such-package==1.0 --hash=sha256:{DIGEST}\n", encoding="utf-8")
    return root


def bootstrap(project: Path, before: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the script's `env`, with the statements *before* run first: they play the machine it finds."""
    script = project / "deploy" / "local" / "bootstrap.py"
    start = f"import runpy, sys\n{before}\nsys.argv = ['bootstrap.py', 'env']\n"
    return subprocess.run(
        [sys.executable, "-I", "-c", f"{start}runpy.run_path({str(script)!r}, run_name='__main__')"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, **environment},
    )


def test_an_old_python_is_told_which_one_to_install(project: Path) -> None:
    done = bootstrap(project, "sys.version_info = (3, 9, 18, 'final', 0)", PATH="")
    assert done.returncode == 1
    assert done.stderr == (
        "This is Python 3.9; the project needs 3.11 to 3.13.\n"
        "  What helps: sudo apt install python3.11 python3.11-venv\n"
    )


def test_an_old_python_beside_a_new_one_is_told_to_use_that(project: Path, tmp_path: Path) -> None:
    newer = tmp_path / "bin" / "python3.12"
    newer.parent.mkdir()
    newer.touch()
    newer.chmod(0o755)
    done = bootstrap(project, "sys.version_info = (3, 9, 18, 'final', 0)", PATH=str(newer.parent))
    assert done.stderr.endswith("What helps: make env PYTHON=python3.12\n")


def test_the_script_can_be_read_by_pythons_too_old_for_the_project() -> None:
    source = SCRIPT.read_text(encoding="utf-8")
    ast.parse(source, feature_version=(3, 6))
    assert "from __future__" not in source  # `annotations` is a syntax error before 3.7


@pytest.mark.parametrize("module", ["venv", "ensurepip"])
def test_a_python_without_its_environment_builder_is_told_debians_package(project: Path, module: str) -> None:
    without = (
        "import importlib.util as u; find = u.find_spec\n"
        f"u.find_spec = lambda name, *rest: None if name == {module!r} else find(name, *rest)"
    )
    done = bootstrap(project, without)
    assert done.returncode == 1
    assert f"no module `{module}`" in done.stderr
    assert done.stderr.endswith("What helps: sudo apt install python3-venv\n")


def test_a_full_disk_is_said_before_anything_is_made(project: Path) -> None:
    five_megabytes = "import shutil, types; shutil.disk_usage = lambda path: types.SimpleNamespace(free=5 << 20)"
    done = bootstrap(project, five_megabytes)
    assert done.returncode == 1
    assert "has 5 MB free; 1024 MB are needed" in done.stderr
    assert "What helps: df -h " in done.stderr
    assert not (project / ".venv").exists()


def test_an_index_that_does_not_answer_is_said_and_leaves_no_stamp(project: Path) -> None:
    venv.create(project / ".venv", with_pip=False)  # with the pip of this environment, which saves its installation
    (site_packages,) = (project / ".venv").glob("lib/python*/site-packages")
    (site_packages / "pip.pth").write_text(sysconfig.get_path("purelib"), encoding="utf-8")
    nowhere = {"PIP_INDEX_URL": "http://127.0.0.1:1/simple", "PIP_RETRIES": "0", "PIP_CONFIG_FILE": os.devnull}
    done = bootstrap(project, **nowhere)
    assert done.returncode == 1
    assert "The package index does not answer, or lacks a package" in done.stderr
    assert "Installing 1 packages" in done.stdout
    assert len(done.stderr.splitlines()) == 2
    assert not (project / ".venv" / ".lock-stamp").exists()


def test_what_runs_is_of_the_versions_that_were_tested() -> None:
    runs, tested = (pins(SCRIPT.parents[2] / name) for name in ("requirements.lock", "requirements-dev.lock"))
    assert len(runs) > 30
    assert {name: version for name, version in runs.items() if tested.get(name) != version} == {}


def pins(lock: Path) -> dict[str, str]:
    """Return package → version of a lock."""
    return dict(re.findall(r"^([a-z0-9._-]+)==([^ ;\\]+)", lock.read_text("utf-8"), re.MULTILINE))
