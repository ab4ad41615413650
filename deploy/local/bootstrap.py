"""Build `.venv` from the lock, and the locks from `pyproject.toml`, with nothing but a bare Python.

Invariant: `.venv` carries the stamp of the lock only when everything in that lock, and the project itself, is
installed in it. Runs, as a script, under any Python 3 to tell an old one what to do; hence no `annotations` import
and no syntax younger than 3.6.
"""

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
VENV = ROOT / ".venv"
STAMP = VENV / ".lock-stamp"
LOCK = ROOT / "requirements-dev.lock"
OLDEST, TOO_NEW = (3, 11), (3, 14)
BYTES_NEEDED = 1 << 30
PROGRESS_EVERY_SECONDS = 10.0
LOCKS = (
    ("requirements-dev.lock", ("--extra", "local", "--extra", "dev")),
    # What runs is what was tested: nothing here is of another version than there.
    ("requirements.lock", ("--constraint", "requirements-dev.lock")),
)


class MachineError(Exception):
    """What is wrong with this machine, and the one command that helps."""

    def __init__(self, message: str, command: str) -> None:
        super().__init__(message)
        self.message, self.command = message, command


def main() -> int:
    """Do `env` or `lock`; return the exit code."""
    task = sys.argv[1] if len(sys.argv) > 1 else "env"
    try:
        if task == "lock":
            check_python()
            write_locks(sys.argv[2:])
        elif not is_current():
            build()
    except MachineError as error:
        sys.stderr.write(f"{error.message}\n  What helps: {error.command}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("Stopped; `make env` goes on from here.\n")
        return 130
    return 0


def fingerprint() -> str:
    """Hash what `.venv` is made from: the lock, and the project file with its entry points."""
    digest = hashlib.sha256(LOCK.read_bytes())
    digest.update((ROOT / "pyproject.toml").read_bytes())
    return digest.hexdigest()


def is_current() -> bool:
    """Tell whether `.venv` works and was built from today's lock."""
    python = VENV / "bin" / "python"
    return python.exists() and STAMP.exists() and STAMP.read_text(encoding="utf-8") == fingerprint()


def build() -> None:
    """Create `.venv` if there is no working one, and install the lock and the project into it."""
    check_python()
    check_space(ROOT)
    python = VENV / "bin" / "python"
    if not python.exists():
        check_venv()
        say("Creating .venv with Python {}.{} …".format(*sys.version_info[:2]))
        run([sys.executable, "-m", "venv", "--clear", str(VENV)])
    count = sum(1 for line in LOCK.read_text(encoding="utf-8").splitlines() if line[:1].isalnum())
    say(f"Installing {count} packages from {LOCK.name} (a minute or two) …")
    pip = [str(python), "-m", "pip", "install", "--disable-pip-version-check", "--no-input"]
    run([*pip, "--require-hashes", "-r", str(LOCK)], count)
    run([*pip, "--quiet", "--no-deps", "--no-build-isolation", "-e", str(ROOT)])
    STAMP.write_text(fingerprint(), encoding="utf-8")
    say("The environment is ready.")


def write_locks(arguments: "list[str]") -> None:
    """Resolve `pyproject.toml` into both locks with uv, from an environment of its own that is thrown away."""
    check_venv()
    with tempfile.TemporaryDirectory(prefix="orgpulse-uv-") as scratch:
        say("Installing uv into a temporary place …")
        run([sys.executable, "-m", "venv", scratch])
        run([scratch + "/bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "uv"])
        command = [scratch + "/bin/uv", "pip", "compile", "--quiet", "--universal", "--python-version", "3.11"]
        command += ["--generate-hashes", "--no-emit-index-url", "--no-header", *arguments]
        for name, extras in LOCKS:
            say(f"Resolving {name} …")
            run([*command, *extras, "pyproject.toml", "-o", name])


def check_python() -> None:
    """Refuse a Python the project does not run on; name one that is installed and would do."""
    version = tuple(sys.version_info[:2])
    if OLDEST <= version < TOO_NEW:
        return
    names = [f"python3.{minor}" for minor in range(TOO_NEW[1] - 1, OLDEST[1] - 1, -1)]
    found = [name for name in names if shutil.which(name)]
    raise MachineError(
        "This is Python {}.{}; the project needs {}.{} to {}.{}.".format(*version, *OLDEST, 3, TOO_NEW[1] - 1),
        f"make env PYTHON={found[0]}" if found else "sudo apt install python3.11 python3.11-venv",
    )


def check_venv() -> None:
    """Refuse a Python without `venv` or `ensurepip`; Debian and Ubuntu package them apart."""
    missing = [name for name in ("venv", "ensurepip") if importlib.util.find_spec(name) is None]
    if missing:
        raise MachineError(
            f"This Python has no module `{missing[0]}`, which builds environments.",
            "sudo apt install python3-venv",
        )


def check_space(directory: Path) -> None:
    """Refuse a disk that the environment and Kafka would fill."""
    free = shutil.disk_usage(str(directory)).free
    if free < BYTES_NEEDED:
        message = f"{directory} has {free >> 20} MB free; {BYTES_NEEDED >> 20} MB are needed."
        raise MachineError(message, f"df -h {directory}   (then make room there)")


def run(command: "list[str]", packages: int = 0) -> None:
    """Run *command* in the project's root; with *packages*, say now and then how many of them pip has come to.

    Its output is shown only when it fails, and then the lines that matter.
    """
    process = subprocess.Popen(
        command, cwd=str(ROOT), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True
    )
    lines, seen, said_at = [], 0, time.monotonic()
    assert process.stdout is not None
    try:
        for line in process.stdout:
            lines.append(line.rstrip())
            seen += line.startswith(("Collecting ", "Requirement already satisfied"))
            if packages and time.monotonic() - said_at >= PROGRESS_EVERY_SECONDS:
                said_at = time.monotonic()
                say(f"  {min(seen, packages)} of {packages}")
        code = process.wait()
    except BaseException:
        process.kill()
        process.wait()
        raise
    if code != 0:
        raise explain(command, lines)


def explain(command: "list[str]", lines: "list[str]") -> MachineError:
    """Turn the output of a failed *command* into one line and one command."""
    text = "\n".join(lines)
    errors = [line for line in lines if line.lower().startswith(("error", "×"))]
    said = (errors or lines or ["it said nothing"])[-1][:300]
    if "No space left" in text:
        return MachineError("The disk is full.", f"df -h {ROOT} {tempfile.gettempdir()}")
    if "ensurepip" in text and "venv" in command:
        return MachineError(f"This Python cannot build environments: {said}", "sudo apt install python3-venv")
    if "DO NOT MATCH THE HASHES" in text:
        said = "a package is not the one that was locked ({})".format(next(x for x in lines if "from " in x).strip())
        return MachineError(f"Refused: {said}.", "python3 -m pip config list   (is a proxy or another index set?)")
    if any(sign in text for sign in ("Could not find a version", "Retrying (", "Connection", "Failed to fetch")):
        return MachineError(
            f"The package index does not answer, or lacks a package: {said}",
            "python3 -m pip config list   (check index and network, then `make env` again: what has arrived is kept)",
        )
    return MachineError("`{}` failed: {}".format(" ".join(command[:6]), said), " ".join(command))


def say(text: str) -> None:
    """Print a line of progress, at once."""
    sys.stdout.write(text + os.linesep)
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
