"""The comparison with peers: its oracle, what it checks, what it says.

The engines themselves run in `make bench-peers` only, but for our own.
"""

from __future__ import annotations

import asyncio
import doctest
import io
import json
import sys
import time
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from deploy.local.errors import LocalError
from tests.bench.peers import __main__ as command
from tests.bench.peers import check, install, measure, table, topic
from tests.bench.peers.engines import ENGINES, Engine
from tests.bench.peers.measure import Run, Source
from tests.bench.small_job import generate
from tests.faults.extent import long_form

EVENTS = 3_000

MADE_JOB = """
import asyncio, sys
sys.path.insert(0, "tests/bench/peers/jobs")
from collections import Counter
from marks import BROKER, EVENTS, RESULT, mark, wait_to_be_ended
from aiokafka import AIOKafkaProducer
import json
from tests.bench.small_job import generate

async def main():
    mark("began")
    events = [json.loads(value) for _, value in generate(EVENTS)][{drop}:]
    found = Counter((e["org_id"], e["user_id"], int(e["time"]) // 604800) for e in events)
    producer = AIOKafkaProducer(bootstrap_servers=BROKER)
    await producer.start()
    for key, count in found.items():
        await producer.send(RESULT, b"%d" % count, b"%d/%d/%d" % key, partition=0)
    await producer.stop()
    mark("ended")

asyncio.run(main())
wait_to_be_ended()
"""


def made(code: str) -> Engine:
    """Return an engine whose job is *code*."""
    return replace(
        ENGINES[0], name="made", label="Made", command=lambda: [sys.executable, "-c", code], result="{name}-result",
        ends="mark",
    )  # fmt: skip


@pytest.fixture(scope="module")
def source(kafka: Any, tmp_path_factory: pytest.TempPathFactory) -> Source:
    """A topic of events on the real broker, with the oracle's counts."""
    return command.prepare(kafka.bootstrap, tmp_path_factory.mktemp("peers"), EVENTS)


def test_the_oracle_counts_what_counting_one_by_one_counts(tmp_path: Path) -> None:
    lines = tmp_path / "events.jsonl"
    values = [value for _, value in generate(EVENTS)]
    lines.write_bytes(b"\n".join(values))
    slowly: Counter[topic.Key] = Counter()
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    for value in values:
        event = json.loads(value)
        week = (datetime.fromtimestamp(event["time"], UTC) - epoch) // timedelta(weeks=1)
        slowly[event["org_id"], event["user_id"], week] += 1
    assert topic.oracle(lines) == slowly
    assert len({week for _, _, week in slowly}) >= 4


def test_events_depend_on_their_number_alone() -> None:
    assert list(generate(100)) == list(generate(100))


@pytest.mark.kafka
def test_a_right_result_counts_with_its_time_processor_and_memory(source: Source) -> None:
    found = measure.run(made(MADE_JOB.format(drop=0)), source, 120)
    assert found.failure == ""
    assert 0 < found.seconds < 120
    assert found.rate == EVENTS / found.seconds
    assert found.memory_bytes > 5_000_000
    assert found.cpu_seconds >= 0


@pytest.mark.kafka
def test_one_dropped_event_makes_a_result_wrong(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "CHECK_SECONDS", 0.5)
    found = measure.run(made(MADE_JOB.format(drop=1)), source, 120)
    assert found.failure.startswith("wrong result: 1 of ")
    assert found.failure.endswith(f"{EVENTS - 1:,} events instead of {EVENTS:,}")
    assert found.rate == 0


