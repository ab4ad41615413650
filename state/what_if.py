"""What another model would make of the same weeks: every score under two models, side by side.

Owns the fold of one state under two models and the comparison of what comes out. Invariant: both sides see the
same weeks, each with cut points of its own, counted over the whole population.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from msgspec.structs import replace as replaced

from state.census import Census
from state.effects import OrgScore, UserScore
from state.health import Attribute, Model
from state.kinds import KINDS, single_measures
from state.limits import Limits
from state.measures import Catalogue
from state.peers import CutPoints
from state.shard import Shard
from state.telling import summary

Segments = dict[str, bytes]
_CAUSES = 3  # attributes named for each subject


@dataclass(frozen=True, slots=True)
class Moved:
    """One subject whose score would change. Basis points; causes are (attribute, change), largest first."""

    org: str
    user: str  # empty: the org itself
    before: int
    after: int
    band_before: str
    band_after: str
    causes: list[tuple[str, int]]


@dataclass(slots=True)
class Group:
    """What would become of all users, or of all orgs. Heaps hold the largest moves only."""

    changes: list[int] = field(default_factory=list)
    bands: Counter[tuple[str, str]] = field(default_factory=Counter)
    coverage: list[int] = field(default_factory=lambda: [0, 0])
    by_attribute: Counter[str] = field(default_factory=Counter)
    gains: list[tuple[int, str, Moved]] = field(default_factory=list)
    losses: list[tuple[int, str, Moved]] = field(default_factory=list)

    @property
    def band_changes(self) -> int:
        """How many would be in another band."""
        return sum(n for (before, after), n in self.bands.items() if before != after)

    def quantile(self, q: float) -> int:
        """Return the change (basis points) that a share *q* of the subjects does not exceed."""
        return int(np.quantile(self.changes, q, method="inverted_cdf")) if self.changes else 0


@dataclass(slots=True)
class Comparison:
    """Scores under two models."""

    users: Group
    orgs: Group


@dataclass(slots=True)
class Scored:
    """All partitions under one model."""

    model: Model
    shards: list[Shard]
    population: int  # active users
    is_calibrated: bool  # else too few users: default cut points
    peer_groups: list[str]  # that have cut points of their own


def translated(new: Model, live: Model) -> tuple[Model, list[str]]:
    """Return *new* over what was counted with *live*, and what it therefore can't show.

    Raises:
        ValueError: If no attribute of *new* is left.
    """
    catalogue = live.catalogue
    said = _unseen(new.catalogue, catalogue)
    flags = {m.name: m.feature for m in new.catalogue.measures}
    measures = tuple(replace(m, feature=flags.get(m.name, False)) for m in catalogue.measures)
    kept = []
    for a in new.attributes:
        if why := _why_unknown(a, new.catalogue, live):
            said.append(f"attribute {a.name} (weight {a.weight}) is left out: {why} so far")
        else:
            kept.append(_renumbered(a, new.catalogue, catalogue))
    if not kept:
        raise ValueError("no attribute of the new model can be computed from what was counted so far")
    return replace(new, catalogue=replace(catalogue, measures=measures), attributes=tuple(kept)), said


def _why_unknown(attribute: Attribute, its: Catalogue, live: Model) -> str:
    """Return why *attribute* can't be computed from what *live* keeps; empty if it can."""
    kind, measures = KINDS[attribute.kind], {m.name: m for m in live.catalogue.measures}
    names = {its.names[m] for m in (*attribute.measures, *attribute.against)}
    single = {live.catalogue.names[m] for m in single_measures(live)}
    if uncounted := names - measures.keys():
        return f"{', '.join(sorted(uncounted))} was not counted"
    if kind.of == "summed" or kind.needs_single:
        timings = {m.name: m.timing for m in its.measures}
        if otherwise := {n for n in names if measures[n].timing != timings[n]}:
            return f"{', '.join(sorted(otherwise))} had other amounts"
    if kind.of == "summed" and (unsummed := {n for n in names if not measures[n].summed}):
        return f"{', '.join(sorted(unsummed))} was not summed"
    if kind.needs_single and (unkept := names - single):
        return f"{', '.join(sorted(unkept))} was not kept amount by amount"
    return ""


