"""The dashboards on a real Prometheus, shown by Grafana's own library: every query answers, every table is right."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import unquote, urlsplit

import pytest

from deploy.grafana.colours import BAND_COLOURS, DIVERGING, LATENCY_STEPS
from deploy.grafana.generate import FOLDER, dashboards
from streams.metrics import Metrics
from streams.org_metrics import HOURS, WEEKDAYS
from tests.deploy.dashboard_world import (
    ALERT,
    ALERT_SINCE_MS,
    MOVED,
    ORGS,
    SILENT,
    latency_seconds,
    metrics_of,
    served,
)
from tests.deploy.real_prometheus import Prometheus, prometheus

ROOT = Path(__file__).parents[2]
SCRIPTS = Path(__file__).with_name("grafana")
DAY, WEEK = 86_400, 7 * 86_400

BOARDS = {name.removesuffix(".json"): json.loads(text) for name, text in dashboards().items()}
Column: TypeAlias = dict[str, Any]
Table: TypeAlias = dict[str, Column]


@pytest.fixture(scope="module")
def workers() -> tuple[Metrics, Metrics]:
    """Two workers, of which the second shows an org of the first as well."""
    return metrics_of(0, tuple(ORGS)), metrics_of(0, (ALERT,), worker=1)


@pytest.fixture(scope="module")
def live(workers: tuple[Metrics, Metrics], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """One that reads both workers, and knows what was a day and one to four weeks ago."""
    past = {DAY: metrics_of(1, tuple(ORGS))} | {weeks * WEEK: metrics_of(weeks, tuple(ORGS)) for weeks in range(1, 5)}
    with (
        served(*workers) as pages,
        prometheus(tmp_path_factory.mktemp("prometheus"), pages, past, scrapes=3) as found,
    ):
        yield found


@pytest.fixture(scope="module")
def grafana() -> Path:
    """A folder with Grafana's packages and our scripts, installed once and kept beside the other things runs leave."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("Grafana's own types and transformations need node and npm, which are not installed here")
    lock = (SCRIPTS / "package-lock.json").read_bytes()
    folder = ROOT / ".run" / "tools" / f"grafana-{hashlib.sha256(lock).hexdigest()[:12]}"
    folder.mkdir(parents=True, exist_ok=True)
    for path in SCRIPTS.iterdir():
        shutil.copy(path, folder)
    if not (folder / "installed").exists():
        try:
            subprocess.run([npm, "ci"], cwd=folder, capture_output=True, text=True, timeout=240, check=True)
        except subprocess.SubprocessError as error:
            said = getattr(error, "stderr", None) or str(error)
            pytest.skip(f"Grafana's packages could not be installed: {said.strip()[-300:]}")
        (folder / "installed").touch()
    return folder


def asked(expr: str, org: str) -> str:
    """A query with what a dashboard puts in place of its variables."""
    return expr.replace("$org", org).replace("$__rate_interval", "20s").replace("$__range", "1h")


def tables_of(board: str) -> list[dict[str, Any]]:
    return [panel for panel in BOARDS[board]["panels"] if panel["type"] == "table"]


