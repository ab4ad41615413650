"""In whatever order partitions are read, with ticks wherever they fall, the documents are those of the recount."""

from __future__ import annotations

import json
import random
import re
import tomllib
import zlib
from collections import Counter
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest

from agents.simulate import directory, history, make_base
from agents.simulate_service import model_text
from reports.compare import Comparison, compare_documents, expected_documents
from reports.compare_chat import compare_chat
from reports.compare_lines import compare_lines
from reports.compare_weeks import compare_weeks
from reports.recount import Options, Raw, Recount, recount
from reports.recount_latency import ALL
from reports.recount_measures import LINE
from state.health import Model
from state.kinds import KINDS, attribute_values
from state.model import build_model
from streams.settings import Settings, override
from tests.end_to_end.house import House
from tests.faults import hard_talk as talk
from tests.faults.extent import long_form
from tests.faults.hard_talk import TEAMS, hard_talk, mixed_in
from tests.state.worlds import DAY, HOUR

MODEL = tomllib.loads(model_text())
MEASURED = {name: entry for name, entry in MODEL["measures"].items() if entry.get("hours")}
END_MS = 1_773_000_000_000  # 2026-03-08 20:00 UTC: summer time began in New York that day
PARTITIONS = 2
OPTIONS = Options(teams=TEAMS)
LATER = {
    "time_between_visits": {"missing": "carry"},
    "alerts_made": {"missing": "carry"},
    "reply_latency": {"missing": "carry"},
    "bytes_moved": {"kind": "mean", "missing": "carry", "cuts": [-900, -800, -700, -600, -500, -400, -300, -200, -100]},
}
EVERY_KIND: dict[str, Any] = MODEL | {
    "measures": MODEL["measures"]
    | {"upload": MODEL["measures"]["upload"] | {"gauge": True}}
    | {name: MODEL["measures"][name] | {"summed": True} for name in ("ticket_acknowledged", "request_served")},
    "attributes": [
        *(entry | LATER.get(entry["name"], {}) for entry in MODEL["attributes"]),
        {"name": "uploaded", "kind": "sum", "weight": 2, "measures": ["upload"], "cuts": [10**n for n in range(9)]},
        {"name": "stored", "kind": "gauge", "weight": 3, "measures": ["upload"], "missing": "carry",
         "cuts": [10**n for n in range(9)]},
        {"name": "usual_size", "kind": "median", "weight": 2, "measures": ["upload", "download"], "missing": "carry",
         "cuts": [-(10**n) for n in range(8, -1, -1)]},
        {"name": "usual_wait", "kind": "median", "weight": 2, "measures": ["ticket_acknowledged", "request_served"],
         "missing": "carry", "cuts": [-(10**n) for n in range(8, -1, -1)]},
        {"name": "waited", "kind": "sum", "weight": 2, "measures": ["ticket_acknowledged", "request_served"],
         "cuts": [10**n for n in range(9)]},
    ],
}  # fmt: skip


@cache
def world(seed: int, users: int = 90) -> tuple[tuple[Raw, ...], Recount]:
    base, raw, offsets = make_base(seed, 12, users), list[Raw](), Counter[tuple[str, int]]()
    people, chance = list(directory(base)), random.Random(seed)
    messages = mixed_in(list(history(base, END_MS / 1000, 5)), hard_talk(base, END_MS, 5, chance), chance)
    for number, message in enumerate([*people, *messages]):
        place = (message.topic, zlib.crc32(message.key or b"") % PARTITIONS)
        raw.append((*place, offsets[place], message.key, message.value, END_MS - (number < len(people))))
        offsets[place] += 1
    return tuple(raw), recount(raw, MODEL, END_MS, OPTIONS)


def house_of(model: Model | None = None) -> House:
    return House(END_MS, model or build_model(MODEL), settings=override(Settings(), {"ingest.teams": TEAMS}))


