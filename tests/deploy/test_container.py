"""The container file, and what the image installs: a wheel built from exactly the files that it copies.

No container engine is needed: the steps that make the wheel are the container file's own.
"""

from __future__ import annotations

import fnmatch
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CONTAINERFILE = ROOT / "deploy" / "container" / "Containerfile"
CONTAINERFILE_TEXT = CONTAINERFILE.read_text(encoding="utf-8")
IGNORED = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
BUILD = CONTAINERFILE_TEXT.split("\nFROM ")[1]
"""The stage that builds; the other one only takes over what it installed."""
LEFT_OUT = shutil.ignore_patterns("__pycache__", "*.pyc")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The files of the wheel."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    let_in = [line[1:] for line in IGNORED if line.startswith("!")]
    for line in re.findall(r"(?m)^COPY (?!--)(.+)$", BUILD):
        *names, target = line.split()
        for name in names:
            assert any(fnmatch.fnmatch(name, each) or name.startswith(f"{each}/") for each in let_in), name
            place = source / target / Path(name).name if target == "./" else source / target
            place.parent.mkdir(parents=True, exist_ok=True)
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, place, ignore=LEFT_OUT)
            elif (ROOT / name).exists() or name != "docs/runbooks.md":
                shutil.copyfile(ROOT / name, place)
    command = re.search(r"python -m (pip wheel .+?) \.", BUILD)
    assert command is not None
    arguments = command[1].replace("--wheel-dir dist", f"--wheel-dir {out}").split()
    done = subprocess.run(
        [sys.executable, "-m", *arguments, "."], cwd=source, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    (found,) = out.glob("*.whl")
    with zipfile.ZipFile(found) as content:
        return set(content.namelist())


def test_every_file_of_the_programs_folders_is_in_the_wheel(wheel: set[str]) -> None:
    wanted = {
        path.relative_to(ROOT).as_posix()
        for folder in ("state", "streams", "agents", "reports", "deploy/local")
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert len(wanted) > 150 and "state/health.toml" in wanted
    assert wanted - wheel == set()


def test_the_runbooks_are_in_the_wheel_as_soon_as_there_are_any(wheel: set[str]) -> None:
    if not (ROOT / "docs" / "runbooks.md").exists():
        pytest.skip("there are no runbooks yet")
    assert [name for name in wheel if name.endswith("/share/orgpulse/runbooks.md")]


def test_the_container_file_is_clean_to_hadolint() -> None:
    found = subprocess.run(
        [Path(sys.executable).parent / "hadolint", CONTAINERFILE], capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stdout + found.stderr


def test_the_container_file_installs_from_the_lock_with_hashes_and_does_not_run_as_root() -> None:
    text = CONTAINERFILE_TEXT
    assert "--require-hashes --no-deps --only-binary :all: -r requirements.lock" in text
    assert re.search(r"(?m)^USER [1-9]\d*:[1-9]\d*$", text)


def test_the_image_gets_every_package_of_the_house() -> None:
    """What pyproject.toml doesn't list is missing from the wheel, and so from the image."""
    listed = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    house = {
        ".".join(init.parent.relative_to(ROOT).parts)
        for top in ("state", "streams", "agents", "reports", "deploy")
        for init in (ROOT / top).rglob("__init__.py")
    }
    assert house == listed
    copied = set(re.findall(r"(?m)^COPY (\S+) ", CONTAINERFILE_TEXT))
    let_in = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert {"state", "streams", "agents", "reports", "deploy/local"} <= copied & let_in


def test_the_image_gets_every_file_that_the_wheel_takes_along() -> None:
    setuptools = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    copied = re.findall(r"(?m)^COPY (?!--)(.+) \S+$", CONTAINERFILE_TEXT)
    sources = {source for line in copied for source in line.split()}
    let_in = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    patterns = [pattern for patterns in setuptools.get("data-files", {}).values() for pattern in patterns]
    data = [path.relative_to(ROOT).as_posix() for pattern in patterns for path in ROOT.glob(pattern)]
    for file in [*data, "pyproject.toml", "README.md", "LICENSE", "docs/runbooks.md"]:
        for known in (sources, let_in):
            assert any(file == each or file.startswith(f"{each}/") for each in known), f"{file} is not in the image"
