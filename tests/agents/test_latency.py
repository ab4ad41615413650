"""`orgpulse latency`: options, periods, files, and the wall; against a real Redis where Redis matters."""

from __future__ import annotations

import csv
import json
import shlex
import subprocess
import sys
import threading
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from msgspec import structs
from PIL import Image

from agents import latency_data
from agents.cli_errors import ToldError
from agents.cli_latency import latency
from agents.latency_data import Shown, gather, rolling_months
from agents.latency_output import Files, write_files
from agents.latency_request import Wish, line_of, quantile_of, seconds_of, years_of
from agents.latency_wall import Picture, file_name, pages, repeat, write_pages
from deploy.local.redis import LocalRedis
from reports.pictures import WIDTH
from reports.sample_pictures import DOCS
from reports.short_text import two_digits
from reports.week_map import Label, map_of
from reports.whole_file import put
from state.lines import Lines, OverallLines
from state.periods import months_of
from state.waits import Waits
from state.week import month_start_ms
from streams.fenced_write import Write
from streams.published import WEEKDAYS
from streams.reader import Reader
from streams.settings import Settings, load_settings
from streams.settings_work import LatencySettings
from tests.reports.browser import photograph
from tests.reports.weeks import full_week
from tests.streams.test_reader import Shop, org

HOUR_MS = 3_600_000
HOSTILE = '<script>alert(1)</script>"><img src=x>'


@pytest.fixture
def settings(redis_server: LocalRedis, topic_prefix: str) -> Settings:
    return load_settings(None, {"ORGPULSE_REDIS_URL": redis_server.url, "ORGPULSE_REDIS_PREFIX": topic_prefix})


@pytest.fixture
def shop(settings: Settings) -> Iterator[Shop]:
    opened = Shop(settings.redis.url, settings.redis.prefix)
    yield opened
    opened.reader.close()
    opened.redis.close()


def line(year_waits: dict[int, float], each: int = 30) -> Waits:
    """Return a line in which questions of the first week of each year's March wait so many seconds, every hour."""
    found = Waits()
    for year, seconds in year_waits.items():
        start = month_start_ms(year * 12 + 2, "UTC")
        for hour in range(168):
            for number in range(each):
                at = start + hour * HOUR_MS + number
                found.add_event(at)
                found.add_wait(at, round(seconds * 1000) + number, first=True)
    return found


def counted() -> Waits:
    """Return a line that counts and has no durations."""
    found = Waits()
    for hour in range(24):
        found.add_event(month_start_ms(2025 * 12 + 2, "UTC") + hour * HOUR_MS, hour + 1)
    return found


LINES = Lines("acme", "UTC", {
    "replies/#help": line({2023: 7200, 2024: 3600, 2025: 600}),
    "replies/": line({2025: 60}, 10),
    "measure/order": counted(),
})  # fmt: skip


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, range]]:
    """Have months of "acme" to read; return which are asked for."""
    found: list[tuple[str, range]] = []

    def answer(reader: Reader, org: str, months: range) -> Lines | OverallLines | None:
        found.append((org, months))
        if org == "all":
            return OverallLines({2025 * 12 + 2: {"replies/": full_week()}})
        return LINES if org == "acme" else replace(LINES, org=org) if org == HOSTILE else None

    monkeypatch.setattr(latency_data.Reader, "latency_lines", answer)
    return found


def shown(settings: Settings, *arguments: str | Path) -> Result:
    return CliRunner().invoke(latency, [str(argument) for argument in arguments], obj=settings)


def rolling(name: str = "acme", seconds: float = 42.0) -> Write:
    cells = {f"{day}-{hour:02}": f"{seconds:.3f}" for day in WEEKDAYS for hour in range(24)}
    counts = {f"{cell}:{kind}": "7" for cell in cells for kind in ("n", "messages", "answered")}
    more = {"timezone": "Europe/Berlin", "quantile": "0.8", "period": "2026-09/2026-11"}
    return Write(f"latency:{{{name}}}", {**cells, **counts, **more}, "0000.1")


