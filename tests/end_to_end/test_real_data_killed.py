"""Real archives, out of order, through workers that are killed meanwhile: the published figures all the same.

    mail, IRC ─► held up by weeks ─► Kafka ─► three workers, two of them killed ─► Redis = published tables = pandas

They are read from where `test_real_data` reads them. A message is held up by less than the lateness allowed: further
from its order it would be late, and a dead letter.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from reports.collect import Documents, Samples, read_metrics, read_redis
from state.lines import Lines
from state.week_grid import WeekGrid
from streams.log_state import committed_of, ends_of
from streams.reader import Reader
from streams.topic_specs import group_of, topic_names
from tests.end_to_end.archives import by_hour, on_their_way, read_irc, read_mails, replies_of
from tests.end_to_end.test_real_data import DATA, compare_grid, published
from tests.faults.commands import orgpulse
from tests.faults.extent import long_form
from tests.faults.system import System, wait_until

HELD_UP_DAYS = 45.0
MAIL, IRC = "r-project", "ubuntu"
TABLES = {MAIL: "mail/r-package-devel.grid-utc.csv", IRC: "chat/ubuntu-irc.grid-utc.csv"}
REPLIES = {MAIL: 8029, IRC: 27_071}
MESSAGES = {MAIL: 11_111, IRC: 153_787}
ALONE = {MAIL: 378, IRC: 10_403}
QUANTILES_SECONDS = {MAIL: {0.5: 5281.0, 0.8: 38_467.4}, IRC: {0.5: 60.0, 0.8: 60.0}}
EVERYTHING = range(2000 * 12, 2030 * 12)
CHANGES = {
    "time.clock": "event",
    "latency.rolling_months": 600,
    "latency.keep_months": 600,
    "ingest.chunk_records": 500,  # small chunks, so that there is a middle
}

pytestmark = [
    long_form,
    pytest.mark.kafka,
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(not DATA.is_dir(), reason=f"no data sets at {DATA}; ORGPULSE_TEST_DATA may name them"),
]


@dataclass
class Run:
    """The installation at rest, the archives as pandas has them, and what was unread at each kill."""

    system: System
    archives: dict[str, pd.DataFrame]
    unread: list[int]
    documents: Documents
    metrics: list[Samples]

    def lines(self, org: str, months: range = EVERYTHING) -> Lines:
        with Reader(self.system.settings.redis.url, self.system.settings.redis.prefix) as reader:
            found = reader.latency_lines(org, months)
        assert isinstance(found, Lines)
        return found

    def replies(self, org: str) -> pd.DataFrame:
        found = replies_of(self.archives[org])
        return found[~found["alone"]]


@pytest.fixture(scope="module")
def run(kafka: Any, redis_server: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """Send everything, kill two of three workers on the way, wait for rest."""
    logs = tmp_path_factory.mktemp("workers")
    archives = {MAIL: read_mails(DATA, logs), IRC: read_irc(DATA)}
    with System(kafka.bootstrap, redis_server.url, logs, workers=3, changes=CHANGES) as system:
        chance = random.Random(system.seed)
        print(f"seed {system.seed}")
        system.wait_recovered(workers=3)
        messages = [
            m for org in (MAIL, IRC) for m in on_their_way(archives[org], org, f"of {org}", HELD_UP_DAYS, chance)
        ]
        total = len(messages)
        player = system.flood(messages)
        first, second = chance.sample(range(3), 2)
        unread = [kill_at(system, first, total * 0.15), kill_at(system, second, total * 0.5)]
        player.join()
        documents = once_shown(system)
        yield Run(system, archives, unread, documents, [read_metrics(url) for url in system.workers.urls])


def once_shown(system: System) -> Documents:
    """Return what Redis holds once both maps cover every message.

    `System.rest` waits for equal watermarks; under the data's own clock an archive that ended earlier stays behind.
    """
    shown: Documents = {}

    def missing() -> str:
        shown.clear()
        shown.update(read_redis(system.settings.redis.url, system.settings.redis.prefix))
        counts = {org: messages_in(shown.get(f"latency:{{{org}}}", {})) for org in MESSAGES}
        return "" if counts == MESSAGES else f"{counts} of {MESSAGES}"

    before = ""
    while now := missing():
        assert now != before, f"nothing more came in two minutes: {now}\n{orgpulse(system, 'ledger')}"
        before = now
        with suppress(AssertionError):
            wait_until(missing, 120)
    return shown


def messages_in(shown: dict[str, str]) -> int:
    """Return how many messages a map counts."""
    return sum(int(value) for name, value in shown.items() if is_cell(name, "messages"))


def kill_at(system: System, victim: int, wanted: float) -> int:
    """Kill a worker once *wanted* messages were read, start it again; return how many were unread right after."""
    names, brokers = topic_names(system.settings), system.settings.kafka.brokers

    def read() -> int:
        committed = asyncio.run(committed_of(brokers, group_of(system.settings)))
        return sum(number for tp, number in committed.items() if tp.topic in names.sources)

    wait_until(lambda: "" if read() >= wanted else "not read yet", 180)
    system.workers.kill(victim)
    unread = sum(asyncio.run(ends_of(brokers, names.sources)).values()) - read()
    system.workers.start(victim)
    return unread


def test_two_workers_were_killed_with_messages_unread(run: Run) -> None:
    assert run.system.workers.kills == 2
    assert all(unread > 1000 for unread in run.unread), run.unread


@pytest.mark.parametrize("org", [MAIL, IRC])
def test_the_map_is_the_published_one(run: Run, org: str) -> None:
    shown = run.documents[f"latency:{{{org}}}"]
    assert compare_grid(shown, TABLES[org]) == REPLIES[org] == len(run.replies(org))
    assert messages_in(shown) == MESSAGES[org]


def is_cell(name: str, kind: str) -> bool:
    """Whether a field is what an hour of the week says of *kind*."""
    return name.endswith(f":{kind}") and name[3:4] == "-"


@pytest.mark.parametrize("org", [MAIL, IRC])
def test_every_gold_reply_is_found_with_its_latency(run: Run, org: str) -> None:
    grid = run.lines(org).grid("replies", EVERYTHING, "UTC")
    assert grid.exact
    found = np.repeat(grid.waits_ms, grid.counts)
    assert sorted(found.tolist()) == sorted((run.replies(org)["seconds"] * 1000).round().astype(int).tolist())
    assert int(grid.events.sum()) == MESSAGES[org]
    for quantile, seconds in QUANTILES_SECONDS[org].items():
        assert (grid.quantile_ms(quantile) or 0.0) / 1000 == pytest.approx(seconds)
    for row in published(TABLES[org]):
        hour = int(row["weekday"]) * 24 + int(row["hour"])
        assert int(grid.replies[hour]) == int(row["replies"])
        for quantile, column in ((0.5, "p50_seconds"), (0.8, "p80_seconds")):
            if row[column]:
                assert grid.quantiles_ms(quantile)[hour] / 1000 == pytest.approx(float(row[column]), abs=0.001)


def test_replies_to_oneself_are_counted_apart(run: Run) -> None:
    told: dict[tuple[str, str], float] = {}
    for page in run.metrics:
        for labels, value in page.get("orgpulse_replies_apart", {}).items():
            place = dict(labels)
            key = place["partition"], place["kind"]
            told[key] = max(value, told.get(key, 0.0))
    by_kind = {kind: sum(v for (_, k), v in told.items() if k == kind) for _, kind in told}
    assert by_kind["self_reply"] == sum(ALONE.values())
    assert by_kind["negative_latency"] == 0


def test_the_years_add_up_and_each_is_that_of_pandas(run: Run) -> None:
    replies, years = run.replies(MAIL), []
    for year in range(2015, 2027):
        months = range(year * 12, year * 12 + 12)
        years.append(run.lines(MAIL, months).grid("replies", months, "UTC"))
        same_as_pandas(years[-1], replies[replies["asked"].dt.year == year], "UTC")
    assert WeekGrid.merged(years) == run.lines(MAIL).grid("replies", EVERYTHING, "UTC")


def test_a_year_in_another_zone_is_that_of_pandas(run: Run) -> None:
    zone, months = "America/New_York", range(2020 * 12, 2021 * 12)
    replies = run.replies(MAIL)
    grid = run.lines(MAIL, range(months.start - 1, months.stop + 1)).grid("replies", months, zone)
    same_as_pandas(grid, replies[replies["asked"].dt.tz_convert(zone).dt.year == 2020], zone)
    same_as_pandas(run.lines(MAIL).grid("replies", EVERYTHING, zone), replies, zone)


def same_as_pandas(grid: WeekGrid, replies: pd.DataFrame, zone: str) -> None:
    """Check counts, p50 and p80 of every hour."""
    assert len(replies) > 100
    for quantile in (0.5, 0.8):
        wanted, found = by_hour(replies, quantile, zone), grid.quantiles_ms(quantile) / 1000
        counts = grid.replies.tolist()
        assert {hour: count for hour, count in enumerate(counts) if count} == {h: n for h, (n, _) in wanted.items()}
        assert {hour: pytest.approx(float(found[hour])) for hour in wanted} == {h: s for h, (_, s) in wanted.items()}


def test_the_same_log_computed_anew_gives_the_same_documents(run: Run, tmp_path: Path) -> None:
    system, redis = run.system, run.system.settings.redis
    before = latencies(read_redis(redis.url, redis.prefix))
    assert len(before) > 150  # an org's map, and one document a month
    assert "Generation 1 is live" in orgpulse(system, "rebuild", "--logs", str(tmp_path))
    system.wait_recovered(workers=3)

    def missing() -> str:
        shown = read_redis(redis.url, redis.prefix)
        old = [key for key in before if not shown.get(key, {}).get("fence", "").startswith("0001.")]
        return f"{len(old)} documents are of the former generation, such as {old[:3]}" if old else ""

    wait_until(missing, 90)
    after = latencies(read_redis(redis.url, redis.prefix))
    assert after.keys() == before.keys()
    changed = [
        (key, name, before[key].get(name), after[key].get(name))
        for key in before for name in sorted(before[key].keys() | after[key].keys())
        if before[key].get(name) != after[key].get(name)
    ]  # fmt: skip
    assert not changed, f"{len(changed)} fields, such as {changed[:5]}"


def latencies(documents: Documents) -> dict[str, dict[str, str]]:
    """Return the maps and months, without what says who wrote them and when."""
    passing = ("fence", "updated_at", "written_at")
    return {
        key: {name: value for name, value in fields.items() if name not in passing}
        for key, fields in documents.items() if key.startswith("latency:")
    }  # fmt: skip
