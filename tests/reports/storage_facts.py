"""The same facts twice: as the regional files of an export, and as product events."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

HEADERS = {
    "projects": "created_at,project_id,user_id,usage_limit,bandwidth_limit",
    "users": "id,email_hash,created_at",
    "bandwidth_rollups": "interval_start,action,inline,settled,project_id",
    "storage_tallies": "interval_start,remote,project_id",
}


def facts(seed: int = 7, count: int = 400) -> tuple[dict[str, list[str]], list[dict[str, Any]]]:
    """Return the lines of each file, and the events; no two rows of traffic are equal."""
    rng = np.random.default_rng(seed)
    files: dict[str, list[str]] = {name: [] for name in HEADERS}
    events: list[dict[str, Any]] = []
    for user in range(12):
        mail = f"User{user}@Example.org"
        hashed = hashlib.sha256(mail.lower().encode()).hexdigest()
        files["users"].append(f"U-{user},{hashed},2020-02-0{user % 9 + 1} 10:00:00+00")
        events.append(_event("user_created", user, f"2020-02-0{user % 9 + 1}T10:00:00Z", email=mail))
    for project in range(20):
        user, limit = int(rng.integers(0, 10)), int(rng.choice([25, 50, 51, 500])) * 10**9
        files["projects"].append(f"2020-03-01 00:{project:02d}:00+00,p-{project},u-{user},{limit},")
        events.append(
            _event(
                "project_created", user, f"2020-03-01T00:{project:02d}:00Z", project=f"P-{project}", usage_limit=limit
            )
        )
    owners = [int(line.split(",")[2].removeprefix("u-")) for line in files["projects"]]
    for number in range(count):
        project, hour = int(rng.integers(0, 17)), np.datetime64("2020-10-01T00") + int(rng.integers(0, 24 * 230))
        settled, inline, action = int(rng.pareto(0.5) * 1000) % 2**50, int(rng.integers(0, 99)), 1 + number % 2
        files["bandwidth_rollups"].append(
            f"{str(hour).replace('T', ' ')}:00:00+00,{action},{inline},{settled},P-{project}"
        )
        what = {"bytes": settled, "inline": inline, "project": f"p-{project}"}
        minute = f"{hour}:{number % 60:02d}:07Z"
        events.append(_event(("upload", "download")[action - 1], owners[project], minute, **what))
    for _ in range(60):
        project, at = int(rng.integers(0, 15)), np.datetime64("2021-03-20T00") + int(rng.integers(0, 1200))
        remote = int(rng.integers(0, 10**13))
        files["storage_tallies"].append(f"{at}:00:00Z,{remote},p-{project}")
        events.append(_event("stored", owners[project], f"{at}:00:00+00:00", project=f"p-{project}", bytes=remote))
    return files, events


def write_facts(folder: Path, files: dict[str, list[str]]) -> None:
    """Write the files of two regions."""
    folder.mkdir(exist_ok=True)
    for at, region in enumerate(("ap", "us")):
        for name, lines in files.items():
            (folder / f"{region}_{name}.csv").write_text("\n".join([HEADERS[name], *lines[at::2]]) + "\n")


def messages(events: list[dict[str, Any]]) -> list[bytes]:
    """Return events as messages, every third one in the export form, and some of them twice."""
    found = []
    for number, event in enumerate(events):
        own = dict(event)
        if number % 3 == 0:
            properties = {"distinct_id": own["distinct_id"], "time": own["time"], "$insert_id": f"e{number}"}
            own = {"event": own["name"], "properties": properties | own["properties"]}
        else:
            own["event_id"] = f"e{number}"
        found += [json.dumps(own).encode()] * (2 if number % 50 == 0 else 1)
    return found


def _event(name: str, user: int, time: str, **properties: Any) -> dict[str, Any]:
    return {"name": name, "distinct_id": f"u-{user}", "time": time, "properties": properties}
