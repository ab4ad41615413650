"""The dashboards that ship: they are what their program writes, and everything they ask for exists."""

from __future__ import annotations

import doctest
import json
import re
import tomllib
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from agents import cli
from deploy.grafana import colours, generate, shapes
from deploy.grafana.colours import BAND_COLOURS, BAND_STEPS
from deploy.grafana.generate import FOLDER, dashboards
from streams.metrics import Metrics
from streams.settings import setting_types

ROOT = Path(__file__).parents[2]
PROVISIONING = ROOT / "deploy" / "grafana" / "provisioning"
RULES = sorted((ROOT / "deploy" / "prometheus" / "rules").glob("*.yml"))
SOURCE = {"type": "prometheus", "uid": "orgpulse-prometheus"}
VARIABLES = {"$org", "$__rate_interval", "$__range", "$page"}
BY_SCRAPE = {"instance", "job"}  # labels that Prometheus adds itself
BOARDS = {name.removesuffix(".json"): json.loads(text) for name, text in dashboards().items()}


def panels() -> Iterator[tuple[str, dict[str, Any]]]:
    """Every panel that shows something, with a name to tell it by."""
    for name, board in BOARDS.items():
        for panel in board["panels"]:
            if panel["type"] != "row":
                yield f"{name}: {panel['title']}", panel


def queries() -> Iterator[tuple[str, str, str]]:
    """Every query: whose it is, what it asks, what its lines are called."""
    for name, panel in panels():
        for target in panel["targets"]:
            yield name, target["expr"], target.get("legendFormat", "")


def labels_by_metric() -> dict[str, set[str]]:
    """The names of all samples that a worker shows or a rule records, with their labels."""
    known: dict[str, set[str]] = {}
    for family in Metrics().collect():
        labels = set(family._labelnames)  # type: ignore[attr-defined]  # samples it may have none of yet
        if family.type == "histogram":
            known |= {f"{family.name}_bucket": labels | {"le"}, f"{family.name}_sum": labels}
        else:
            known[family.name + ("_total" if family.type == "counter" else "")] = labels
    for path in RULES:
        for group in yaml.safe_load(path.read_text("utf-8"))["groups"]:
            known |= {rule["record"]: labels_in(rule["expr"]) for rule in group["rules"] if "record" in rule}
    return known


def labels_in(expr: str) -> set[str]:
    """The labels by which an expression groups or joins."""
    lists = re.findall(r"\b(?:by|on|ignoring|without|group_left|group_right)\s*\(([^)]*)\)", expr)
    return {label.strip() for found in lists for label in found.split(",") if label.strip()}


def test_what_is_committed_is_what_the_program_writes() -> None:
    committed = {path.name: path.read_text("utf-8") for path in FOLDER.iterdir()}
    assert committed == dashboards(), "run `make docs`"


def test_the_program_writes_the_same_again() -> None:
    assert dashboards() == dashboards()


@pytest.mark.parametrize(("name", "panel"), list(panels()))
def test_a_panel_says_what_it_shows_what_to_do_and_in_which_unit(name: str, panel: dict[str, Any]) -> None:
    defaults = panel["fieldConfig"]["defaults"]
    assert panel["title"] and len(panel["description"]) > 40 and panel["description"].endswith(".")
    assert defaults["unit"] and defaults["noValue"] and defaults["thresholds"]["steps"][0]["value"] is None
    edges = [step["value"] for step in defaults["thresholds"]["steps"][1:]]
    assert edges == sorted(edges)
    assert panel["datasource"] == SOURCE and panel["targets"]
    assert [target["refId"] for target in panel["targets"]] == list("ABCDEFGH"[: len(panel["targets"])])
    assert all(target["datasource"] == SOURCE for target in panel["targets"])


