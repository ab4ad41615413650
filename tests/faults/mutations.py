"""Removes one safeguard after the other from a copy of the project, and sees that a named test fails each time.

    python -m tests.faults.mutations            # all of them
    python -m tests.faults.mutations "id dedupe"

A test that passes with its safeguard removed proves nothing. Invariant: only the copy is changed, and each test passes
there before anything is removed, so that it is the removal that makes it fail.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from deploy.local.kafka import LocalKafka

ROOT = Path(__file__).parents[2]
FOLDERS = ("state", "streams", "agents", "reports", "deploy", "tests")
_TEST_SECONDS = 120.0


@dataclass(frozen=True)
class Mutation:
    """One safeguard, the text that makes it and the text without it, and the test that must notice."""

    safeguard: str
    file: str
    text: str
    without: str
    test: str


MUTATIONS = (
    Mutation(
        "the offset in the transaction",
        "streams/transactions.py",
        "                await producer.send_offsets_to_transaction(",
        "                await producer.commit_transaction()\n"
        "                await producer.begin_transaction()\n"
        "                await producer.send_offsets_to_transaction(",
        "tests/streams/test_transactions.py::"
        "test_a_transaction_cut_off_before_its_end_leaves_neither_records_nor_offset",
    ),
    Mutation(
        "the read-committed recovery",
        "streams/consumer_thread.py",
        'consumer._isolation_level = "read_committed"',
        'consumer._isolation_level = "read_uncommitted"',
        "tests/streams/test_recovery.py::test_tombstones_remove_and_aborted_records_are_not_seen",
    ),
    Mutation(
        "the transactional fence",
        "streams/transactions.py",
        'transactional_id=f"{self.group}-{lane}"',
        'transactional_id=f"{self.group}-{lane}-{id(self)}"',
        "tests/streams/test_transactions.py::test_a_former_owner_is_fenced_and_writes_nothing",
    ),
    Mutation(
        "the Redis fence",
        "streams/fenced_write.py",
        "if stored and stored > fence then",
        "if false then",
        "tests/streams/test_redis_sink.py::test_an_older_fence_is_refused_and_counted",
    ),
    Mutation(
        "the id dedupe",
        "state/dedupe.py",
        "        self._shrink()\n        return found\n",
        "        self._shrink()\n        return np.ones(len(ids), bool)\n",
        "tests/end_to_end/test_any_order.py::test_documents_do_not_depend_on_the_order_of_reading",
    ),
    Mutation(
        "the replay of the parked",
        "agents/park.py",
        "            self._send_on(going, claims[0], work)\n",
        "",
        "tests/agents/test_park.py::test_before_its_alias_an_activity_waits_and_then_leaves_once",
    ),
    Mutation(
        "the count of what was sent before",
        "state/receipts.py",
        "        missing = before - known\n",
        "        missing = 0\n",
        "tests/state/test_receipts.py::test_a_gap_is_told_once_and_survives_a_checkpoint",
    ),
    Mutation(
        "the check for holes between chunks",
        "streams/chunks.py",
        "if expected is not None and chunk.begin != expected:",
        "if False:",
        "tests/streams/test_transport.py::"
        "test_a_chunk_read_again_and_cut_shorter_is_handed_on_and_a_hole_stops_the_worker",
    ),
)


def copied(to: Path) -> Path:
    """Copy what the tests need into *to*."""
    ignored = shutil.ignore_patterns("__pycache__", "*.pyc")
    for folder in FOLDERS:
        shutil.copytree(ROOT / folder, to / folder, ignore=ignored)
    for name in ("pyproject.toml", "SECURITY.md"):
        shutil.copy(ROOT / name, to / name)
    return to


def passes(project: Path, test: str, brokers: str) -> bool:
    """Run one test of *project*; say whether it passes.

    Raises:
        RuntimeError: If it could not be run at all.
    """
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", test],
        cwd=project,
        env=os.environ
        | {"ORGPULSE_TEST_BROKERS": brokers, "PYTHONPATH": str(project), "PYTHONDONTWRITEBYTECODE": "1"}
        | {"PYTHONNODEBUGRANGES": "1"},  # as in the Makefile
        capture_output=True,
        text=True,
        timeout=_TEST_SECONDS,
    )
    if done.returncode not in (0, 1):  # 1 = tests ran and failed
        raise RuntimeError(f"{test} could not be run:\n{done.stdout[-3000:]}{done.stderr[-1000:]}")
    return done.returncode == 0


def survives(mutation: Mutation, place: Path, brokers: str) -> bool:
    """Say whether the test passes although the safeguard is gone.

    Raises:
        RuntimeError: If the text of the safeguard is not there exactly once.
    """
    file = place / mutation.file
    whole = file.read_text("utf-8")
    if whole.count(mutation.text) != 1:
        raise RuntimeError(f"{mutation.file} does not have {mutation.text!r} exactly once: update the mutation")
    file.write_text(whole.replace(mutation.text, mutation.without), "utf-8")
    try:
        return passes(place, mutation.test, brokers)
    finally:
        file.write_text(whole, "utf-8")


def main(names: list[str]) -> int:
    """Try the mutations named, or all; return 1 if one survives."""
    wanted = [m for m in MUTATIONS if not names or any(name in m.safeguard for name in names)]
    survivors = 0
    with tempfile.TemporaryDirectory(prefix="mutations-") as scratch:
        place = copied(Path(scratch) / "project")
        with LocalKafka(Path(scratch) / "kafka", fast_start=True) as broker:
            for test in sorted({mutation.test for mutation in wanted}):
                if not passes(place, test, broker.bootstrap):
                    raise RuntimeError(f"{test} fails without any mutation")
            for mutation in wanted:
                began = time.monotonic()
                survived = survives(mutation, place, broker.bootstrap)
                survivors += survived
                verdict = "SURVIVES: the test passes without it" if survived else "noticed"
                name = mutation.test.rpartition("::")[2]
                print(f"without {mutation.safeguard}: {verdict} ({name}, {time.monotonic() - began:.1f} s)", flush=True)
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
