"""The command line as a user meets it: real processes, their output and their exit codes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from agents import cli
from agents.cli_errors import told
from agents.doctor import packages_finding, pins, python_finding, skew_finding
from streams.settings import Settings, override
from streams.topics import connected_admin, topic_specs

HELP_MODULES = 300
"""Python itself has about 70, click makes it 130, the list of commands 195; a worker loads more than a thousand."""


def run(*arguments: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run `orgpulse` in *folder* with only these ORGPULSE_ variables."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("ORGPULSE_")}
    environ["PYTHONPATH"] = str(Path(__file__).resolve().parents[2])
    return subprocess.run(
        [sys.executable, "-m", "agents.cli", *arguments],
        cwd=folder,
        env={**environ, **variables},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )


def test_help_names_every_command_and_the_exit_codes(tmp_path: Path) -> None:
    done = run("--help", folder=tmp_path)
    assert done.returncode == 0
    for name in cli.COMMANDS:
        assert f"\n  {name} " in done.stdout
    assert "Exit codes:" in done.stdout
    assert "Examples:" in done.stdout


def test_help_loads_little_and_so_is_quick(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom agents import cli\ncli.orgpulse(['--help'], standalone_mode=False)\nprint(len(sys.modules))"
    )
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=True)
    assert "Examples:" in done.stdout
    assert 0 < int(done.stdout.splitlines()[-1]) < HELP_MODULES


def test_help_imports_no_command() -> None:
    code = (
        "import sys, agents.cli; print([m for m in sys.modules if m.startswith(('kafka', 'redis', 'faust', 'rich'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_version_is_told(tmp_path: Path) -> None:
    done = run("--version", folder=tmp_path)
    assert (done.returncode, done.stdout.split()[0]) == (0, "orgpulse")


def test_a_wrong_setting_is_two_lines_and_exit_code_2(tmp_path: Path) -> None:
    (tmp_path / "orgpulse.toml").write_text("[kafka]\npartition = 3\n")
    done = run("settings", folder=tmp_path)
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        'orgpulse: orgpulse.toml, line 2: unknown key in [kafka] "partition"',
        '  Did you mean "partitions"? docs/settings.md lists all settings.',
    ]


def test_help_of_a_command_works_with_wrong_settings_too(tmp_path: Path) -> None:
    assert run("topics", "create", "--help", folder=tmp_path, ORGPULSE_KAFKA_PARTITIONS="x").returncode == 0


def test_a_misspelt_command_is_answered_with_the_nearest(tmp_path: Path) -> None:
    done = run("docter", folder=tmp_path)
    assert done.returncode == 2
    assert 'Did you mean "doctor"?' in done.stderr


def test_the_named_file_is_used_and_the_effective_settings_are_shown(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text("[web]\nport = 7000\n")
    done = run("--config", "mine.toml", "settings", "--changed", folder=tmp_path, ORGPULSE_REDIS_URL="redis://:pw@h:1")
    assert done.returncode == 0
    assert "# Settings file: mine.toml" in done.stdout
    assert "port = 7000  # default: 6066" in done.stdout
    assert 'url = "redis://:***@h:1"' in done.stdout


def test_a_missing_file_is_told_without_a_traceback(tmp_path: Path) -> None:
    done = run("--config", "nowhere.toml", "settings", folder=tmp_path)
    assert done.returncode == 2
    assert "nowhere.toml: there is no such settings file" in done.stderr
    assert "Traceback" not in done.stderr


def test_no_broker_is_told_in_two_lines_and_exit_code_1(tmp_path: Path) -> None:
    done = run("topics", "check", "--wait", "0.5", folder=tmp_path, ORGPULSE_KAFKA_BROKERS="127.0.0.1:1")
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 2
    assert "no Kafka broker answers at 127.0.0.1:1" in done.stderr


def test_errors_of_the_program_itself_keep_their_traceback() -> None:
    assert told(KeyError("x")) is None
    assert told(FileNotFoundError(2, "No such file or directory", "a.txt")) is not None


@pytest.mark.kafka
def test_topics_are_created_checked_and_doctored(
    kafka: Any, redis_server: Any, topic_prefix: str, tmp_path: Path
) -> None:
    variables = {
        "ORGPULSE_KAFKA_BROKERS": kafka.bootstrap,
        "ORGPULSE_KAFKA_PREFIX": topic_prefix,
        "ORGPULSE_KAFKA_APPLICATION": topic_prefix.rstrip("-"),
        "ORGPULSE_REDIS_URL": redis_server.url,
        "ORGPULSE_REDIS_PREFIX": topic_prefix,
    }
    before = run("doctor", "--json", folder=tmp_path, **variables)
    assert before.returncode == 1
    failed = [row for row in msgspec.json.decode(before.stdout) if row["state"] == "failed"]
    assert {row["remedy"] for row in failed} == {"orgpulse topics create"}
    assert run("topics", "check", folder=tmp_path, **variables).returncode == 1
    try:
        assert run("topics", "create", folder=tmp_path, **variables).returncode == 0
        assert run("topics", "check", folder=tmp_path, **variables).returncode == 0
        after = run("doctor", folder=tmp_path, **variables)
        assert after.returncode == 0, after.stdout
        assert "0 failed" in after.stdout
    finally:
        mine = override(
            Settings(),
            {
                "kafka.brokers": kafka.bootstrap,
                "kafka.prefix": topic_prefix,
                "kafka.application": topic_prefix.rstrip("-"),
            },
        )
        with connected_admin(mine) as admin:
            admin.delete_topics([spec.name for spec in topic_specs(mine)])


def test_the_doctor_tells_that_kafka_and_redis_are_down_and_what_to_do(tmp_path: Path) -> None:
    done = run(
        "doctor",
        *("--json", "--wait", "0.5"),
        folder=tmp_path,
        ORGPULSE_KAFKA_BROKERS="127.0.0.1:1",
        ORGPULSE_REDIS_URL="redis://:geheim@127.0.0.1:2/0",
    )
    assert done.returncode == 1
    failed = {row["check"]: row for row in msgspec.json.decode(done.stdout) if row["state"] == "failed"}
    assert set(failed) == {"kafka", "redis"}
    assert all(row["remedy"] for row in failed.values())
    assert "geheim" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("skew_seconds", "state"), [(0.0, "ok"), (-0.9, "ok"), (1.5, "warning"), (-59.0, "warning"), (61.0, "failed")]
)
def test_a_clock_that_is_off_is_told(skew_seconds: float, state: str) -> None:
    assert skew_finding("redis clock", "Redis", skew_seconds).state == state


def test_a_package_that_is_not_as_pinned_and_a_python_that_is_too_old_are_told(tmp_path: Path) -> None:
    lock = tmp_path / "requirements.lock"
    lock.write_text(
        "# a comment\nclick==1.0 \\\n    --hash=sha256:00\n    # via nobody\n"
        "nonesuch==2.0 \\\n    --hash=sha256:00\ncolorama==0.1 ; sys_platform == 'nonesuch' \\\n    --hash=sha256:00\n"
    )
    assert pins(lock) == {"click": "1.0", "nonesuch": "2.0"}
    finding = packages_finding(pins(lock))
    assert finding.state == "failed"
    assert "click" in finding.found
    assert "nonesuch missing" in finding.found
    assert python_finding((3, 10, 4)).state == python_finding((3, 14, 0)).state == "failed"
    assert python_finding((3, 11, 0)).state == "ok"


def test_every_command_of_the_list_can_be_loaded() -> None:
    runner = CliRunner()
    for name in cli.COMMANDS:
        done = runner.invoke(cli.orgpulse, [name, "--help"])
        assert done.exit_code == 0, f"{name}: {done.output}"
