"""Kafka's jars: fetched once by coordinate, checked against the committed lock every time.

Invariant: a class path handed out holds exactly the locked files, each with the locked SHA-256. `kafka-jars.lock` has
one line a jar: coordinate, SHA-256, size in bytes. `python -m deploy.local.jars` fetches; with `--lock` it writes the
lock anew.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import tempfile
import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from deploy.local.cache import cache_directory, locked, require_space
from deploy.local.errors import LocalError
from deploy.local.progress import show_progress

if TYPE_CHECKING:
    from jgo.maven import MavenContext

LOCK_PATH = Path(__file__).with_name("kafka-jars.lock")
# `!` keeps a coordinate from imposing its own dependency management on the others: log4j's would replace Kafka's
# jackson and zstd. kafka-clients is named because left to itself the resolver picks an older one, and the broker dies
# of it.
COORDINATES = (
    "org.apache.kafka:kafka_2.13:4.3.1!",
    "org.apache.kafka:kafka-clients:4.3.1!",
    "org.apache.logging.log4j:log4j-slf4j-impl:2.25.3!",
)
DOWNLOADS_AT_ONCE = 4
TIMEOUT_SECONDS = 20
ATTEMPTS = 3
NO_NETWORK_REMEDY = (
    "check the network and run `make demo` again (what has arrived is kept), or set KAFKA_HOME to an unpacked Kafka 4."
)


@dataclass(frozen=True, slots=True)
class Jar:
    """One line of the lock."""

    coordinate: str
    sha256: str
    size_bytes: int

    @property
    def file_name(self) -> str:
        """
        >>> Jar("org.yaml:snakeyaml:2.5", "", 0).file_name
        'snakeyaml-2.5.jar'
        """
        _, artifact, version = self.coordinate.split(":")
        return f"{artifact}-{version}.jar"

    def matches(self, path: Path) -> bool:
        """Tell whether *path* is this jar, byte for byte."""
        if not path.is_file() or path.stat().st_size != self.size_bytes:
            return False
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == self.sha256


def read_lock(path: Path = LOCK_PATH) -> tuple[Jar, ...]:
    """Read the locked jars.

    Raises:
        LocalError: If the file is missing or a line is not `coordinate sha256 size`.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        entries = [line.split() for line in lines if line and not line.startswith("#")]
        return tuple(Jar(coordinate, sha256, int(size)) for coordinate, sha256, size in entries)
    except (OSError, ValueError) as error:
        raise LocalError(
            f"The lock of Kafka's jars cannot be read: {error}.", "`git checkout deploy/local/kafka-jars.lock`"
        ) from error


def class_path() -> str:
    """Return the broker's class path: `KAFKA_HOME`'s libraries if set, else the locked jars, fetched when missing.

    Raises:
        LocalError: If `KAFKA_HOME` holds no libraries, or a locked jar cannot be had.
    """
    home = os.environ.get("KAFKA_HOME")
    if not home:
        return f"{ensure_jars()}/*"
    libraries = Path(home) / "libs"
    if not any(libraries.glob("kafka-clients-*.jar")):
        raise LocalError(f"KAFKA_HOME={home} has no libs/kafka-clients-*.jar.", "unset KAFKA_HOME, then try again.")
    return f"{libraries}/*"


def ensure_jars(cache: Path | None = None, jars: Sequence[Jar] | None = None) -> Path:
    """Return the directory with the locked jars; fetch those that are missing or not what the lock says.

    Any number of processes may call it at once: one fetches, the others wait. An interrupted fetch goes on where it
    was.

    Raises:
        LocalError: If a jar cannot be fetched, or is not the locked one.
    """
    wanted = read_lock() if jars is None else jars
    root = cache_directory() if cache is None else cache
    digest = hashlib.sha256("".join(f"{jar.coordinate} {jar.sha256}\n" for jar in wanted).encode()).hexdigest()
    directory = root / f"kafka-{digest[:12]}"
    if _missing(directory, wanted):
        with locked(root):
            missing = _missing(directory, wanted)  # another process may have fetched them meanwhile
            if missing:
                require_space(root)
                _fetch(missing, directory)
            _remove_strangers(directory, wanted)
    return directory


def _missing(directory: Path, jars: Iterable[Jar]) -> list[Jar]:
    return [jar for jar in jars if not jar.matches(directory / jar.file_name)]


def _remove_strangers(directory: Path, jars: Iterable[Jar]) -> None:
    known = {jar.file_name for jar in jars}
    for path in directory.glob("*.jar"):
        if path.name not in known:
            path.unlink()


