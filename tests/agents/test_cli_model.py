"""`orgpulse model check|show|diff` on files: lines, words, exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import state
from agents.cli import orgpulse
from streams.model_file import headings_of

SHIPPED = (Path(state.__path__[0]) / "health.toml").read_text("utf-8")


@pytest.fixture
def changed(tmp_path: Path) -> str:
    text = SHIPPED.replace('events = ["Map Drawn"], ', "").replace("healthy = 20.0", "healthy = 95.0")
    path = tmp_path / "changed.toml"
    path.write_text(text, "utf-8")
    return str(path)


def asked(*arguments: str) -> Result:
    return CliRunner().invoke(orgpulse, ["model", *arguments])


def test_the_shipped_model_is_right() -> None:
    found = asked("check", "--strict")
    assert found.exit_code == 0
    assert "The model is right: 30 attributes" in found.output


def test_warnings_name_file_and_line_and_fail_only_where_wanted(changed: str) -> None:
    found = asked("check", changed)
    line = SHIPPED.splitlines().index('name = "maps_drawn"') + 1
    assert f"{changed}:{line}: warning: maps_drawn: its weight 4 (5.1 % of all) never counts" in found.output
    assert "warning: healthy: nobody can reach 95 %" in found.output
    assert found.exit_code == 0 and asked("check", "--strict", changed).exit_code == 1
    said = json.loads(asked("check", "--json", changed).output)
    assert [r["line"] for r in said["remarks"] if r["where"] == "maps_drawn" and r["level"] == "warning"] == [line]


def test_a_wrong_model_is_told_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text(SHIPPED.replace('kind = "streak_days"', 'kind = "streek_days"'), "utf-8")
    found = asked("check", str(path))
    line = SHIPPED.splitlines().index('kind = "streak_days"') + 1
    assert found.exit_code == 2
    assert f"{path}:{line}: kind of attribute 'streak_days': unknown 'streek_days'; did you mean" in found.output


def test_a_file_that_is_not_there_is_told() -> None:
    found = asked("check", "nowhere.toml")
    assert (found.exit_code, "nowhere.toml: can't be read" in found.output) == (2, True)


def test_every_attribute_is_shown_under_its_heading(changed: str) -> None:
    found = asked("show").output
    said = json.loads(asked("show", "--json").output)
    assert len(said["attributes"]) == 30 and all(a["name"] in found for a in said["attributes"])
    assert abs(sum(a["share"] for a in said["attributes"]) - 1) < 1e-4
    by_name = {a["name"]: a for a in said["attributes"]}
    assert by_name["models_trained"]["group"] == "depth: rare and difficult actions weigh 5"
    assert by_name["alerts_made"]["against"] == ["alert_received"]
    assert json.loads(asked("show", "--json", changed).output)["bands"]["healthy"] == 95.0


def test_a_file_without_headings_is_shown_too() -> None:
    assert headings_of('[[attributes]]\nname = "a"', ["a"]) == {"a": ""}


def test_who_is_ranked_among_whom_is_checked_shown_and_compared(tmp_path: Path) -> None:
    file = tmp_path / "peers.toml"
    rules = '[population]\npeers = "group_type"\nwithout = ["Internal"]\n\n[measures]'
    file.write_text(SHIPPED.replace("[measures]", rules), "utf-8")
    assert asked("check", str(file)).exit_code == 0
    assert "ranked among everybody\n" in asked("show").output
    assert (
        "ranked among users of the same group type; neither deciles nor totals count orgs of type Internal"
        in asked("show", str(file)).output
    )
    assert json.loads(asked("show", "--json", str(file)).output)["population"]["peers"] == "group_type"
    found = asked("diff", str(file)).output
    assert "population peers: none → group_type" in found and "population without: none → Internal" in found
    assert "a start of all workers with the new model is enough" in found
    wrong = tmp_path / "wrong.toml"
    wrong.write_text(SHIPPED.replace("[measures]", rules.replace("group_type", "gruop_type")), "utf-8")
    told = asked("check", str(wrong))
    line = 1 + file.read_text("utf-8").splitlines().index('peers = "group_type"')
    assert told.exit_code == 2
    assert f"{wrong}:{line}: [population] peers: unknown 'gruop_type'; did you mean 'group_type'?" in told.output


def test_measures_by_hour_of_the_week_are_shown(tmp_path: Path) -> None:
    file = tmp_path / "hours.toml"
    own = """[measures]
transaction = { hours = true }
acknowledged = { events = ["Ack"], hours = true, since = "created_at" }
served = { events = ["Served"], hours = true, duration = "ms" }
signup = { events = ["Signed Up"], hours = true, time = "signed_up_at" }
"""
    file.write_text(SHIPPED.replace("[measures]\n", own, 1), "utf-8")
    found = asked("show", str(file)).output
    assert "by hour of the week: transaction, how often\n" in found
    assert "acknowledged, how often and how long, from `created_at` to the event's time, where it began\n" in found
    assert "served, how often and how long, by the event's quantity in ms, where it began\n" in found
    assert "signup, how often, at `signed_up_at`\n" in found
    assert "by hour of the week" not in asked("show").output
    measures = {m["name"]: m for m in json.loads(asked("show", "--json", str(file)).output)["measures"]}
    assert measures["acknowledged"]["since"] == "created_at" and measures["transaction"]["hours"]


def test_differences_are_told_in_words_and_what_they_ask_for(changed: str, tmp_path: Path) -> None:
    assert asked("diff", changed, changed).output == "The models are the same.\n"
    found = asked("diff", changed).output  # against the model in use
    assert "bands healthy: 20 % → 95 %" in found and "measure map: events: Map Drawn → none" in found
    assert "for past ones: `orgpulse rebuild`" in found
    other = tmp_path / "other.toml"
    other.write_text(SHIPPED.replace("map = {", 'read = { events = ["Read"] }\nmap = {'), "utf-8")
    assert "workers can't start with the new model before `orgpulse rebuild`" in asked("diff", str(other)).output
    assert json.loads(asked("diff", "--json", str(other)).output)["needs_rebuild"] is True
