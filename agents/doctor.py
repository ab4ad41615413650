"""Owns what `orgpulse doctor` looks at on this machine, and the form of a finding.

Invariant: a check never raises; what it can't find out is itself a finding, with what to do.
"""

from __future__ import annotations

import importlib.metadata
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import msgspec
from packaging.requirements import InvalidRequirement, Requirement

from streams.model_file import load_model, load_shadow
from streams.settings import Settings, SettingsError
from streams.web_gate import Gate
from streams.web_hosts import is_loopback

State = Literal["ok", "warning", "failed"]

PYTHON_RANGE = ((3, 11), (3, 14))
"""From, and up to but without."""
FREE_BYTES_NEEDED = 500 * 1024 * 1024
FREE_BYTES_WANTED = 2 * 1024 * 1024 * 1024
SKEW_WARNING_SECONDS = 1.0
SKEW_FAILED_SECONDS = 60.0
INSTALL_COMMAND = "pip install --require-hashes -r requirements.lock"
LOCK_FILE = Path(__file__).resolve().parent.parent / "requirements.lock"


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome of one check: what was found, and, unless all is well, what to do."""

    check: str
    state: State
    found: str
    remedy: str = ""


def machine_findings(settings: Settings, config: Path | None) -> Iterator[Finding]:
    """Yield what is to say about Python, packages, settings and disk."""
    yield python_finding(sys.version_info[:3])
    yield packages_finding(pins(LOCK_FILE))
    yield settings_finding(settings, config)
    yield web_finding(settings)
    yield from disk_findings()


def python_finding(version: tuple[int, ...]) -> Finding:
    """Say whether this Python is one that orgpulse runs on."""
    text = ".".join(str(part) for part in version)
    low, high = PYTHON_RANGE
    if low <= version[:2] < high:
        return Finding(check="python", state="ok", found=text)
    remedy = f"Use Python {low[0]}.{low[1]} to {high[0]}.{high[1] - 1}."
    return Finding(check="python", state="failed", found=text, remedy=remedy)


def pins(lock: Path) -> dict[str, str]:
    """Return package → version that belong together on this machine: the lock's, else the package's own pins."""
    if lock.is_file():
        lines = re.findall(r"(?m)^([A-Za-z0-9].*?)\s*\\?$", lock.read_text(encoding="utf-8"))
    else:
        lines = importlib.metadata.requires("orgpulse") or []
    pinned: dict[str, str] = {}
    for line in lines:
        try:
            requirement = Requirement(line)
        except InvalidRequirement:
            continue  # an option of the installer, not a package
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            for spec in requirement.specifier:
                if spec.operator == "==":
                    pinned[requirement.name] = spec.version
    return pinned


def packages_finding(pinned: dict[str, str]) -> Finding:
    """Compare installed packages with the pins: combinations that nobody tested fail in odd ways."""
    wrong: list[str] = []
    for name, version in pinned.items():
        try:
            installed = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            installed = "missing"
        if installed != version:
            wrong.append(f"{name} {installed}, not {version}")
    if wrong:
        return Finding(check="packages", state="failed", found="; ".join(wrong), remedy=INSTALL_COMMAND)
    return Finding(check="packages", state="ok", found=f"{len(pinned)} as pinned")


def settings_finding(settings: Settings, config: Path | None) -> Finding:
    """Say where settings come from, and whether the model files they name are right."""
    found = f"{config or 'no file'}; model: {settings.model.file or 'as shipped'}"
    try:
        load_shadow(settings.model.shadow, load_model(settings.model.file))
    except SettingsError as error:
        return Finding(check="settings", state="failed", found=f"model {error.message}", remedy=error.remedy)
    return Finding(check="settings", state="ok", found=found)


def web_finding(settings: Settings) -> Finding:
    """Say who may look at the pages, and whether the file that says so can be used."""
    web = settings.web
    try:
        config = Gate(web, web.host, "[web] ").config
    except SettingsError as error:
        return Finding(check="web", state="failed", found=error.message, remedy=error.remedy)
    known = f"{len(config.users)} users, {len(config.tokens)} tokens" if config.asks else "nobody is asked"
    found = f"{web.host}: {known}, {'TLS' if config.tls else 'no TLS'}"
    if not config.is_closed and not is_loopback(web.host):
        remedy = "Everybody who reaches it may look, as [web] allow_anonymous says: docs/security-http.md."
        return Finding(check="web", state="warning", found=found, remedy=remedy)
    if config.asks and not config.tls and not is_loopback(web.host):
        remedy = "Passwords can be read on the way: name a certificate in tls_server_config."
        return Finding(check="web", state="warning", found=found, remedy=remedy)
    files = [Path(web.config_file), *(config.tls.files[1:2] if config.tls else ())] if web.config_file else []
    open_to_all = [str(file) for file in files if file.stat().st_mode & 0o004]
    if open_to_all:
        remedy = f"Everybody on this machine may read it: chmod o-r {' '.join(open_to_all)}"
        return Finding(check="web", state="warning", found=found, remedy=remedy)
    return Finding(check="web", state="ok", found=found)


def disk_findings() -> Iterator[Finding]:
    """Yield how much room is left where orgpulse may write."""
    for path in dict.fromkeys((Path.cwd(), Path(tempfile.gettempdir()))):
        free = shutil.disk_usage(path).free
        enough: State = "ok" if free >= FREE_BYTES_WANTED else "warning" if free >= FREE_BYTES_NEEDED else "failed"
        yield Finding(
            check="disk",
            state=enough,
            found=f"{free / 1024**3:.1f} GiB free in {path}",
            remedy="" if enough == "ok" else f"Make room in {path}: 2 GiB are good to have.",
        )


def skew_finding(check: str, server: str, skew_seconds: float) -> Finding:
    """Judge how far a server's clock is from this machine's.

    Args:
        skew_seconds: The server's time minus ours; positive: the server is ahead.
    """
    distance = abs(skew_seconds)
    state: State = (
        "ok" if distance < SKEW_WARNING_SECONDS else "warning" if distance < SKEW_FAILED_SECONDS else "failed"
    )
    where = "ahead of" if skew_seconds > 0 else "behind"
    found = f"{server} is {distance:.2f} s {where} this machine" if state != "ok" else f"within {distance:.2f} s"
    remedy = "" if state == "ok" else "Run a time service (chrony, systemd-timesyncd) on both."
    return Finding(check=check, state=state, found=found, remedy=remedy)
