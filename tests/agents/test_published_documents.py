"""What is written comes back typed, whatever it is; and docs/reader.md names every field of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from agents.alert_documents import AlertDocuments
from agents.chat_documents import ChatDocuments, figures_of
from agents.worker_card import make_card
from state.census import Census
from state.effects import Alert, CellFigures, ChatCounts, GroupScore, GroupTotal, LatencyMap, Summary
from state.week import cell_name
from streams.metrics import Metrics
from streams.published import CELLS, GroupTotals
from streams.published_chat import chat_of
from streams.published_decode import Decoder, alert_of, latency_of
from streams.published_workers import card_fields
from tests.agents.test_documents import DOCUMENTS, END, org, user
from tests.state.worlds import examples

POINTS = st.lists(st.integers(-5_000, 5_000), min_size=3, max_size=3)
COUNT = st.integers(0, 10**15)
WAIT = st.none() | st.integers(0, 10**9)
CELL: CellFigures = (1, 9, 9, 9, 1, 9)
MAYBE = st.none() | st.integers(-10_000, 10_000)
BAND = st.sampled_from(["healthy", "watch", "at_risk"])
CHAT = ChatCounts("a", "UTC", 0, END, None, END, END, 1, [(2_900_000, 1, 1)], [("ann", "", 1)], 3)
READ = Decoder(END / 1000 + 60, 7200)


def points(basis_points: int | None) -> Decimal | None:
    return None if basis_points is None else Decimal(basis_points) / 100


def chat(**more: Any) -> ChatCounts:
    return replace(CHAT, **more)


@examples(60)
@given(POINTS, st.none() | POINTS, BAND, st.integers(0, 10_000), st.booleans())
def test_every_user_comes_back(
    parts: list[int], moves: list[int] | None, band: str, coverage: int, first: bool
) -> None:
    said = user(parts, moves, band=band, coverage=coverage, first_week=first)
    found = READ.user("a", "ann", DOCUMENTS.user(said, 7, 1)[1].fields)
    assert found is not None
    assert (found.score, found.previous, found.band) == (points(said.score), points(said.previous), band)
    assert (found.coverage, found.first_week, found.calibration) == (coverage / 10_000, first, 4)
    assert sum(reason.points for reason in found.reasons) == found.score
    if moves is not None:
        assert sum(reason.change or 0 for reason in found.reasons) == points(sum(moves))
    assert found.window_end is not None and found.window_end.timestamp() * 1000 == END
    assert (found.age_seconds, found.stale) == (60.0, False)


@examples(60)
@given(
    st.none() | st.lists(st.integers(-10_000, 10_000), min_size=4, max_size=4),
    st.lists(st.integers(-1, 10_000), min_size=8, max_size=8),
    st.none() | st.integers(-10_000, 10_000),
    st.lists(st.tuples(st.text(min_size=1, max_size=9), st.integers(-10_000, 10_000)), max_size=6),
)
def test_where_a_score_comes_from_comes_back(
    split: list[int] | None, weeks: list[int], trend: int | None, moved: list[tuple[str, int]]
) -> None:
    said = org(split=split, recent=weeks, trend=trend, movers=moved)
    found = READ.org("a", DOCUMENTS.org(said, 7, 1)[1].fields)
    assert found is not None
    assert (found.split is None) == (split is None)
    if found.split is not None and split is not None:
        assert found.split.total == points(sum(split)) and found.split.own == points(split[0])
    assert found.history == tuple(points(week) if week >= 0 else None for week in weeks)
    assert found.trend == points(trend)
    assert [(mover.user, mover.change) for mover in found.movers] == [(user, points(by)) for user, by in moved]


def test_an_alert_comes_back() -> None:
    raised = Alert("a", "Acme", "raised", "fall", "score_drop/a/then", END, 0, 9000, 7050, "", 0, None)
    found = alert_of("a", AlertDocuments(DOCUMENTS).write(raised, 1, 1).fields)
    assert found is not None and found.is_open and found.since is not None
    assert (found.former, found.score, found.until, found.acknowledged_by) == (points(9000), points(7050), None, None)
    assert (found.name, found.rule, found.fingerprint) == ("Acme", "fall", "score_drop/a/then")
    resolved = replace(raised, kind="resolved", until_ms=END + 1000, acknowledged_by="kim", muted_until_ms=END)
    found = alert_of("a", AlertDocuments(DOCUMENTS).write(resolved, 1, 1).fields)
    assert found is not None and not found.is_open and found.until is not None
    assert (found.acknowledged_by, found.muted_until) == ("kim", found.since)


@examples(60)
@given(MAYBE, MAYBE, MAYBE, COUNT, COUNT, st.integers(-(10**15), 10**15), st.text(min_size=1, max_size=20))
def test_every_org_comes_back(
    active: int | None, licensed: int | None, median: int | None, users: int, seats: int, cents: int, name: str
) -> None:
    said = org(
        score_active=active, score_licensed=licensed, score_median=median,
        active_users=users, licensed_users=seats, transactions_cents=cents, name=name,
    )  # fmt: skip
    found = READ.org("a", DOCUMENTS.org(said, 7, 1)[1].fields)
    assert found is not None
    scores = (found.score_active, found.score_licensed, found.score_median)
    assert scores == (points(active), points(licensed), points(median))
    assert (found.active_users, found.licensed_users, found.transactions_cents) == (users, seats, cents)
    assert (found.name, found.group_type, found.activities, found.transactions_count) == (name, "SMB", 9, 1)
    assert (found.coverage is None) == (seats == 0)


@examples(40)
@given(st.dictionaries(st.integers(0, 167), st.tuples(WAIT, COUNT, COUNT, COUNT, WAIT, COUNT)))
def test_every_latency_map_comes_back(cells: Mapping[int, CellFigures]) -> None:
    more = (60_000, ["replies/#help"], ["2024-01", "2024-03"], (5000.0, 9, 9, 8, 4000.0, 7))
    write = DOCUMENTS.latency(LatencyMap("a", "Asia/Tokyo", "2024-01/2024-03", 0.8, dict(cells), *more), 5, 1)
    found = latency_of("a", write.fields)
    assert found is not None and [cell.name for cell in found.week] == list(CELLS)
    assert (found.timezone, found.period, found.quantile) == ("Asia/Tokyo", "2024-01/2024-03", 0.8)
    for hour, cell in enumerate(found.week):
        latency_ms, replies, messages, answered, first_ms, within = cells.get(hour, (None,) * 6)
        assert (cell.replies, cell.messages, cell.answered, cell.within) == (replies, messages, answered, within)
        shown = (replies or 0) >= 5
        assert cell.seconds == (latency_ms / 1000 if shown and latency_ms is not None else None)
        assert cell.first_seconds == (first_ms / 1000 if shown and first_ms is not None else None)
    assert (found.target_seconds, found.lines, found.months) == (60, ("replies/#help",), ("2024-01", "2024-03"))
    assert found.whole is not None and (found.whole.seconds, found.whole.within) == (5.0, 7)


def test_the_hours_of_the_week_have_the_names_that_are_written() -> None:
    assert [cell_name(hour) for hour in range(168)] == list(CELLS)


def test_totals_are_as_of_the_partition_that_is_furthest_behind_and_has_an_org() -> None:
    census = Census(1)
    assert census.as_of_ms() is None
    for partition, orgs, mark in ((0, 2, END + 5000), (1, 1, END), (2, 0, END - 86_400_000), (4, 1, 0)):
        census.learn(Summary(partition, 1, 3, {"watch": 3}, orgs, {}, {}, mark))
    found = READ.totals(DOCUMENTS.totals(census.totals(), census.as_of_ms(), 9).fields)
    assert found is not None and found.as_of is not None
    assert (found.orgs, found.users_active, found.users_by_band) == (4, 12, {"watch": 12})
    assert (found.as_of.timestamp() * 1000, found.age_seconds) == (END, 60.0)
    census.learn(Summary(3, 1, 3, {}, 1, {}, {}))
    assert census.as_of_ms() is None, "a partition that does not say how far it is leaves it open"


@examples(60)
@given(st.dictionaries(st.text(max_size=9), st.tuples(MAYBE, MAYBE, MAYBE, COUNT, COUNT), max_size=5))
def test_scores_by_job_type_come_back(jobs: dict[str, tuple[int | None, int | None, int | None, int, int]]) -> None:
    said = org(by_job_type={job: GroupScore(*figures) for job, figures in jobs.items()}, peers="SMB")
    fields = DOCUMENTS.org(said, 7, 1)[1].fields
    assert ("by_job_type" in fields) == bool(jobs)
    found = READ.org("a", fields)
    assert found is not None and found.peers == "SMB" and list(found.by_job_type) == list(jobs)
    for job, (*scores, active, licensed) in jobs.items():
        read = found.by_job_type[job]
        assert [read.score_active, read.score_licensed, read.score_median] == [points(score) for score in scores]
        assert (read.active_users, read.licensed_users) == (active, licensed)


def test_totals_by_group_type_come_back_with_means_rounded_down() -> None:
    groups = {"SMB": GroupTotal(2, 3, 4, 10_000, 9_999), "Internal": GroupTotal(1, 0, 0, 0, 0)}
    found = READ.totals(DOCUMENTS.totals({"orgs": 3, "users_active": 3}, END, 9, groups).fields)
    assert found is not None
    assert found.by_group_type == {
        "SMB": GroupTotals(2, 3, 4, points(3333), points(2499)), "Internal": GroupTotals(1, 0, 0, None, None),
    }  # fmt: skip
    plain = DOCUMENTS.totals({"orgs": 3}, END, 9, {}).fields
    without = READ.totals(plain)
    assert "by_group_type" not in plain and without is not None and without.by_group_type == {}


def test_an_orgs_peers_are_absent_where_its_users_have_several() -> None:
    fields = DOCUMENTS.org(org(peers=""), 7, 1)[1].fields
    found = READ.org("a", fields)
    assert "peers" not in fields and found is not None and found.peers is None
    ann = READ.user("a", "ann", DOCUMENTS.user(user([1, 2, 3], peers="analyst"), 7, 1)[1].fields)
    assert ann is not None and ann.peers == "analyst"


@examples(60)
@given(
    st.dictionaries(st.integers(2_900_000, 2_901_000), st.tuples(COUNT, st.none() | COUNT), min_size=1, max_size=30),
    st.none() | COUNT,
    st.lists(st.tuples(st.text(min_size=1, max_size=9), st.text(max_size=9), COUNT), max_size=5),
)
def test_chat_activity_comes_back_in_the_servers_zone(
    windows: dict[int, tuple[int, int | None]], online: int | None, people: list[tuple[str, str, int]]
) -> None:
    said = chat(windows=[(n, *windows[n]) for n in sorted(windows)], online=online, people=people)
    found = chat_of("a", ChatDocuments(DOCUMENTS, {"a": "Asia/Tokyo"}).write(said, 7, 1).fields, READ)
    assert found is not None and (found.timezone, found.online) == ("Asia/Tokyo", online)
    assert [(int(w.start.timestamp()) // 600, w.messages, w.online) for w in found.windows] == said.windows
    assert found.windows[-1].cumulative == sum(messages for messages, _ in windows.values())
    assert all(w.start.utcoffset() == timedelta(hours=9) for w in found.windows)
    assert [(p.user, p.name, p.messages) for p in found.people] == [(u, name or u, n) for u, name, n in people]
    assert found.updated is not None and found.updated.timestamp() * 1000 == END
    assert (found.age_seconds, found.stale, found.people_left_out) == (60.0, False, 3)


def test_of_chat_activity_what_is_not_known_is_absent_and_nothing_at_all_is_a_removal() -> None:
    spell = ChatDocuments(DOCUMENTS)
    fields = spell.write(chat(online=None, online_at_ms=0, last_message_ms=0), 7, 1).fields
    assert not {"online", "online_at", "last_message_at"} & fields.keys()
    found = chat_of("a", fields, READ)
    assert found is not None and (found.online, found.online_at, found.last_message_at) == (None, None, None)
    gone = spell.write(chat(windows=[]), 7, 1)
    assert (gone.key, gone.fields) == ("chat:{a}", {})
    assert chat_of("a", gone.fields, READ) is None


def test_the_figures_of_chat_are_those_of_the_last_whole_window() -> None:
    whole = END // 600_000 - 1
    said = chat(windows=[(whole - 1, 7, None), (whole, 30, None), (whole + 1, 500, None)], online=4)
    figures = figures_of(said)
    assert (figures.online, figures.window_messages, figures.last_message) == (4, 30, END / 1000)
    assert 0 < figures.per_minute < 3
    assert figures_of(chat(windows=[(whole - 60, 7, None)])).window_messages == 0


def test_every_field_that_is_written_stands_in_the_table_of_fields() -> None:
    page = (Path(__file__).parents[2] / "docs" / "reader.md").read_text("utf-8")
    rows = re.findall(r"^\| (`[^|]+) \| ([a-z, ]+) \|", page.partition("## Fields")[2], re.MULTILINE)
    named = {
        (kind, name) for names, kinds in rows for name in re.findall("`([^`]+)`", names) for kind in kinds.split(", ")
    }
    changed = DOCUMENTS.user(user([1, 2, 3], former_band="watch"), 1, 1)[1]
    bands = {"healthy": 1, "watch": 1, "at_risk": 1}
    census = Census(1)
    census.learn(Summary(0, 1, 3, bands, 1, {}, {}, END))
    grid = DOCUMENTS.latency(LatencyMap("a", "UTC", "p", 0.8, {0: CELL, 167: CELL}, whole=CELL), 1, 1)
    fallen = Alert("a", "A", "raised", "fall", "score_drop/a/then", END, 0, 9000, 7000, "", 0, None)
    alert = AlertDocuments(DOCUMENTS).write(fallen, 1, 1)
    assert changed.change is not None and alert.change is not None
    written = {
        "user": changed.fields,
        "org": DOCUMENTS.org(org(peers="all", by_job_type={"x": GroupScore(1, 1, 1, 1, 1)}), 1, 1)[1].fields,
        "latency": grid.fields,
        "totals": DOCUMENTS.totals(census.totals(), END, 1, {"SMB": GroupTotal(1)}).fields,
        "alert": alert.fields,
        "chat": ChatDocuments(DOCUMENTS).write(chat(online=1), 1, 1).fields,
        "changes": {**changed.change, **alert.change},
        "worker": card_fields(make_card("w", "", Metrics(), [], 1.0)),
    }
    assert named == {(kind, name) for kind, fields in written.items() for name in fields}
