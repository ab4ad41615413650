"""A published week computed anew from topics and from files is equal; what was changed on purpose is told as such.

 part 1 (two weeks)            part 2 (two weeks)
├──────┤ nothing for 9 weeks ├──────┤ now
  week ◄── backfills              late, moved, without licence, deleted, cut ──► another backfill, other causes
"""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson
import pytest

from agents.simulate import Message, directory, history
from agents.simulate_base import user_message
from agents.week_documents import week_documents
from state.activity import Calibration, encode_record
from state.week import week_label, week_of
from streams.log_state import ends_of, unread_of
from streams.model_file import load_model
from streams.namespace import backfill_of, drop, names_of, namespace_of
from streams.plain_sender import send_all
from streams.settings import Settings
from streams.settings_child import child_environment
from streams.topic_specs import group_of, topic_names
from streams.topics import connected_admin, members_of_group
from streams.transactions import Outgoing
from tests.faults import proof
from tests.faults.extent import N, long_form
from tests.faults.system import Size, System, wait_until
from tests.streams import kafka_topics

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(1200)]

WEEK_SECONDS = 7 * 86_400.0
LONGEST_SECONDS = 480.0
GENERATION = 1000  # of the cut points by which the week is closed


class Played:
    """An installation whose history has a gap, and the full week in the older part of it."""

    def __init__(self, system: System, folder: Path) -> None:
        self.system, self.folder = system, folder
        base, now = system.base, time.time()
        system.send(list(directory(base)))
        system.wait_for_directory()
        self.week = week_label(week_of(int((now - 12 * WEEK_SECONDS) * 1000), "UTC"))
        if N:
            asyncio.run(self._calibrate())
        # A worker that had read all there was and saw nothing new for seconds, because the sender had to wait, would
        # take the present for the time of what it read, and the rest of the old part would be late.
        system.workers.stop(0)
        system.send(list(history(base, now - 11 * WEEK_SECONDS, 2)))
        system.workers.start(0)
        self.wait_for_read()
        self.first_part = asyncio.run(self._ends())
        system.send(list(history(base, now, 2)))
        system.rest()
        self.rows = self.published()

    @property
    def settings(self) -> Settings:
        return self.system.settings

    def published(self) -> dict[str, dict[str, Any]]:
        return asyncio.run(week_documents(self.settings, self.week, self.week)).rows

    async def _calibrate(self) -> None:
        """Put cut points into force that are neither the shipped ones nor those that the population will have."""
        cuts = {name: [min(3 * cut + 1, 2**62) for cut in some] for name, some in load_model("").default_cuts().items()}
        raw, topic = encode_record(Calibration(GENERATION, 99, cuts)), topic_names(self.settings).activities
        records = [Outgoing(topic, number, None, raw) for number in range(self.settings.kafka.partitions)]
        await send_all(self.settings, records)

    async def _ends(self) -> dict[int, int]:
        return {tp.partition: end for tp, end in (await ends_of(self._brokers, [self._trade])).items()}

    @property
    def _brokers(self) -> str:
        return self.settings.kafka.brokers

    @property
    def _trade(self) -> str:
        return topic_names(self.settings).transactions

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "agents.cli", *arguments]
        environment = child_environment(self.settings)
        pipe = subprocess.PIPE
        return subprocess.Popen(command, env=environment, stdout=pipe, stderr=pipe, text=True)

    def run(self, *arguments: str, code: int = 0) -> str:
        process = self.start(*arguments)
        said, wrong = process.communicate(timeout=LONGEST_SECONDS)
        assert process.returncode == code, said + wrong
        return said if code == 0 else said + wrong

    def backfill(self, name: str, *options: str) -> str:
        return self.run("backfill", name, "--from", self.week, "--logs", str(self.folder / name), "--yes", *options)

    def compare(self, name: str, *options: str, code: int = 0) -> dict[str, Any]:
        process = self.start("compare", name, "--json", *options)
        said, wrong = process.communicate(timeout=LONGEST_SECONDS)
        assert process.returncode == code, said[:4000] + wrong
        found: dict[str, Any] = json.loads(said)
        return found

    def cut_transactions(self) -> int:
        """Let Kafka forget the older transactions of the partition that has the most; return which one it is."""
        partition = self._widest()
        asyncio.run(kafka_topics.cut(self._brokers, self._trade, partition, self.first_part[partition]))
        return partition

    def _widest(self) -> int:
        return max(self.first_part, key=lambda number: self.first_part[number])

    def wait_for_read(self) -> None:
        """Wait until the live workers have handled everything that was sent."""
        names = topic_names(self.settings)
        topics = (*names.sources, *names.directory, names.unresolved)

        def missing() -> str:
            unread = asyncio.run(unread_of(self._brokers, group_of(self.settings), topics))
            return f"{unread} unread" if unread else ""

        wait_until(missing, 120.0)

    def transactions_by_day(self) -> Counter[str]:
        """Return how many transactions of the week lie in the part that will be cut, by day (UTC)."""
        partition = self._widest()
        zones = {org.id: org.timezone for org in self.system.base.orgs}
        records = asyncio.run(kafka_topics.read_all(self._brokers, self._trade, self.settings.kafka.partitions))
        found, seen = Counter[str](), set()
        for offset, _, value in records[partition]:
            try:
                said = orjson.loads(value or b"")
                org, what = said["org_id"], (said["transaction_id"], said["status"], said["time"])
                time_ms = int(time_of(said["time"]) * 1000)
            except (ValueError, KeyError, TypeError):
                continue
            if offset < self.first_part[partition] and org in zones and what not in seen:
                seen.add(what)
                if week_label(week_of(time_ms, zones[org])) == self.week:
                    found[time.strftime("%Y-%m-%d", time.gmtime(time_ms / 1000))] += 1
        return found


