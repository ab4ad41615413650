"""The profile: which step a stack belongs to, and what is said of before and after."""

from __future__ import annotations

import doctest
import io
from pathlib import Path

import pytest
from rich.console import Console

from tests.bench.profile import steps, table
from tests.bench.profile.__main__ import main

ROOT = Path(__file__).resolve().parents[2]
LOOP = "main (/r/agents/cli.py);run_worker (/r/streams/worker.py)"

STACKS = {
    "fetch": "bootstrap (/p/threading.py);_start_thread (/v/mode/threads.py);_read (/v/aiokafka/conn.py)",
    "decode": f"{LOOP};handle (/r/agents/ingest.py);Ingest._read_all (/r/agents/ingest.py);r (/r/streams/read_chat.py)",
    "resolve": f"{LOOP};handle (/r/agents/ingest.py);Ingest._resolve (/r/agents/ingest.py);get (/p/functools.py)",
    "pack": f"{LOOP};Ingest.handle (/r/agents/ingest.py);split (/r/state/activity.py);array (/v/numpy/core.py)",
    "commit": f"{LOOP};commit (/r/streams/transactions.py);send (/v/aiokafka/producer/producer.py)",
    "fold": f"{LOOP};apply (/r/state/shard.py);add (/r/state/ring.py);sum_by_key (/r/state/cells.py)",
    "evaluate": f"{LOOP};Shard._take_tick (/r/state/shard.py);evaluate (/r/state/scoreboard.py);s (/r/state/cells.py)",
    "spell": f"{LOOP};FoldAgent.tell (/r/agents/fold.py);Documents.user (/r/agents/documents.py);dumps (/r/x.py)",
    "Redis": f"{LOOP};put (/r/streams/redis_sink.py);pack (/v/redis/connection.py)",
    "event loop": LOOP,
    "the rest": f"{LOOP};HttpServer._metrics (/r/streams/http.py);render (/v/lib/python3/x.py)",
}


@pytest.mark.parametrize("step", STACKS)
def test_a_stack_belongs_to_the_step_of_its_innermost_known_frame(step: str) -> None:
    assert steps.step_of(STACKS[step].split(";"))[0] == step


def test_the_steps_tested_are_all_there_are() -> None:
    assert tuple(STACKS) == steps.STEPS


def test_start_and_waiting_have_no_share() -> None:
    found = steps.read_stacks(
        [
            f"{STACKS['fold']} 3",
            f"{STACKS['commit']} 1",
            "main (/r/agents/cli.py);_find_and_load (<frozen importlib._bootstrap>);x (/r/state/ring.py) 50",
            f"{LOOP};EpollSelector.select (/p/selectors.py) 70",
        ]
    )
    assert found.samples == 4
    figures = table.figures(found, 2_000_000, 8.0)
    assert {step: row["share"] for step, row in figures["steps"].items()} == {"commit": 0.25, "fold": 0.75}
    assert figures["cpu_seconds_per_million"] == 4.0
    assert figures["steps"]["fold"]["cpu_seconds_per_million"] == 3.0
    assert figures["steps"]["fold"]["functions"] == {"add (state/ring.py)": 0.75}


def test_what_has_no_rule_names_the_project_s_function() -> None:
    assert steps.step_of(STACKS["the rest"].split(";")) == ("the rest", "HttpServer._metrics (streams/http.py)")


def test_samples_without_a_frame_are_the_rest() -> None:
    assert steps.read_stacks([" 7"]).steps == {"the rest": 7}


def test_a_file_of_another_form_is_refused() -> None:
    with pytest.raises(ValueError, match="not a sampled stack: 'Traceback"):
        steps.read_stacks(["Traceback (most recent call last):"])


def test_every_rule_names_a_file_that_is_there() -> None:
    for part, _, _ in steps._RULES:
        folder, _, name = part.rpartition("/")
        if folder in ("agents", "streams", "state", "tests/bench"):
            assert list((ROOT / folder).glob(f"{name}*")), part


def test_before_and_after_stand_side_by_side(tmp_path: Path) -> None:
    before = table.figures(steps.read_stacks([f"{STACKS['fold']} 50", f"{STACKS['spell']} 50"]), 1_000_000, 8.0)
    now = table.figures(steps.read_stacks([f"{STACKS['fold']} 75", f"{STACKS['commit']} 25"]), 1_000_000, 4.0)
    file = tmp_path / "before.json"
    table.write({"full-pipeline": before}, file)
    console = Console(width=160, record=True, file=io.StringIO())
    console.print(table.table("full-pipeline", now, table.read(file)["full-pipeline"]))
    cells = [[cell.strip() for cell in line.split("│")[1:6]] for line in console.export_text().splitlines()]
    rows = {row[0]: row[1:] for row in cells if len(row) == 5}
    assert rows["fold"] == ["75.0%", "3.00", "4.00", "-25 %"]
    assert rows["commit"] == ["25.0%", "1.00", "–", "new"]
    assert rows["spell"] == ["–", "–", "4.00", "-100 %"]
    assert rows["all"] == ["100.0%", "4.00", "8.00", "-50 %"]


def test_another_file_is_no_profile(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = tmp_path / "other.json"
    other.write_text('{"full-pipeline": 3}')
    assert main(["--against", str(other)]) == 1
    assert capsys.readouterr().err == f"{other} is no profile that `make profile` wrote\n"


def test_examples_in_the_texts_hold() -> None:
    for module in (steps, table):
        assert doctest.testmod(module).failed == 0
