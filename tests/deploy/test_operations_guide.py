"""docs/operations.md says what is so: commands, retention, metrics, settings and files are those that exist."""

from __future__ import annotations

import re
from pathlib import Path

from streams.metrics import Metrics
from streams.settings import Settings, setting_types, variable_of
from streams.topic_specs import DAY_MS, topic_names, topic_specs
from tests.deploy.command_lines import commands_in, refusal

ROOT = Path(__file__).resolve().parents[2]
GUIDE = ROOT / "docs" / "operations.md"
TEXT = GUIDE.read_text(encoding="utf-8")


def test_every_command_in_the_guide_is_one_that_orgpulse_takes() -> None:
    commands = commands_in(TEXT)
    assert len(commands) > 15
    assert [said for command in commands if (said := refusal(command))] == []


def test_a_command_that_does_not_exist_would_be_noticed() -> None:
    assert refusal(["rebuild", "--from-scratch"]) == "rebuild --from-scratch: No such option: --from-scratch"
    assert refusal(["restore"]) == "there is no command restore"


def test_topics_are_kept_for_as_long_as_the_guide_says() -> None:
    section = TEXT.split("## How long topics keep")[1].split("\n## ")[0]
    rows = re.findall(r"(?m)^\| (`.+?) \| (.+?) \|$", section)
    said = {topic: kept for names, kept in rows for topic in re.findall(r"`([a-z-]+)`", names)}
    for spec in topic_specs(Settings()):
        if spec.name in topic_names(Settings()).changelogs:
            continue
        kept = said.pop(spec.name)
        days = int(spec.configs["retention.ms"]) // DAY_MS
        assert kept.split(" after")[0] == ("the last of each key, for ever" if spec.compacted else f"{days} days")
    assert not said, f"no such topics: {said}"


def test_settings_and_metrics_that_are_named_exist() -> None:
    types = setting_types()
    known = {f"{section}.{key}" for section, keys in types.items() for key in keys}
    named = {name for name in re.findall(r"`([a-z]+\.[a-z_]+)", TEXT) if name.split(".")[0] in types}
    assert len(named) > 15 and named <= known, named - known
    variables = {variable_of(*name.split(".", 1)) for name in known}
    given = set(re.findall(r"ORGPULSE_\w+", TEXT))
    assert {name for name in given if not {name, name.removesuffix("_FILE")} & variables} == set()
    metrics = {value.name for value in vars(Metrics()).values() if hasattr(value, "family")}
    shown = {name.removesuffix("_total") for name in re.findall(r"orgpulse_[a-z_]+", TEXT)}
    assert len(shown) > 5 and shown <= metrics, shown - metrics


def test_files_that_are_named_exist() -> None:
    links = set(re.findall(r"\]\(([^)#:]+)\)", TEXT)) - {"runbooks.md"}
    assert links and all((GUIDE.parent / link).exists() for link in links), links
    paths = {path.rstrip("/") for path in re.findall(r"deploy/[\w./-]+", TEXT)}
    if not (ROOT / "deploy" / "alertmanager").exists():  # another part of the project brings it
        paths = {path for path in paths if not path.startswith("deploy/alertmanager/")}
    assert paths and all((ROOT / path).exists() for path in paths), paths
    kubernetes = ROOT / "deploy" / "kubernetes"
    parts = set(re.findall(r"`((?:overlays|components)/[a-z]+)`", TEXT))
    there = {path.parent.relative_to(kubernetes).as_posix() for path in kubernetes.glob("*/*/kustomization.yaml")}
    assert parts <= there and {part for part in there if part.startswith("overlays/")} <= parts
