"""The rules that ship: promtool takes them, they ask for what exists, and every alert has all that belongs to it.

Each alert fires in one promtool test at least and is silent in one, names the runbook that is there, and says how bad
it is and what it is about, which is what Alertmanager goes by.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from itertools import chain
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from agents.cli import orgpulse
from streams.metric_kinds import Count, Spread
from streams.metrics import Metrics
from streams.settings import Settings
from streams.web_figures import WebFigures

ROOT = Path(__file__).resolve().parents[2]
RULES = sorted((ROOT / "deploy" / "prometheus" / "rules").glob("*.yml"))
TESTS = sorted(Path(__file__).parent.glob("*.promtool.yml"))
RUNBOOKS = (ROOT / "docs" / "runbooks.md").read_text("utf-8")
PAGE = "http://127.0.0.1:6066"
_NAME = re.compile(r"\borgpulse_[a-z0-9_]+\b")
_RECORDED = re.compile(r"\borgpulse:[a-z0-9_:]+\b")


def rules() -> list[dict[str, Any]]:
    """Return every rule of every file."""
    files = [yaml.safe_load(path.read_text("utf-8")) for path in RULES]
    return [rule for file in files for group in file["groups"] for rule in group["rules"]]


ALERTS = {rule["alert"]: rule for rule in rules() if "alert" in rule}
RECORDED = [rule["record"] for rule in rules() if "record" in rule]


def samples() -> set[str]:
    """Return the names of all samples that a worker can show."""
    metrics = Metrics()
    found = {"orgpulse_series"} | {family.name for family in metrics.orgs.families()}
    web = WebFigures(metrics.registry, lambda: 0)
    for value in (*vars(metrics).values(), *vars(web).values()):
        if isinstance(value, Count):
            found.add(value.name + "_total")
        elif isinstance(value, Spread):
            found |= {value.name + part for part in ("_bucket", "_count", "_sum")}
        elif hasattr(value, "family"):
            found.add(value.name)
    return found


def test_rules_ask_for_metrics_that_exist() -> None:
    for path in RULES:
        wanted = set(_NAME.findall(path.read_text("utf-8")))
        assert wanted and wanted <= samples(), (path.name, wanted - samples())


def test_rules_ask_for_what_is_recorded_before_and_nothing_is_recorded_twice() -> None:
    assert len(set(RECORDED)) == len(RECORDED)
    for path in RULES:
        for group in yaml.safe_load(path.read_text("utf-8"))["groups"]:
            before: set[str] = set()
            for rule in group["rules"]:
                assert set(_RECORDED.findall(rule["expr"])) <= before, rule
                before.add(rule.get("record", ""))


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_says_how_bad_it_is_what_it_is_about_and_where_its_runbook_is(name: str) -> None:
    rule = ALERTS[name]
    assert re.fullmatch("Orgpulse[A-Z][A-Za-z]+", name)
    assert rule["labels"].keys() == {"severity", "about"}
    assert rule["labels"]["severity"] in ("critical", "warning", "info")
    assert rule["labels"]["about"] in ("org", "hours", "input", "system")
    told = rule["annotations"]
    assert told["summary"] and told["description"]
    assert told["runbook_url"] == f"{PAGE}/runbooks#{name.lower()}"
    of_an_org = "{{ $labels.org" in told["summary"] or "$labels.org" in told["summary"]
    assert ("page" in told) == of_an_org
    assert not of_an_org or told["page"].startswith(PAGE)


def test_every_alert_fires_in_a_test_and_is_silent_in_one() -> None:
    cases = chain.from_iterable(yaml.safe_load(path.read_text("utf-8"))["tests"] for path in TESTS)
    looks = [look for case in cases for look in case.get("alert_rule_test", ())]
    assert {look["alertname"] for look in looks if look["exp_alerts"]} == ALERTS.keys()
    assert {look["alertname"] for look in looks if not look["exp_alerts"]} == ALERTS.keys()


def test_every_alert_has_its_runbook_and_every_runbook_its_alert() -> None:
    headings = re.findall(r"^## (.+)$", RUNBOOKS, re.MULTILINE)
    assert sorted(headings) == sorted(ALERTS)


def parts_of_runbooks() -> dict[str, str]:
    """Return each runbook by its alert."""
    _, *parts = re.split(r"^## ", RUNBOOKS, flags=re.MULTILINE)
    return dict(part.split("\n", 1) for part in parts)


@pytest.mark.parametrize("name", ALERTS)
def test_a_runbook_says_what_it_means_what_one_sees_where_to_look_what_to_do_and_when_it_ends(name: str) -> None:
    asked = re.findall(r"^\*\*([A-Za-z ]+)\.\*\*", parts_of_runbooks()[name], re.MULTILINE)
    assert asked == ["Meaning", "Users notice", "Look", "Do", "Ends"]


def commands_of_runbooks() -> list[list[str]]:
    """Return every command of orgpulse that the runbooks tell to run, split like a shell would."""
    found = re.findall(r"`(orgpulse [^`]+)`", RUNBOOKS)
    return [shlex.split(command)[1:] for command in found]


def test_runbooks_name_commands_and_options_that_exist() -> None:
    commands = commands_of_runbooks()
    assert len(commands) > 20
    for words in commands:
        command: click.Command = orgpulse
        while words and isinstance(command, click.Group):
            found = command.get_command(click.Context(command), words[0])
            assert found is not None, words
            command, words = found, words[1:]
        known = set(chain.from_iterable((*option.opts, *option.secondary_opts) for option in command.params))
        assert {word for word in words if word.startswith("-")} <= known, (command.name, words)


def test_runbooks_ask_for_metrics_that_exist() -> None:
    wanted = set(_NAME.findall(RUNBOOKS))
    assert wanted <= samples(), wanted - samples()
    assert set(_RECORDED.findall(RUNBOOKS)) <= set(RECORDED)


def test_prometheus_takes_as_many_series_as_a_worker_thinks_and_asks_alertmanager() -> None:
    config = yaml.safe_load((ROOT / "deploy" / "prometheus" / "prometheus.yml").read_text("utf-8"))
    (job,) = [job for job in config["scrape_configs"] if job["job_name"] == "orgpulse"]
    assert job["sample_limit"] == Settings().metrics.series_limit
    (managers,) = config["alerting"]["alertmanagers"]
    assert managers["static_configs"] == [{"targets": ["alertmanager:9093"]}]


def promtool(*arguments: object) -> None:
    """Run promtool and see that it is content; without one, skip."""
    tool = shutil.which("promtool")
    if tool is None:
        pytest.skip("promtool is not installed here (Debian: apt install prometheus)")
    done = subprocess.run([tool, *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_promtool_takes_the_rules() -> None:
    promtool("check", "rules", *RULES)


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.name.partition(".")[0])
def test_alerts_fire_when_they_should_and_only_then(path: Path) -> None:
    promtool("test", "rules", path)