def without_most_of_the_last_week(raw: tuple[Raw, ...]) -> tuple[Raw, ...]:
    """Return *raw* with many users' rare events only before the rolling week, so that much has to be carried."""
    said = (b"File", b"upload", b"download", b"Alert", b"in_reply_to", b"Ticket", b"Request")
    since = str(pd.Timestamp(END_MS - 7 * DAY, unit="ms").date()).encode()

    def is_rare_and_new(value: bytes | None) -> bool:
        found = re.search(rb"202\d-\d\d-\d\d", value or b"")
        return bool(found and found[0] >= since and any(word in (value or b"") for word in said))

    return tuple(r for r in raw if not (is_rare_and_new(r[4]) and zlib.crc32(r[4] or b"") % 4))


def read_somehow(house: House, raw: tuple[Raw, ...], chance: random.Random, *, evenly: bool = False) -> None:
    """Read partitions in stretches of any length in any order, after the directory as it was at first.

    *evenly* reads them at about one pace, so that weeks close one after the other.
    """
    queues: dict[tuple[str, int], list[Raw]] = {}
    for record in raw:
        if record[5] < END_MS:
            house.handle(record[0], record[1], [record])
        else:
            queues.setdefault((record[0], record[1]), []).append(record)
    while queues:
        place = chance.choice(sorted(queues))
        if evenly and chance.random() < 0.95:
            place = max(sorted(queues), key=lambda name: len(queues[name]))
        queue = queues[place]
        length = min(len(queue), chance.choice((1, 40, 200) if evenly else (1, 40, 400, 4000)))
        house.handle(*place, queue[:length])
        queues[place] = queue[length:]
        if not queues[place]:
            del queues[place]
        if chance.random() < 0.3:
            house.tick(new_round=chance.random() < 0.5)


@pytest.mark.parametrize("seed", [1, 2, *(pytest.param(more, marks=long_form) for more in (3, 4))])
def test_documents_do_not_depend_on_the_order_of_reading(seed: int) -> None:
    raw, found = world(3 + seed % 2)
    house = house_of()
    read_somehow(house, raw, random.Random(seed))
    rest = house.rest(END_MS)
    result = Comparison()
    compare_documents(result, rest.documents, expected_documents(found, MODEL, 0.8, 1), found, MODEL)
    assert result.kinds["user"] > 60 and result.kinds["latency"] > 5
    result.add(compare_lines(found.lines, rest.documents))
    result.add(compare_chat(found.chat, rest.documents, END_MS))
    assert result.kinds["latency month"] > 50 and result.kinds["measure month"] > 500
    assert result.kinds["chat"] > 5
    assert not result.differences, result.differences[:20]
    internal = json.loads(rest.documents["chat:{homebase}"]["windows"])
    assert len(internal) == 7 * 144 and all(online is not None for _, _, online, _ in internal)
    names = ("activities", "active_users", "transactions_count", "transactions_cents")
    expected = {place: tuple(row[n] for n in names) for place, row in found.weeks.to_dict("index").items()}
    told = {
        place: (r.activities, r.active_users, r.counts.get("transaction", 0), r.sums.get("transaction", 0))
        for place, r in house.weeks.items()
    }
    assert {p: row for p, row in told.items() if any(row)} == {p: row for p, row in expected.items() if any(row)}


# Rows are compared in the short form too, read unevenly and of a model of every kind: see the test below.
@long_form
@pytest.mark.parametrize(("seed", "evenly"), [(1, False), (2, True), (3, True)])
def test_rows_of_closed_weeks_are_those_of_the_recount_by_the_cut_points_they_name(seed: int, evenly: bool) -> None:
    raw, found = world(3 + seed % 2)
    house = house_of()
    read_somehow(house, raw, random.Random(seed), evenly=evenly)
    house.rest(END_MS)
    result = Comparison()
    compare_weeks(result, house.told_weeks, found, MODEL, house.generations)
    assert result.kinds["week"] > 300
    assert not result.differences, result.differences[:20]
    states = Counter(row["state"] for row in house.told_weeks.values())
    assert states["final"] + states["restated"] > 300 and states["restated"] > 50
    named = {row["calibration"] for row in house.told_weeks.values()}
    assert not evenly or len(named) > 2, "weeks were closed by cut points of the population"


