"""Somebody is forgotten while messages of theirs keep coming and a worker is killed: nothing of them is left anywhere.

messages ──► workers, one of them killed ──► forget ──► messages go on, theirs too, their entry is sent again
                                               │
                     receipt ◄─────────────────┘──► every topic raw, Redis, recount of everybody else
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from agents.forget_names import Names
from agents.forget_places import in_redis
from agents.forget_receipt import read_receipt
from agents.simulate import Message, directory
from agents.simulate_base import SimulatedUser, user_message
from streams.settings import override
from streams.settings_child import child_environment
from streams.topic_specs import topic_names
from tests.end_to_end.durable import restored_shards
from tests.end_to_end.test_identity import speakers
from tests.faults import forgetting, proof
from tests.faults.commands import LONGEST_SECONDS, orgpulse
from tests.faults.extent import long_form
from tests.faults.system import Size, System, wait_until

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.security, pytest.mark.timeout(900)]


def verified(system: System, receipt: Path) -> str:
    """Return what verification finds that should not be there; empty = nothing."""
    done = subprocess.run(
        [sys.executable, "-m", "agents.cli", "forget", "--verify", str(receipt)],
        env=child_environment(system.settings), capture_output=True, text=True, timeout=LONGEST_SECONDS,
    )  # fmt: skip
    assert done.returncode in (0, 1), done.stderr
    return "" if done.returncode == 0 else done.stdout + done.stderr


def chosen(system: System, messages: list[Message]) -> SimulatedUser:
    """Return somebody who is in most of the first messages, in an org with others."""
    often = speakers(messages)
    members = [user.org for user in system.base.users]
    people = [u for u in system.base.users if not (u.bot or u.later_email) and members.count(u.org) > 3]
    return max(people, key=lambda user: often[user.email])


@long_form
def test_somebody_who_is_forgotten_is_nowhere_and_does_not_come_back(
    kafka: Any, redis_server: Any, tmp_path: Path
) -> None:
    changes = {"privacy.suppression_key_file": forgetting.key_file(tmp_path), "calibration.every_seconds": 2.0}
    with System(kafka.bootstrap, redis_server.url, tmp_path, size=Size(6, 60, 3), changes=changes) as system:
        messages = system.load(time.time(), system.size.weeks)
        half = len(messages) // 2
        system.send(list(directory(system.base)))
        system.wait_for_directory()
        system.play_messages(messages[:half], 3.0).join()
        somebody = chosen(system, messages[:half])
        system.rest()

        found = json.loads(orgpulse(system, "forget", somebody.email, "--dry-run", "--json"))
        names = Names(found["user"], tuple(found["aliases"]))
        places = topic_names(system.settings)
        assert names.user == somebody.id and somebody.email.lower() in names.all
        needed = {places.users, places.activities, places.scores, places.weeks, places.members_changelog}
        assert needed <= found["found"].keys() and any(place.startswith("redis: user:") for place in found["found"])

        held = json.loads(orgpulse(system, "subject", somebody.username))
        assert (held["user"], held["directory"]["org"]) == (somebody.id, system.base.orgs[somebody.org].id)
        (mine,) = [each for each in held["orgs"] if each["org"] == held["directory"]["org"]]
        points = f"{mine['score']['points']:.2f}"
        assert mine["weeks"] and held["history"] and held["scores"][0]["value"]["score"] == points
        assert sum(mine["score"]["contributions"].values()) == pytest.approx(mine["score"]["points"], abs=0.001)
        assert any(key.startswith("user:") and value["score"] == points for key, value in held["redis"].items())
        assert sum(topic["number"] for topic in held["messages"].values()) > 20 and held["counted"]

        receipt = tmp_path / "receipt.json"
        later = half + (len(messages) - half) // 2
        player = system.play_messages(messages[half:later], 6.0)
        system.workers.kill(0)
        system.workers.start(0)
        said = orgpulse(system, "forget", somebody.email, "--yes", "--receipt", str(receipt))
        assert "receipt" in said and receipt.stat().st_mode & 0o077 == 0
        player.join()
        assert not verified(system, receipt)
        system.play_messages(messages[later:], 3.0).join()
        system.send([user_message(system.base, somebody)])  # the directory knows nothing of it
        system.rest()

        kept_out = forgetting.recount_without(system, names)
        print(f"{system.sent} messages; kept out: {dict(kept_out)}; {system.workers.kills} kill")
        assert kept_out.total() > 10 and any(topic == "users" for topic, _ in kept_out)
        system.sent += forgetting.ends_in_users(system, names)  # the ends of their entries are messages too
        different = proof.differences(system)
        assert not different, "\n".join(different)

        # Every log raw, once the broker has compacted: only what the receipt excuses is left.
        forgetting.compact_quickly(system.settings)
        orgpulse(system, "forget", "--again", str(receipt), "--yes")  # with the shorter times to wait for
        wait_until(lambda: left_in_compacted(system, names, somebody), 120.0)
        wait_until(lambda: verified(system, receipt), 60.0)
        shown = json.loads(orgpulse(system, "forget", "--verify", str(receipt), "--json"))
        assert shown["found"].keys() <= {*places.sources, places.activities} and not shown["problems"]
        raw = forgetting.everything_raw(system.settings)
        holding = {
            topic for topic, records in raw.items()
            for record in records if names.is_in_record(record.key, record.value, record.headers)
        }  # fmt: skip
        assert holding <= {*places.sources, places.activities}, holding
        assert not in_redis(system.settings, names)[0]
        shards = restored_shards(system.settings)
        for shard in shards:
            assert not any(names.is_in(part) for part in shard.checkpoint().values())
        assert len(Redis.from_url(redis_server.url).keys(f"{system.settings.redis.prefix}user:*")) > 20


def left_in_compacted(system: System, names: Names, somebody: SimulatedUser) -> str:
    """Return which compacted topics still hold a name; others' messages let the broker close segments meanwhile."""
    raw, configs = forgetting.everything_raw(system.settings), forgetting.configs(system.settings)
    found = {
        topic: number for topic, records in raw.items() if configs[topic]["cleanup.policy"] == "compact"
        if (number := sum(names.is_in_record(r.key, r.value, r.headers) for r in records))
    }  # fmt: skip
    if found:
        system.send(forgetting.anything(system, somebody))
        time.sleep(1.0)  # between two looks, not for something to have happened
    return str(found) if found else ""


