"""What a right model says that its author hardly meant: weight that can't count, attributes that can't differ.

Owns the remarks of `orgpulse model check`. Invariant: a remark never makes a model wrong; what is wrong is a
`ModelError`, and such a model can't be reviewed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from state.health import DECILES, FULL, Attribute, Model
from state.kinds import KINDS, LOWER_IS_BETTER
from state.measures import BUILT_IN
from state.week import WEEK_HOURS

_NO_LIMIT = 2**63 - 1
_HEAVY = 3  # an attribute with more than 1/3 of all weight decides alone
_OF_ORGS = frozenset({"transaction", "transaction_other"})  # counted for an org, never for a user
_COMPARES = frozenset({"ratio"})  # what is merely received may well stand on one side


@dataclass(frozen=True, slots=True)
class Remark:
    """One thing to look at. `where` is the attribute or measure; a "note" may well be meant so."""

    level: Literal["warning", "note"]
    where: str
    text: str


def review(model: Model) -> list[Remark]:
    """Return the remarks on *model*, attribute by attribute, then measures, then the whole."""
    found = [remark for attribute in model.attributes for remark in _of_attribute(model, attribute)]
    return [*found, *_of_pairs(model), *_of_measures(model), *_of_whole(model)]


def never_counts(model: Model, attribute: Attribute) -> str:
    """Return why nobody can get anything for *attribute*; empty if somebody can."""
    silent = _silent(model)
    names = [model.catalogue.names[m] for m in attribute.measures]
    if names and all(name in silent for name in names):
        return f"users never do {_listed(names)}" if _OF_ORGS & set(names) else f"no event leads to {_listed(names)}"
    if attribute.kind == "distinct" and not names and not any(m.feature for m in model.catalogue.measures):
        return "no measure has `feature = true`"
    if attribute.is_ranked and attribute.cuts and attribute.cuts[0] > _highest(model, attribute):
        return f"its first cut point {attribute.cuts[0]} lies above the highest value {_highest(model, attribute)}"
    return ""


def highest_score(model: Model) -> int:
    """Return the score (basis points) of a user who is best in everything that can count.

    A decile rank reaches nine tenths at most.
    """
    best = sum(
        a.weight * (FULL - FULL // DECILES if a.is_ranked else FULL)
        for a in model.attributes
        if not never_counts(model, a)
    )
    return best // sum(a.weight for a in model.attributes)


def _silent(model: Model) -> set[str]:
    """Return the measures that users never have: no event or action leads to them."""
    led_to = {*model.catalogue.by_event.values(), *model.catalogue.by_action.values(), *(m.name for m in BUILT_IN)}
    return (set(model.catalogue.names) - led_to) | _OF_ORGS


def _highest(model: Model, attribute: Attribute) -> int:
    """Return the highest value that *attribute* can have."""
    if attribute.kind in LOWER_IS_BETTER:
        return 0
    features = sum(m.feature for m in model.catalogue.measures)
    return {
        "distinct": len(attribute.measures) or features,
        "days_active": 7,
        "streak_days": 7,
        "sessions": (WEEK_HOURS + 1) // 2 + 1,
        "share_of_org": FULL,
    }.get(attribute.kind, _NO_LIMIT)


def _of_attribute(model: Model, attribute: Attribute) -> Iterator[Remark]:
    name, catalogue = attribute.name, model.catalogue
    why = never_counts(model, attribute)
    if why:
        share = attribute.weight * 100 / sum(a.weight for a in model.attributes)
        text = f"its weight {attribute.weight} ({share:.1f} % of all) never counts: {why}"
        yield Remark("warning", name, text)
        return
    silent = [catalogue.names[m] for m in attribute.measures if catalogue.names[m] in _silent(model)]
    if silent:
        yield Remark("warning", name, f"{_listed(silent)} adds nothing: users never have it")
    both = [catalogue.names[m] for m in attribute.measures if m in attribute.against]
    if both and set(attribute.measures) >= set(attribute.against):
        yield Remark("warning", name, f"can never differ: all of `against` stands in `measures` too ({_listed(both)})")
    elif both:
        yield Remark("warning", name, f"{_listed(both)} stands on both sides of the ratio")
    built_in = {m.name for m in BUILT_IN}
    used = [catalogue.measures[m] for m in attribute.measures]
    if attribute.kind not in _COMPARES and used and all(m.passive and m.name not in built_in for m in used):
        yield Remark("warning", name, f"rewards what is merely received ({_listed(m.name for m in used)} is passive)")
    if attribute.missing != "zero" and not KINDS[attribute.kind].may_lack:
        yield Remark("note", name, f"always has data: `missing` = {attribute.missing!r} never acts")
    if attribute.is_ranked:
        yield from _of_cuts(attribute)


def _of_cuts(attribute: Attribute) -> Iterator[Remark]:
    cuts = attribute.cuts
    lower = attribute.kind in LOWER_IS_BETTER
    beyond = [cut for cut in cuts if (cut > 0 if lower else cut <= 0) and cut != _NO_LIMIT]
    if beyond:
        values = "values are 0 or less, as less is better" if lower else "nobody at 0 or less gets anything"
        yield Remark("warning", attribute.name, f"default cut points {beyond} don't separate anybody: {values}")
    elif len(set(cuts)) == 1:
        text = f"default cut points are all {cuts[0]}: until calibrated it says yes or no, not how much"
        yield Remark("note", attribute.name, text)


def _of_pairs(model: Model) -> Iterator[Remark]:
    """Yield attributes that count the same thing twice."""
    seen: dict[tuple[object, ...], str] = {}
    for a in model.attributes:
        key = (a.kind, tuple(sorted(a.measures)), tuple(sorted(a.against)))
        if key in seen:
            yield Remark("warning", a.name, f"counts the same as {seen[key]!r}: their weights add up")
        seen.setdefault(key, a.name)


def _of_measures(model: Model) -> Iterator[Remark]:
    catalogue, built_in = model.catalogue, {m.name for m in BUILT_IN}
    used = {m for a in model.attributes for m in (*a.measures, *a.against)}
    breadth = any(a.kind == "distinct" and not a.measures for a in model.attributes)
    led_to = {*catalogue.by_event.values(), *catalogue.by_action.values()}
    for number, measure in enumerate(catalogue.measures):
        if measure.name in built_in:
            continue
        if measure.name not in led_to:
            yield Remark("warning", measure.name, "no event or action leads to this measure")
        elif number not in used and measure.hours:
            pass  # it has its hours of the week
        elif number not in used and measure.passive:
            yield Remark("warning", measure.name, "is used by no attribute and is passive: it has no effect on scores")
        elif number not in used and not (measure.feature and breadth):
            yield Remark("note", measure.name, "is used by no attribute: it only makes a user active")
        kinds = {KINDS[a.kind].of for a in model.attributes if number in a.measures}
        if measure.summed and "summed" not in kinds:
            yield Remark("note", measure.name, "keeps sums that no attribute uses")
        if measure.gauge and "gauge" not in kinds:
            yield Remark("note", measure.name, "is a gauge that no attribute of kind 'gauge' reads")


def _of_whole(model: Model) -> Iterator[Remark]:
    total = sum(a.weight for a in model.attributes)
    for a in model.attributes:
        if len(model.attributes) > _HEAVY and a.weight * _HEAVY > total:
            yield Remark("warning", a.name, f"has {a.weight * 100 / total:.0f} % of all weight: it decides alone")
    highest = highest_score(model)
    for band, edge in (("healthy", model.bands.healthy), ("at_risk", model.bands.at_risk)):
        if highest < edge:
            text = f"nobody can reach {edge / 100:g} %: who is best in everything gets {highest / 100:.2f} %"
            yield Remark("warning", band, text)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(repr(name) for name in names)
