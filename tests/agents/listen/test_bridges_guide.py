"""docs/bridges.md says what is so: commands, settings, addresses, statuses and metrics are those that exist."""

from __future__ import annotations

import re
from pathlib import Path

from agents.listen.figures import Figures
from agents.listen.forms import FORMS
from agents.listen.replies import STATUS_OF
from streams.settings import setting_types, variable_of
from tests.deploy.command_lines import commands_in, refusal

GUIDE = (Path(__file__).resolve().parents[3] / "docs" / "bridges.md").read_text("utf-8")


def test_commands_and_variables_exist() -> None:
    commands = commands_in(GUIDE)
    assert len(commands) >= 5 and [refusal(each) for each in commands if refusal(each)] == []
    known = {variable_of(section, key) for section, keys in setting_types().items() for key in keys}
    named = {each.removesuffix("_FILE") for each in re.findall(r"ORGPULSE_[A-Z0-9_]+", GUIDE)}
    assert named and named <= known


def test_addresses_statuses_and_metrics_exist() -> None:
    assert {each for each in FORMS if each.startswith(("/v1", "/mixpanel"))} <= set(re.findall(r"`(/\w+/\w+)`", GUIDE))
    for address in FORMS:
        assert address.rpartition("/")[2] in GUIDE, address
    assert {str(status) for status in STATUS_OF.values()} | {"202", "503"} <= set(re.findall(r"\b\d{3}\b", GUIDE))
    metrics = {sample for family in Figures().collect() for sample in (family.name, f"{family.name}_total")}
    named = set(re.findall(r"orgpulse_listen_\w+", GUIDE))
    assert named <= metrics
    assert {family.name for family in Figures().collect()} <= {each.removesuffix("_total") for each in named}


def test_settings_that_are_named_exist() -> None:
    keys = {key for section in ("listen", "mixpanel", "s3") for key in setting_types()[section]}
    named = {
        each for each in re.findall(r"`(\w+_(?:seconds|bytes|port|certificate|ca))`", GUIDE) if "orgpulse" not in each
    }
    assert len(named) >= 5 and named <= keys