def test_the_map_that_is_kept_ready_becomes_picture_table_and_document(
    settings: Settings, shop: Shop, tmp_path: Path
) -> None:
    shop.write(org("acme", "55.10"), rolling())
    files = {kind: tmp_path / f"map.{kind}" for kind in ("svg", "png", "csv")}
    options = [part for kind, path in files.items() for part in (f"--{kind}", path)]
    result = shown(settings, "acme", *options, "--json")
    assert result.exit_code == 0, result.stderr
    document = json.loads(result.stdout)
    assert document["week"][0] == {
        "cell": "mon-00", "state": "data", "seconds": 42.0, "replies": 7, "messages": 7, "answered": 7,
        "answered_within_target": None, "share_answered": 1.0,
    }  # fmt: skip
    assert document["cells"]["sun-23"] == {"seconds": 42.0, "count": 7}
    assert files["svg"].read_text().count(">42s</text>") == 168
    assert Image.open(files["png"]).size == (1920, 1080)
    with files["csv"].open(encoding="utf-8-sig", newline="") as file:
        assert [row["seconds"] for row in csv.DictReader(file)] == ["42.0"] * 168
    assert sorted(path.name for path in tmp_path.iterdir()) == ["map.csv", "map.png", "map.svg"]


def test_a_period_is_asked_for_with_a_month_on_both_sides(settings: Settings, asked: list[tuple[str, range]]) -> None:
    result = shown(settings, "acme", "--period", "2025-Q1", "--zone", "Asia/Kolkata", "--quantile", "p95", "--json")
    assert result.exit_code == 0, result.stderr
    assert asked == [("acme", range(2025 * 12 - 1, 2025 * 12 + 4))]
    document = json.loads(result.stdout)
    assert (document["period"], document["timezone"], document["quantile"]) == ("2025-Q1", "Asia/Kolkata", 0.95)
    grid = LINES.grid("replies", months_of("2025-Q1"), "Asia/Kolkata")
    assert [cell["replies"] for cell in document["week"]] == grid.replies.tolist()
    seconds = grid.quantiles_ms(0.95) / 1000
    assert [cell["seconds"] for cell in document["week"]] == [round(float(s), 3) for s in seconds]


@pytest.mark.parametrize(
    ("options", "line", "replies"),
    [((), "replies", 40), (("--channel", "#help"), "replies/#help", 30), (("--line", "replies/"), "replies/", 10)],
)
def test_lines_are_told_apart(
    settings: Settings, asked: list[tuple[str, range]], options: tuple[str, ...], line: str, replies: int
) -> None:
    document = json.loads(shown(settings, "acme", "--period", "2025", *options, "--json").stdout)
    assert document["line"] == line
    assert {cell["replies"] for cell in document["week"]} == {replies}


def test_a_measure_without_durations_is_drawn_as_counts(
    settings: Settings, asked: list[tuple[str, range]], tmp_path: Path
) -> None:
    result = shown(
        settings, "acme", "--period", "2025", "--measure", "order", "--svg", tmp_path / "m.svg", "--terminal"
    )
    assert result.exit_code == 0, result.stderr
    text = (tmp_path / "m.svg").read_text()
    assert "Events by hour of the week" in text
    assert '<g id="text-sat-23">' in text  # 2025-03-01 is a Saturday
    assert next(line for line in result.stdout.splitlines() if line.startswith("Sat")).split()[1:] == [
        str(n) for n in range(1, 25)
    ]


def test_a_target_shows_the_share_answered_within_it(settings: Settings, asked: list[tuple[str, range]]) -> None:
    result = shown(settings, "acme", "--period", "2025", "--target", "5m", "--counts")
    assert result.exit_code == 0, result.stderr
    assert "answered within 5m" in result.stdout
    assert result.stdout.count(" 25") >= 168  # 10 of 40


def test_the_difference_is_the_period_minus_the_one_before(
    settings: Settings, asked: list[tuple[str, range]], tmp_path: Path
) -> None:
    options = ("acme", "--channel", "#help", "--period", "2025", "--versus", "2024")
    document = json.loads(shown(settings, *options, "--json", "--svg", tmp_path / "d.svg").stdout)
    assert (document["before"], document["after"]) == ("2024", "2025")
    assert {cell["change_seconds"] for cell in document["week"]} == {-3000.0}
    assert all(cell["significant"] for cell in document["week"])
    assert (tmp_path / "d.svg").read_text().count(">−50m</text>") == 168
    text = shown(settings, *options).stdout
    assert text.count("−50m*") == 168
    assert "168 hours are faster" in text


def test_years_are_shown_side_by_side(settings: Settings, asked: list[tuple[str, range]], tmp_path: Path) -> None:
    options = ("acme", "--channel", "#help", "--years", "2023-2025")
    result = shown(settings, *options, "--json", "--png", tmp_path / "y.png", "--csv", tmp_path / "y.csv")
    document = json.loads(result.stdout)
    assert [(each["period"], each["week"][0]["seconds"]) for each in document["series"]] == [
        ("2023", 7200.023), ("2024", 3600.023), ("2025", 600.023),
    ]  # fmt: skip
    assert Image.open(tmp_path / "y.png").size[0] >= WIDTH * 120
    assert len((tmp_path / "y.csv").read_text("utf-8-sig").splitlines()) == 1 + 3 * 168
    text = shown(settings, *options).stdout
    assert [line.strip() for line in text.splitlines() if line.strip() in {"2023", "2024", "2025"}] == [
        "2023", "2024", "2025",
    ]  # fmt: skip