def _unseen(new: Catalogue, old: Catalogue) -> list[str]:
    """Return what differs in how activities are counted: those in the log carry the measures of their time."""
    said = []
    for kind, was, now in (("event", old.by_event, new.by_event), ("action", old.by_action, new.by_action)):
        for spelled in sorted({*was, *now}):
            if was.get(spelled) != now.get(spelled):
                text = f"{kind} {spelled!r} counts as {was.get(spelled, 'other')!r} here, not as"
                said.append(f"{text} {now.get(spelled, 'other')!r}: the log holds what it counted as then")
    passive = {m.name: m.passive for m in old.measures}
    for m in new.measures:
        if m.passive != passive.get(m.name, m.passive):
            said.append(f"measure {m.name}: `passive` stays as it was: who was active is in the log")
    return said


def _renumbered(attribute: Attribute, its: Catalogue, other: Catalogue) -> Attribute:
    """Return the attribute with the numbers that its measures have in *other*."""
    measures, against = (
        tuple(other.names.index(its.names[m]) for m in side) for side in (attribute.measures, attribute.against)
    )
    return replace(attribute, measures=measures, against=against)


def scored(checkpoints: Sequence[Segments], model: Model, limits: Limits, min_population: int) -> Scored:
    """Return all partitions under *model*, which counts the measures of the checkpoints, with cut points of its own.

    Bands begin with those of the checkpoint, so hysteresis acts as it would when the model goes live.

    Raises:
        SchemaError: If a checkpoint is of other measures.
    """
    shards, census = [], Census(min_population, model.population.peers)
    for number, segments in enumerate(checkpoints):
        shard = Shard(number, model, limits)
        shard.restore(segments)
        shards.append(shard)
        census.learn(summary(shard, 0))
    found = census.calibrate()
    for shard in shards:
        if found is None:
            shard.board.cut_points = CutPoints(0, model.default_cuts())
        else:
            shard.apply(replaced(found, generation=shard.board.calibration + 1), shard.position)
        shard.board.touch_all()
        shard.board.evaluate()
    groups = [] if found is None else list(found.groups)
    return Scored(model, shards, census.users_active, found is not None, groups)


def compare(before: Scored, after: Scored, orgs: Collection[str] = (), top: int = 10) -> Comparison:
    """Return what changes from *before* to *after* for users with data and orgs with a score, only of *orgs* if given.

    Both must come of the same checkpoints.
    """
    users, companies = Group(), Group()
    names = [[a.name for a in each.model.attributes] for each in (before, after)]
    for one, other in zip(before.shards, after.shards, strict=True):
        for was, now in zip(_scores(one), _scores(other), strict=True):
            if orgs and was.org not in orgs:
                continue
            if isinstance(was, UserScore) and isinstance(now, UserScore):
                if was.coverage or now.coverage:  # who was idle has none
                    users.coverage[0] += was.coverage
                    users.coverage[1] += now.coverage
                    _count(users, was.user, (was, was.score), (now, now.score), names, top)
            elif isinstance(was, OrgScore) and isinstance(now, OrgScore):
                old, new = was.score_active, now.score_active
                if old is not None and new is not None:
                    _count(companies, "", (was, old), (now, new), names, top)
    return Comparison(users, companies)


def _scores(shard: Shard) -> Iterator[UserScore | OrgScore]:
    for piece in shard.pieces():
        for found in piece:
            if not isinstance(found, UserScore | OrgScore):
                return  # latency maps come last and have no score
            yield found


Side = tuple[UserScore | OrgScore, int]


def _count(group: Group, user: str, before: Side, after: Side, names: list[list[str]], top: int) -> None:
    (was, old), (now, new) = before, after
    change = new - old
    group.changes.append(change)
    group.bands[was.band, now.band] += 1
    causes: Counter[str] = Counter(dict(zip(names[1], now.contributions, strict=True)))
    causes.subtract(dict(zip(names[0], was.contributions, strict=True)))
    for name, points in causes.items():
        group.by_attribute[name] += points
    heap = group.gains if change > 0 else group.losses
    if change and (len(heap) < top or abs(change) > heap[0][0]):
        moved = Moved(was.org, user, old, new, was.band, now.band, _largest(causes, change))
        entry = (abs(change), f"{was.org}\x1f{user}", moved)
        (heapq.heappush if len(heap) < top else heapq.heappushpop)(heap, entry)


def _largest(causes: Counter[str], change: int) -> list[tuple[str, int]]:
    """Return the attributes that did most to *change*, in its direction."""
    sign = 1 if change > 0 else -1
    ranked = sorted(((n, p) for n, p in causes.items() if p * sign > 0), key=lambda c: (-c[1] * sign, c[0]))
    return ranked[:_CAUSES]


def largest(heap: Iterable[tuple[int, str, Moved]]) -> list[Moved]:
    """Return the moves of a heap, largest first."""
    return [moved for _, _, moved in sorted(heap, key=lambda entry: (-entry[0], entry[1]))]
