"""What an import sends, through the whole pipeline: the state counts what the file counted."""

from __future__ import annotations

import json
import random
from collections import Counter
from typing import Any

from agents.importers.source import Row
from reports.recount import Raw
from streams.sender import partition_of_key
from streams.settings import Settings, override
from tests.agents.import_rows import FORMS, chat, rows_in, rows_of_text
from tests.end_to_end.house import House

START, WINDOW = 1_767_571_200, 600  # 2026-01-05, a Monday; ten minutes


def house_of(rows: list[Row], end_seconds: int, **settings: Any) -> tuple[House, dict[str, dict[str, Any]]]:
    """Let the agents handle what an import sends, each partition in its order; return the documents too."""
    house = House(end_seconds * 1000, settings=override(Settings(), {"kafka.partitions": 4, **settings}))
    by_partition: dict[int, list[Raw]] = {}
    for row in rows:
        if row.value is not None:
            partition = partition_of_key(row.key, 4)
            log = by_partition.setdefault(partition, [])
            log.append(("chat-messages", partition, len(log), row.key, row.value, end_seconds * 1000))
    for partition, log in by_partition.items():
        for start in range(0, len(log), 500):
            house.handle("chat-messages", partition, log[start : start + 500])
    return house, house.rest(end_seconds * 1000).documents


def test_the_state_counts_a_counting_bots_documents_exactly_also_when_they_come_twice() -> None:
    chance = random.Random(7)
    documents, people, windows = [], Counter[str](), []
    for number in range(144 * 2):
        quantities = {str(900 + chance.randrange(12)): chance.randrange(1, 9) for _ in range(chance.randrange(5))}
        people.update(quantities)
        time, online = START + number * WINDOW, chance.randrange(50, 90)
        windows.append([time, sum(quantities.values()), online])
        documents.append({"time": {"$date": {"$numberLong": str(time * 1000)}}, "online-members": online,
                          "messages-sent": sum(quantities.values()), "quantities": quantities})  # fmt: skip
    text = "\n".join(json.dumps(document) for document in documents)
    rows = rows_of_text(text, chat("discord-activity", server="guild", org="acme"))
    again = rows_of_text(text, chat("discord-activity", server="guild", org="acme"))
    house, found = house_of([*rows, *again], START + 144 * 2 * WINDOW)
    told = found["chat:{acme}"]
    assert {each["user"]: each["messages"] for each in json.loads(told["people"])} == people
    assert [window[:3] for window in json.loads(told["windows"])] == windows
    assert int(told["messages_total"]) == people.total()
    assert house.counted["dead_lettered"] == 0


def test_a_slack_exports_threads_edits_and_deletions_reach_the_latency_and_the_counts() -> None:
    rows = rows_in(FORMS / "slack", chat(org="acme"))
    house, found = house_of(rows, START + 3 * 86_400)
    told = found["chat:{acme}"]
    messages = {each["user"]: each["messages"] for each in json.loads(told["people"])}
    assert messages == {"ann.lee@example.org": 2, "cat@example.org": 1, "U0BOB": 2}
    assert house.counted["edit"] == 2
    assert house.counted["dead:bad_time"] == house.counted["dead_lettered"] == 1
    latency = found["latency:{acme}"]
    answered = {name: latency[f"mon-09{name}"] for name in ("", ":n", ":messages", ":answered")}
    assert answered == {"": "338.959", ":n": "1", ":messages": "2", ":answered": "1"}, "a deleted reply is none"
    assert latency["mon-10:messages"] == "1"