@long_form
def test_a_rebuild_does_not_bring_them_back(kafka: Any, redis_server: Any, tmp_path: Path) -> None:
    changes = {"privacy.suppression_key_file": forgetting.key_file(tmp_path)}
    with System(kafka.bootstrap, redis_server.url, tmp_path, size=Size(6, 60, 2), changes=changes) as system:
        messages = system.load(time.time(), system.size.weeks)
        system.send(list(directory(system.base)))
        system.wait_for_directory()
        system.play_messages(messages, 3.0).join()
        somebody, receipt = chosen(system, messages), tmp_path / "receipt.json"
        system.rest()
        orgpulse(system, "forget", somebody.id, "--yes", "--receipt", str(receipt))
        kept = read_receipt(receipt)
        names = Names(kept.user, tuple(kept.aliases))
        said = orgpulse(system, "rebuild", "--yes", "--logs", str(tmp_path / "aside"))
        assert "Generation 1 is live" in said
        system.wait_recovered()
        system.settings = override(system.settings, {"worker.generation": 1})
        system.rest()
        # In the new generation's own logs and tables nothing was ever said of them, and the ledger says why.
        raw, topics = forgetting.everything_raw(system.settings), topic_names(system.settings)
        own = (topics.activities, topics.unresolved, *topics.changelogs)
        assert sum(len(raw[topic]) for topic in own) > 100
        assert not [t for t in own for r in raw[t] if names.is_in_record(r.key, r.value, r.headers)]
        assert not in_redis(system.settings, names)[0]
        for rows in (raw[topics.scores], raw[topics.weeks]):
            last = {record.key: record.value for record in rows}
            assert last and not [key for key, value in last.items() if names.is_in(key) and value is not None]
        ledger = json.loads(orgpulse(system, "ledger", "--json"))
        assert str(ledger) and not verified(system, receipt)
