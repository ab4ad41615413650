"""What a health model is: attributes of a rolling week with their weights, bands, rules of alerts.

Owns the nouns; `kinds` computes attributes and `scoring` weighs them. Invariant: a `Model` never changes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from state.alert_rules import AlertRules
from state.measures import Catalogue
from state.population import PopulationRules

FULL = 10_000
"""Basis points in one."""
DECILES = 10

Matrix = NDArray[np.int64]
Mask = NDArray[np.bool_]
Cuts = Mapping[str, list[int]]  # attribute → 9 ascending cut points
POLICIES = ("zero", "reweight", "carry")
"""What an attribute without data does: counts as nothing, leaves its weight to the others, or is what it was last."""


@dataclass(frozen=True, slots=True)
class Attribute:
    """One aspect of a user's week. `missing` says what counts without data: one of POLICIES."""

    name: str
    label: str
    kind: str  # one of kinds.KINDS
    weight: int
    measures: tuple[int, ...] = ()
    against: tuple[int, ...] = ()
    missing: str = "zero"
    cuts: tuple[int, ...] = ()

    @property
    def is_ranked(self) -> bool:
        """Whether the value is replaced by its decile rank: only then there are cut points."""
        return bool(self.cuts)


@dataclass(frozen=True, slots=True)
class Bands:
    """Edges of the bands in basis points, and how far beyond one a subject must be to leave its band."""

    healthy: int
    at_risk: int
    hysteresis: int


BAND_NAMES = ("at_risk", "watch", "healthy")
AT_RISK = 0


@dataclass(frozen=True, slots=True)
class Model:
    """A whole health model."""

    catalogue: Catalogue
    attributes: tuple[Attribute, ...]
    bands: Bands
    alerts: AlertRules = field(default_factory=AlertRules)
    population: PopulationRules = field(default_factory=PopulationRules)

    @property
    def weights(self) -> Matrix:
        """Weights by attribute, shape (A,)."""
        return np.array([a.weight for a in self.attributes], np.int64)

    @property
    def digest(self) -> str:
        """What tells this model from every other: a digest of all that scores depend on."""
        said = repr((self.catalogue.measures, self.attributes, self.bands))
        if self.population != PopulationRules():  # models without keep the digest they had before there were any
            said += repr(self.population)
        if lasting := [(m.name, m.timing) for m in self.catalogue.measures if m.lasts]:
            said += repr(lasting)  # their amounts mean something else
        return hashlib.blake2b(said.encode(), digest_size=8).hexdigest()

    def default_cuts(self) -> dict[str, list[int]]:
        """Return the shipped cut points of the ranked attributes."""
        return {a.name: list(a.cuts) for a in self.attributes if a.is_ranked}
