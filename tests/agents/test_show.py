"""`orgpulse score` and `orgpulse latency` against a real Redis, and what they draw."""

from __future__ import annotations

import io
import json
from decimal import Decimal

import pytest
from click.testing import CliRunner, Result
from msgspec import structs
from rich.console import Console, RenderableType

from agents.cli_latency import latency
from agents.cli_show import score
from agents.render import colour, reason_table, reasons_line, risk_table
from agents.render_week import latency_map
from deploy.local.redis import LocalRedis
from reports.short_text import short_count, short_duration
from streams.fenced_write import Write
from streams.published import Reason
from streams.published_decode import Decoder
from streams.settings import Settings, load_settings
from tests.streams.test_reader import ORG, Shop, org, user

REASONS = (
    Reason("searches", Decimal("3.20"), Decimal("5.00"), Decimal("-1.10")),
    Reason("exports", Decimal("60.21"), Decimal("95.00"), None),
)


@pytest.fixture
def settings(redis_server: LocalRedis, topic_prefix: str) -> Settings:
    return load_settings(None, {"ORGPULSE_REDIS_URL": redis_server.url, "ORGPULSE_REDIS_PREFIX": topic_prefix})


@pytest.fixture
def shop(settings: Settings) -> Shop:
    return Shop(settings.redis.url, settings.redis.prefix)


def shown(settings: Settings, *arguments: str) -> Result:
    command = score if arguments[0] == "score" else latency
    return CliRunner().invoke(command, arguments[1:], obj=settings)


def drawn(item: RenderableType, width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(item)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_user_is_shown_by_org_and_name_or_by_a_name_that_one_org_has(settings: Settings, shop: Shop) -> None:
    shop.write(org("acme", "55.10"), user("u1"))
    for subject in ("acme/u1", "u1"):
        result = shown(settings, "score", subject)
        assert result.exit_code == 0, result.stderr
        assert "acme/u1" in result.stdout
        assert "63.41 of 100  watch" in result.stdout
        assert "exports" in result.stdout


def test_an_org_is_shown_with_a_dash_for_what_is_missing(settings: Settings, shop: Shop) -> None:
    shop.write(org("acme", "55.10"))
    result = shown(settings, "score", "acme")
    assert result.exit_code == 0
    lines = {line.split("  ")[0]: line.rstrip() for line in result.stdout.splitlines()}
    assert lines["licensed users"].split()[-1] == "–"
    assert lines["seats in use"].endswith("7 of –")


def test_json_holds_null_for_what_is_missing(settings: Settings, shop: Shop) -> None:
    shop.write(org("acme", "55.10"))
    document = json.loads(shown(settings, "score", "acme", "--json").stdout)
    assert (document["score_active"], document["score_licensed"], document["licensed_users"]) == ("55.10", None, None)
    assert document["reasons"][0]["points"] == "3.20"


def test_an_org_is_shown_by_job_type_and_beside_its_group(settings: Settings, shop: Shop) -> None:
    jobs = {
        "analyst": {"score_active": "61.00", "score_licensed": "40.50", "score_median": "60.00", "active_users": 4,
                    "licensed_users": 6},
        "[b]cook": {"score_active": None, "score_licensed": None, "score_median": None, "active_users": 0,
                 "licensed_users": 1},
    }  # fmt: skip
    groups = {"SMB": {"orgs": 3, "active_users": 9, "licensed_users": 12, "score_active": "33.25",
                      "score_licensed": None}}  # fmt: skip
    write = org("acme", "55.10")
    more = {"group_type": "SMB", "calibration": "7", "peers": "SMB", "by_job_type": json.dumps(jobs)}
    shop.write(structs.replace(write, fields={**write.fields, **more}))
    shop.write(Write("totals", {"orgs": "3", "by_group_type": json.dumps(groups)}, "0000.1"))
    text = shown(settings, "score", "acme").stdout
    assert "SMB: 3 orgs, 33.25 over active users, – over licensed ones" in text
    assert "generation 7 of SMB" in text
    rows = [line.split() for line in text.splitlines() if line.startswith(("analyst", "[b]cook"))]
    assert rows == [["analyst", "61.00", "40.50", "60.00", "4/6"], ["[b]cook", "–", "–", "–", "0/1"]]
    document = json.loads(shown(settings, "score", "acme", "--json").stdout)
    assert document["by_job_type"]["analyst"]["score_active"] == "61.00"
    assert document["group"]["score_active"] == "33.25"


@pytest.mark.parametrize(
    ("subject", "said", "remedy"),
    [
        ("acne", 'no org or user "acne"', "acme"),
        ("acme/u2", 'org "acme" has no user "u2"', "acme/u1"),
        ("twin", '2 orgs have a user "twin"', "orgpulse score acme/twin"),
    ],
)
def test_an_unknown_subject_exits_with_one_and_names_the_nearest(
    settings: Settings, shop: Shop, subject: str, said: str, remedy: str
) -> None:
    shop.write(org("acme", "55.10"), org("zeta", "60.00"), user("u1"), user("twin"), user("twin", "zeta"))
    result = shown(settings, "score", subject)
    assert result.exit_code == 1
    assert said in result.stderr
    assert remedy in result.stderr
    assert result.stdout == ""


def test_an_empty_redis_says_that_there_are_no_scores_yet(settings: Settings) -> None:
    result = shown(settings, "score", "acme")
    assert result.exit_code == 1
    assert "no scores yet" in result.stderr


def test_latency_shows_numbers_no_data_and_counts(settings: Settings, shop: Shop) -> None:
    fields = {"mon-00": "42.000", "mon-00:n": "3", "sun-23": "7200.000", "sun-23:n": "1200", "timezone": "UTC"}
    shop.write(org("acme", "55.10"), Write("latency:{acme}", {**fields, "quantile": "0.8"}, "0000.1"))
    result = shown(settings, "latency", "acme", "--counts")
    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()
    assert next(line for line in lines if line.startswith("Mon")).startswith("Mon 42s ·  ·")
    assert next(line for line in lines if line.startswith("Sun")).endswith(" ·  2h")
    assert "p80, UTC" in result.stdout
    assert " 1k" in result.stdout
    document = json.loads(shown(settings, "latency", "acme", "--json").stdout)
    assert document["cells"] == {"mon-00": {"seconds": 42.0, "count": 3}, "sun-23": {"seconds": 7200.0, "count": 1200}}
    assert shown(settings, "latency").exit_code == 1


def test_the_map_is_seven_lines_of_24_cells_in_80_columns() -> None:
    cells = {hour: (float(10 + hour * 3600), hour) for hour in range(168) if hour % 5}
    lines = drawn(latency_map(cells, "Week")).splitlines()
    days = lines[2:9]
    assert [line[:3] for line in days] == ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]
    assert all(len(line.rstrip()) <= 76 for line in lines)
    assert sum(line.count("·") for line in days) == sum(1 for hour in range(168) if hour % 5 == 0)


