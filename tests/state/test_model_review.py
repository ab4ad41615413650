"""Remarks on models that are right and hardly meant, and differences between two models in words."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from state.health import Model
from state.model_diff import differences, named_fields, needs_rebuild
from state.model_review import highest_score, review
from tests.state.worlds import attribute, examples, model_of, shipped_model

SEARCHES = attribute("searches", "count", 2, measures=["search"])
HIGH = [8, 9, 10, 11, 12, 13, 14, 15, 16]


def remarks(*attributes: dict[str, Any], **measures: dict[str, Any]) -> list[tuple[str, str, str]]:
    return [(r.level, r.where, r.text) for r in review(model_of(*attributes, **measures))]


@pytest.mark.parametrize(
    ("entry", "level", "text"),
    [
        (attribute("a", "count", measures=["unheard"]), "warning", "never counts: no event leads to 'unheard'"),
        (attribute("a", "count", measures=["transaction"]), "warning", "never counts: users never do 'transaction'"),
        (attribute("a", "count", measures=["search", "unheard"]), "warning", "'unheard' adds nothing"),
        (attribute("a", "days_active", cuts=HIGH), "warning", "cut point 8 lies above the highest value 7"),
        (attribute("a", "count", measures=["search"], cuts=[5] * 9), "note", "default cut points are all 5"),
        (attribute("a", "count", measures=["search"], cuts=[-1, *range(1, 9)]), "warning", "[-1] don't separate"),
        (attribute("a", "recency_hours"), "warning", "lies above the highest value 0"),
        (attribute("a", "ratio", measures=["search"], against=["search"]), "warning", "can never differ"),
        (attribute("a", "ratio", measures=["search"], against=["search", "export"]), "warning", "both sides"),
        (attribute("a", "boolean", measures=["alert_received"]), "warning", "merely received"),
        (attribute("a", "count", measures=["search"]), "warning", "counts the same as 'searches'"),
        (attribute("a", "median", measures=["alert_received"], cuts=[*range(-9, 0)]), "warning", "merely received"),
        (attribute("a", "median", measures=["search"]), "warning", "lies above the highest value 0"),
        (attribute("a", "count", measures=["search"], missing="reweight"), "note", "`missing` = 'reweight' never acts"),
    ],
)
def test_what_was_hardly_meant_is_said(entry: dict[str, Any], level: str, text: str) -> None:
    said = [r for r in remarks(SEARCHES, entry, unheard={"feature": True}) if r[1] == "a"]
    assert [(found, True) for found, _, words in said if text in words] == [(level, True)], said


def test_measures_that_nothing_uses_are_said() -> None:
    said = {where: text for _, where, text in remarks(SEARCHES, got={"events": ["Got"], "passive": True})}
    assert "no effect on scores" in said["got"]
    assert "only makes a user active" in said["export"] or "keeps sums" in said["export"]
    assert "search" not in said


def test_a_gauge_that_nothing_reads_is_said() -> None:
    level = {"events": ["Level"], "gauge": True}
    said = [text for _, where, text in remarks(SEARCHES, level=level) if where == "level"]
    assert "is a gauge that no attribute of kind 'gauge' reads" in said
    read = remarks(SEARCHES, attribute("stored", "gauge", measures=["level"]), level=level)
    assert not [where for _, where, _ in read if where == "level"]


def test_hours_of_the_week_are_a_use_and_their_changes_are_told_and_need_a_rebuild() -> None:
    ack = {"events": ["Ack"], "passive": True}
    said = [[where for _, where, _ in remarks(SEARCHES, ack=ack | more)] for more in ({}, {"hours": True})]
    assert ("ack" in said[0], "ack" in said[1]) == (True, False)
    old = model_of(SEARCHES, ack=ack)
    new = model_of(SEARCHES, ack=ack | {"hours": True, "since": "created_at"}, transaction={"hours": True})
    assert lines(old, new) == [
        "measure transaction hours: false → true",
        "measure ack hours: false → true",
        "measure ack since: none → created_at",
    ]
    assert needs_rebuild(old, new) and needs_rebuild(new, old) and not needs_rebuild(new, new)


def test_a_first_look_at_single_amounts_is_told() -> None:
    old = model_of(SEARCHES, attribute("mean", "mean", measures=["export"]))
    new = model_of(SEARCHES, attribute("mean", "median", measures=["export"], missing="carry"))
    told = {(d.part, d.name): d.text for d in differences(old, new)}
    assert told["attribute", "mean"] in ("kind: mean → median", "without data: zero → carry")
    assert "kept one by one from now on" in told["measure", "export"]
    assert ("measure", "export") not in {(d.part, d.name) for d in differences(new, old)}
    assert not needs_rebuild(old, new)


def test_a_band_that_nobody_reaches_and_an_attribute_that_decides_alone_are_said() -> None:
    entries = [attribute(n, "count", 1, measures=["unheard"]) for n in "bcd"]
    said = {where: text for _, where, text in remarks(SEARCHES, *entries, unheard={})}
    assert said["healthy"] == "nobody can reach 60 %: who is best in everything gets 36.00 %"
    assert "decides alone" in said["searches"]


def test_the_shipped_model_has_notes_and_no_warning() -> None:
    assert {remark.level for remark in review(shipped_model())} == {"note"}
    assert highest_score(shipped_model()) > shipped_model().bands.healthy


@given(st.data())
@examples(60)
def test_every_change_of_an_attribute_is_told_and_equal_models_differ_in_nothing(data: st.DataObject) -> None:
    model = shipped_model()
    number = data.draw(st.integers(0, len(model.attributes) - 1))
    a = model.attributes[number]
    changes = data.draw(
        st.sampled_from(
            [{"weight": 6 - a.weight if a.weight != 3 else 4}, {"missing": "other"}, {"cuts": (7,) * 9}, {"label": "x"}]
        )
    )
    entries = list(model.attributes)
    entries[number] = replace(a, **changes)
    other = replace(model, attributes=tuple(entries))
    assert differences(model, model) == [] and differences(other, other) == []
    told = [d for d in differences(model, other) if d.part == "attribute"]
    assert [(d.name, d.what) for d in told] == [(a.name, "changed")]
    gone = replace(model, attributes=tuple(entries[:number] + entries[number + 1 :]))
    assert [d.name for d in differences(model, gone) if d.what == "removed"] == [a.name]
    assert [d.name for d in differences(gone, model) if d.what == "added"] == [a.name]


def lines(old: Model, new: Model) -> list[str]:
    return [f"{d.part} {d.name} {d.text}" for d in differences(old, new)]


def test_weights_bands_and_measures_are_told_in_words() -> None:
    old = model_of(SEARCHES, attribute("exports", "sum", 3, measures=["export"]))
    new = model_of(
        SEARCHES, attribute("exports", "sum", 5, measures=["export"]), read={"events": ["Read"], "feature": True}
    )
    new = replace(new, bands=replace(new.bands, healthy=7000))
    assert lines(old, new) == [
        "attribute exports weight: 3 → 5",
        "weight  total weight: 5 → 7",
        "weight  the 1 attributes that keep their weight have 40.0 % → 28.6 % of it together",
        "bands healthy 60 % → 70 %",
        "measure read added: Read",
    ]
    assert needs_rebuild(old, new) and not needs_rebuild(old, old)
    renamed = model_of(SEARCHES, attribute("exports", "sum", 3, measures=["export"]), search={"events": ["Find"]})
    assert lines(old, renamed) == ["measure search events: Search → Find", "measure search feature: true → false"]


def test_measures_are_compared_by_name() -> None:
    old = model_of(SEARCHES)
    new = model_of(SEARCHES, aaa={"events": ["A"]})
    assert named_fields(new, new.attributes[0])["measures"] == ("search",)
    assert [d.part for d in differences(old, new)] == ["measure"]
