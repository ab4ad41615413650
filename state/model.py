"""A health model from its configuration, checked.

Owns the rules that `health.toml` must keep. Invariant: a `Model` that exists is
complete; a wrong file gives a `ModelError` that names the place and the remedy.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from state.alert_rules import BOUNDS, AlertRules
from state.health import DECILES, POLICIES, Attribute, Bands, Model
from state.kinds import KINDS
from state.measures import BUILT_IN, MAX_HOURS, MAX_MEASURES, MAY_HAVE_HOURS, UNITS_MS, Catalogue, Measure
from state.population import MAX_WITHOUT, PEERS, PopulationRules

_LARGEST_CUT = 2**63 - 1  # values are 64-bit integers
_FLAGS = ("feature", "passive", "summed", "gauge", "hours")
_TIMINGS = ("since", "duration", "time")  # of which a measure has one at most
_MEASURE_KEYS = {"events", "actions", *_FLAGS, *_TIMINGS}
_SECTIONS = ("bands", "alerts", "population", "measures", "attributes")
_ATTRIBUTE_KEYS = {"name", "label", "kind", "weight", "measures", "against", "missing", "cuts"}


class ModelError(ValueError):
    """The model is wrong; `where` is the name or key at fault, to find its line."""

    def __init__(self, where: str, message: str) -> None:
        super().__init__(message)
        self.where = where


def _unknown(where: str, found: str, known: Iterable[str]) -> ModelError:
    near = difflib.get_close_matches(found, list(known), 1)
    hint = f"; did you mean {near[0]!r}?" if near else f"; known are: {', '.join(sorted(known))}"
    return ModelError(found, f"{where}: unknown {found!r}{hint}")


def _table(where: str, value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ModelError(where, f"{where!r} must be a table, not {value!r}")
    return value


def _names(where: str, key: str, value: Any) -> list[str]:
    # A bare text would pass for a list of its letters.
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise ModelError(where, f"{where!r}: `{key}` must be a list of names, not {value!r}")
    return value


def build_model(raw: Mapping[str, Any]) -> Model:
    """Return the model in *raw*, the content of a model file.

    Raises:
        ModelError: If anything in it is wrong.
    """
    for section in raw:
        if section not in _SECTIONS:
            raise _unknown("top level", section, _SECTIONS)
    catalogue = _catalogue(_table("measures", raw.get("measures", {})))
    entries = raw.get("attributes", [])
    if not entries or not isinstance(entries, list):
        raise ModelError("attributes", "a model needs at least one [[attributes]] entry")
    attributes = tuple(_attribute(_table("attributes", entry), catalogue) for entry in entries)
    names = [a.name for a in attributes]
    for name in names:
        if names.count(name) > 1:
            raise ModelError(name, f"attribute {name!r} stands twice; give one of them another name")
    bands, rules, population = (_table(section, raw.get(section, {})) for section in ("bands", "alerts", "population"))
    return Model(catalogue, attributes, _bands(bands), _alert_rules(rules), _population_rules(population))


def _catalogue(raw: Mapping[str, Any]) -> Catalogue:
    measures = {m.name: m for m in BUILT_IN}
    by_event: dict[str, str] = {}
    by_action: dict[str, str] = {}
    for name, entry in raw.items():
        for key in _table(name, entry):
            if key not in _MEASURE_KEYS:
                raise _unknown(f"measure {name!r}", key, _MEASURE_KEYS)
        if name in measures and (name not in MAY_HAVE_HOURS or set(entry) - {"hours"}):
            only = f"only `hours` of {', '.join(MAY_HAVE_HOURS)} can be set"
            raise ModelError(name, f"measure {name!r} is built in; choose another name ({only})")
        measures[name] = _measure(name, entry, measures.get(name, Measure(name)))
        for kind, names in (("events", by_event), ("actions", by_action)):
            for spelled in _names(name, kind, entry.get(kind, [])):
                if spelled in names:
                    raise ModelError(name, f"{kind[:-1]} {spelled!r} already counts as {names[spelled]!r}")
                names[spelled] = name
    if len(measures) > MAX_MEASURES:
        raise ModelError("measures", f"{len(measures)} measures, but at most {MAX_MEASURES} are possible")
    with_hours = sum(m.hours for m in measures.values())
    if with_hours > MAX_HOURS:
        text = f"{with_hours} measures with `hours = true`, but at most {MAX_HOURS} are possible: drop some"
        raise ModelError("measures", text)
    return Catalogue(tuple(measures.values()), by_event, by_action)


def _measure(name: str, entry: Mapping[str, Any], plain: Measure) -> Measure:
    """Return the measure in *entry*; what it leaves out is as in *plain*."""
    flags = {key: entry.get(key, getattr(plain, key)) for key in _FLAGS}
    for key, flag in flags.items():
        if not isinstance(flag, bool):
            raise ModelError(name, f"measure {name!r}: `{key}` must be true or false, not {flag!r}")
    timings = {key: entry[key] for key in _TIMINGS if key in entry}
    for key, value in timings.items():
        if not value or not isinstance(value, str):
            what = "a unit" if key == "duration" else "the name of a property with a time"
            raise ModelError(name, f"measure {name!r}: `{key}` must be {what}, not {value!r}")
    found = Measure(name, **flags, **timings)
    _check_timing(found, timings, entry)
    return found


def _check_timing(measure: Measure, timings: Mapping[str, str], entry: Mapping[str, Any]) -> None:
    """Raise a ModelError if what says when, and how long, contradicts itself or the rest of the measure."""
    if not timings:
        return
    named, keys = f"measure {measure.name!r}", " and ".join(f"`{key}`" for key in timings)
    if len(timings) > 1:
        raise ModelError(measure.name, f"{named} has {keys}: keep one of them")
    if measure.duration and measure.duration not in UNITS_MS:
        raise _unknown(f"`duration` of {named}", measure.duration, UNITS_MS)
    if not measure.hours:
        raise ModelError(measure.name, f"{named} has {keys}, but no `hours = true`: add it, or drop {keys}")
    if entry.get("actions"):
        lacking = f"syslog lines have no properties and no quantity for {keys}"
        raise ModelError(measure.name, f"{named}: {lacking}; give its `actions` a measure of their own")
    if measure.gauge:
        what = "a duration" if measure.lasts else "a time"
        raise ModelError(measure.name, f"{named}: its amount is {what} by {keys}, and no level: drop `gauge`")
    if measure.time and measure.summed:
        raise ModelError(measure.name, f"{named}: its amount is a time by `time`, and can't be summed: drop `summed`")


def _attribute(entry: Mapping[str, Any], catalogue: Catalogue) -> Attribute:
    name = entry.get("name")
    if not name or not isinstance(name, str):
        raise ModelError("[[attributes]]", "an attribute has no name")
    for key in entry:
        if key not in _ATTRIBUTE_KEYS:
            raise _unknown(f"attribute {name!r}", key, _ATTRIBUTE_KEYS)
    kind, weight, missing = entry.get("kind"), entry.get("weight"), entry.get("missing", "zero")
    if not isinstance(kind, str) or kind not in KINDS:
        raise _unknown(f"kind of attribute {name!r}", str(kind), KINDS)
    if type(weight) is not int or not 1 <= weight <= 5:
        raise ModelError(name, f"attribute {name!r}: weight must be a whole number from 1 to 5, not {weight!r}")
    if missing not in POLICIES:
        raise _unknown(f"missing of attribute {name!r}", str(missing), POLICIES)
    if missing == "carry" and not KINDS[kind].may_lack:
        raise ModelError(name, f"attribute {name!r} of kind {kind!r} always has data: drop its `missing`")
    measures, against = (
        _indices(name, _names(name, key, entry.get(key, [])), catalogue) for key in ("measures", "against")
    )
    _check_measures(name, kind, measures, catalogue)
    if kind == "ratio" and not against:
        raise ModelError(name, f"attribute {name!r} of kind 'ratio' needs `against`")
    label = str(entry.get("label", name.replace("_", " ")))
    return Attribute(name, label, kind, weight, measures, against, missing, _cuts(name, kind, entry.get("cuts")))


def _indices(attribute: str, names: list[str], catalogue: Catalogue) -> tuple[int, ...]:
    known = catalogue.names
    for name in names:
        if name not in known:
            raise _unknown(f"measures of attribute {attribute!r}", name, known)
    return tuple(known.index(name) for name in names)


def _check_measures(attribute: str, kind: str, measures: tuple[int, ...], catalogue: Catalogue) -> None:
    """Raise a ModelError if *measures* are not what the kind needs."""
    needs = KINDS[kind].of
    if needs in ("some", "summed", "gauge") and not measures:
        raise ModelError(attribute, f"attribute {attribute!r} of kind {kind!r} needs `measures`")
    if needs == "gauge" and len(measures) > 1:
        text = f"attribute {attribute!r} of kind {kind!r} needs exactly one measure, not {len(measures)}"
        raise ModelError(attribute, f"{text}: make an attribute of each")
    for measure in (catalogue.measures[m] for m in measures):
        if needs == "summed" and not measure.summed:
            raise ModelError(attribute, f"attribute {attribute!r} sums {measure.name!r}, which has no `summed = true`")
        if needs == "gauge" and not measure.gauge:
            text = f"attribute {attribute!r} reads {measure.name!r}, which has no `gauge = true`"
            raise ModelError(attribute, f"{text}: add it to the measure, or choose another kind")
        if kind == "mean" and measure.lasts:  # its events may be more than its durations
            text = f"attribute {attribute!r}: events of {measure.name!r} may be without a duration"
            raise ModelError(attribute, f"{text}, so they have no mean: choose kind 'median'")
        if KINDS[kind].needs_single and measure.time:
            text = f"attribute {attribute!r} looks at amounts of {measure.name!r}, which has a time instead"
            raise ModelError(attribute, f"{text}: drop the measure's `time`, or choose another kind")


def _cuts(name: str, kind: str, cuts: Any) -> tuple[int, ...]:
    if not KINDS[kind].is_ranked:
        if cuts is not None:
            raise ModelError(name, f"attribute {name!r} of kind {kind!r} is not ranked: drop its `cuts`")
        return ()
    whole = isinstance(cuts, list) and all(type(c) is int and abs(c) <= _LARGEST_CUT for c in cuts)
    if not whole or len(cuts) != DECILES - 1 or cuts != sorted(cuts):
        raise ModelError(name, f"attribute {name!r} needs `cuts`: 9 ascending whole numbers")
    return tuple(cuts)


def _bands(raw: Mapping[str, Any]) -> Bands:
    keys = ("healthy", "at_risk", "hysteresis")
    for key in raw:
        if key not in keys:
            raise _unknown("[bands]", key, keys)
    values = {}
    for key in keys:
        value = raw.get(key)
        if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 <= value <= 100:
            raise ModelError(key, f"[bands] {key} must be a percentage from 0 to 100, not {value!r}")
        values[key] = round(value * 100)
    if values["at_risk"] + values["hysteresis"] >= values["healthy"]:
        raise ModelError("at_risk", "[bands] at_risk + hysteresis must lie below healthy")
    return Bands(**values)


def _alert_rules(raw: Mapping[str, Any]) -> AlertRules:
    found = {}
    for key, value in raw.items():
        if key not in BOUNDS:
            raise _unknown("[alerts]", key, BOUNDS)
        scale, low, high = BOUNDS[key]
        if type(value) is not int or not low <= value <= high:
            raise ModelError(key, f"[alerts] {key} must be a whole number from {low} to {high}, not {value!r}")
        found[key] = value * scale
    return AlertRules(**found)


def _population_rules(raw: Mapping[str, Any]) -> PopulationRules:
    for key in raw:
        if key not in ("peers", "without"):
            raise _unknown("[population]", key, ("peers", "without"))
    peers = raw.get("peers", "")
    if not isinstance(peers, str) or (peers and peers not in PEERS):
        # The key's line: the value may stand anywhere, or be no text.
        wrong = _unknown("[population] peers", str(peers), PEERS)
        raise ModelError("peers", f"{wrong}; leave `peers` out to rank everybody together")
    without = _names("without", "without", raw.get("without", []))
    for name in without:
        if not name or without.count(name) > 1:
            raise ModelError("without", f"[population] without: {name!r} is empty or stands twice; drop it")
    if len(without) > MAX_WITHOUT:
        raise ModelError("without", f"[population] without has {len(without)} group types, at most {MAX_WITHOUT}")
    return PopulationRules(peers, tuple(without))
