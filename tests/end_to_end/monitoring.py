"""A real Prometheus, a real Alertmanager and somebody who is told: with what ships, at a test's pace.

Owns how the shipped configuration is shortened: Prometheus asks every two seconds (a busy worker needs one to answer)
and evaluates every second, `for` and `keep_firing_for` are seconds (not of alerts about the system), Alertmanager waits
a second for more; addresses are those of the test. Expressions, labels, routes and inhibition stay as they are.
Invariant: every process that was started has ended when its `with` block has.
"""

from __future__ import annotations

import json
import shutil
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple, Self

import pytest
import yaml

from deploy.local.ports import free_ports
from deploy.local.processes import ChildProcess
from tests.faults.system import wait_until

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
RULES = sorted((DEPLOY / "prometheus" / "rules").glob("*.yml"))
PACE, ASKED, KEPT = "1s", "2s", "5s"
_START_SECONDS = 90.0


def shipped_alerts() -> dict[str, dict[str, Any]]:
    """Return the alerts of all rule files by name."""
    files = [yaml.safe_load(path.read_text("utf-8")) for path in RULES]
    found = [rule for file in files for group in file["groups"] for rule in group["rules"]]
    return {rule["alert"]: rule for rule in found if "alert" in rule}


def binary(*names: str) -> str:
    """Return the path of the first of *names* that is installed; without any, the test skips."""
    for name in names:
        found = shutil.which(name)
        if found is not None:
            return found
    pytest.skip(f"{names[0]} is not installed here (Debian: apt install prometheus prometheus-alertmanager)")


class Notification(NamedTuple):
    """What Alertmanager sent to a webhook."""

    at: float  # monotonic seconds
    receiver: str
    status: str
    name: str
    labels: dict[str, str]