@pytest.fixture(scope="module")
def shown(live: Prometheus, grafana: Path) -> dict[tuple[str, str], Table]:
    """Every table as Grafana shows it, by org chosen and title; what there is without a past, under the org "new"."""
    answers: list[tuple[str, str, dict[str, Any]]] = []
    for org in ("all", "northwind", "new"):
        for panel in (panel for board in BOARDS for panel in tables_of(board)):
            told = [{"refId": each["refId"], "data": answer(live, each["expr"], org)} for each in panel["targets"]]
            if org != "new" or sum(bool(each["data"]["result"]) for each in told):
                answers.append((org, panel["title"], {"panel": panel, "answers": told}))
    done = subprocess.run(
        ["node", "show.mjs"], cwd=grafana, capture_output=True, text=True, timeout=60, check=False,
        input=json.dumps({"units": units(), "tables": [table for _, _, table in answers]}),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    said = json.loads(done.stdout)
    assert said["unknownUnits"] == []
    columns = [{column["name"]: column for column in table} for table in said["tables"]]
    return {(org, title): table for (org, title, _), table in zip(answers, columns, strict=True)}


def answer(live: Prometheus, expr: str, org: str) -> dict[str, Any]:
    """What Prometheus says now; to "new" it says what an installation without a past is told."""
    if org == "new":
        return live.now(asked(re.sub(r"offset \d[dw]", "offset 50w", expr), "all"))
    return live.now(asked(expr, org))


def units() -> list[str]:
    """Every unit that a dashboard names."""
    return sorted(set(re.findall(r'"unit": "([^"]+)"', "".join(dashboards().values()))))


@pytest.mark.parametrize("board", BOARDS)
@pytest.mark.parametrize("org", ["all", "northwind"])
def test_every_query_answers_with_data(live: Prometheus, board: str, org: str) -> None:
    for panel in BOARDS[board]["panels"]:
        for target in panel.get("targets", ()):
            expr = asked(target["expr"], org)
            data = live.now(expr) if target.get("instant") else live.over_time(expr, 10, 1)
            assert data["result"], f"{panel['title']}: {expr}"


def test_a_stat_is_one_number(live: Prometheus) -> None:
    for board in BOARDS.values():
        for panel in board["panels"]:
            if panel["type"] == "stat":
                (target,) = panel["targets"]
                assert len(live.now(asked(target["expr"], "all"))["result"]) == 1, panel["title"]


def matrix(table: Table) -> dict[tuple[int, int], tuple[Any, str, str]]:
    """Value, text and colour of each cell that has any, by weekday and hour; the places of all are checked."""
    assert list(table) == ["Day", *HOURS]
    assert table["Day"]["values"] == list(WEEKDAYS)
    return {
        (day, hour): (table[name]["values"][day], table[name]["texts"][day], table[name]["colours"][day])
        for hour, name in enumerate(HOURS)
        for day in range(7)
    }


def colour_of(seconds: float) -> str:
    """The colour of the step that a latency falls into."""
    return [colour for edge, colour in LATENCY_STEPS if edge is None or seconds >= edge][-1]


@pytest.mark.parametrize("org", ["all", "northwind"])
def test_the_map_of_the_week_has_each_hour_in_its_place(shown: dict[tuple[str, str], Table], org: str) -> None:
    cells = matrix(shown[org, "Waiting for an answer, p80, by the hour of the message"])
    empty = 0
    for (day, hour), (value, text, colour) in cells.items():
        wanted = latency_seconds(org, 24 * day + hour, 0)
        if wanted is None:
            assert (value, text, colour) == (None, "", "#00000000")
            empty += 1
        else:
            assert (value, colour) == (wanted, colour_of(wanted)) and re.fullmatch(
                r"\d+\.\d (s|mins?|hours?|days?)", text
            )
    assert empty == {"all": 13, "northwind": 168 - 50 + 4}[org]


@pytest.mark.parametrize("org", ["all", "northwind"])
@pytest.mark.parametrize(
    ("title", "weeks"), [("Difference to a week ago", 1), ("Difference to the mean of the four weeks before", 4)]
)
def test_the_map_of_differences_is_now_less_then(
    shown: dict[tuple[str, str], Table], title: str, weeks: int, org: str
) -> None:
    cells = matrix(shown[org, title])
    assert any(value is not None for value, _, _ in cells.values())
    for (day, hour), (value, text, colour) in cells.items():
        now = latency_seconds(org, 24 * day + hour, 0)
        told = [latency_seconds(org, 24 * day + hour, ago) for ago in range(1, weeks + 1)]
        then = [seconds for seconds in told if seconds is not None]
        if now is None or not then:
            assert (value, text, colour) == (None, "", "#00000000")
        else:
            assert value == pytest.approx(now - sum(then) / len(then))
            assert value < 300 and colour == (DIVERGING[3] if value >= -300 else DIVERGING[2])  # they wait less now


def test_orgs_come_lowest_first_with_their_bands_colour_and_a_link_to_their_reasons(
    shown: dict[tuple[str, str], Table],
) -> None:
    table = shown["all", "Orgs by score"]
    assert list(table) == ["Org", "Score", "In a week", "Seats", "Median", "Active users", "Activities"]
    assert table["Org"]["values"] == list(ORGS)
    assert table["Score"]["values"] == pytest.approx(list(ORGS.values()))
    assert table["Score"]["texts"] == ["5.0%", "15.0%", "62.0%"]
    bands = ("at_risk", "watch", "healthy")
    assert table["Score"]["colours"] == [BAND_COLOURS[band] for band in bands]
    assert table["In a week"]["texts"] == [f"{-100 * moved:.1f} points" for moved in MOVED.values()]
    assert table["Active users"]["texts"] == ["10", "11", "12"]
    pages = [urlsplit(link) for link in table["Org"]["links"]]
    assert {page.netloc for page in pages} == {"127.0.0.1:6066"}
    assert [unquote(page.path) for page in pages] == [f"/orgs/{org}" for org in ORGS]


@pytest.mark.parametrize("span", ["a day", "a week"])
def test_movers_come_from_the_deepest_fall_to_the_highest_rise(shown: dict[tuple[str, str], Table], span: str) -> None:
    table = shown["all", f"Biggest movers in {span}"]
    assert table["Org"]["values"] == sorted(ORGS, key=lambda org: -MOVED[org])
    fell, hardly, rose = table[f"Change in {span}"]["colours"]
    assert (fell, hardly, rose) == (DIVERGING[6], DIVERGING[4], DIVERGING[0])


def test_an_open_alert_is_shown_with_its_beginning_and_no_org_without_one(
    shown: dict[tuple[str, str], Table],
) -> None:
    table = shown["all", "Open alerts"]
    assert table["Org"]["values"] == [ALERT] and table["Since"]["values"] == [ALERT_SINCE_MS]
    assert table["Score"]["texts"] == ["5.0%"] and table["Org"]["links"] == ["http://127.0.0.1:6066/orgs/northwind"]


def test_seats_and_group_types_are_shares_of_their_own(shown: dict[tuple[str, str], Table]) -> None:
    assert shown["all", "Seats in use"]["Seats in use"]["texts"] == ["50.0%"] * 3
    groups = shown["all", "Group types now"]
    assert list(groups) == ["Group type", "Active", "All seats", "Active users", "Seats"]
    assert [groups[name]["texts"] for name in list(groups)[1:]] == [["20%"], ["12%"], ["6"], ["10"]]


def test_on_the_first_day_what_there_is_is_shown_without_what_there_was(shown: dict[tuple[str, str], Table]) -> None:
    table = shown["new", "Orgs by score"]
    assert table["Org"]["values"] == list(ORGS) and table["Score"]["texts"] == ["5.0%", "15.0%", "62.0%"]
    assert "In a week" not in table
    assert shown["new", "Open alerts"]["Since"]["values"] == [ALERT_SINCE_MS]
    assert len(shown["new", "Orgs by how long people wait"]["Org"]["values"]) == len(ORGS)


def test_the_first_dead_letter_of_a_kind_is_counted(live: Prometheus, workers: tuple[Metrics, Metrics]) -> None:
    (panel,) = (each for each in BOARDS["pipeline"]["panels"] if each["title"] == "Dead letters by reason")
    expr = asked(panel["targets"][0]["expr"], "all")
    workers[0].dead_letters.add(2, "product-events", "bad_amount")
    until = time.monotonic() + 10
    while time.monotonic() < until:
        told = {series["metric"]["reason"]: series["value"][1] for series in live.now(expr)["result"]}
        if "bad_amount" in told:
            break
        time.sleep(0.2)
    assert told["bad_amount"] == "2"


def test_the_ledger_is_one_row_a_topic(shown: dict[tuple[str, str], Table]) -> None:
    table = shown["all", "Messages by what became of them, since ever"]
    assert table["Topic"]["values"] == ["chat-messages", "product-events"]
    assert list(table)[1:] == sorted(list(table)[1:]) and table["accepted"]["texts"] == ["4", "4"]


def test_hours_of_orgs_and_chat_have_no_row_of_all_orgs(shown: dict[tuple[str, str], Table]) -> None:
    for title in ("Orgs by how long people wait", "Chat of all orgs"):
        assert sorted(shown["all", title]["Org"]["values"]) == sorted(ORGS)


def test_a_cell_without_a_value_is_empty_and_does_not_say_that_the_table_is(
    shown: dict[tuple[str, str], Table],
) -> None:
    table = shown["all", "Chat of all orgs"]
    online = dict(zip(table["Org"]["values"], table["Online"]["texts"], strict=True))
    assert online == {"northwind": "5", "acme & sons": "6", SILENT: ""}


def test_the_dashboards_fit_the_types_of_grafana_and_a_wrong_one_does_not(grafana: Path, tmp_path: Path) -> None:
    wrong = json.loads((FOLDER / "hours.json").read_text())
    table = next(panel for panel in wrong["panels"] if panel["type"] == "table")
    table["options"]["footer"], table["fieldConfig"]["defaults"]["color"]["mode"] = {"show": False}, "no such mode"
    (tmp_path / "wrong.json").write_text(json.dumps(wrong, indent=1))
    done = subprocess.run(
        ["node", "check-types.mjs", *sorted(FOLDER.glob("*.json")), tmp_path / "wrong.json"],
        cwd=grafana, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    said = done.stdout.splitlines()
    assert [line for line in said if not line.startswith(("wrong.check.ts", " "))] == []
    assert done.returncode == 1 and "no such mode" in done.stdout