@pytest.mark.parametrize(("seed", "evenly"), [(1, False), pytest.param(2, True, marks=long_form)])
def test_every_kind_and_what_is_carried_are_those_of_the_recount(seed: int, evenly: bool) -> None:
    model, raw = build_model(EVERY_KIND), without_most_of_the_last_week(world(3)[0])
    assert {a.kind for a in model.attributes} == set(KINDS)
    house = house_of(model)
    read_somehow(house, raw, random.Random(seed), evenly=evenly)
    rest = house.rest(END_MS)
    found, result = recount(raw, EVERY_KIND, END_MS, OPTIONS), Comparison()
    compare_documents(result, rest.documents, expected_documents(found, EVERY_KIND, 0.8, 1), found, EVERY_KIND)
    compare_weeks(result, house.told_weeks, found, EVERY_KIND, house.generations)
    result.add(compare_lines(found.lines, rest.documents))
    assert result.kinds["user"] > 60 and result.kinds["week"] > 300
    assert not result.differences, result.differences[:20]
    # What is carried has a contribution without having data.
    carried = [i for i, a in enumerate(model.attributes) if a.missing == "carry"]
    lacking = Counter[str]()
    for board in (shard.board for shard in house.shards):
        users = np.flatnonzero(board.have_documents())
        users = users[board.are_counted(users)]
        _, known = attribute_values(model, board.week, users, np.ones(len(users), np.int64))
        for i in carried:
            lacking[model.attributes[i].name] += int(((board.parts[users, i] > 0) & ~known[:, i]).sum())
    assert all(lacking[model.attributes[i].name] for i in carried), lacking


def test_the_worlds_hold_every_sort_of_measure_by_hour_and_what_is_wrong_with_it() -> None:
    found = world(3)[1]
    assert {"since", "duration", "time"} < {key for entry in MEASURED.values() for key in entry}
    rows = found.lines.loc["all"].groupby(level="line")[["messages", "replies", "waits_ms"]].sum()
    for name, entry in MEASURED.items():
        events, waits, waits_ms = rows.loc[LINE + name]
        lasts = bool({"since", "duration"} & entry.keys())
        assert events > 20 and (waits, waits_ms > 0) == ((events, True) if lasts else (0, False)), name
    assert found.happened.loc[found.happened["lacking"], "measure"].value_counts().min() > 0
    letters = found.ledger.loc["product-events"].sum()
    assert all(letters[f"dead:{reason}"] for reason in ("missing_field", "wrong_type", "bad_time", "bad_quantity"))


@pytest.mark.parametrize("seed", [3, 4])
def test_the_worlds_hold_every_kind_of_hard_talk(seed: int) -> None:
    raw, found = world(seed)
    kinds = talk.kinds_in(raw)
    assert not {kind for kind in talk.KINDS if kinds[kind] < 2}, kinds
    lines = found.lines.index.unique("line")
    assert {"replies/hard-support", "replies/hard-dev", "replies/hard-ops"} <= set(lines)
    assert not {"replies/hard-help", "replies/hard-desk"} & set(lines)
    assert found.ledger["edit"].sum() > 10 and (found.replies["latency_ms"] == 50 * HOUR).any()


def test_a_changed_value_of_a_measure_by_hour_is_found() -> None:
    raw, found = world(3)
    house = house_of()
    read_somehow(house, raw, random.Random(5))
    documents = house.rest(END_MS).documents
    assert not compare_lines(found.lines, documents).differences
    for name, entry in MEASURED.items():
        at = next(place for place in found.lines.index if place[0] != ALL and place[1] == LINE + name)
        for field in ("messages", "waits_ms") if {"since", "duration"} & entry.keys() else ("messages",):
            lines = found.lines.copy()
            lines.loc[at, field] += 1
            wrong = compare_lines(lines, documents).differences
            assert [(d.key, d.field) for d in wrong] == [(f"latency:{{{at[0]}}}:{at[2]} {at[1]} {at[3]}", field)]


def test_the_worlds_hold_activities_that_come_before_the_directory_knows_whose_they_are() -> None:
    house = house_of()
    read_somehow(house, world(3)[0], random.Random(3))
    assert house.counted["parked"]
    assert any(number for outcome, number in house.counted.items() if outcome.endswith("/released"))