class Inbox:
    """A webhook that keeps what it is told."""

    def __init__(self) -> None:
        self.payloads: list[dict[str, Any]] = []
        self._told: list[Notification] = []
        inbox = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                inbox._take(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _take(self, payload: dict[str, Any]) -> None:
        now = time.monotonic()
        self.payloads.append(payload)
        self._told += [
            Notification(now, payload["receiver"], alert["status"], alert["labels"]["alertname"], alert["labels"])
            for alert in payload["alerts"]
        ]

    def told(self, name: str = "", **labels: str) -> list[Notification]:
        """Return what came of the alert *name* (empty = any) with *labels*, in the order in which it came."""
        wanted = labels.items()
        return [each for each in list(self._told) if each.name == (name or each.name) and wanted <= each.labels.items()]


class _Server:
    """A process with a page of its own; *ready* is the path that answers once it is there."""

    def __init__(self, command: Sequence[str], port: int, ready: str, log: Path) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self._command, self._ready, self._log = command, ready, log
        self._process: ChildProcess | None = None

    def __enter__(self) -> Self:
        self._process = ChildProcess(self._command, log=self._log)
        try:
            wait_until(self._missing, _START_SECONDS)
        except BaseException:
            self._process.kill()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        self._process.stop()

    def _missing(self) -> str:
        assert self._process is not None
        if not self._process.running:
            pytest.fail(self._log.read_text("utf-8", "replace"))
        with urllib.request.urlopen(self.url + self._ready, timeout=60) as reply:
            return "" if reply.status == 200 else f"{self._ready}: {reply.status}"

    def get(self, path: str, **parameters: str) -> Any:
        """Return the JSON of a page."""
        query = "?" + urllib.parse.urlencode(parameters) if parameters else ""
        with urllib.request.urlopen(self.url + path + query, timeout=60) as reply:
            return json.load(reply)


class Prometheus(_Server):
    """A Prometheus with the shipped configuration and rules, that asks *workers* (host:port)."""

    def __init__(self, folder: Path, workers: Sequence[str], alertmanager: str = "") -> None:
        """Prepare; *alertmanager* is its address, empty = alerts go nowhere."""
        folder.mkdir(parents=True)
        (port,) = free_ports(1)
        config = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text("utf-8"))
        config["global"] = {"scrape_interval": ASKED, "scrape_timeout": ASKED, "evaluation_interval": PACE}
        config["rule_files"] = [str(folder / "rules" / "*.yml")]
        managers = [{"static_configs": [{"targets": [alertmanager]}]}] if alertmanager else []
        config["alerting"] = {"alertmanagers": managers}
        for job in config["scrape_configs"]:
            job["static_configs"] = [
                {"targets": list(workers) if job["job_name"] == "orgpulse" else [f"127.0.0.1:{port}"]}
            ]
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config), "utf-8")
        (folder / "rules").mkdir()
        for path in RULES:
            (folder / "rules" / path.name).write_text(yaml.safe_dump(hurried(path)), "utf-8")
        command = [
            binary("prometheus"), f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data",
            f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn",
        ]  # fmt: skip
        super().__init__(command, port, "/-/ready", folder / "prometheus.log")

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Return the result of an instant query: series with `metric` and `value`; a scalar is one series.

        Raises:
            urllib.error.HTTPError: If Prometheus refuses the expression.
        """
        data = self.get("/api/v1/query", query=expression)["data"]
        return [{"metric": {}, "value": data["result"]}] if data["resultType"] == "scalar" else list(data["result"])

    def rule_problems(self) -> list[str]:
        """Return what went wrong when rules were evaluated last."""
        groups = self.get("/api/v1/rules")["data"]["groups"]
        return [f"{rule['name']}: {rule['lastError']}" for g in groups for rule in g["rules"] if rule.get("lastError")]


def hurried(path: Path) -> dict[str, Any]:
    """Return a file of rules whose alerts about orgs, hours and input wait for a second instead of minutes and hours.

    Those about the system wait as they do: what a busy machine holds up for a moment is nothing to tell.
    """
    file: dict[str, Any] = yaml.safe_load(path.read_text("utf-8"))
    for group in file["groups"]:
        for rule in group["rules"]:
            if rule.get("labels", {}).get("about") != "system":
                rule |= {key: pace for key, pace in (("for", PACE), ("keep_firing_for", KEPT)) if key in rule}
    return file


class Alertmanager(_Server):
    """An Alertmanager with the shipped configuration, that tells *inbox* (host:port)."""

    def __init__(self, folder: Path, inbox: str) -> None:
        folder.mkdir(parents=True)
        (port,) = free_ports(1)
        self.address = f"127.0.0.1:{port}"
        config = yaml.safe_load((DEPLOY / "alertmanager" / "alertmanager.yml").read_text("utf-8"))
        for route in (config["route"], *config["route"]["routes"]):
            route |= {"group_wait": PACE, "group_interval": PACE}
        for receiver in config["receivers"]:
            for hook in receiver.get("webhook_configs", ()):
                hook["url"] = f"http://{inbox}/{receiver['name']}"
        (folder / "alertmanager.yml").write_text(yaml.safe_dump(config), "utf-8")
        command = [
            binary("prometheus-alertmanager", "alertmanager"), f"--config.file={folder}/alertmanager.yml",
            f"--storage.path={folder}/data", f"--web.listen-address={self.address}", "--cluster.listen-address=",
        ]  # fmt: skip
        super().__init__(command, port, "/-/ready", folder / "alertmanager.log")

    def alerts(self) -> list[dict[str, Any]]:
        """Return the alerts that it knows: `labels`, `fingerprint`, `status` with `state` and `inhibitedBy`."""
        found: list[dict[str, Any]] = self.get("/api/v2/alerts")
        return found

    def states(self) -> dict[str, str]:
        """Return by alert name and org (`name/org`) whether it is active or suppressed."""
        return {_key(alert["labels"]): alert["status"]["state"] for alert in self.alerts()}

    def inhibited_by(self, key: str) -> set[str]:
        """Return the names of alerts that silence the one with *key* (as in `states`); it names one of several."""
        known = {alert["fingerprint"]: alert for alert in self.alerts()}
        (alert,) = [alert for alert in known.values() if _key(alert["labels"]) == key]
        return {known[fingerprint]["labels"]["alertname"] for fingerprint in alert["status"]["inhibitedBy"]}

    def post(self, alerts: Sequence[dict[str, Any]]) -> None:
        """Send alerts as Prometheus does."""
        request = urllib.request.Request(
            self.url + "/api/v2/alerts", json.dumps(alerts).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=60) as reply:
            assert reply.status == 200


def _key(labels: dict[str, str]) -> str:
    return "/".join(filter(None, (labels["alertname"], labels.get("org", ""))))
