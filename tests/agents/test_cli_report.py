"""`orgpulse report` on a real Kafka and a real Redis: options, files, summary, and what it says of little."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner, Result

from agents.cli import orgpulse
from agents.cli_report import KINDS, report
from agents.documents import Documents
from agents.report_redis import chat_sections, or_why_not
from agents.report_request import request_of
from deploy.local.redis import LocalRedis
from state.activity import Member, Tick
from state.effects import WeekRow
from state.week import week_label
from streams.settings import Settings, environment_of, override
from streams.topic_specs import topic_names
from tests.agents.test_chat import Talk, acts
from tests.agents.test_latency import rolling
from tests.bench.report import fill
from tests.reports.browsing import browser
from tests.reports.history_base import SMALL, make, week_rows
from tests.state.worlds import at, rows_of, shipped_model
from tests.streams.kafka_topics import fill_in_transaction
from tests.streams.test_reader import Shop, org

pytestmark = pytest.mark.kafka
BASE = make(SMALL)


@pytest.fixture
def installation(settings: Settings, redis_server: LocalRedis, topic_prefix: str) -> Settings:
    """A small base in Kafka, chat and latency of two orgs in Redis."""
    found = override(settings, {"redis.url": redis_server.url, "redis.prefix": topic_prefix})
    asyncio.run(fill(found, BASE))
    shop = Shop(found.redis.url, found.redis.prefix)
    try:
        noon = at("2024-03-20T12:00")
        told = Talk().play(Member("acme", "u1", True, "", display_name="Ann"), rows_of(acts()), Tick(noon, 1))
        shop.write(org("acme", "55.10"), org("zeta", "12.00"), rolling(), rolling("all"), told["chat:{acme}"])
    finally:
        shop.reader.close()
        shop.redis.close()
    return found


def run(settings: Settings, *arguments: object) -> Result:
    return CliRunner().invoke(report, [str(one) for one in arguments], obj=settings)


@pytest.mark.slow
def test_everything_is_written_and_the_summary_printed(installation: Settings, tmp_path: Path) -> None:
    done = run(installation, "all", "--out", tmp_path)
    assert done.exit_code == 0, done.output
    page = (tmp_path / "all.html").read_text("utf-8")
    for heading in ("Totals", "Lifetime", "Quartiles", "Forward look", "Chat", "Reply latency"):
        assert f">{heading}</h2>" in page
        assert heading in done.stdout
    files = {path.name for path in (tmp_path / "tables").iterdir()}
    names = {name.rsplit(".", 1)[0] for name in files}
    assert files == {f"{name}.{kind}" for name in names for kind in ("csv", "parquet")}
    assert {"orgs", "users", "lead-lag", "chat-windows", "chat-people", "latency"} <= names
    totals = pd.read_parquet(tmp_path / "tables" / "totals.parquet").set_index("figure")["value"]
    traded = BASE.org_weeks[BASE.org_weeks["transactions_count"] > 0]
    assert totals["user-weeks with an activity"] == len(BASE.user_weeks)
    assert totals["volume"] == traded["transactions_cents"].sum()
    assert f"{len(BASE.user_weeks):,}" in done.stdout
    people = pd.read_csv(tmp_path / "tables" / "chat-people.csv", encoding="utf-8-sig")
    assert dict(zip(people["name"], people["messages"], strict=True))["Ann"] == 20
    cells = pd.read_parquet(tmp_path / "tables" / "latency.parquet")
    assert len(cells) == 168 and set(cells["org"]) == {"all"} and cells["seconds"].notna().sum() > 0
    assert page.count("<svg") == page.count("</svg>") >= 18
    assert "records of weeks read" in done.stderr and "tables drawn" in done.stderr


def test_each_kind_writes_its_own_tables_and_the_period_is_that_asked_for(
    installation: Settings, tmp_path: Path
) -> None:
    first, last = BASE.first + 3, BASE.first + 12
    for kind in ("lifetime", "quartiles"):
        done = run(installation, kind, "--from", week_label(first), "--to", "2021-03-06", "--out", tmp_path)
        assert done.exit_code == 0, done.output
        assert f"10 closed weeks, {week_label(first)} to {week_label(last)}" in done.stdout
        assert (tmp_path / f"{kind}.html").is_file()
    users = pd.read_parquet(tmp_path / "tables" / "users.parquet")
    within = BASE.user_weeks[BASE.user_weeks["week"].between(first, last)]
    assert users["activities"].sum() == within["activities"].sum()
    assert len(users) == len(within[["org", "user"]].drop_duplicates())


def test_rows_as_workers_spell_them_are_read(settings: Settings, tmp_path: Path) -> None:
    spell = Documents(shipped_model(), topic_names(settings), 0, 1)
    pairs = []
    for user, state in (("", "final"), ("ann", "final"), ("", "provisional")):
        week = "2026-W06" if state == "provisional" else "2026-W05"
        counts = {"transaction": 2} if not user else {"search": 7}
        row = WeekRow("acme", user, week, state, counts, {"transaction": 12_345}, 7, 1, 4_200, None)
        told = spell.week(row, 0)
        pairs.append((told.key or b"", told.value or b""))
    asyncio.run(fill_in_transaction(settings.kafka.brokers, topic_names(settings).weeks, 1, pairs))
    done = run(settings, "activity", "--out", tmp_path)
    assert done.exit_code == 0, done.output
    assert "Left out: 1 row of weeks that are still open." in done.stdout
    weeks = pd.read_csv(tmp_path / "tables" / "weeks.csv", encoding="utf-8-sig").to_dict("records")
    assert weeks == [
        {
            "week": "2026-W05", "monday": "2026-01-26", "active_orgs": 1, "active_users": 1, "activities": 7,
            "trading_orgs": 1, "transactions_count": 2, "transactions_cents": 12_345, "score_mean": 42.0,
        }
    ]  # fmt: skip


def test_the_made_up_base_spells_rows_as_workers_do() -> None:
    spell = Documents(shipped_model(), topic_names(Settings()), 0, 1)
    for user in ("", "9"):
        row = WeekRow("5", user, "2026-W05", "final", {"transaction": 2}, {"transaction": 5}, 7, 1, 4_200, 3_000)
        row.score_licensed, row.score_median, row.contributions, row.attributes = 1, 2, {"breadth": 42}, [1]
        told = spell.week(row, 0)
        ours = next((k, v) for k, v in week_rows(BASE) if k.startswith(b"user:" if user else b"org:1|") and v)
        theirs, mine = json.loads(told.value or b""), json.loads(ours[1] or b"")
        assert list(theirs) == list(mine)
        for name in mine.keys() - {"score_licensed", "score_median", "calibration"}:
            if mine[name] is not None and theirs[name] is not None:
                assert type(mine[name]) is type(theirs[name]), name
        assert (told.key or b"").split(b":")[0] == ours[0].split(b":")[0]


def test_an_empty_topic_and_an_empty_redis_make_a_report_that_says_so(
    settings: Settings, redis_server: LocalRedis, topic_prefix: str, tmp_path: Path
) -> None:
    here = override(settings, {"redis.url": redis_server.url, "redis.prefix": topic_prefix})
    done = run(here, "all", "--out", tmp_path)
    assert done.exit_code == 0, done.output
    assert "The history has no closed week yet." in done.stdout
    page = (tmp_path / "all.html").read_text("utf-8")
    assert "Nothing to show: no org has chat activity" in page and "Nothing to show: no latency for" in page
    away, asked = override(settings, {"redis.url": "redis://127.0.0.1:1/0"}), request_of(None, None, tmp_path)
    (section,) = or_why_not("chat", lambda: chat_sections(away, asked))
    assert "Nothing to show: Redis" in section.lead and not section.tables


def test_what_is_wrong_is_told_in_one_sentence_with_a_remedy(installation: Settings, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    elsewhere = override(installation, {"kafka.prefix": "nobody-"})
    for settings, arguments, said, code in (
        (installation, ("bands", "--from", "2026-W60"), "Write --from 2026-W05", 2),
        (installation, ("bands", "--to", "soon"), '--to: "soon" is no week', 2),
        (installation, ("bands", "--from", "2026-W05", "--to", "2026-W04"), "Exchange the two", 2),
        (installation, ("bands", "--out", tmp_path / "taken" / "x"), "Name a folder that you may write to", 1),
        (installation, ("chat", "--org", "acmee", "--out", tmp_path), "Did you mean acme?", 1),
        (installation, ("latency", "--org", "zeta", "--out", tmp_path), 'no latency for "zeta"', 1),
        (elsewhere, ("bands", "--out", tmp_path), "orgpulse topics create", 1),
        (installation, ("band",), 'Did you mean "bands"?', 2),
    ):
        done = CliRunner().invoke(orgpulse, ["report", *map(str, arguments)], env=environment_of(settings))
        assert said in done.output and done.exit_code == code, (arguments, done.output)
        assert "Traceback" not in done.output


def test_chat_and_latency_stand_alone_too(installation: Settings, tmp_path: Path) -> None:
    done = run(installation, "chat", "--out", tmp_path)
    assert done.exit_code == 0 and "Chat by ten minutes" in done.stdout, done.output
    assert "2024-03-20T07:50" in (tmp_path / "chat.html").read_text("utf-8")  # New York's time
    before = run(installation, "chat", "--to", "2024-W01", "--out", tmp_path)
    assert before.exit_code == 0 and len(pd.read_parquet(tmp_path / "tables" / "chat-windows.parquet")) == 0
    done = run(installation, "latency", "--org", "acme", "--out", tmp_path)
    assert done.exit_code == 0 and "Reply latency by hour of the week" in done.stdout, done.output
    run(installation, "chat", "--out", tmp_path)
    with browser() as started, started.visitor(color_scheme="dark", viewport={"width": 1200, "height": 900}) as visitor:
        for name in ("chat", "latency"):
            visitor.page.goto((tmp_path / f"{name}.html").as_uri(), wait_until="load")
            assert visitor.page.locator("figure.paper > svg").count() == 1
            assert visitor.page.locator("figure > svg").bounding_box()["width"] > 700
            assert visitor.violations() == []
            visitor.photograph(f"report-{name}")


def test_help_names_every_kind_with_examples() -> None:
    shown = CliRunner().invoke(report, ["--help"])
    assert shown.exit_code == 0
    assert all(f"\n  {kind} " in shown.output for kind in KINDS)
    assert "orgpulse report all --out report" in shown.output
    for kind in KINDS:
        own = CliRunner().invoke(report, [kind, "--help"])
        assert own.exit_code == 0 and "--out" in own.output


def test_months_are_those_in_which_the_weeks_lie() -> None:
    asked = request_of("2026-W05", "2026-W09", Path("x"))  # Monday 26 January to Sunday 1 March
    assert asked.months == range(2026 * 12, 2026 * 12 + 3)
    assert request_of("2026-W05", None, Path("x")).months is None
