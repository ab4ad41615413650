"""`orgpulse calibrate` reads the weeks that were told, and changes one line of the health model when told to."""

from __future__ import annotations

import asyncio
import json
import uuid
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result

from agents.cli_calibrate import calibrate
from agents.documents import Documents
from state.effects import WeekRow
from state.week import monday_of, week_label
from streams.model_file import load_model
from streams.settings import Settings
from streams.topic_specs import topic_names
from tests.agents.conftest import installed
from tests.state.test_calibrate import history
from tests.state.worlds import shipped_model
from tests.streams.kafka_topics import fill_in_transaction

SHIPPED = (Path(__file__).parents[2] / "state" / "health.toml").read_text("utf-8")
ROOMY = SHIPPED.replace("healthy = 20.0", "healthy = 90.0")


@pytest.fixture(scope="module")
def told(kafka: Any) -> Settings:
    """An installation with half a year of weeks in Kafka, which the tests only read."""
    settings = installed(kafka, f"t{uuid.uuid4().hex[:10]}-")
    weeks, _ = history()
    names = topic_names(settings)
    spell = Documents(shipped_model(), names, 0, 1)
    pairs: dict[int, list[tuple[bytes, bytes]]] = {0: [], 1: []}
    for number, (org, scores) in enumerate(weeks.items()):
        for week, score in scores.items():
            rows = [WeekRow(org, "", week_label(week), "final", {}, {}, 9, 3, score, None)]
            rows.append(WeekRow(org, "ann", week_label(week), "final", {}, {}, 9, 0, 1, None))
            for row in rows:
                told = spell.week(row, 0)
                pairs[number % 2].append((told.key or b"", told.value or b""))
    for partition, found in pairs.items():
        asyncio.run(fill_in_transaction(settings.kafka.brokers, names.weeks, partition, found))
    return settings


@pytest.fixture
def installation(told: Settings, tmp_path: Path) -> tuple[Settings, Path, Path]:
    """The same with a model of the test's own and a file of who left."""
    model, churn = tmp_path / "my.toml", tmp_path / "left.csv"
    model.write_text(ROOMY, "utf-8")
    _, left = history()
    lines = [f"{org},{monday_of(week).isoformat()}" for org, week in left.items()]
    churn.write_text("\n".join(["org_id,left_on", *lines, "unknown,2024-01-01", ""]), "utf-8")
    return (
        msgspec.structs.replace(told, model=msgspec.structs.replace(told.model, file=str(model))),
        model,
        churn,
    )


def run(settings: Settings, *arguments: object) -> Result:
    return CliRunner().invoke(calibrate, [str(one) for one in arguments], obj=settings)


def test_the_threshold_is_found_shown_and_written(installation: tuple[Settings, Path, Path]) -> None:
    settings, model, churn = installation
    found: dict[str, Any] = json.loads(run(settings, churn, "--json", "--horizon-weeks", 6).stdout)
    assert (found["orgs"], found["orgs_left"], found["not_in_history"]) == (45, 15, ["unknown"])
    assert found["auc"][0] > 0.7 and 20 < found["proposed"] < 70
    assert found["backtest"]["cases"] >= 0
    shown = run(settings, churn, "--horizon-weeks", 6, "--write")
    assert shown.exit_code == 0, shown.output
    assert f"proposed: at_risk = {found['proposed']}" in shown.stdout and "restart the workers" in shown.stdout
    before, after = ROOMY.splitlines(), model.read_text("utf-8").splitlines()
    assert [b for a, b in zip(before, after, strict=True) if a != b] == [f"at_risk = {found['proposed']:.1f}"]
    assert load_model(str(model)).bands.at_risk == round(found["proposed"] * 100)
    assert not list(model.parent.glob(".*.new"))


def test_nothing_after_until_counts(installation: tuple[Settings, Path, Path]) -> None:
    settings, model, churn = installation
    early = json.loads(run(settings, churn, "--json", "--until", week_label(2812)).stdout)
    assert early["proposed"] is None and "at least 10 are needed" in early["why_not"]
    refused = run(settings, churn, "--until", week_label(2812), "--write")
    assert refused.exit_code == 1 and "nothing to write" in refused.output
    assert model.read_text("utf-8") == ROOMY


def test_a_threshold_that_the_bands_have_no_room_for_is_refused_with_its_line(
    installation: tuple[Settings, Path, Path],
) -> None:
    settings, model, churn = installation
    model.write_text(SHIPPED, "utf-8")
    found = run(settings, churn, "--horizon-weeks", 6, "--write")
    assert (
        found.exception is not None and f"{model}:" in str(found.exception) and "below healthy" in str(found.exception)
    )
    assert model.read_text("utf-8") == SHIPPED


def test_the_shipped_model_is_never_written(installation: tuple[Settings, Path, Path]) -> None:
    settings, _, churn = installation
    shipped = msgspec.structs.replace(settings, model=msgspec.structs.replace(settings.model, file=""))
    found = run(shipped, churn, "--horizon-weeks", 6, "--write")
    assert found.exit_code == 1 and "cp " in found.output


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("org,left\na,2024-01-01\n", ":1: the columns are"),
        ("org_id,left_on\na,soon\n", ':2: "soon" is no date'),
        ("org_id,left_on\na,2024-01-01\na,2024-02-01\n", ':3: "a" stands twice'),
        ("org_id,left_on\n,2024-01-01\n", ":2: no org_id"),
    ],
)
def test_a_wrong_file_is_told_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "left.csv"
    path.write_text(text, "utf-8")
    found = run(Settings(), path)
    assert found.exit_code == 2 and said in found.output