def time_of(said: Any) -> float:
    if isinstance(said, int | float):
        return said / 1000 if said > 1e11 else float(said)
    return datetime.fromisoformat(said).timestamp()


@pytest.fixture(scope="module")
def played(kafka: Any, redis_server: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Played]:
    folder = tmp_path_factory.mktemp("backfill")
    with System(kafka.bootstrap, redis_server.url, folder, workers=1, size=Size(14, 90, 2)) as system:
        yield Played(system, folder)


@long_form
def test_a_week_computed_from_the_topics_is_the_published_one(played: Played) -> None:
    assert "Done in" in played.backfill("topics")
    found = played.compare("topics")
    assert found["equal"] > 30 and found["different"] == 0 and not found["scores"]["different"]
    assert {row["calibration"] for row in played.rows.values()} == {GENERATION} or not N


@long_form
def test_from_saved_files_too_after_a_run_that_was_killed_and_the_live_system_is_as_it_was(played: Played) -> None:
    archive = played.folder / "archive"
    played.run("backfill", "save", str(archive))
    before = played.published()
    process = played.start(
        "backfill", "files", "--from", played.week, "--files", str(archive), "--logs", str(played.folder / "f")
    )
    space = namespace_of(played.settings, "files")
    wait_until(lambda: "" if _is_joined(space) else "no worker has joined", 120.0)
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=30)
    assert "is not finished" in played.run("compare", "files", code=1)
    # New traffic meanwhile: neither side notices the other.
    played.system.send(list(history(played.system.base, time.time(), 1))[-300:])
    assert "Done in" in played.backfill("files", "--files", str(archive))
    found = played.compare("files")
    assert found["equal"] > 30 and found["different"] == 0
    played.system.rest()
    assert played.published() == before
    assert not proof.ledger(played.system) and not proof.weeks(played.system)
    assert N or not proof.shown(played.system)  # the recount knows nothing of the cut points of the long form
    drop(space)
    assert "files" not in asyncio.run(names_of(played.settings))


def _is_joined(space: Settings) -> bool:
    if asyncio.run(backfill_of(space)) is None:
        return False
    with connected_admin(space, wait_seconds=10.0) as admin:
        return bool(members_of_group(admin, group_of(space)))


@long_form
def test_another_model_other_cut_points_and_another_zone_are_told(played: Played, tmp_path: Path) -> None:
    model = tmp_path / "other.toml"
    text = Path(played.settings.model.file).read_text("utf-8")
    model.write_text(text.replace("weight = 4", "weight = 5", 1), "utf-8")
    archive = played.folder / "archive"
    played.run("backfill", "save", str(archive))
    played.backfill(
        "other", "--files", str(archive), "--model", str(model), "--cut-points", "shipped", "--time-zone", "Asia/Tokyo"
    )
    found = played.compare("other", code=1)
    assert set(found["causes"]) >= {"model", "cut points", "time zone"}
    assert "unexplained" not in found["causes"], [d for d in found["differences"] if "unexplained" in d["causes"]][:3]
    assert any("weight" in why for each in found["differences"] for why in each["why"])


