"""A real Prometheus with the shipped configuration, its password line in force, and a server that asks for it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from urllib.error import URLError

import pytest
import yaml

from deploy.local.ports import free_ports
from deploy.local.processes import ChildProcess
from tests.deploy.real_prometheus import Prometheus, QueryError
from tests.faults.system import wait_until
from tests.streams.web_house import PATIENCE_SECONDS, House, hashed

pytestmark = [pytest.mark.security, pytest.mark.slow]

SHIPPED = Path(__file__).resolve().parents[2] / "deploy" / "prometheus" / "prometheus.yml"


def configuration(folder: Path, password_file: Path, port: int) -> Path:
    """Write the shipped configuration with the # taken off, for this machine, and check it with promtool."""
    text = SHIPPED.read_text(encoding="utf-8")
    assert text.count("# basic_auth:") == 1
    config = yaml.safe_load(text.replace("# basic_auth:", "basic_auth:"))
    job = next(each for each in config["scrape_configs"] if each["job_name"] == "orgpulse")
    assert job["basic_auth"] == {"username": "prometheus", "password_file": "/run/secrets/scrape-password"}
    job["basic_auth"]["password_file"] = str(password_file)
    job["static_configs"], job["scrape_interval"], job["scrape_timeout"] = (
        [{"targets": [f"127.0.0.1:{port}"]}],
        "1s",
        "1s",
    )
    config |= {"rule_files": [], "alerting": {}, "scrape_configs": [job]}
    file = folder / "prometheus.yml"
    file.write_text(yaml.safe_dump(config), encoding="utf-8")
    tool = shutil.which("promtool")
    assert tool is not None
    subprocess.run([tool, "check", "config", file], check=True, capture_output=True)
    return file


def test_prometheus_scrapes_with_the_password_of_a_file_and_not_with_another(tmp_path: Path) -> None:
    server = shutil.which("prometheus")
    if server is None:
        pytest.skip("prometheus is not installed here (Debian: apt install prometheus)")
    web, password = tmp_path / "web.yml", tmp_path / "scrape-password"
    web.write_text(f"basic_auth_users:\n  prometheus: {hashed('scrape it')}\n", encoding="utf-8")
    password.write_text("scrape it\n", encoding="utf-8")
    with House(web) as house:
        config = configuration(tmp_path, password, house.port)
        (port,) = free_ports(1)
        options = [f"--storage.tsdb.path={tmp_path / 'data'}", f"--web.listen-address=127.0.0.1:{port}"]
        asked = Prometheus(f"http://127.0.0.1:{port}")

        def up(value: int) -> str:
            try:
                found = asked.now("up")["result"]
            except (URLError, ConnectionError, QueryError, ValueError) as error:  # it starts
                return str(error)
            return "" if [each["value"][1] for each in found] == [str(value)] else str(found)

        with ChildProcess([server, f"--config.file={config}", *options], log=tmp_path / "log"):
            wait_until(lambda: up(1), PATIENCE_SECONDS)
            hashes = house.server._guard.logins.hashed
            assert hashes == 1  # however often it has scraped
            password.write_text("another\n", encoding="utf-8")
            wait_until(lambda: up(0), PATIENCE_SECONDS)
