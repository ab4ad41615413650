"""A whole installation under test: topics, workers as processes, messages on their way, what must be true at the end.

    play ──► Kafka ──► workers, to which things happen ──► Redis, metrics, topics, tables
               └─────► recount (shares no code) ──────────────► must be equal

Invariant: `differences` looks at everything that leaves orgpulse or that it keeps, and says what it compared, so an
empty list cannot come from having looked at nothing.
"""

from __future__ import annotations

import json
import random
import time
import tomllib
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from agents.simulate import Message, directory, history, make_base
from agents.simulate_service import model_text
from reports.collect import Rest, by_label, read_metrics, read_raw, wait_at_rest
from reports.recount import Options, Recount, recount
from state.shard import Shard
from streams.sender import Sender
from streams.settings import Settings, of_tenant, override
from streams.topic_specs import topic_names
from streams.topics import create_topics
from tests.end_to_end.durable import restored_shards
from tests.faults.extent import fresh_seed
from tests.faults.hard_talk import TEAMS, hard_talk, mixed_in
from tests.faults.workers import Flood, Player, Workers, send_all

MODEL = tomllib.loads(model_text())
"""The shipped model, with a measure of each sort by hour of the week."""
OPTIONS = Options(teams=TEAMS)
_READY_SECONDS = 90.0
_REST_SECONDS = 600.0
_POLL_SECONDS = 0.2
_BUSY_MACHINE = 3
"""So many times longer than on a quiet machine may things take that are only waited for."""
_LOOKS_IN_A_ROW = 10
_WEEKS_IN_ANY_ORDER = 5
_WATERMARK = "orgpulse_watermark_timestamp_seconds"


@dataclass(frozen=True)
class Size:
    """How much there is: the simulated base and the weeks of history that are played."""

    orgs: int = 40
    users: int = 300
    weeks: int = 3


class System:
    """One installation with its own topics, group and keys.

    Use as ``with System(kafka.bootstrap, redis_server.url, tmp_path) as system:`` then `play`, let things happen,
    `rest`, and see that `proof.differences(system)` is empty.
    """

    def __init__(
        self,
        brokers: str,
        redis_url: str,
        logs: Path,
        *,
        workers: int = 2,
        size: Size | None = None,
        changes: Mapping[str, Any] | None = None,
        tenant: str = "",
        like: System | None = None,
    ) -> None:
        """Describe it.

        Args:
            changes: Settings (dotted name → value) that differ from the tests' own.
            tenant: Whose it is; empty = it has no tenants.
            like: Another one, of whose installation this is a tenant, with the same orgs and people.
        """
        self.seed = fresh_seed()
        self.chance = random.Random(self.seed)
        self.size, self._logs = size or Size(), logs
        name = like.name if like else f"f{self.chance.randrange(10**9)}x{time.monotonic_ns() % 10**6}-"
        model = logs / "health.toml"
        model.write_text(model_text(), "utf-8")
        self.settings = override(
            quick_settings(brokers, redis_url, name), {"model.file": str(model), **dict(changes or {})}
        )
        self.name = name
        if tenant:
            self.settings = of_tenant(self.settings, tenant)
        self.workers = Workers(self.settings, workers, logs)
        self.base = like.base if like else make_base(self.seed, self.size.orgs, self.size.users)
        self.sent = 0
        self.talks = False
        """Whether hard talk was sent."""
        self._players: list[Player] = []
        self._rest: Rest | None = None

    def __enter__(self) -> System:
        self.prepare()
        self.workers.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        for player in self._players:
            player.hurry()
        self.workers.__exit__(kind, error, trace)

    def prepare(self) -> None:
        """Create the topics."""
        create_topics(self.settings)

    def play(self, seconds: float) -> Player:
        """Send the directory, wait until everybody is known, then play the history over about *seconds*."""
        self.send(list(directory(self.base)))
        self.wait_for_directory()
        return self.play_messages(self.load(time.time(), self.size.weeks), seconds)

    def load(self, end: float, weeks: int) -> list[Message]:
        """Return the history of *weeks* weeks up to *end* (epoch seconds), with hard talk in it.

        The talk is sent in any order of time, so it is about weeks that none of it makes too late.
        """
        about = min(weeks, _WEEKS_IN_ANY_ORDER)
        talk = hard_talk(self.base, round(end * 1000), about, self.chance)
        self.talks |= bool(talk)
        found = list(history(self.base, end, weeks))
        begin = len(found) * (weeks - about) // weeks
        return found[:begin] + mixed_in(found[begin:], talk, self.chance)

    def play_messages(self, messages: Sequence[Message], seconds: float) -> Player:
        """Send *messages* over about *seconds*, in the background."""
        return self._started(Player(self.settings.kafka.brokers, self.settings.kafka.prefix, messages, seconds))

    def flood(self, messages: list[Message]) -> Player:
        """Send *messages* as fast as Kafka takes them, in the background; the list is empty in the end."""
        return self._started(Flood(self.settings.kafka.brokers, self.settings.kafka.prefix, messages))

    def _started(self, player: Player) -> Player:
        self.sent += player.total
        self._players.append(player)
        player.start()
        return player

    def send(self, messages: Sequence[Message]) -> None:
        """Send *messages* now."""
        with Sender(self.settings.kafka.brokers.split(",")) as sender:
            send_all(sender, self.settings.kafka.prefix, messages)
        self.sent += len(messages)

    def wait_for_directory(self) -> None:
        """Wait until every worker knows everybody, and the shards know all orgs."""
        names, users = topic_names(self.settings), len(self.base.users)

        def known() -> str:
            pages = [read_metrics(url) for url in self.workers.urls]
            counts = [page.get("orgpulse_directory_users", {}).get((), 0.0) for page in pages]
            lags = [by_label(page, "orgpulse_lag_messages", "topic") for page in pages]
            owned = sum(len(page.get(_WATERMARK, {})) for page in pages)
            unread = sum(lag.get(topic, 0) for lag in lags for topic in (*names.directory, names.unresolved))
            done = counts and min(counts) >= users and not unread and owned == self.settings.kafka.partitions
            return "" if done else f"{counts} of {users} users, {owned} partitions owned, {unread} unread"

        for _ in range(_LOOKS_IN_A_ROW):  # what is handled is committed a moment later
            wait_until(known, _READY_SECONDS)
            time.sleep(_POLL_SECONDS)

    def owned(self) -> list[int]:
        """Return how many source partitions each running worker has assigned and recovered; -1 = it does not answer."""
        return [_owned_by(url) for url in self.workers.urls]

    def wait_recovered(self, *, workers: int | None = None) -> float:
        """Wait until all partitions are assigned and recovered, each once; return how long that took (seconds).

        Args:
            workers: How many workers must have some of them; any number when left out.
        """
        names, began = topic_names(self.settings), time.monotonic()
        wide = (*names.sources, *names.directory, names.unresolved, names.activities)
        total = len(wide) * self.settings.kafka.partitions + 1  # and that of the summaries

        def missing() -> str:
            owned = self.owned()
            done = sum(owned) == total and min(owned) >= 0 and workers in (None, sum(map(bool, owned)))
            return "" if done else f"{owned} of {total} partitions"

        wait_until(missing, _READY_SECONDS)
        return time.monotonic() - began

    def rest(self, timeout_seconds: float = _REST_SECONDS) -> Rest:
        """Let all messages out, wait until nothing moves, and read what is shown."""
        for player in self._players:
            player.join()
        assert sum(player.acknowledged for player in self._players) == sum(p.total for p in self._players)
        kafka, redis = self.settings.kafka, self.settings.redis
        two_rounds = 2 * self.settings.calibration.every_seconds + 2.0
        self._rest = wait_at_rest(
            self.workers.urls, partitions=kafka.partitions, activities_topic=topic_names(self.settings).activities,
            settle_seconds=two_rounds, timeout_seconds=timeout_seconds, redis_url=redis.url, redis_prefix=redis.prefix,
        )  # fmt: skip
        return self._rest

    @property
    def at_rest(self) -> Rest:
        """What was shown when everything was at rest."""
        assert self._rest is not None, "call rest() first"
        return self._rest

    @cached_property
    def raw(self) -> list[Any]:
        """Every message of the raw topics."""
        return read_raw(self.settings.kafka.brokers, self.settings.kafka.prefix)

    @cached_property
    def recount(self) -> Recount:
        """What the raw topics say, computed by other means."""
        return recount(self.raw, MODEL, self.at_rest.as_of_ms, OPTIONS)

    def recount_as_of(self, as_of_ms: int) -> Recount:
        """Return the recount as of another moment; the same one while the hour is the same."""
        same = as_of_ms // 3_600_000 == self.recount.as_of_ms // 3_600_000
        return self.recount if same else recount(self.raw, MODEL, as_of_ms, OPTIONS)

    @cached_property
    def shards(self) -> list[Shard]:
        """Every partition's shard, from the durable tables and the log alone."""
        return restored_shards(self.settings)


