"""With pseudonyms every figure is as without, of people who are called otherwise, and no name is behind the readers.

raw messages ──► agents without ──► documents ──► names replaced ──► the same
            └──► agents with pseudonyms ─────────────────────────────►
"""

from __future__ import annotations

import json
import zlib
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from agents.ingest import Ingest
from agents.simulate import directory, history, make_base
from agents.simulate_base import Base
from reports.recount import Raw
from state.model import build_model
from streams.pseudonyms import Pseudonyms, pseudonyms_of
from streams.settings import Settings, override
from tests.end_to_end.house import House
from tests.end_to_end.test_any_order import END_MS, MODEL

pytestmark = pytest.mark.security
_WITHOUT_NAMES = ("fence", "window_end", "people", "movers", "name")


def messages_of(base: Base) -> tuple[Raw, ...]:
    """Return the directory of *base* and two weeks of messages, as raw topics hold them."""
    found, offsets = list[Raw](), Counter[tuple[str, int]]()
    for message in [*directory(base), *history(base, END_MS / 1000, 2)]:
        place = (message.topic, zlib.crc32(message.key or b"") % 2)
        found.append((*place, offsets[place], message.key, message.value, END_MS))
        offsets[place] += 1
    return tuple(found)


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
    plain = Settings()
    hidden = override(plain, {"privacy.pseudonyms_key_file": str(key)})
    pseudonyms = pseudonyms_of(hidden)
    assert isinstance(pseudonyms, Pseudonyms)
    base = make_base(5, 4, 46)
    raw = messages_of(base)
    (_, open_), (house, covered) = played(plain, raw), played(hidden, raw)

    def called(key: str) -> str:
        kind, brace, rest = key.partition("}:")
        return f"{kind}{brace}{pseudonyms.of(rest)}" if key.startswith("user:") else key

    def covered_up(key: str, document: dict[str, Any]) -> dict[str, Any]:
        """Return a document without names: rankings have them as members."""
        return {pseudonyms.of(k): v for k, v in document.items()} if key.endswith(":users:by-score") else document

    expected = {called(key): covered_up(key, document) for key, document in open_.items()}
    assert expected.keys() == covered.keys() and sum(key.startswith("user:") for key in expected) > 15
    for name, document in expected.items():
        mine = covered[name]
        assert {k: v for k, v in document.items() if k not in _WITHOUT_NAMES} == {
            k: v for k, v in mine.items() if k not in _WITHOUT_NAMES
        }, name
        assert people_of(document) == people_of(mine)
        moved = [sorted(move["change"] for move in json.loads(each.get("movers", "[]"))) for each in (document, mine)]
        assert moved[0] == moved[1]

    # Ids, addresses and names of people are in no state, and not in the directory as agents have it.
    names = {name for u in base.users for name in (u.id, u.email.lower(), u.username, u.display_name, *u.aliases)}
    long = [name.encode() for name in names if len(name) >= 7 and not name.isdigit()]
    states = [part for shard in house.shards for part in shard.checkpoint().values()]
    assert len(long) > 50 and not [name for name in long if any(name in part for part in states)]
    assert not names & {*house.directory.users, *house.directory.people}
    assert not any(record.display_name for record in house.directory.users.values())


def test_without_a_key_nothing_is_replaced() -> None:
    assert pseudonyms_of(Settings()) is None
    assert all(source._source.read.__name__ != "<lambda>" for source in agents_of(House(END_MS, build_model(MODEL))))


def agents_of(house: House) -> list[Ingest]:
    return [agent for agent in house._agents.values() if isinstance(agent, Ingest)]