@long_form
@pytest.mark.kafka
def test_an_engine_that_hangs_is_ended_with_all_its_children(source: Source, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    code = f"""
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
open({str(pids)!r}, "w").write(f"{{os.getpid()}} {{child.pid}}")
time.sleep(600)
"""
    found = measure.run(made(code), source, 15)
    assert found.failure.startswith("not done within 15 s")
    assert pids.exists()
    until = time.monotonic() + 60
    while any(_runs(int(pid)) for pid in pids.read_text().split()):
        assert time.monotonic() < until
        time.sleep(0.1)


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.kafka
def test_an_engine_that_dies_is_told_with_what_it_said(source: Source) -> None:
    found = measure.run(made("raise ValueError('no such option')"), source, 120)
    assert found.failure == "it ended by itself, with code 1; it said: ValueError: no such option"


@pytest.mark.kafka
def test_the_command_runs_our_own_job_and_leaves_no_topic(
    source: Source, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "peers.json"
    line = ["--only", "ours", "--events", str(EVENTS + 1), "--rounds", "1", "--brokers", source.bootstrap]
    assert command.main([*line, "--json", str(file)]) == 0
    (row,) = table.read(file)["engines"]
    assert (row["name"], row["events"], row["failures"]) == ("ours", EVENTS + 1, [])
    assert row["rate_median"] > 0
    assert "1 right" in capsys.readouterr().out
    left = asyncio.run(_topics(source.bootstrap))
    assert not [name for name in left if name.startswith("peer-")]


async def _topics(bootstrap: str) -> set[str]:
    from tests.streams.kafka_topics import topics

    until = time.monotonic() + 60
    while True:
        found = await topics(bootstrap)
        if time.monotonic() > until or not any(name.startswith("peer-") for name in found):
            return found
        await asyncio.sleep(0.2)  # a deletion is acknowledged before it is done


@pytest.mark.parametrize(
    ("decode", "records"),
    [
        (check.text_counts, [(b"1/2/3", b"4"), (b"1/2/3", b"5"), (b"6/7/8", b"9"), (b"0/0/0", None)]),
        (check.long_counts, [(b"1/2/3", bytes(7) + b"\x05"), (b"6/7/8", bytes(7) + b"\x09")]),
        (check.json_key_counts, [(b'"1/2/3"', b"5"), (b'"6/7/8"', b"9")]),
        (check.quix_counts, [(b'1|"1/2/3"', b"4"), (b'1|"1/2/3"', b"5"), (b'6|"6/7/8"', b"9")]),
        (
            check.difference_counts,
            [
                (None, b'{"org_id":1,"user_id":2,"week":3,"number":4,"diff":1,"time":1}'),
                (None, b'{"org_id":1,"user_id":2,"week":3,"number":5,"diff":1,"time":2}'),
                (None, b'{"org_id":1,"user_id":2,"week":3,"number":4,"diff":-1,"time":2}'),
                (None, b'{"org_id":6,"user_id":7,"week":8,"number":9,"diff":1,"time":1}'),
            ],
        ),
    ],
)
def test_each_form_of_result_is_read(decode: check.Decode, records: list[check.Record]) -> None:
    assert decode(records) == {(1, 2, 3): 5, (6, 7, 8): 9}


def test_a_row_told_twice_does_not_look_right() -> None:
    row = (None, b'{"org_id":1,"user_id":2,"week":3,"number":4,"diff":1,"time":1}')
    assert check.difference({(1, 2, 3): 4}, check.difference_counts([row, row])) is not None


def test_a_difference_says_what_is_missing_and_what_is_too_many() -> None:
    expected = {(1, 1, 1): 5, (2, 2, 2): 5, (3, 3, 3): 5}
    found = {(1, 1, 1): 5, (2, 2, 2): 6, (4, 4, 4): 1}
    said = "3 of 3 counts differ (1 missing, 1 too many); 12 events instead of 15"
    assert check.difference(expected, found) == said
    assert check.difference(expected, dict(expected)) is None


def made_document() -> table.Document:
    """Return figures of four engines: one wrong in one run of two, one skipped, one over a part."""
    engines = [engine for engine in ENGINES if engine.name in ("ours", "flink", "pathway", "faust")]
    runs = [
        Run("ours", 1_000, 2.0, 4.0, 1.0, 100_000_000, 600.0), Run("ours", 1_000, 4.0, 6.0, 1.0, 120_000_000),
        Run("ours", 1_000, 2.5, 5.0, 1.0, 110_000_000),
        Run("flink", 1_000, 5.0, 10.0, 3.0, 400_000_000),
        Run("flink", 1_000, failure="wrong result: 1 of 9 counts differ"),
        Run("faust", 100, 10.0, 9.0, 1.0, 90_000_000),
    ]  # fmt: skip
    return table.document(engines, runs, {"pathway": "pathway can't be installed: no network"}, 1_000)


def test_figures_are_medians_of_right_runs_only() -> None:
    rows = {row["name"]: row for row in made_document()["engines"]}
    assert [rows["ours"][f"rate_{name}"] for name in ("min", "median", "max")] == [250.0, 400.0, 500.0]
    assert rows["ours"]["cpu_seconds_per_million"] == 5_000.0
    assert rows["ours"]["memory_bytes"] == 120_000_000
    assert rows["flink"]["rate_max"] == 200.0
    assert rows["flink"]["ratio_to_ours"] == 0.5
    assert rows["pathway"]["rate_median"] is None
    assert rows["faust"]["ratio_to_ours"] == 10 / 400


def test_the_table_shows_wrong_skipped_and_partial_as_such() -> None:
    console = Console(width=160, record=True, file=io.StringIO())
    console.print(table.table(made_document()), *table.notes(made_document()), sep="\n")
    said = console.export_text()
    lines = {line.split("│")[1].strip(): line for line in said.splitlines() if line.startswith("│")}
    assert list(lines) == ["orgpulse", "Flink", "Faust (stock) (100 events)", "Pathway"]
    assert "1 right, 1 WRONG" in lines["Flink"]
    assert "skipped" in lines["Pathway"]
    assert "Pathway: skipped: pathway can't be installed: no network" in said
    assert "Flink: wrong result: 1 of 9 counts differ" in said


@pytest.mark.parametrize("kind", ["svg", "png"])
def test_figures_are_kept_and_drawn_again(tmp_path: Path, kind: str) -> None:
    kept, picture = tmp_path / "peers.json", tmp_path / f"peers.{kind}"
    table.write(made_document(), kept)
    assert command.main(["--from", str(kept), "--plot", str(picture)]) == 1  # a result was wrong
    content = picture.read_bytes()
    assert content[:5] == (b"<?xml" if kind == "svg" else b"\x89PNG\r")
    assert table.read(kept) == made_document() | {key: table.read(kept)[key] for key in ("when", "machine")}


def test_figures_replace_the_former_ones_of_a_page(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"above\n{table.BEGIN}\nformer\n{table.END}\nbelow\n")
    for _ in range(2):
        table.put_into(page, made_document())
    said = page.read_text()
    assert said.startswith(f"above\n{table.BEGIN}\n| engine |")
    assert said.endswith(f"{table.END}\nbelow\n")
    assert said.count("| orgpulse |") == 1
    assert "former" not in said
    page.write_text("nothing")
    with pytest.raises(ValueError, match="has no lines"):
        table.put_into(page, made_document())


def test_the_page_of_the_project_has_its_place_for_figures() -> None:
    said = (install.HERE.parents[2] / "docs" / "benchmarks.md").read_text()
    assert said.count(table.BEGIN) == said.count(table.END) == 1


def test_another_file_is_no_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = tmp_path / "other.json"
    other.write_text("[]")
    assert command.main(["--from", str(other)]) == 2
    assert capsys.readouterr().err == f"{other} holds no figures that --json wrote\n"


def test_an_unknown_engine_is_told_with_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        command.arguments(["--only", "ours,spark"])
    assert ended.value.code == 2
    assert "there is no engine 'spark'; there are ours, kafka-streams" in capsys.readouterr().err


def test_an_engine_without_its_tools_is_skipped_with_the_reason(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LocalError) as told:
        install.java_command("flink", ())
    assert told.value.message == "flink needs java and javac and mvn."


def test_every_engine_names_its_version_and_its_job() -> None:
    jobs = install.HERE / "jobs"
    for engine in ENGINES:
        assert engine.version() not in ("", "?"), engine.name
    assert {path.stem for path in jobs.glob("*.py")} >= {"ours", "faust_stock", "quix", "bytewax_flow", "pathway_flow"}


def test_examples_in_the_texts_hold() -> None:
    for module in (check, measure):
        assert doctest.testmod(module).failed == 0