def test_each_cause_that_is_made_on_purpose_is_named(played: Played) -> None:
    base = played.system.base
    users = {user.id: user for user in base.users}
    late, moved, unlicensed, deleted = _chosen(played, users)
    target = next(
        org.id for org in base.orgs if org.id not in {each["org"] for each in (late, moved, unlicensed, deleted)}
    )
    wanted, partition = played.transactions_by_day(), played.cut_transactions()

    def entry(row: dict[str, Any], **changes: Any) -> Message:
        message = user_message(base, users[row["user"]])
        return message._replace(value=orjson.dumps(orjson.loads(message.value or b"") | changes))

    middle, searched = time.time() - 12 * WEEK_SECONDS, {"name": "Search", "distinct_id": late["user"]}
    played.system.send(
        [
            entry(moved, org_id=target, since="2020-01-01"),
            entry(unlicensed, licensed=False),
            Message("users", deleted["user"].encode(), None),
            *(
                Message("product-events", b"late", orjson.dumps(searched | {"event_id": f"l{n}", "time": middle + n}))
                for n in range(3)
            ),
        ]
    )  # fmt: skip
    played.wait_for_read()
    assert played.published() == played.rows  # what was told stays
    played.backfill("causes")
    found = played.compare("causes", code=1)
    by_subject = {each["subject"]: each for each in found["differences"]}

    def causes(row: dict[str, Any]) -> list[str]:
        return list(by_subject[f"user:{row['org']}/{row['user']}"]["causes"])

    assert "late" in causes(late) and found["causes"]["late"]["events"] == 3
    assert "directory" in causes(moved)
    assert "deleted" in causes(deleted)
    head = by_subject[f"org:{unlicensed['org']}"]
    assert "score_licensed" in head["fields"] and any("has no licence now" in why for why in head["why"])
    missing = Counter({each["day"]: each["events"] for each in found["missing"]})
    assert missing and {(each["cause"], each["source"]) for each in found["missing"]} == {
        ("missing here", "transactions")
    }
    assert missing <= wanted
    assert found["gone"] == {"transactions": played.first_part[partition]}
    assert set(found["causes"]) == {"late", "directory", "deleted", "missing here"}, _odd(found)
    # What nobody touched is equal: the same week from the topics.
    trading = {each["subject"] for each in found["differences"] if "missing here" in each["causes"]}
    touched = {f"org:{each['org']}" for each in (late, moved, unlicensed, deleted)} | {f"org:{target}"} | trading
    untouched = {row["org"] for row in played.rows.values()} - {name.partition(":")[2] for name in touched}
    assert not [
        each for each in found["differences"] if each["subject"].partition(":")[2].partition("/")[0] in untouched
    ]
    assert found["equal"] > 0
    if not N:
        return
    only = played.compare("causes", "--org", moved["org"], code=1)
    assert {each["subject"] for each in only["differences"]} == {
        subject for subject in by_subject if subject.partition(":")[2].partition("/")[0] == moved["org"]
    }
    assert next(each for each in only["differences"] if each["subject"].endswith(f"/{moved['user']}"))[
        "causes"
    ] == causes(moved)


def _odd(found: dict[str, Any]) -> list[Any]:
    expected = {"late", "directory", "deleted", "missing here"}
    return [each for each in found["differences"] if set(each["causes"]) - expected][:4]


def _chosen(played: Played, users: dict[str, Any]) -> list[dict[str, Any]]:
    """Return rows of four users of four orgs, whose entries are in the directory and licensed."""
    found: dict[str, dict[str, Any]] = {}
    rows = sorted(played.rows.values(), key=lambda row: -row["counts"].get("search", row["activities"]))
    for row in rows:
        user = users.get(row["user"] or "")
        if user and user.licensed and not user.bot and row["org"] not in found and float(row["score"] or 0) > 0:
            found[row["org"]] = row
    assert len(found) >= 5, "the simulated base is too small for this seed"
    return list(found.values())[:4]
