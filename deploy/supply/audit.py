"""Asks OSV whether the locked versions have known vulnerabilities (pip-audit does the asking).

Invariant: "nothing known" is said only after the service answered for every package. Exit codes: 0 nothing known, or
skipped with a reason; 1 something is known; 2 the check itself failed; 3 skipped, although `--required`.
Run ``python -m deploy.supply.audit [--required] [--lock FILE]…``.
"""

from __future__ import annotations

import argparse
import datetime
import json
import subprocess
import sys
import tempfile
import tomllib
import urllib.error
import urllib.request
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from deploy.supply.locked import RUNNING, WHOLE, read_lock

IGNORED = Path(__file__).with_name("ignored.toml")
SERVICE = "https://api.osv.dev/v1/query"
_WAIT_SECONDS = 15
_FOUND, _FAILED, _SKIPPED = 1, 2, 3


def main(arguments: list[str] | None = None) -> int:
    """Check; return the exit code."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--required", action="store_true", help="fail when the service can't be asked")
    parser.add_argument("--lock", action="append", type=Path, help="instead of both locks")
    parser.add_argument("--osv-url", default=SERVICE, help="default: %(default)s")
    parser.add_argument("--ignored", type=Path, default=IGNORED, help="what is known and accepted until when")
    given = parser.parse_args(arguments)
    locks = given.lock or [RUNNING, WHOLE]
    if reason := _unreachable(given.osv_url):
        print(f"skipped: {reason}. What helps: a network that reaches it, then `make audit` again.")
        return _SKIPPED if given.required else 0
    try:
        accepted = accepted_today(given.ignored, datetime.datetime.now(datetime.UTC).date())
    except ValueError as error:
        print(f"failed: {error}")
        return _FAILED
    return _ask(locks, given.osv_url, accepted)


def accepted_today(file: Path, today: datetime.date) -> list[str]:
    """Return the ids that are accepted for the time being.

    Raises:
        ValueError: If an entry has no reason, or its time is over.
    """
    found = []
    for entry in tomllib.loads(file.read_text(encoding="utf-8")).get("accepted", []):
        if not entry.get("reason") or not isinstance(entry.get("until"), datetime.date):
            raise ValueError(f"{file.name}: {entry.get('id')} needs a reason and `until`, a date")
        if entry["until"] < today:
            raise ValueError(f"{file.name}: {entry['id']} was accepted until {entry['until']}; look at it again")
        found.append(str(entry["id"]))
    return found


def _unreachable(service: str) -> str:
    """Return why the check can't be made here, empty if it can."""
    if find_spec("pip_audit") is None:
        return "pip-audit is not installed (`make env` installs it)"
    question = json.dumps({"package": {"purl": "pkg:pypi/pip@26.3"}}).encode()
    try:
        request = urllib.request.Request(service, question, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=_WAIT_SECONDS) as answer:
            json.load(answer)
    except (OSError, ValueError, urllib.error.HTTPError) as error:
        return f"{service} does not answer ({getattr(error, 'reason', None) or error})"
    return ""


def _ask(locks: list[Path], service: str, accepted: list[str]) -> int:
    with tempfile.TemporaryDirectory(prefix="orgpulse-audit-") as folder:
        out = Path(folder) / "found.json"
        command = [sys.executable, "-m", "pip_audit", "--require-hashes", "--disable-pip", "--progress-spinner", "off"]
        command += ["-s", "osv", "--osv-url", service, "-f", "json", "-o", str(out), "--timeout", str(_WAIT_SECONDS)]
        for number, lock in enumerate(locks):
            command += ["-r", str(_for_this_machine(lock, Path(folder) / f"{number}.txt"))]
        for each in accepted:
            command += ["--ignore-vuln", each]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if not out.exists():
            print(f"failed: pip-audit ended with {done.returncode}: {(done.stderr or 'no word').strip()[-400:]}")
            return _FAILED
        return _tell(json.loads(out.read_text(encoding="utf-8")), locks, accepted)


def _for_this_machine(lock: Path, copy: Path) -> Path:
    """Write a lock as pins with hashes and no markers: what is installed elsewhere is looked at too.

    Of a package in several versions only the newest stands here: no installer takes two.
    """
    newest = {each.name: each for each in read_lock(lock)}
    lines = [f"{e.name}=={e.version} --hash=sha256:{e.hashes[0]}\n" for e in newest.values()]
    copy.write_text("".join(lines), encoding="utf-8")
    return copy


def _tell(found: dict[str, Any], locks: list[Path], accepted: list[str]) -> int:
    asked = {each["name"]: each for each in found["dependencies"]}
    if left := {e.name for lock in locks for e in read_lock(lock)} - set(asked):
        print(f"failed: nothing was said about {', '.join(sorted(left)[:5])}")
        return _FAILED
    known = [(each, hole) for each in asked.values() for hole in each.get("vulns", ())]
    for each, hole in known:
        mended = ", ".join(hole["fix_versions"]) or "no version yet"
        print(f"{each['name']} {each['version']}: {hole['id']}, mended in {mended}")
    if known:
        print(f"{len(known)} known. Raise the pins and run `make lock`, or accept one for a time in {IGNORED.name}.")
        return _FOUND
    print(f"nothing is known of {len(asked)} packages" + (f", {len(accepted)} accepted" if accepted else ""))
    return 0


if __name__ == "__main__":
    sys.exit(main())
