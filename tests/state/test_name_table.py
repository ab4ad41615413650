"""Names against a plain dict."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from state import name_table
from state.name_table import NameTable
from tests.state.worlds import examples

names = st.lists(st.text(st.characters(exclude_categories=("Cc", "Cs")), max_size=6), max_size=200)


@examples(40)
@given(names, names, st.integers(1, 60))
def test_it_knows_what_a_dict_knows(come: list[str], asked: list[str], step: int) -> None:
    with pytest.MonkeyPatch.context() as changed:
        changed.setattr(name_table, "_MOST_NEW", step)
        table, known = NameTable(), {}
        for name in come:
            assert table.find(name) == known.get(name)
            if name not in known:
                known[name] = table.add(name)
        assert known == {name: number for number, name in enumerate(known)}
        for some in (asked, come, [*asked, *come]):
            assert table.find_all(some).tolist() == [known.get(name, -1) for name in some]
        assert table.names() == list(known)
        assert [table.name(number) for number in known.values()] == list(known)


def test_names_of_one_hash_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(name_table, "hash", lambda _: 7, raising=False)
    table, many = NameTable(), [f"u{n}" for n in range(9_000)]
    monkeypatch.setattr(name_table, "_MOST_NEW", 300)
    for name in many[:900]:
        table.add(name)
    assert table.find_all(many[:901]).tolist() == [*range(900), -1]
    assert table.find("u17") == 17 and table.find("x17") is None
