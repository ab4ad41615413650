"""With pseudonyms every figure is as without, of people who are called otherwise, and no name is behind the readers.

raw messages ──► agents without ──► documents ──► names replaced ──► the same
            └──► agents with pseudonyms ─────────────────────────────►
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agents.ingest import Ingest
from reports.recount import Raw
from state.model import build_model
from streams.pseudonyms import Pseudonyms, pseudonyms_of
from streams.settings import Settings, override
from tests.end_to_end.house import House
from tests.end_to_end.test_any_order import END_MS, MODEL, world
from tests.faults.hard_talk import TEAMS

pytestmark = pytest.mark.security
_WITHOUT_NAMES = ("fence", "window_end", "people", "movers", "name")


def played(settings: Settings, raw: tuple[Raw, ...]) -> tuple[House, dict[str, dict[str, Any]]]:
    """Return a house that has taken everything in, and its documents."""
    house = House(END_MS, build_model(MODEL), settings=settings)
    by_place: dict[tuple[str, int], list[Raw]] = {}
    for record in raw:
        by_place.setdefault(record[:2], []).append(record)
    for (topic, partition), records in sorted(by_place.items(), key=lambda item: item[0][0] not in ("users", "orgs")):
        house.handle(topic, partition, records)
    return house, house.rest(END_MS).documents


def people_of(document: dict[str, Any]) -> list[Any]:
    return sorted(each["messages"] for each in json.loads(document.get("people", "[]")))


def test_figures_are_the_same_and_no_name_is_kept(tmp_path: Path) -> None:
    key = tmp_path / "pseudonyms.key"
    key.write_text("fifty bytes of a key for pseudonyms in a test only")
    plain = override(Settings(), {"ingest.teams": TEAMS})
    hidden = override(plain, {"privacy.pseudonyms_key_file": str(key)})
    pseudonyms = pseudonyms_of(hidden)
    assert isinstance(pseudonyms, Pseudonyms)
    raw, counted = world(5, 60)
    (_, open_), (house, covered) = played(plain, raw), played(hidden, raw)

    def called(key: str) -> str:
        kind, brace, rest = key.partition("}:")
        return f"{kind}{brace}{pseudonyms.of(rest)}" if key.startswith("user:") else key

    def covered_up(key: str, document: dict[str, Any]) -> dict[str, Any]:
        """Return a document without names: rankings have them as members."""
        return {pseudonyms.of(k): v for k, v in document.items()} if key.endswith(":users:by-score") else document

    expected = {called(key): covered_up(key, document) for key, document in open_.items()}
    assert expected.keys() == covered.keys() and sum(key.startswith("user:") for key in expected) > 40
    for name, document in expected.items():
        mine = covered[name]
        assert {k: v for k, v in document.items() if k not in _WITHOUT_NAMES} == {
            k: v for k, v in mine.items() if k not in _WITHOUT_NAMES
        }, name
        assert people_of(document) == people_of(mine)
        moved = [sorted(move["change"] for move in json.loads(each.get("movers", "[]"))) for each in (document, mine)]
        assert moved[0] == moved[1]

    # Who wrote, who is in the directory: none of these names is in any state.
    names = {user for _, user in counted.users.index if user} | {user for _, user in counted.people.membership}
    states = [part for shard in house.shards for part in shard.checkpoint().values()]
    long = [name.encode() for name in {*names, *counted.people._aliases} if len(name) >= 7 and not name.isdigit()]
    assert len(long) > 60
    assert not [name for name in long if any(name in part for part in states)]
    assert not [user for user in house.directory.users if user in names]
    assert not any(record.display_name for record in house.directory.users.values())


def test_without_a_key_nothing_is_replaced() -> None:
    assert pseudonyms_of(Settings()) is None
    assert all(source._source.read.__name__ != "<lambda>" for source in agents_of(House(END_MS, build_model(MODEL))))


def agents_of(house: House) -> list[Ingest]:
    return [agent for agent in house._agents.values() if isinstance(agent, Ingest)]
