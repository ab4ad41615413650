"""What differs between two models, in words.

Owns the comparison of two models' texts, not of their scores. Invariant: equal models differ in nothing, and
every difference that can move a score is told.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

from state.health import Attribute, Model
from state.kinds import single_measures
from state.measures import Catalogue

_INDICES = ("measures", "against")  # fields that hold numbers of measures
_WORDS = {"missing": "without data", "cuts": "default cut points", "against": "compared with"}


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference; `what` is added, removed or changed.

    `part` is "attribute", "weight", "bands", "population" or "measure".
    """

    part: str
    name: str
    what: str
    text: str


def differences(old: Model, new: Model) -> list[Difference]:
    """Return what differs: attributes, weights, bands, who is ranked among whom, measures."""
    measures = [*_measures(old.catalogue, new.catalogue), *_single(old, new)]
    return [*_attributes(old, new), *_weights(old, new), *_bands(old, new), *_population(old, new), *measures]


def needs_rebuild(old: Model, new: Model) -> bool:
    """Say whether state of *old* can't be carried on with *new*.

    Measures are kept by their number; and what stands in a log was read as the model of its time said, so that hours
    of the week would lack what came before, and take back what they never held.
    """
    before, after = old.catalogue, new.catalogue
    return before.names != after.names or before.by_hour != after.by_hour


def share(model: Model, attribute: Attribute) -> str:
    """Return an attribute's share of the total weight, for people."""
    return f"{attribute.weight * 100 / sum(a.weight for a in model.attributes):.1f} %"


def named_fields(model: Model, attribute: Attribute) -> dict[str, Any]:
    """Return the attribute's fields, measures by name."""
    found = {f.name: getattr(attribute, f.name) for f in fields(Attribute)}
    for name in _INDICES:
        found[name] = tuple(model.catalogue.names[m] for m in found[name])
    return found


def _attributes(old: Model, new: Model) -> Iterator[Difference]:
    before, after = ({a.name: a for a in model.attributes} for model in (old, new))
    for name, a in before.items():
        if name not in after:
            yield Difference("attribute", name, "removed", f"removed: {a.kind}, weight {a.weight} ({share(old, a)})")
    for name, a in after.items():
        if name not in before:
            yield Difference("attribute", name, "added", f"added: {a.kind}, weight {a.weight} ({share(new, a)})")
            continue
        was, now = named_fields(old, before[name]), named_fields(new, a)
        for field, value in now.items():
            if was[field] != value:
                words = _WORDS.get(field, field.replace("_", " "))
                yield Difference("attribute", name, "changed", f"{words}: {_said(was[field])} → {_said(value)}")
    kept = [name for name in before if name in after]
    if kept != [name for name in after if name in before]:
        text = "attributes stand in another order: rounding may give a basis point to another one"
        yield Difference("attribute", "", "changed", text)


def _weights(old: Model, new: Model) -> Iterator[Difference]:
    before, after = (sum(a.weight for a in model.attributes) for model in (old, new))
    if before == after:
        return
    yield Difference("weight", "", "changed", f"total weight: {before} → {after}")
    was = {a.name: a for a in old.attributes}
    same = [a for a in new.attributes if a.name in was and was[a.name].weight == a.weight]
    if same:
        weight = sum(a.weight for a in same)
        text = (
            f"the {len(same)} attributes that keep their weight have"
            f" {weight * 100 / before:.1f} % → {weight * 100 / after:.1f} % of it together"
        )
        yield Difference("weight", "", "changed", text)


def _bands(old: Model, new: Model) -> Iterator[Difference]:
    for field in fields(old.bands):
        was, now = getattr(old.bands, field.name), getattr(new.bands, field.name)
        if was != now:
            yield Difference("bands", field.name, "changed", f"{_percent(was)} → {_percent(now)}")


def _population(old: Model, new: Model) -> Iterator[Difference]:
    for field in fields(old.population):
        was, now = getattr(old.population, field.name), getattr(new.population, field.name)
        if was != now:
            yield Difference("population", field.name, "changed", f"{_said(was)} → {_said(now)}")


def _measures(old: Catalogue, new: Catalogue) -> Iterator[Difference]:
    before, after = (_described(catalogue) for catalogue in (old, new))
    for name in before:
        if name not in after:
            yield Difference("measure", name, "removed", "removed")
    for name, now in after.items():
        if name not in before:
            yield Difference("measure", name, "added", f"added: {_said(now['events'] + now['actions'])}")
            continue
        for key, value in now.items():
            if before[name][key] != value:
                yield Difference("measure", name, "changed", f"{key}: {_said(before[name][key])} → {_said(value)}")
    if set(before) == set(after) and list(before) != list(after):
        yield Difference("measure", "", "changed", "measures stand in another order")


def _single(old: Model, new: Model) -> Iterator[Difference]:
    """Yield known measures whose single amounts the new model is the first to look at."""
    before, after = ({m.catalogue.names[i] for i in single_measures(m)} for m in (old, new))
    for name in sorted((after - before) & set(old.catalogue.names)):
        text = "amounts are kept one by one from now on: what came before is in no median and no gauge"
        yield Difference("measure", name, "changed", text)


def _described(catalogue: Catalogue) -> dict[str, dict[str, Any]]:
    return {
        m.name: {
            "events": tuple(e for e, name in catalogue.by_event.items() if name == m.name),
            "actions": tuple(a for a, name in catalogue.by_action.items() if name == m.name),
            "feature": m.feature,
            "passive": m.passive,
            "summed": m.summed,
            "gauge": m.gauge,
            "hours": m.hours,
            "since": m.since,
            "duration": m.duration,
            "time": m.time,
        }
        for m in catalogue.measures
    }


def _percent(value: Any) -> str:
    return f"{value / 100:g} %" if isinstance(value, int) else str(value)


def _said(value: Any) -> str:
    if isinstance(value, (tuple, list)):
        return ", ".join(str(v) for v in value) or "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if value != "" else "none"