@pytest.mark.parametrize("name", BOARDS)
def test_panels_have_ids_of_their_own_and_lie_side_by_side(name: str) -> None:
    board = BOARDS[name]
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
    taken: dict[tuple[int, int], str] = {}
    for panel in board["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert taken.setdefault((x, y), panel["title"]) == panel["title"], (panel["title"], taken[x, y])


@pytest.mark.parametrize("name", BOARDS)
def test_a_dashboard_has_a_stable_uid_and_leads_to_the_others_and_to_the_page(name: str) -> None:
    board = BOARDS[name]
    assert board["uid"] == f"orgpulse-{name}" and board["tags"] == ["orgpulse"]
    assert "id" not in board and "version" not in board
    to_others, page, runbooks = board["links"]
    assert to_others["type"] == "dashboards" and to_others["tags"] == ["orgpulse"] and to_others["keepTime"]
    assert (page["url"], runbooks["url"]) == ("${page:raw}/", "${page:raw}/runbooks")
    variables = {each["name"]: each for each in board["templating"]["list"]}
    assert (variables["page"]["type"], variables["page"]["query"]) == ("constant", "http://127.0.0.1:6066")


def test_every_metric_and_label_that_is_asked_for_exists() -> None:
    known = labels_by_metric()
    for name, expr, legend in queries():
        asked = re.findall(r"\b(orgpulse[a-z0-9_:]+)(?:\{([^}]*)\})?", expr)
        assert asked, name
        there = BY_SCRAPE | set(re.findall(r'label_replace\(.*?, "(\w+)", "[^"]*", "", ""\)', expr))
        for metric, matchers in asked:
            assert metric in known, f"{name}: {metric}"
            matched = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", matchers))
            assert matched <= known[metric] | BY_SCRAPE, f"{name}: {metric}{{{matchers}}}"
            there |= known[metric]
        assert labels_in(expr) <= there, f"{name}: {expr}"
        assert set(re.findall(r"\{\{(\w+)\}\}", legend)) <= labels_in(expr), f"{name}: {legend}"


def test_a_query_uses_no_other_variables_than_those_that_are_promised() -> None:
    for name, expr, _ in queries():
        assert set(re.findall(r"\$\{?\w+(?::\w+)?\}?", expr)) <= VARIABLES, name


def test_what_is_said_of_an_org_is_never_said_twice_while_a_partition_changes_hands() -> None:
    """Two workers may show an org then: every figure of an org passes through `max by`, or `max` of a chosen one."""
    of_orgs = {metric for metric, labels in labels_by_metric().items() if "org" in labels}
    of_orgs.remove("orgpulse_org_week_replies")  # counts: those of all orgs add up over workers
    for name, expr, _ in queries():
        for metric in of_orgs & set(re.findall(r"orgpulse\w+", expr)):
            asked = re.findall(rf"max(?: by \([a-z, ]+\))? \({metric}\b|max\({metric}\b", expr)
            assert len(asked) == len(re.findall(rf"\b{metric}\b", expr)), f"{name}: {expr}"


def test_bands_have_the_edges_of_the_model_that_ships() -> None:
    bands = tomllib.loads((ROOT / "state" / "health.toml").read_text("utf-8"))["bands"]
    assert [edge for edge, _ in BAND_STEPS] == [None, bands["at_risk"] / 100, bands["healthy"] / 100]
    assert [colour for _, colour in BAND_STEPS] == [BAND_COLOURS[band] for band in ("at_risk", "watch", "healthy")]


def test_no_colour_can_be_told_from_another_by_red_against_green_alone() -> None:
    """Colours that stand beside each other in a scale differ in lightness or from blue to yellow."""
    for name, panel in panels():
        scales = [panel["fieldConfig"]["defaults"]["thresholds"]]
        for override in panel["fieldConfig"]["overrides"]:
            scales += [each["value"] for each in override["properties"] if each["id"] == "thresholds"]
        for scale in scales:
            for one, other in pairwise(scale["steps"]):
                assert seen_apart(one["color"], other["color"]) > 12, (name, one, other)


def seen_apart(one: str, other: str) -> float:
    """How far apart two colours are without red against green: lightness, and blue against yellow, 0-255 each."""

    def of(colour: str) -> tuple[float, float]:
        red, green, blue = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
        return 0.299 * red + 0.587 * green + 0.114 * blue, blue - (red + green) / 2

    (light, tint), (other_light, other_tint) = of(one), of(other)
    return max(abs(light - other_light), abs(tint - other_tint))


def test_what_is_provisioned_fits_the_dashboards_and_prometheus() -> None:
    source = yaml.safe_load((PROVISIONING / "datasources" / "prometheus.yml").read_text())["datasources"][0]
    assert {"type": source["type"], "uid": source["uid"]} == SOURCE
    assert source["url"] == "http://prometheus:9090"
    scrape = yaml.safe_load((ROOT / "deploy" / "prometheus" / "prometheus.yml").read_text())["global"]
    assert source["jsonData"]["timeInterval"] == scrape["scrape_interval"]
    provider = yaml.safe_load((PROVISIONING / "dashboards" / "orgpulse.yml").read_text())["providers"][0]
    assert provider["folderUid"] and provider["options"]["path"] == "/var/lib/grafana/dashboards"


def test_what_a_panel_tells_to_do_can_be_done() -> None:
    """Every setting and every command that a description names exists."""
    settings = {(section, key) for section, keys in setting_types().items() for key in keys}
    for name, panel in panels():
        for section, key in re.findall(r"\[(\w+)\] (\w+)", panel["description"]):
            assert (section, key) in settings, f"{name}: [{section}] {key}"
        for command in re.findall(r"`orgpulse ([\w-]+)", panel["description"]):
            assert command in cli.COMMANDS, f"{name}: orgpulse {command}"


@pytest.mark.parametrize("module", [colours, generate, shapes])
def test_what_docstrings_show_is_so(module: ModuleType) -> None:
    assert doctest.testmod(module).failed == 0
