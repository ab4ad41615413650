"""docs/privacy.md says how long what is kept, as topics and settings have it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from streams.settings import Settings, setting_types
from streams.topic_specs import COMPACTION_LAG_DAYS, DAY_MS, TOMBSTONE_RETENTION_DAYS, topic_specs

pytestmark = pytest.mark.security
TEXT = (Path(__file__).resolve().parents[2] / "docs" / "privacy.md").read_text("utf-8")
SECTION = TEXT.split("## How long what is kept")[1].split("\n## ")[0]


def rows(table: int) -> list[list[str]]:
    """Return the cells of a table of the section, without its head."""
    tables = re.findall(r"(?:^\|.*\n)+", SECTION, re.MULTILINE)
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in tables[table].splitlines()[2:]]


def test_every_topic_has_one_row_with_what_its_configuration_says() -> None:
    kept: dict[str, str] = {}
    for cells in rows(0):
        for name in re.findall(r"`([^`]+)`", cells[0]):
            assert name not in kept, f"{name} twice"
            kept[name] = cells[2]
    expected = {}
    for spec in topic_specs(Settings()):
        days = int(spec.configs["retention.ms"]) // DAY_MS
        expected[spec.name.removeprefix("orgpulse-")] = "last of each key" if spec.compacted else f"{days} days"
        if spec.compacted:
            assert int(spec.configs["max.compaction.lag.ms"]) == COMPACTION_LAG_DAYS * DAY_MS
            assert int(spec.configs["delete.retention.ms"]) == TOMBSTONE_RETENTION_DAYS * DAY_MS
    assert kept == expected
    assert f"goes {COMPACTION_LAG_DAYS} days later at most, and a tombstone {TOMBSTONE_RETENTION_DAYS} days" in SECTION


def test_settings_that_say_how_long_are_those_that_hold() -> None:
    named = [cells for cells in rows(1) if cells[2]]
    assert len(named) >= 4
    for _, kept, setting in named:
        section, _, key = setting.strip("`").partition(".")
        assert key in setting_types()[section]
        value = getattr(getattr(Settings(), section), key)
        assert re.search(rf"(?<![\d,]){value}(?![\d,])", kept), f"{setting} is {value}: {kept}"


def test_settings_that_are_named_exist() -> None:
    kinds = setting_types()
    for section, key in re.findall(r"`(privacy|latency|time|chat|redis)\.([a-z_]+)", TEXT):
        assert key in kinds[section], f"{section}.{key}"
