"""Who is told of which alert, and which alerts are silent because another one explains them."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.end_to_end.monitoring import Alertmanager, Inbox, binary, shipped_alerts
from tests.faults.system import wait_until

FOLDER = Path(__file__).resolve().parents[2] / "deploy" / "alertmanager"
ALERTS = shipped_alerts()
SHIPPED, EXAMPLE = FOLDER / "alertmanager.yml", FOLDER / "receivers.example.yml"


def amtool(*arguments: object) -> str:
    """Run amtool, see that it is content, and return what it says; without one, skip."""
    done = subprocess.run([binary("amtool"), *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


def config_of(path: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(path.read_text("utf-8"))
    return loaded


@pytest.mark.parametrize("path", [SHIPPED, EXAMPLE], ids=lambda path: path.name)
def test_amtool_takes_the_configuration(path: Path) -> None:
    assert "SUCCESS" in amtool("check-config", path)


def test_the_example_has_the_same_routes_and_receivers_and_no_secret_of_its_own() -> None:
    shipped, example = config_of(SHIPPED), config_of(EXAMPLE)
    assert (example["route"], example["inhibit_rules"]) == (shipped["route"], shipped["inhibit_rules"])
    names = [[receiver["name"] for receiver in config["receivers"]] for config in (shipped, example)]
    assert names[0] == names[1]
    text = EXAMPLE.read_text("utf-8")
    keys = re.findall(r"^\s*-? ?([a-z_]+):", text, re.MULTILINE)
    secret = [key for key in keys if re.search("password|api_url|routing_key|token|secret", key)]
    assert len(secret) == 3 and all(key.endswith("_file") for key in secret)


def test_what_ships_tells_nobody_but_this_machine() -> None:
    urls = [hook["url"] for receiver in config_of(SHIPPED)["receivers"] for hook in receiver.get("webhook_configs", ())]
    assert len(urls) == 4 and all(url.startswith("http://127.0.0.1:") for url in urls)


def receiver_of(labels: dict[str, str], name: str) -> str:
    """Return who is to be told, written down a second time."""
    if name == "OrgpulseAlertsHeld":
        return "nobody"
    if labels["about"] in ("org", "hours"):
        return "accounts-list" if labels["severity"] == "info" else "accounts"
    return "on-call" if labels["severity"] == "critical" else "operations"


@pytest.mark.parametrize("name", ALERTS)
def test_each_alert_reaches_whom_it_concerns(name: str) -> None:
    labels = ALERTS[name]["labels"]
    given = [f"alertname={name}", *map("=".join, labels.items())]
    told = amtool("config", "routes", "test", f"--config.file={SHIPPED}", *given)
    assert told == receiver_of(labels, name)


def test_matchers_name_alerts_that_exist() -> None:
    named = set(re.findall(r"Orgpulse[A-Z]\w+", SHIPPED.read_text("utf-8")))
    assert named <= ALERTS.keys()


def matching(matchers: Sequence[str]) -> set[str]:
    """Return the alerts that all of *matchers* (of an inhibit rule) fit."""
    found = set()
    for name, rule in ALERTS.items():
        labels = {"alertname": name, **rule["labels"]}
        parts = [re.fullmatch(r'(\w+) (=~|!=|=) "(.*)"', matcher) for matcher in matchers]
        fits = {
            "=": lambda value, wanted: value == wanted,
            "!=": lambda value, wanted: value != wanted,
            "=~": lambda value, wanted: re.fullmatch(wanted, value) is not None,
        }
        if all(part is not None and fits[part[2]](labels[part[1]], part[3]) for part in parts):
            found.add(name)
    return found


def test_no_warning_silences_what_somebody_has_to_get_up_for() -> None:
    for rule in config_of(SHIPPED)["inhibit_rules"]:
        sources, targets = matching(rule["source_matchers"]), matching(rule["target_matchers"])
        assert sources and targets, rule
        if not {ALERTS[name]["labels"]["severity"] for name in sources} <= {"critical"}:
            assert "critical" not in {ALERTS[name]["labels"]["severity"] for name in targets}, rule


def test_alerts_about_orgs_that_tell_their_end_do_not_end_while_something_silences_them() -> None:
    rules = [
        (matching(r["source_matchers"]), matching(r["target_matchers"])) for r in config_of(SHIPPED)["inhibit_rules"]
    ]
    for name in ("OrgpulseOrgFell", "OrgpulseRepliesSlower"):
        silencing = set().union(*(sources for sources, targets in rules if name in targets))
        held_by = {each for each, rule in ALERTS.items() if rule["labels"]["about"] == "input"}
        assert 'ALERTS{about="input", alertstate="firing"}' in ALERTS[name]["expr"]
        named = re.findall(r'ALERTS\{alertname=~?"([^"]+)", alertstate="firing"\}', ALERTS[name]["expr"])
        assert held_by | set("|".join(named).split("|")) - {name} == silencing


def firing(name: str, **labels: str) -> dict[str, Any]:
    """Return an alert as Prometheus sends it, but for its times."""
    return {
        "labels": {"alertname": name, **ALERTS[name]["labels"], **labels},
        "annotations": {"summary": "…"},
    }


def lasting(alerts: Sequence[dict[str, Any]], minutes: float) -> list[dict[str, Any]]:
    """Return *alerts* as they began a minute ago and go on for *minutes*; 0 = they are over."""
    now = datetime.now(UTC)
    times = {"startsAt": now - timedelta(minutes=1), "endsAt": now + timedelta(minutes=minutes)}
    return [alert | {key: moment.isoformat() for key, moment in times.items()} for alert in alerts]


EVERYTHING = [firing(name, org="acme", topic="t", partition="0", instance="one") for name in ALERTS]
EXPLAINED: dict[str, tuple[list[dict[str, Any]], set[str]]] = {
    "an org alone is told": ([firing("OrgpulseOrgFell", org="acme")], set()),
    "an org that fell need not be at risk too, another one is": (
        [
            firing("OrgpulseOrgFell", org="acme"),
            firing("OrgpulseOrgAtRisk", org="acme"),
            firing("OrgpulseOrgAtRisk", org="bolt"),
        ],
        {"OrgpulseOrgAtRisk/acme"},
    ),
    **{
        f"{name} silences orgs and hours": (
            [
                firing(name, topic="t", partition="0", instance="one"),
                firing("OrgpulseOrgFell", org="acme"),
                firing("OrgpulseOrgAtRisk", org="bolt"),
                firing("OrgpulseRepliesSlower", org="all"),
                firing("OrgpulseRedisAway", instance="two"),
            ],
            {"OrgpulseOrgFell/acme", "OrgpulseOrgAtRisk/bolt", "OrgpulseRepliesSlower/all"},
        )
        for name in ALERTS
        if ALERTS[name]["labels"]["about"] == "input" or name in ("OrgpulseKafkaAway", "OrgpulsePartitionUnowned")
    },
    "a system that has other troubles tells of orgs": (
        [firing("OrgpulseRedisAway"), firing("OrgpulseSeriesBudget"), firing("OrgpulseOrgFell", org="a")],
        set(),
    ),
    "without Kafka everything waits; who reaches neither is cut off, who misses Redis alone is not": (
        [
            firing("OrgpulseKafkaAway", instance="one"),
            firing("OrgpulseRedisAway", instance="one"),
            firing("OrgpulseWatermarkStalled", partition="1"),
            firing("OrgpulseLagGrows", topic="t"),
            firing("OrgpulseWorkerRestarts", instance="two"),
            firing("OrgpulseDeadLetterFlood", topic="t"),
        ],
        {"OrgpulseRedisAway", "OrgpulseWatermarkStalled", "OrgpulseLagGrows", "OrgpulseWorkerRestarts"},
    ),
    "another worker's Redis is its own matter": (
        [firing("OrgpulseKafkaAway", instance="one"), firing("OrgpulseRedisAway", instance="two")],
        set(),
    ),
    "a worker that is gone explains what waits, not what nobody owns": (
        [
            firing("OrgpulseWorkerDown", instance="one"),
            firing("OrgpulseLagGrows", topic="t"),
            firing("OrgpulseCommitsStandStill", topic="t", partition="0"),
            firing("OrgpulsePartitionUnowned"),
        ],
        {"OrgpulseLagGrows", "OrgpulseCommitsStandStill"},
    ),
    "a source that stopped is missing, another one is missing too": (
        [
            firing("OrgpulseInputStopped", topic="product-events"),
            firing("OrgpulseInputMissing", topic="product-events"),
            firing("OrgpulseDeadLetterFlood", topic="transactions"),
        ],
        {"OrgpulseInputMissing"},
    ),
    "a gap explains what stays under way": (
        [
            firing("OrgpulseLedgerDoesNotClose", topic="t", partition="0"),
            firing("OrgpulseActivitiesStayUnderWay", topic="t", partition="0"),
        ],
        {"OrgpulseActivitiesStayUnderWay"},
    ),
    "what befalls one tenant silences nothing of another": (
        [
            firing("OrgpulseHeldToQuota", tenant="noisy"),
            firing("OrgpulsePartitionUnowned", tenant="noisy"),
            firing("OrgpulseOrgFell", tenant="noisy", org="acme"),
            firing("OrgpulseOrgFell", tenant="quiet", org="bolt"),
            firing("OrgpulseLagGrows", tenant="quiet", topic="t"),
            firing("OrgpulseOrgFell", tenant="calm", org="corp"),
        ],
        {"OrgpulseOrgFell/acme", "OrgpulseOrgFell/bolt"},  # that one by the lag of its own tenant
    ),
    "with no worker nothing else is told": (
        EVERYTHING,
        {name + "/acme" for name in ALERTS} - {"OrgpulseNoWorkers/acme"},
    ),
}


def test_an_alert_that_another_one_explains_is_silent_and_no_other(tmp_path: Path) -> None:
    # Alertmanager looks at alerts in the order in which they come: once the last pair is settled, all are.
    last = [
        firing("OrgpulseActivitiesStayUnderWay", org="last", topic="x", partition="9"),
        firing("OrgpulseLedgerDoesNotClose", org="last", topic="x", partition="9"),
    ]
    settled = "OrgpulseActivitiesStayUnderWay/last"
    with Inbox() as inbox, Alertmanager(tmp_path / "alertmanager", inbox.address) as manager:
        for case, (alerts, silent) in EXPLAINED.items():
            manager.post(lasting([*alerts, *last], minutes=5))
            wait_until(lambda: "" if manager.states().get(settled) == "suppressed" else "not settled", 60)
            states = {key: state for key, state in manager.states().items() if not key.endswith("/last")}
            assert len(states) == len(alerts), case
            assert {key for key, state in states.items() if state == "suppressed"} == silent, case
            manager.post(lasting([*alerts, *last], minutes=0))
            wait_until(lambda: "" if not manager.states() else "still there", 60)


def test_messages_for_people_say_what_happened_where_to_look_and_what_to_do(tmp_path: Path) -> None:
    labels = {"alertname": "OrgpulseOrgFell", "severity": "warning"}
    org, runbook = "http://127.0.0.1:6066/orgs/a%26b", "http://127.0.0.1:6066/runbooks#orgpulseorgfell"
    told = {"summary": "The score of a&b fell", "description": "Run it.", "page": org, "runbook_url": runbook}
    times = {"startsAt": "2024-03-04T11:00:00Z", "endsAt": "2024-03-05T11:00:00Z"}
    alert = {"status": "firing", "labels": labels, "annotations": told, **times}
    data = {"status": "firing", "alerts": [alert], "commonLabels": labels, "commonAnnotations": told}
    (tmp_path / "data.json").write_text(json.dumps(data), "utf-8")
    (tmp_path / "over.json").write_text(
        json.dumps(data | {"status": "resolved", "alerts": [alert | {"status": "resolved"}]}), "utf-8"
    )

    def rendered(part: str, file: str = "data.json") -> str:
        glob, text = FOLDER / "templates" / "*.tmpl", f'{{{{ template "orgpulse.{part}" . }}}}'
        return amtool(
            "template", "render", f"--template.glob={glob}", f"--template.text={text}",
            f"--template.data={tmp_path / file}", f"--template.type={'html' if part == 'html' else 'text'}",
        )  # fmt: skip

    assert rendered("title") == "WARNING: The score of a&b fell"
    assert rendered("text").splitlines() == [told["summary"], told["description"], org, f"What to do: {runbook}"]
    assert rendered("title", "over.json") == "over: The score of a&b fell"
    assert rendered("text", "over.json").startswith("Over: The score")
    assert f'<a href="{org}">' in rendered("html") and "a&amp;b fell" in rendered("html")