def _owned_by(metrics_url: str) -> int:
    try:
        with urllib.request.urlopen(metrics_url.replace("/metrics", "/ready"), timeout=5) as reply:
            page = json.load(reply)
    except urllib.error.HTTPError as error:
        page = json.load(error)
    except OSError:
        return -1
    (check,) = [check for check in page["checks"] if check["name"] == "partitions"]
    return int(check["detail"].split()[0]) if check["ok"] else 0


def wait_until(missing: Callable[[], str], timeout_seconds: float) -> None:
    """Wait until *missing* returns the empty string; an OSError means not yet.

    Args:
        missing: Says what is not there yet.
        timeout_seconds: What it takes at most on a quiet machine; waited for is three times as long.

    Raises:
        AssertionError: If it takes longer; with what was missing.
    """
    patience = timeout_seconds * _BUSY_MACHINE
    deadline, text = time.monotonic() + patience, ""
    while time.monotonic() < deadline:
        try:
            text = missing()
        except OSError as error:
            text = repr(error)
        if not text:
            return
        time.sleep(_POLL_SECONDS)
    raise AssertionError(f"still after {patience:g} s: {text}")


def quick_settings(brokers: str, redis_url: str, name: str) -> Settings:
    """Return settings whose timeouts are short, with *name* before every topic, group and key."""
    return override(
        Settings(),
        {
            "kafka.brokers": brokers,
            "kafka.prefix": name,
            "kafka.application": f"{name}app",
            "kafka.session_timeout_seconds": 6.0,
            "kafka.transaction_timeout_seconds": 8.0,
            "redis.url": redis_url,
            "redis.prefix": f"{name}:",
            "calibration.every_seconds": 2.0,
            "checkpoint.every_seconds": 3.0,
            "metrics.org_limit": 1000,
            "ingest.teams": TEAMS,
        },
    )
