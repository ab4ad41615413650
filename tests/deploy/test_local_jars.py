"""Kafka's jars are what the lock says, or they are not used.

The repository here is a real one over HTTP, on the loopback interface, with two small jars in it.
"""

from __future__ import annotations

import hashlib
import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from deploy.local.errors import LocalError
from deploy.local.jars import LOCK_PATH, Jar, class_path, ensure_jars, read_lock, write_lock

CONTENTS = {"org.example:left:1.0": b"left jar" * 1000, "org.example:right:2.0": b"right jar" * 1000}


def jar_of(coordinate: str, content: bytes) -> Jar:
    return Jar(coordinate, hashlib.sha256(content).hexdigest(), len(content))


JARS = tuple(jar_of(coordinate, content) for coordinate, content in CONTENTS.items())


class Repository:
    """A Maven repository that remembers which jars were asked of it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.asked: list[str] = []
        for coordinate, content in CONTENTS.items():
            self.put(coordinate, content)

    def put(self, coordinate: str, content: bytes) -> None:
        group, artifact, version = coordinate.split(":")
        path = self.directory / group.replace(".", "/") / artifact / version / f"{artifact}-{version}.jar"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    def serve(self) -> ThreadingHTTPServer:
        asked = self.asked

        class Handler(SimpleHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.path.endswith(".jar"):
                    asked.append(self.path.rsplit("/", 1)[1])
                super().do_GET()

            def log_message(self, *args: object) -> None:
                """Stay silent: pytest's output is for tests."""

        return ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(self.directory)))


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Repository]:
    repository = Repository(tmp_path / "repository")
    server = repository.serve()
    monkeypatch.setattr("jgo.constants.MAVEN_CENTRAL_URL", f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield repository
    server.shutdown()
    server.server_close()
    thread.join()


def test_the_committed_lock_names_46_jars_with_their_hashes() -> None:
    jars = read_lock()
    assert len(jars) == len({jar.file_name for jar in jars}) == 46
    assert all(len(jar.sha256) == 64 and jar.size_bytes > 1000 for jar in jars)
    assert "//" not in LOCK_PATH.read_text(encoding="utf-8")


def test_a_lock_reads_back_as_it_was_written(tmp_path: Path) -> None:
    write_lock(JARS, tmp_path / "lock")
    assert read_lock(tmp_path / "lock") == JARS


def test_jars_are_fetched_once_and_then_taken_from_the_cache(repository: Repository, tmp_path: Path) -> None:
    first = ensure_jars(tmp_path / "cache", JARS)
    second = ensure_jars(tmp_path / "cache", JARS)
    assert first == second
    assert sorted(path.name for path in first.iterdir()) == ["left-1.0.jar", "right-2.0.jar"]
    assert sorted(repository.asked) == ["left-1.0.jar", "right-2.0.jar"]


def test_a_broken_jar_in_the_cache_is_fetched_again_and_the_others_are_not(
    repository: Repository, tmp_path: Path
) -> None:
    directory = ensure_jars(tmp_path / "cache", JARS)
    repository.asked.clear()
    broken = directory / "left-1.0.jar"
    broken.write_bytes(broken.read_bytes()[:-1] + b"!")  # the size stays, so only the hash can tell
    ensure_jars(tmp_path / "cache", JARS)
    assert broken.read_bytes() == CONTENTS["org.example:left:1.0"]
    assert repository.asked == ["left-1.0.jar"]


def test_a_jar_that_is_not_the_locked_one_is_refused_and_what_was_right_is_kept(
    repository: Repository, tmp_path: Path
) -> None:
    repository.put("org.example:right:2.0", b"forged" * 1500)
    with pytest.raises(LocalError, match=r"org\.example:right:2\.0.*not the locked file"):
        ensure_jars(tmp_path / "cache", JARS)
    assert [path.name for path in (tmp_path / "cache").rglob("*.jar")] == ["left-1.0.jar"]


def test_two_who_need_the_jars_at_once_fetch_them_once(repository: Repository, tmp_path: Path) -> None:
    with ThreadPoolExecutor(2) as pool:
        directories = list(pool.map(lambda _: ensure_jars(tmp_path / "cache", JARS), range(2)))
    assert directories[0] == directories[1]
    assert sorted(repository.asked) == ["left-1.0.jar", "right-2.0.jar"]


def test_without_a_network_the_error_names_the_jar_and_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jgo.constants.MAVEN_CENTRAL_URL", "http://127.0.0.1:1")  # nothing listens there
    with pytest.raises(LocalError, match=r"org\.example:left:1\.0 could not be fetched") as caught:
        ensure_jars(tmp_path / "cache", JARS)
    assert "KAFKA_HOME" in caught.value.remedy


def test_a_disk_without_room_is_said_before_anything_is_fetched(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=5_000_000)
    monkeypatch.setattr("deploy.local.cache.shutil.disk_usage", lambda path: usage)
    with pytest.raises(LocalError, match="5 MB free") as caught:
        ensure_jars(tmp_path / "cache", JARS)
    assert "df -h" in caught.value.remedy
    assert repository.asked == []


def test_an_installed_kafka_is_used_instead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_HOME", str(tmp_path))
    with pytest.raises(LocalError, match="has no libs"):
        class_path()
    (tmp_path / "libs").mkdir()
    (tmp_path / "libs" / "kafka-clients-4.3.1.jar").touch()
    assert class_path() == f"{tmp_path}/libs/*"
