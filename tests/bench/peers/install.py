"""Brings the engines onto this machine, on demand, under the project's cache.

Invariant: what is used was built from the files in this folder: their digest is in the directory's name, and the
directory appears whole. A second process waits for the first.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path

from deploy.local.cache import cache_directory, locked, require_space
from deploy.local.errors import LocalError

HERE = Path(__file__).resolve().parent
PYTHON_BYTES = 3 << 30
JAVA_BYTES = 1 << 30
INSTALL_SECONDS = 1800


def say(text: str) -> None:
    """Write a line of progress to standard error."""
    print(text, file=sys.stderr, flush=True)


def python_of(name: str, folder: Path = HERE / "requirements") -> Path:
    """Return the interpreter of the environment of *name*, made from `<name>.lock` if it is not there yet.

    Raises:
        LocalError: If the packages can't be had.
    """
    lock = folder / f"{name}.lock"
    home = _home(f"{name}-py{sys.version_info[0]}{sys.version_info[1]}", lock.read_bytes())
    python = home / "bin" / "python"
    with locked(home.parent):
        if (home / "complete").exists():
            return python
        require_space(home.parent, PYTHON_BYTES)
        shutil.rmtree(home, ignore_errors=True)
        say(f"{name}: installing {lock.name} into {home} (once; a few minutes) …")
        venv.create(home, with_pip=True)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]
        _run([*pip, "--require-hashes", "-r", str(lock)], f"{name} can't be installed", HERE)
        (home / "complete").touch()
    return python


def java_command(name: str, options: Sequence[str]) -> list[str | Path]:
    """Return the command of the job in `java/<name>`, built by Maven if it is not there yet.

    Raises:
        LocalError: If `java`, `javac` or `mvn` are missing, or Maven can't build it.
    """
    missing = [program for program in ("java", "javac", "mvn") if shutil.which(program) is None]
    if missing:
        raise LocalError(f"{name} needs {' and '.join(missing)}.", "sudo apt install openjdk-17-jdk-headless maven")
    source = HERE / "java" / name
    content = b"".join(path.read_bytes() for path in sorted(source.rglob("*")) if path.is_file())
    home = _home(f"java-{name}", content)
    with locked(home.parent):
        if not (home / "complete").exists():
            require_space(home.parent, JAVA_BYTES)
            shutil.rmtree(home, ignore_errors=True)
            shutil.copytree(source, home)
            say(f"{name}: Maven builds it in {home} (once; a minute or two) …")
            command = ["mvn", "--batch-mode", "--quiet", "package", "dependency:copy-dependencies"]
            command += ["-DincludeScope=runtime", "-DoutputDirectory=target/lib"]
            _run([*command, f"-Dmaven.repo.local={home.parent / 'maven'}"], f"{name} can't be built", home)
            (home / "complete").touch()
    target = home / "target"
    quiet = "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"
    return ["java", *options, quiet, "-cp", f"{target / 'classes'}:{target / 'lib'}/*", "bench.CountEvents"]


def python_version(name: str, package: str | None = None) -> str:
    """Return the version of an engine that its lock names."""
    text = (HERE / "requirements" / f"{name}.lock").read_text(encoding="utf-8")
    found = re.search(rf"^{package or name}==(\S+)", text, re.MULTILINE)
    return found.group(1) if found else "?"


def java_version(name: str) -> str:
    """Return the version of an engine that its `pom.xml` names."""
    text = (HERE / "java" / name / "pom.xml").read_text(encoding="utf-8")
    found = re.search(r"<engine\.version>([^<]+)<", text)
    return found.group(1) if found else "?"


def _home(name: str, content: bytes) -> Path:
    return cache_directory() / "peers" / f"{name}-{hashlib.sha256(content).hexdigest()[:12]}"


def _run(command: Sequence[str], failure: str, cwd: Path) -> None:
    """Run *command*; its output is shown only when it fails, and then the line that says most."""
    try:
        done = subprocess.run(
            command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=INSTALL_SECONDS,
            check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise LocalError(f"{failure}: nothing came within {INSTALL_SECONDS // 60} minutes.", "try again") from None
    if done.returncode:
        lines = [line.strip() for line in done.stdout.splitlines() if line.strip()]
        errors = [line for line in lines if re.match(r"(\[ERROR\]|ERROR)", line)] or lines or ["it said nothing"]
        raise LocalError(f"{failure}: {errors[0][:200]}", " ".join(command))
