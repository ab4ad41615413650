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
    known = {value.name for value in vars(Metrics()).values() if hasattr(value, "family")}
    assert RULES
    for path in RULES:
        wanted = set(re.findall(r"\borgpulse_[a-z_]+\b", path.read_text("utf-8")))
        assert wanted and {name.removesuffix("_total") for name in wanted} <= known, path


def test_promtool_takes_the_rules() -> None:
    tool = shutil.which("promtool")
    if tool is None:
        pytest.skip("promtool is not installed here (Debian: apt install prometheus)")
    done = subprocess.run([tool, "check", "rules", *map(str, RULES)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
