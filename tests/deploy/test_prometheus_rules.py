"""The rules that ship: promtool takes them, and they ask for metrics that exist."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from streams.metrics import Metrics

RULES = sorted((Path(__file__).parents[2] / "deploy" / "prometheus" / "rules").glob("*.yml"))


def test_rules_ask_for_metrics_that_exist() -> None:
    metrics = Metrics()
    known = {value.name for value in vars(metrics).values() if hasattr(value, "family")}
    known |= {family.name for family in metrics.orgs.families()}
    assert RULES
    for path in RULES:
        wanted = set(re.findall(r"\borgpulse_[a-z_]+\b", path.read_text("utf-8")))
        assert wanted and {name.removesuffix("_total") for name in wanted} <= known, path


def promtool(*arguments: object) -> None:
    """Run promtool and see that it is content; without one, skip."""
    tool = shutil.which("promtool")
    if tool is None:
        pytest.skip("promtool is not installed here (Debian: apt install prometheus)")
    done = subprocess.run([tool, *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_promtool_takes_the_rules() -> None:
    promtool("check", "rules", *RULES)


def test_an_org_that_fell_fires_one_alert_and_what_is_not_told_is_said() -> None:
    promtool("test", "rules", Path(__file__).with_name("alerts.promtool.yml"))