def test_an_empty_map_and_a_map_of_one_value_draw() -> None:
    assert "no replies yet" in drawn(latency_map({}, "Week"))
    assert "42s" in drawn(latency_map({3: (42.0, 1)}, "Week"))


def test_every_duration_and_count_fits_in_three_characters() -> None:
    assert all(len(short_duration(10**power * digit / 3)) <= 3 for power in range(-3, 12) for digit in range(1, 30))
    assert all(len(short_count(10**power * digit // 3)) <= 3 for power in range(9) for digit in range(1, 30))


def test_the_colour_scale_grows_lighter_throughout() -> None:
    light = [
        sum(part * weight for part, weight in zip(colour(step / 50), (0.299, 0.587, 0.114), strict=True))
        for step in range(51)
    ]
    assert light == sorted(light)


def test_reasons_add_up_under_the_table_and_names_are_not_markup() -> None:
    table = drawn(reason_table(REASONS))
    assert table.splitlines()[-1].split() == ["sum", "63.41"]
    assert "[bold]x" in drawn(reason_table((Reason("[bold]x", Decimal("1.00"), None, None),)))


def test_the_line_of_reasons_names_the_biggest_change_and_else_the_biggest_gap() -> None:
    assert reasons_line(REASONS).plain == "searches -1.10"
    assert reasons_line(REASONS[1:]).plain == "exports 60.21/95.00"


def test_the_risk_table_fits_in_80_columns_and_shows_a_hostile_name_as_it_is() -> None:
    found = Decoder(0.0, 1.0).org("x", {**ORG, "name": "[red]Ünïcode & sons " * 3})
    assert found is not None
    lines = drawn(risk_table([found])).splitlines()
    assert max(map(len, lines)) <= 80
    assert any("[red]Ünïcode" in line for line in lines)