def test_hours_without_data_are_filled_in_if_asked(settings: Settings, asked: list[tuple[str, range]]) -> None:
    document = json.loads(shown(settings, "acme", "--period", "2022", "--no-data-hours", "20", "--json").stdout)
    assert {(cell["seconds"], cell["state"]) for cell in document["week"]} == {(72_000.0, "filled")}
    assert document["cells"] == {}


def test_coverage_names_gaps_and_whom_to_add(
    settings: Settings, asked: list[tuple[str, range]], tmp_path: Path
) -> None:
    options = ("acme", "--period", "2025", "--target", "5m", "--hours", "mon-fri 09-11", "--staff", "3")
    result = shown(settings, *options)
    assert result.exit_code == 0, result.stderr
    assert "25% of 400 in mon-fri 09-11; 300 late or never" in result.stdout
    assert "Mon 09:00" in result.stdout
    document = json.loads(shown(settings, *options, "--json", "--svg", tmp_path / "c.svg").stdout)["coverage"]
    assert len(document["gaps"]) == 168
    assert sum(gap["open"] for gap in document["gaps"]) == 10
    assert (tmp_path / "c.svg").read_text().count('<g id="mark-') == 10


@pytest.mark.parametrize(
    ("options", "said", "remedy"),
    [
        (("--period", "2025-13"), "'2025-13' is no period", "2025-Q3"),
        (("--period", "2025/2024"), "ends before it begins", "2024-06/2025-05"),
        (("--years", "2025-2023"), "--years 2025-2023", "--years 2023-2025"),
        (("--years", "1990-2025"), "1 to 12 stand side by side", "--years 2023-2025"),
        (("--years", "2025", "--period", "2025"), "--years shows years", "Leave one"),
        (("--quantile", "95"), '--quantile: "95"', "0.95 or p95"),
        (("--quantile", "1", "--versus", "2024"), "can't compare the longest", "below 1"),
        (("--target", "soon"), '--target: "soon" is no duration', "4h"),
        (("--zone", "Berlin"), 'no zone "Berlin"', "Europe/Berlin"),
        (("--line", "#help"), '--line: "#help"', "replies/<channel>"),
        (("--line", "replies", "--channel", "x"), "name the same thing", "one of them"),
        (("--every", "5m"), "none is named", "--wall"),
        (("--coverage",), "There is no --target", "--target 4h"),
        (("--target", "4h", "--hours", "weekend"), "--hours: 'weekend'", "mon-fri 09-17"),
        (("--svg", "/no/such/folder/x.svg"), "no folder /no/such/folder", "mkdir -p"),
        (("--versus", "2024", "--target", "4h"), "compares times", "Leave out"),
    ],
)
def test_a_wrong_option_is_told_with_a_remedy(
    settings: Settings, asked: list[tuple[str, range]], options: tuple[str, ...], said: str, remedy: str
) -> None:
    result = shown(settings, "acme", *options)
    assert result.exit_code == 2
    assert said in result.stderr
    assert remedy in result.stderr
    assert result.stdout == ""


def test_what_is_not_there_is_told_with_the_nearest(
    settings: Settings, shop: Shop, asked: list[tuple[str, range]]
) -> None:
    shop.write(org("acme", "55.10"))
    for options, said, remedy in (
        (("acne", "--period", "2025"), 'no latency for "acne" in 2025', "acme"),
        (("acne",), 'no latency for "acne"', "acme"),
        (("acme", "--period", "2025", "--channel", "#halp"), 'no line "replies/#halp"', "replies/#help"),
        (("all", "--period", "2025", "--zone", "UTC"), "each org's own zone", "Leave out --zone"),
    ):
        result = shown(settings, *options)
        assert result.exit_code == 1
        assert said in result.stderr
        assert remedy in result.stderr
    assert shown(settings, "acme", "zeta").exit_code == 2


