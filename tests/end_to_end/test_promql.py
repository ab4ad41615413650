"""Every PromQL expression of every rule and dashboard, against a Prometheus that reads real workers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agents.simulate import Message
from tests.end_to_end.monitoring import DEPLOY, RULES, Prometheus
from tests.end_to_end.promql import Answer, Expression, of_alerts, of_dashboards, of_rules, run, without_data
from tests.end_to_end.test_alerting import addresses
from tests.faults.system import Size, System, wait_until

DASHBOARDS = sorted((DEPLOY / "grafana" / "dashboards").glob("*.json"))
PATIENCE_SECONDS = 60.0

_NO_HISTORY = "compares with days or weeks ago; this Prometheus is seconds old (tests/deploy/*.promtool.yml look at it)"
_NO_FALL = "no org has an open alert here (tests/end_to_end/test_alerting.py has one)"
_NOTHING_WRONG = "counts failures, of which there are none here (tests/faults has them)"
MAY_BE_EMPTY = {
    r"offset \d+[dw]": _NO_HISTORY,
    "^orgpulse:org_week_reply_latency_seconds:p80_(usual|worst)$": _NO_HISTORY,
    r"\borgpulse[_:]org_alert\b": _NO_FALL,
    r"\borgpulse_org_alert_since_timestamp_seconds\b": _NO_FALL,
    r"\borgpulse_population_drift_ratio\b": _NO_HISTORY,
    r"\borgpulse_state_quarantined_total\b": _NOTHING_WRONG,
    r"\borgpulse_kafka_retries_total\b": _NOTHING_WRONG,
    r"\borgpulse_redis_errors_total\b": _NOTHING_WRONG,
}
"""What is in expressions (regular expressions) that need not have data here, each with the reason."""


@pytest.mark.kafka
@pytest.mark.slow
@pytest.mark.timeout(500)
def test_every_expression_runs_and_has_data(kafka: Any, redis_server: Any, tmp_path: Path) -> None:
    with System(kafka.bootstrap, redis_server.url, tmp_path, size=Size(12, 120, 3)) as system:
        system.wait_recovered(workers=2)
        with Prometheus(tmp_path / "prometheus", addresses(system)) as prometheus:
            system.play(3.0)
            broken = [Message(topic, b"x", b"{") for topic in ("product-events", "transactions") for _ in range(30)]
            system.send(broken)
            wait_until(lambda: "" if best_known_org(prometheus) else "no org was answered yet", PATIENCE_SECONDS)
            dashboards = of_dashboards(DASHBOARDS, {"org": best_known_org(prometheus)})
            expressions = list(dict.fromkeys([*of_rules(RULES), *dashboards]))

            def missing() -> str:
                return "\n".join(without_data(run(prometheus.url, expressions), MAY_BE_EMPTY))

            assert len(expressions) > 60
            wait_until(missing, PATIENCE_SECONDS)
            print(f"{len(expressions)} expressions have data, or a reason to have none")
            alerts = run(prometheus.url, of_alerts(RULES))
            assert [answer.error for answer in alerts.values() if answer.error] == []
            assert prometheus.rule_problems() == []
            what_a_worker_says_of_itself(prometheus, system)


def best_known_org(prometheus: Prometheus) -> str:
    """Return the org with most replies this week, of which it is known who is online; empty = there is none."""
    found = prometheus.query(
        'topk(1, orgpulse_org_week_replies{org!="all", le="+Inf"} and on (org) orgpulse_chat_online_members)'
    )
    return str(found[0]["metric"]["org"]) if found else ""


def what_a_worker_says_of_itself(prometheus: Prometheus, system: System) -> None:
    """Check that figures of the workers are what Prometheus sees, or what is configured."""
    wait_until(lambda: "" if not prometheus.query("orgpulse_recovering == 1") else "recovers", PATIENCE_SECONDS)
    (owned,) = prometheus.query("sum(orgpulse_partitions_owned)")
    assert int(owned["value"][1]) == system.settings.kafka.partitions
    counted = {row["metric"]["instance"]: row["value"][1] for row in prometheus.query("orgpulse_series")}
    seen = {
        row["metric"]["instance"]: row["value"][1]
        for row in prometheus.query('scrape_samples_scraped{job="orgpulse"} and on (instance) orgpulse_series')
    }
    assert len(counted) == 2 and counted == seen
    wrong = 'ALERTS{about="system"}'
    wait_until(lambda: str(prometheus.query(wrong) or ""), PATIENCE_SECONDS)  # no alert about a system that is well


def test_expressions_of_a_dashboard_are_found_wherever_they_stand(tmp_path: Path) -> None:
    panel = {"title": "Health", "targets": [{"expr": 'x{org="$org", kind=~"${kind:regex}"}'}]}
    dashboard = {
        "panels": [panel, {"title": "Row", "type": "row", "panels": [panel | {"title": "Folded"}]}, {"title": "Text"}],
        "annotations": {"list": [{"name": "Falls", "expr": "changes(y[$__range])"}]},
        "templating": {
            "list": [
                {"name": "org", "type": "query", "query": {"query": 'label_values(z{a=~"$kind"}, org)'}},
                {"name": "kind", "type": "custom", "query": "Active : active,Licensed : licensed", "current": {}},
            ]
        },
    }
    path = tmp_path / "some.json"
    path.write_text(json.dumps(dashboard), "utf-8")
    assert of_dashboards([path], {"org": "acme"}) == [
        Expression("some.json/Health", 'x{org="acme", kind=~"active"}'),
        Expression("some.json/Folded", 'x{org="acme", kind=~"active"}'),
        Expression("some.json/annotation Falls", "changes(y[1h])"),
        Expression("some.json/variable org", 'count by (org) (z{a=~"active"})'),
    ]


def test_no_data_and_errors_are_told_unless_there_is_a_reason() -> None:
    fine, empty, known, bad = (Expression(name, name) for name in ("fine", "empty", "known", "bad"))
    answers = {fine: Answer([{}]), empty: Answer([]), known: Answer([]), bad: Answer([], "parse error")}
    assert without_data(answers, {"^known$": "why", "bad": "why"}) == ["bad: parse error: bad", "empty: no data: empty"]