def _fetch(jars: Sequence[Jar], directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    for abandoned in directory.glob("fetch-*"):  # by a process that was killed: we hold the lock, so it is nobody's
        shutil.rmtree(abandoned)
    total_bytes = sum(jar.size_bytes for jar in jars)
    label = f"Fetching Apache Kafka ({len(jars)} jars, {total_bytes / 1e6:.0f} MB)"
    # Beside the jars, so that the move is a rename; not kept, so that a half-written file can never be taken for a
    # whole one.
    with (
        tempfile.TemporaryDirectory(dir=directory, prefix="fetch-") as scratch,
        show_progress(label, total_bytes) as progress,
    ):
        context, given_up = _maven_context(Path(scratch)), threading.Event()
        with ThreadPoolExecutor(DOWNLOADS_AT_ONCE) as pool:
            try:
                for done in pool.map(lambda jar: _fetch_one(context, jar, directory, given_up), jars):
                    progress.advance(done.size_bytes, done.file_name)
            except BaseException:  # an error or Ctrl-C: what is under way may end, nothing new begins
                given_up.set()
                pool.shutdown(cancel_futures=True)
                raise


def _fetch_one(context: MavenContext, jar: Jar, directory: Path, given_up: threading.Event) -> Jar:
    """Download *jar*, check it, move it into *directory*; try again, unless all was *given_up*."""
    artifact = context.create_dependency(jar.coordinate).artifact
    cause: Exception | None = None
    for _ in range(ATTEMPTS):
        try:
            path = context.resolver.download(artifact)
        except (OSError, RuntimeError) as error:  # requests' errors are OSErrors; jgo's own is a RuntimeError
            cause = error
        else:
            if path is not None and jar.matches(path):
                path.replace(directory / jar.file_name)
                return jar
            cause = None
        artifact.cached_path.unlink(missing_ok=True)
        if given_up.is_set():
            break
    if cause is not None:
        raise LocalError(f"{jar.coordinate} could not be fetched: {_first_line(cause)}.", NO_NETWORK_REMEDY) from cause
    raise LocalError(
        f"{jar.coordinate}, as fetched, is not the locked file: its SHA-256 differs. It was not kept.",
        "look for a proxy that alters downloads; for a new Kafka, `python -m deploy.local.jars --lock`.",
    )


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0][:200] if str(error) else type(error).__name__


def _maven_context(repository: Path) -> MavenContext:
    """Build jgo's view of Maven: the user's own repositories (jgo's settings file) first, then its default one."""
    try:
        from jgo.config import GlobalSettings
        from jgo.constants import MAVEN_CENTRAL_URL
        from jgo.maven import MavenContext
    except ImportError as error:
        raise LocalError("The Python package `jgo`, which fetches Kafka, is missing.", "`make env`") from error
    remotes = {**GlobalSettings.load().repositories, "central": MAVEN_CENTRAL_URL}
    return MavenContext(repo_cache=repository, remote_repos=remotes, timeout=TIMEOUT_SECONDS)


def resolve_lock() -> tuple[Jar, ...]:
    """Resolve `COORDINATES` anew and measure every jar (needs the network)."""
    with tempfile.TemporaryDirectory(prefix="orgpulse-lock-") as scratch:
        context = _maven_context(Path(scratch))
        inputs, transitive = context.resolver.resolve([context.create_dependency(each) for each in COORDINATES])
        artifacts = {str(each.artifact.component): each.artifact for each in (*inputs, *transitive)}
        return tuple(_measure(name, artifact.resolve()) for name, artifact in sorted(artifacts.items()))


def _measure(coordinate: str, path: Path) -> Jar:
    with path.open("rb") as file:
        return Jar(coordinate, hashlib.file_digest(file, "sha256").hexdigest(), path.stat().st_size)


def write_lock(jars: Iterable[Jar], path: Path = LOCK_PATH) -> None:
    """Write *jars* in the form `read_lock` reads."""
    head = "# Apache Kafka's jars: coordinate, SHA-256, bytes. Written by `python -m deploy.local.jars --lock`.\n"
    body = "".join(f"{jar.coordinate} {jar.sha256} {jar.size_bytes}\n" for jar in jars)
    path.write_text(head + body, encoding="utf-8")


def main(arguments: Sequence[str]) -> int:
    """Fetch the jars, or with `--lock` write the lock anew."""
    try:
        if list(arguments) == ["--lock"]:
            jars = resolve_lock()
            write_lock(jars)
            print(f"{LOCK_PATH.name}: {len(jars)} jars, {sum(jar.size_bytes for jar in jars) / 1e6:.0f} MB")
        else:
            print(ensure_jars())
    except LocalError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Stopped; what has arrived is kept.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