def test_a_hostile_org_harms_neither_page_nor_picture_nor_table(
    settings: Settings, asked: list[tuple[str, range]], tmp_path: Path
) -> None:
    wall = tmp_path / "wall"
    result = shown(settings, HOSTILE, "=acme", "--period", "2025", "--wall", wall)
    assert result.exit_code == 0, result.stderr
    assert sorted(path.name for path in wall.iterdir()) == ["index.html", file_name(HOSTILE)]
    page = (wall / "index.html").read_text()
    assert "<script" not in page
    assert "onerror" not in page
    assert page.count("<img") == 1
    assert "no latency for &quot;=acme&quot;" in page
    assert "<script" not in (wall / file_name(HOSTILE)).read_text()
    assert not {"/", ".", "<"} & set(file_name("../../<x>")[: -len(".svg")])


def test_the_wall_shows_its_maps_in_a_browser_without_scripts(settings: Settings, shop: Shop, tmp_path: Path) -> None:
    shop.write(org("acme", "55.10"), rolling(seconds=42), rolling("zeta", 7200))
    wall = tmp_path / "wall"
    assert shown(settings, "acme", "zeta", "--wall", wall).exit_code == 0
    page = (wall / "index.html").read_text()
    assert "<script" not in page
    assert '<meta http-equiv="refresh" content="30">' in page
    screen = np.asarray(Image.open(photograph(wall / "index.html", tmp_path)).convert("RGB")).astype(int)
    middle = (abs(screen - np.array([125, 124, 120])).max(axis=2) < 12).mean(axis=1)  # cividis in the middle
    assert middle[: len(middle) // 2].max() > 0.2  # one map above
    assert middle[len(middle) // 2 :].max() > 0.2  # one below


def test_more_maps_than_fit_turn_over_by_themselves(tmp_path: Path) -> None:
    found = [Picture.of(f"org-{n}", f"title {n}", "<svg/>") for n in range(9)]
    texts = pages(found, 300, 0.0, "")
    assert [text.count("<img") for text in texts] == [4, 4, 1]
    assert [text.split("url=")[1].split('"')[0] for text in texts] == ["page-2.html", "page-3.html", "index.html"]
    write_pages(tmp_path, texts)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["index.html", "page-2.html", "page-3.html"]
    assert "not yet" in pages([], 300, None, "Redis is away")[0]


def test_a_schedule_lives_through_trouble_and_tells_it_once() -> None:
    stop, said, troubles = threading.Event(), [], []
    outcomes = iter([None, ConnectionError(111, "refused"), ConnectionError(111, "refused"), None, ToldError("no org")])

    def make() -> None:
        try:
            outcome = next(outcomes)
        except StopIteration:
            stop.set()
            return
        if outcome is not None:
            raise outcome

    repeat(make, 0.001, stop, said.append, troubles.append)
    assert [text.split(";")[0] for text in said] == ["refused", "it works again", "no org", "it works again"]
    assert troubles == ["refused", "refused", "no org"]
    with pytest.raises(ToldError):
        repeat(
            lambda: (_ for _ in ()).throw(ToldError("wrong", "", 2)), 0.001, threading.Event(), said.append, said.append
        )
    with pytest.raises(ZeroDivisionError):
        repeat(lambda: print(1 / 0), 0.001, threading.Event(), said.append, said.append)


def test_files_are_kept_while_redis_is_away_and_the_wall_says_so(tmp_path: Path) -> None:
    with LocalRedis(tmp_path) as server:
        named = {"ORGPULSE_REDIS_URL": server.url}
        shop = Shop(server.url, load_settings(None, named).redis.prefix)
        shop.write(org("acme", "55.10"), rolling())
        wall = tmp_path / "wall"
        process = subprocess.Popen(
            [sys.executable, "-m", "agents.cli", "latency", "acme", "--wall", str(wall), "--every", "0.2s"],
            env={**named, "PATH": "/usr/bin:/bin"}, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert process.stderr is not None
        try:
            assert process.stderr.readline().startswith("writing every")
            wait_for(lambda: (wall / file_name("acme")).exists() and "drawn 20" in (wall / "index.html").read_text())
            kept = (wall / file_name("acme")).read_bytes()
            shop.reader.close()
            shop.redis.close()
            server.__exit__(None, None, None)
            assert "trying again every" in process.stderr.readline()
            wait_for(lambda: 'class="trouble"' in (wall / "index.html").read_text())
            assert (wall / file_name("acme")).read_bytes() == kept
        finally:
            process.terminate()
        assert process.wait(30) == 0


def wait_for(condition: object) -> None:
    assert callable(condition)
    tick = threading.Event()
    for _ in range(600):
        if condition():
            return
        tick.wait(0.05)
    raise AssertionError("it did not happen within 30 s")


def test_a_file_is_replaced_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "map.svg"
    put(path, b"old")

    def fail(self: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="No space"):
        put(path, b"new")
    assert path.read_bytes() == b"old"


def test_a_worker_does_not_load_matplotlib() -> None:
    modules = "agents.cli, agents.cli_latency, agents.cli_worker, agents.wiring"
    code = f"import sys, {modules}; print('matplotlib' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_options_are_read_as_they_are_written() -> None:
    assert [seconds_of(text, "--x") for text in ("4h", "30m", "90s", "1h30m", "2 d", "1.5h", None)] == [
        14400, 1800, 90, 5400, 172800, 5400, None,
    ]  # fmt: skip
    assert [quantile_of(text) for text in ("0.95", "p95", "1", None)] == [0.95, 0.95, 1.0, None]
    assert years_of("2023,2025-Q1") == (months_of("2023"), months_of("2025-Q1"))
    assert [line_of(None, "#help", None), line_of(None, None, "order"), line_of("replies", None, None)] == [
        "replies/#help", "measure/order", "replies",
    ]  # fmt: skip
    assert rolling_months(14, 1_795_000_000) == months_of("2025-10/2026-11")


def test_the_rolling_months_are_taken_where_no_period_is_named(asked: list[tuple[str, range]]) -> None:
    reader = Reader("redis://127.0.0.1:1/0")  # never asked: the months are answered by `asked`
    found = gather(reader, "acme", Wish(first=True), LatencySettings(rolling_months=12), 1_741_000_000)
    assert found.label.period == "2024-04/2025-03"
    assert found.maps[0].counts.tolist() == [40] * 168
    assert two_digits(float(found.maps[0].seconds[0])) == "10m"


def test_help_is_in_sections_and_names_every_option() -> None:
    text = CliRunner().invoke(latency, ["--help"]).stdout
    assert [heading for heading in ("When:", "What:", "Coverage:", "How:") if heading in text] == [
        "When:", "What:", "Coverage:", "How:",
    ]  # fmt: skip
    for param in latency.params:
        assert all(name in text for name in param.opts if name.startswith("--"))


def test_every_example_of_the_documentation_runs_and_names_every_option(
    settings: Settings, shop: Shop, asked: list[tuple[str, range]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.write(org("acme", "55.10"), rolling(), rolling("zeta"), rolling("all"))
    monkeypatch.chdir(tmp_path)
    page = (DOCS / "latency.md").read_text("utf-8")
    examples = [line for line in page.splitlines() if line.startswith("orgpulse latency")]
    for line in examples:
        words = shlex.split(line.replace("/srv/wall", "wall"), comments=True)[2:]
        if "--every" in words:
            del words[words.index("--every") :]
        result = shown(settings, *words)
        assert result.exit_code == 0, (line, result.stderr)
    used = {word for line in examples for word in shlex.split(line, comments=True)}
    assert {name for param in latency.params for name in param.opts if name.startswith("--")} <= used | {"--help"}
    assert {"acme.svg", "acme.png", "acme.csv", "change.svg", "years.svg", "wall"} <= {
        p.name for p in tmp_path.iterdir()
    }


def test_all_files_of_one_map_say_the_same(tmp_path: Path) -> None:
    week = map_of(full_week(gaps=(5,)), Label("acme", min_count=1))
    write_files(Shown((week,)), Files(tmp_path / "a.svg", None, tmp_path / "a.csv"), counts=False)
    with (tmp_path / "a.csv").open(encoding="utf-8-sig", newline="") as file:
        texts = [two_digits(float(row["seconds"])) for row in csv.DictReader(file) if row["seconds"]]
    svg = (tmp_path / "a.svg").read_text()
    assert all(f">{text}</text>" in svg for text in texts)
    assert len(texts) == 167


def test_periods_are_read_from_the_months_in_redis(settings: Settings, shop: Shop) -> None:
    months = {"2025-03": line({2025: 600}), "2024-03": line({2024: 3600})}
    known = {**rolling().fields, "timezone": "UTC", "months": json.dumps(sorted(months))}
    shop.write(org("acme", "55.10"), structs.replace(rolling(), fields=known))
    for month, waits in months.items():
        fields = {"replies/#help": b64encode(waits.dump()).decode()}
        shop.write(Write(f"latency:{{acme}}:{month}", fields, "0000.1"))
    options = ("acme", "--channel", "#help", "--period", "2025", "--versus", "2024", "--json")
    result = shown(settings, *options)
    assert result.exit_code == 0, result.stderr
    document = json.loads(result.stdout)
    assert {cell["change_seconds"] for cell in document["week"]} == {-3000.0}
    assert {(cell["before_count"], cell["after_count"]) for cell in document["week"]} == {(30, 30)}
