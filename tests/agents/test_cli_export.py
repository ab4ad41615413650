"""`orgpulse export` writes what the topics say, typed, and DuckDB and pandas read it."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pytest
from click.testing import CliRunner, Result

from agents.alert_documents import AlertDocuments
from agents.cli_errors import told
from agents.cli_export import export
from agents.documents import Documents
from reports.export_files import write_by_week, write_file
from reports.export_rows import WEEKS, week_row
from state.effects import Alert, WeekRow
from state.week import monday_of, week_label, week_number
from streams.settings import Settings
from streams.topic_specs import topic_names
from tests.agents.test_documents import END, MODEL, org, user
from tests.streams.kafka_topics import fill_in_transaction

pytestmark = pytest.mark.kafka
FIRST = week_number("2023-W51")


def run(settings: Settings, *arguments: object) -> Result:
    return CliRunner().invoke(export, [str(one) for one in arguments], obj=settings)


def spell(settings: Settings) -> Documents:
    return Documents(MODEL, topic_names(settings), 0, 1)


def week(name: str, who: str, number: int, state: str = "final", **more: Any) -> WeekRow:
    counts = {"search": number % 7 + 1, "transaction": 2}
    row = WeekRow(
        name, who, week_label(number), state, counts, {"transaction": -1234 + number}, 9, 3, 6341, {"days": 6341}
    )
    for field, value in more.items():
        setattr(row, field, value)
    return row


def send(
    settings: Settings, topic: str, pairs: list[tuple[bytes, bytes | None]], partition: int = 0, **more: Any
) -> None:
    asyncio.run(fill_in_transaction(settings.kafka.brokers, topic, partition, pairs, **more))  # type: ignore[arg-type]


@pytest.fixture
def history(settings: Settings) -> Iterator[Settings]:
    """Five weeks of two orgs and their users; one week was told three times, one is gone, one was never committed."""
    names, documents = topic_names(settings), spell(settings)
    for partition, name in enumerate(("acme", "zoo")):
        rows = []
        for number in range(FIRST, FIRST + 5):
            if number == FIRST + 1:
                rows += [week(name, "", number, "provisional", activities=1, score=None, contributions=None)]
                rows += [week(name, "", number), week(name, "", number, "restated", activities=77)]
            else:
                rows.append(week(name, "", number, "provisional" if number == FIRST + 4 else "final"))
            rows.append(week(name, "ann/b", number, attributes=[1, None, -3], score=None if number % 2 else 100))
        pairs: list[tuple[bytes, bytes | None]] = [
            (each.key or b"", each.value) for each in (documents.week(row, 0) for row in rows)
        ]
        send(settings, names.weeks, [*pairs, (f"user:{name}/gone|{week_label(FIRST)}".encode(), b"{}")], partition)
        send(settings, names.weeks, [(f"user:{name}/gone|{week_label(FIRST)}".encode(), None)], partition)
        never = documents.week(week(name, "never", FIRST), 0)
        send(settings, names.weeks, [(never.key or b"", never.value)], partition, abort=True)
    yield settings


def test_weeks_are_typed_and_say_their_last_word(history: Settings, tmp_path: Path) -> None:
    file = tmp_path / "deep" / "weeks.parquet"
    found = run(history, "weeks", "--out", file)
    assert found.exit_code == 0, found.output
    assert "20 weeks written" in found.stderr and "16 final, 2 provisional, 2 restated" in found.stderr
    db = duckdb.connect()
    assert db.sql(f"SELECT count(*), count(DISTINCT org) FROM '{file}'").fetchall() == [(20, 2)]
    types = dict(db.sql(f"SELECT column_name, column_type FROM (DESCRIBE '{file}')").fetchall())
    assert types["transactions_cents"] == "BIGINT" and types["week_start"] == "DATE" and types["score"] == "DOUBLE"
    assert types["attributes"] == types["counts"] == "MAP(VARCHAR, BIGINT)"
    one = db.sql(
        f"SELECT * FROM '{file}' WHERE org = 'acme' AND \"user\" IS NULL AND week = '{week_label(FIRST + 1)}'"
    ).df()
    assert one[["state", "activities", "score", "transactions_cents"]].values.tolist() == [
        ["restated", 77, 63.41, -1234 + FIRST + 1]
    ]  # fmt: skip
    own = db.sql(f"SELECT attributes['searches'], attributes['days'], attributes['features'], score FROM '{file}' "
                 f"WHERE \"user\" = 'ann/b' AND week = '{week_label(FIRST)}' AND org = 'acme'").fetchall()  # fmt: skip
    assert own == [(1, None, -3, None if FIRST % 2 else 1.0)]
    frame = pd.read_parquet(file)
    assert frame["week"].tolist() == sorted(frame["week"]) and frame["week_start"].iloc[0] == monday_of(FIRST)
    assert str(frame["transactions_cents"].dtype) == "int64" and not list(file.parent.glob(".*"))


def test_weeks_orgs_kinds_and_states_are_chosen(history: Settings) -> None:
    def weeks(*arguments: str) -> list[dict[str, Any]]:
        found = run(history, "weeks", "--format", "jsonl", "--out", "-", *arguments)
        assert found.exit_code == 0, found.output
        return [json.loads(line) for line in found.stdout.splitlines()]

    first, last = week_label(FIRST + 1), monday_of(FIRST + 2) + timedelta(days=6)
    rows = weeks("--from", first, "--to", last.isoformat(), "--org", "acme")
    assert {row["week"] for row in rows} == {week_label(FIRST + 1), week_label(FIRST + 2)} and len(rows) == 4
    assert {row["org"] for row in rows} == {"acme"} and rows[0]["counts"]["transaction"] == 2
    assert len(weeks("--subject", "user")) == 10 and len(weeks("--state", "restated")) == 2
    assert weeks("--org", "nobody") == []


def test_csv_on_standard_output_holds_the_same(history: Settings, tmp_path: Path) -> None:
    found = run(history, "weeks", "--format", "csv", "--out", "-", "--wide")
    rows = list(csv.DictReader(io.StringIO(found.stdout)))
    assert len(rows) == 20 and rows[0]["count_search"] == str(FIRST % 7 + 1)
    by_file = tmp_path / "w.parquet"
    assert run(history, "weeks", "--wide", "--out", by_file).exit_code == 0
    frame = pd.read_parquet(by_file)
    assert list(frame.columns) == list(rows[0]) and {"attribute_searches", "contribution_days"} <= set(frame.columns)
    assert [float(row["attribute_features"] or "nan") for row in rows] == pytest.approx(
        frame["attribute_features"].tolist(), nan_ok=True
    )


def test_a_folder_by_week_is_read_as_one_table_and_brought_up_to_date(history: Settings, tmp_path: Path) -> None:
    folder = tmp_path / "history"
    assert run(history, "weeks", "--by-week", "--out", folder).exit_code == 0
    assert sorted(each.name for each in folder.iterdir()) == [f"week={week_label(FIRST + n)}" for n in range(5)]
    read = f"read_parquet('{folder}/*/*.parquet', hive_partitioning = true)"
    assert duckdb.sql(f"SELECT count(*), min(week), max(week) FROM {read}").fetchall() == [
        (20, week_label(FIRST), week_label(FIRST + 4))
    ]
    assert sorted(pd.read_parquet(folder)["week"].astype("str").unique()) == [week_label(FIRST + n) for n in range(5)]
    stale = folder / f"week={week_label(FIRST + 60)}" / "part-0.parquet"
    stale.parent.mkdir()
    stale.write_bytes(b"x")
    assert run(history, "weeks", "--by-week", "--to", week_label(FIRST + 1), "--out", folder).exit_code == 0
    assert stale.exists() and run(history, "weeks", "--by-week", "--out", folder).exit_code == 0 and not stale.exists()


def test_scores_and_alerts_come_out_typed(settings: Settings, tmp_path: Path) -> None:
    names, documents = topic_names(settings), spell(settings)
    said = [
        documents.user(user([100, 0, 200], [50, 0, -50], split=[1, 2, 3, 4], recent=[-1, 300], trend=5), 7, 0)[0],
        documents.user(user([1, 1, 1]), 6, 0)[0],
        documents.user(user([1, 1, 1], user="old"), 7, 0)[0],
        documents.org(org(movers=[("ann", -7)], contributions=[0, 5000, 0]), 8, 0)[0],
    ]
    send(settings, names.scores, [(each.key or b"", each.value) for each in [said[1], said[0], *said[2:]]])
    send(settings, names.scores, [(said[2].key or b"", None)])
    file = tmp_path / "scores.parquet"
    found = run(settings, "scores", "--out", file)
    assert found.exit_code == 0, found.output
    rows = {row["subject"]: row for row in duckdb.sql(f"SELECT * FROM '{file}'").df().to_dict("records")}
    ann, acme = rows["user:a/ann"], rows["org:a"]
    assert set(rows) == {"user:a/ann", "org:a"} and (ann["score"], ann["previous"], ann["trend"]) == (3.0, 3.0, 0.05)
    assert (acme["score"], acme["score_licensed"], acme["score_median"]) == (50.0, 25.0, 40.0)
    assert acme["transactions_cents"] == -250 and acme["movers"][0] == {"user": "ann", "change": -0.07}
    assert ann["window_end"].timestamp() * 1000 == END and ann["week"] == "2024-W10"
    points = duckdb.sql(f"SELECT list_sum([r.points FOR r IN reasons]) FROM '{file}' WHERE \"user\" = 'ann'").fetchall()
    assert points == [(3.0,)]
    assert run(settings, "scores", "--from", "2024-W11", "--format", "jsonl", "--out", "-").stdout == ""

    alert = Alert("a", "Acme", "raised", "fall", "f1", END, 0, 7000, 5000, "", 0, org(contributions=[1, 2, 3]), 1000)
    spelled = [AlertDocuments(documents).record(each, 9, 0) for each in (alert, alert)]
    send(settings, names.alerts, [(each.key or b"", each.value) for each in spelled])
    told_of = run(settings, "alerts", "--format", "jsonl", "--out", "-", "--org", "a")
    lines = [json.loads(line) for line in told_of.stdout.splitlines()]
    assert [(each["from"], each["score"], each["kind"], each["offset"]) for each in lines] == [
        (70.0, 50.0, "raised", 0), (70.0, 50.0, "raised", 1),
    ]  # fmt: skip
    assert lines[0]["since"] == "2024-03-04T11:00:00Z" and lines[0]["until"] is None and len(lines[0]["causes"]) == 3
    assert run(settings, "alerts", "--to", "2024-W09", "--format", "csv", "--out", "-").stdout.count("\n") == 1


def test_records_that_can_not_be_read_are_counted_and_the_rest_is_there(settings: Settings, tmp_path: Path) -> None:
    names, documents = topic_names(settings), spell(settings)
    good = documents.week(week("acme", "", FIRST), 0)
    pairs = [(good.key or b"", good.value), (b"nonsense", b"{}"), (f"org:x|{week_label(FIRST)}".encode(), b"[1]")]
    send(settings, names.weeks, pairs)
    found = run(settings, "weeks", "--out", tmp_path / "w.parquet")
    assert found.exit_code == 1 and "2 records of weeks can't be read" in found.output and "0:1" in found.output
    assert len(pd.read_parquet(tmp_path / "w.parquet")) == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("weeks", "--out", "-"), "Parquet can't go to standard output"),
        (("weeks", "--out", "x", "--from", "2024-W60"), "is no week"),
        (("weeks", "--out", "x", "--from", "soon"), "is no week"),
        (("weeks", "--out", "x", "--from", "2024-W05", "--to", "2024-W04"), "--from is after --to"),
        (("weeks", "--out", "x", "--format", "csv", "--by-week"), "--by-week writes Parquet only"),
        (("scores", "--out", "x", "--wide"), "--wide and --state are for weeks"),
        (("weaks", "--out", "x"), "weaks"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments: tuple[str, ...], said: str) -> None:
    found = run(Settings(), *arguments)
    assert found.exit_code == 2 and said in found.output


def test_a_topic_that_is_not_there_is_told(settings: Settings, topic_prefix: str) -> None:
    from streams.settings import override

    found = run(override(settings, {"kafka.prefix": f"{topic_prefix}none-"}), "weeks", "--out", "x")
    assert isinstance(found.exception, Exception)
    plain = told(found.exception)
    assert plain is not None and "there is no topic" in plain.message and plain.remedy


def test_an_interrupted_export_leaves_the_former_file(tmp_path: Path) -> None:
    row = dict.fromkeys(WEEKS.names) | {"week": "2024-W01", "week_start": date(2024, 1, 1)}

    def rows() -> Iterator[dict[str, Any]]:
        yield dict(row)
        raise KeyboardInterrupt

    file = tmp_path / "w.parquet"
    file.write_text("before")
    with pytest.raises(KeyboardInterrupt):
        write_file(rows(), WEEKS, "parquet", file)
    with pytest.raises(KeyboardInterrupt):
        write_by_week(rows(), WEEKS, tmp_path / "by", lambda _: True)
    assert file.read_text() == "before" and [p for p in tmp_path.rglob("*") if p.is_file()] == [file]


def test_a_week_that_nobody_closed_has_nulls(settings: Settings) -> None:
    told_value = spell(settings).week(week("a", "", FIRST, "provisional", score=None, contributions=None), 0).value
    row = week_row(told_value or b"")
    assert row["score"] is None and row["contributions"] is None and row["attributes"] is None
    assert set(row) == set(WEEKS.names)
