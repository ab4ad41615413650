"""Every PromQL expression that ships, and what a Prometheus says to it.

Owns where expressions stand: in rule files, and in dashboards (targets of panels, annotations, queries of variables).
Invariant: an expression runs as Grafana would send it, with a dashboard's variables replaced by values that exist.
"""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

GRAFANA = {
    "__rate_interval": "1m", "__interval": "15s", "__interval_ms": "15000", "__range": "1h", "__range_s": "3600",
    "__range_ms": "3600000",
}  # fmt: skip
"""Grafana's own variables, as for an hour on a screen."""
EVERYTHING = ".*"
"""For variables that nothing is known of: they stand in regular expressions."""
_VARIABLE = re.compile(r"\$\{(\w+)(?::[^}]*)?\}|\$(\w+)|\[\[(\w+)(?::[^\]]*)?\]\]")
_LABEL_VALUES = re.compile(r"label_values\(\s*(?:(.+),\s*)?(\w+)\s*\)", re.DOTALL)
_METRIC = re.compile(r"\borgpulse[_:][a-z0-9_:]+\b")


class Expression(NamedTuple):
    """One of them, and where it stands: a rule's name, or `file.json/panel's title`."""

    place: str
    text: str


class Answer(NamedTuple):
    """What Prometheus said: series or, if it refused, why."""

    series: list[dict[str, Any]]
    error: str = ""


def of_rules(paths: Iterable[Path]) -> list[Expression]:
    """Return the expressions of rule files: of a recording rule its own, of an alert each metric that it looks at.

    An alert's own expression has no result while all is well; run it as well (`of_alerts`).
    """
    found = []
    for rule in _rules(paths):
        if "record" in rule:
            found.append(Expression(rule["record"], rule["expr"]))
        else:
            metrics = sorted(set(_METRIC.findall(rule["expr"])))
            found += [Expression(f"{rule['alert']}: {metric}", metric) for metric in metrics]
    return found


def of_alerts(paths: Iterable[Path]) -> list[Expression]:
    """Return the expressions of alerts."""
    return [Expression(rule["alert"], rule["expr"]) for rule in _rules(paths) if "alert" in rule]


def of_dashboards(paths: Iterable[Path], values: Mapping[str, str]) -> list[Expression]:
    """Return the expressions of Grafana's dashboards; *values* are those of variables, by name."""
    found = []
    for path in paths:
        dashboard = json.loads(path.read_text("utf-8"))
        known = {**_defaults(dashboard), **values}
        for title, text in _written(dashboard):
            found.append(Expression(f"{path.name}/{title}", substituted(text, known)))
    return found


def substituted(text: str, values: Mapping[str, str]) -> str:
    """Return an expression with variables replaced, in any of Grafana's spellings.

    >>> substituted('rate(x{org=~"${org:regex}", t=~"$topic"}[$__rate_interval])', {"org": "acme"})
    'rate(x{org=~"acme", t=~".*"}[1m])'
    """

    def value(match: re.Match[str]) -> str:
        name = next(group for group in match.groups() if group)
        return GRAFANA.get(name) or values.get(name, EVERYTHING)

    return _VARIABLE.sub(value, text)


def run(url: str, expressions: Iterable[Expression]) -> dict[Expression, Answer]:
    """Return what the Prometheus at *url* says to each of *expressions*, as instant queries."""
    return {expression: _ask(url, expression.text) for expression in expressions}


def without_data(answers: Mapping[Expression, Answer], may_be_empty: Iterable[str]) -> list[str]:
    """Return what is wrong with *answers*: errors, and no data where no pattern of *may_be_empty* is in the text."""
    wrong = [f"{e.place}: {answer.error}: {e.text}" for e, answer in answers.items() if answer.error]
    empty = [e for e, answer in answers.items() if not answer.error and not answer.series]
    unexpected = [e for e in empty if not any(re.search(pattern, e.text) for pattern in may_be_empty)]
    return wrong + [f"{e.place}: no data: {e.text}" for e in unexpected]


def _rules(paths: Iterable[Path]) -> Iterator[dict[str, Any]]:
    for path in paths:
        for group in yaml.safe_load(path.read_text("utf-8"))["groups"]:
            yield from group["rules"]


def _panels(panels: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for panel in panels:
        yield panel
        yield from _panels(panel.get("panels") or ())  # of a row that is folded


def _written(dashboard: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield title and text of every expression."""
    for panel in _panels(dashboard.get("panels", ())):
        for target in panel.get("targets") or ():
            if target.get("expr"):
                yield panel.get("title", f"panel {panel.get('id')}"), target["expr"]
    for note in dashboard.get("annotations", {}).get("list", ()):
        text = note.get("expr") or note.get("target", {}).get("expr")
        if text:
            yield f"annotation {note.get('name')}", text
    for variable in dashboard.get("templating", {}).get("list", ()):
        query = variable.get("query")
        text = query.get("query", "") if isinstance(query, dict) else query
        if variable.get("type") == "query" and text:
            yield f"variable {variable['name']}", _expression_of(text)


def _expression_of(query: str) -> str:
    """Return what a variable's query asks for: the series whose label's values are listed."""
    match = _LABEL_VALUES.fullmatch(query.strip())
    if match is not None:
        metric, label = match.groups()
        return f"count by ({label}) ({metric})" if metric else f'count by ({label}) ({{{label}!=""}})'
    inner = re.fullmatch(r"query_result\((.*)\)", query.strip(), re.DOTALL)
    return inner.group(1) if inner else query


def _defaults(dashboard: Mapping[str, Any]) -> dict[str, str]:
    """Return the values of variables that do not come from Prometheus: constants, and the first of a list."""
    found = {}
    for variable in dashboard.get("templating", {}).get("list", ()):
        if variable.get("type") in ("custom", "constant", "interval", "textbox"):
            current = (variable.get("current") or {}).get("value")
            first = current[0] if isinstance(current, list) and current else current
            options = str(variable.get("query", "")).split(",")
            found[variable["name"]] = (
                str(first) if first and first != "$__all" else options[0].rpartition(":")[2].strip()
            )
    return found


def _ask(url: str, text: str) -> Answer:
    query = urllib.parse.urlencode({"query": text})
    try:
        with urllib.request.urlopen(f"{url}/api/v1/query?{query}", timeout=15) as reply:
            data = json.load(reply)["data"]
    except urllib.error.HTTPError as error:
        return Answer([], str(json.load(error).get("error", error)))
    if data["resultType"] in ("scalar", "string"):
        return Answer([{"metric": {}, "value": data["result"]}])
    return Answer(data["result"])
