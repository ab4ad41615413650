"""A real Prometheus (Debian: `apt install prometheus`) that reads real pages and knows a past that is made for it.

Invariant: it listens on loopback only, keeps its data in the directory it is given, and ends with its `with` block.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest
import yaml
from prometheus_client.openmetrics.exposition import generate_latest

from deploy.local.ports import free_ports
from streams.metrics import Metrics

_WAIT_SECONDS = 90


class QueryError(AssertionError):
    """Prometheus refused a query."""


@dataclass(frozen=True, slots=True)
class Prometheus:
    """One that runs."""

    url: str

    def now(self, expr: str) -> dict[str, Any]:
        """Return the answer to an instant query: its `data`."""
        return self._ask("query", {"query": expr})

    def over_time(self, expr: str, seconds: int, step: int) -> dict[str, Any]:
        """Return the answer for the last *seconds*, every *step* of them."""
        end = time.time()
        return self._ask("query_range", {"query": expr, "start": end - seconds, "end": end, "step": step})

    def _ask(self, path: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        try:
            with urlopen(f"{self.url}/api/v1/{path}?{urlencode(arguments)}", timeout=20) as reply:
                data: dict[str, Any] = json.load(reply)["data"]
        except HTTPError as error:
            text = error.read().decode("utf-8", "replace")  # JSON, but for a page that it has before it is ready
            raise QueryError(f"{text}: {arguments['query']}") from error
        return data


@contextmanager
def prometheus(folder: Path, pages: Sequence[str], past: Mapping[int, Metrics], scrapes: int) -> Iterator[Prometheus]:
    """Run one until the block ends; skip where none is installed.

    Args:
        folder: For its data.
        pages: Addresses ``host:port`` of `/metrics`, read every second.
        past: What the first page said, by how many seconds ago.
        scrapes: How often each page has to be read before the block begins.
    """
    server, tool = shutil.which("prometheus"), shutil.which("promtool")
    if server is None or tool is None:
        pytest.skip("prometheus is not installed here (Debian: apt install prometheus)")
    for ago, metrics in past.items():
        _remember(tool, folder, ago, metrics, pages[0])
    config = folder / "prometheus.yml"
    scrape = {"job_name": "orgpulse", "static_configs": [{"targets": list(pages)}]}
    config.write_text(yaml.safe_dump({"global": {"scrape_interval": "1s"}, "scrape_configs": [scrape]}))
    address = f"127.0.0.1:{free_ports(1)[0]}"
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                server, f"--config.file={config}", f"--storage.tsdb.path={folder / 'data'}",
                "--storage.tsdb.retention.time=90d", f"--web.listen-address={address}",
            ],
            stdout=log, stderr=log,
        )  # fmt: skip
    try:
        found = Prometheus(f"http://{address}")
        _wait_for(found, process, folder / "log", len(pages), scrapes)
        yield found
    finally:
        process.terminate()
        process.wait(60)


def _wait_for(found: Prometheus, process: subprocess.Popen[bytes], log: Path, pages: int, scrapes: int) -> None:
    until = time.monotonic() + _WAIT_SECONDS
    while time.monotonic() < until:
        assert process.poll() is None, log.read_text()[-2000:]
        try:
            if found.now(f"count(sum_over_time(up[1m]) >= {scrapes}) == {pages}")["result"]:
                return
        except (URLError, ConnectionError, QueryError):  # it starts
            pass
        time.sleep(0.2)
    raise AssertionError(f"prometheus read its pages too seldom: {log.read_text()[-2000:]}")


def _remember(tool: str, folder: Path, ago: int, metrics: Metrics, page: str) -> None:
    """Write a block of samples of one moment of the past, as if *page* had been read then."""
    at = int(time.time()) - ago
    lines = generate_latest(metrics.registry).decode().splitlines()
    labelled = [line if line.startswith("#") else f"{_of_page(line, page)} {at}" for line in lines]
    text = folder / f"{ago}.openmetrics"
    text.write_text("\n".join(labelled) + "\n")
    subprocess.run(
        [tool, "tsdb", "create-blocks-from", "openmetrics", text, folder / "data"], check=True, capture_output=True
    )


def _of_page(line: str, page: str) -> str:
    """Add the labels that a scrape adds to a sample's line.

    >>> _of_page('a{b="c d"} 1.0', "h:1"), _of_page("a 1.0", "h:1")
    ('a{b="c d",job="orgpulse",instance="h:1"} 1.0', 'a{job="orgpulse",instance="h:1"} 1.0')
    """
    name, _, value = line.rpartition(" ")
    added = f'job="orgpulse",instance="{page}"'
    return f"{name[:-1]},{added}}} {value}" if name.endswith("}") else f"{name}{{{added}}} {value}"
