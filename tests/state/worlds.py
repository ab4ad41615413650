"""Small worlds for tests of the pure core: a model, rows, and hypothesis settings.

Invariant: nothing here reads the clock or a random source, so every failure comes back.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from hypothesis import settings
from numpy.typing import NDArray

import state
from state.activity import SEPARATOR, Rows
from state.health import Model
from state.limits import Limits
from state.model import build_model
from state.packing import Packer
from state.shard import Shard
from tests.faults.extent import N

HOUR = 3_600_000
DAY = 24 * HOUR
WEEK = 7 * DAY
TEN = list(range(1, 10))


def examples(number: int) -> settings:
    """Return settings for half of *number* examples, all of them in the long form; the same ones at every run."""
    return settings(max_examples=number if N else (number + 1) // 2, derandomize=True, deadline=None)


def at(text: str) -> int:
    """Return an ISO time (UTC unless it says otherwise) in ms.

    >>> at("1970-01-01T01:00")
    3600000
    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return round(moment.timestamp() * 1000)


def shipped_model() -> Model:
    """Return the model that orgpulse ships."""
    import tomllib

    return build_model(tomllib.loads((Path(state.__path__[0]) / "health.toml").read_text("utf-8")))


def attribute(name: str, kind: str, weight: int = 1, **more: Any) -> dict[str, Any]:
    """Return an entry of a model; ranked kinds get the cuts 1 … 9."""
    plain = kind in ("ratio", "boolean")
    return {"name": name, "kind": kind, "weight": weight} | ({} if plain else {"cuts": TEN}) | more


def model_of(*attributes: dict[str, Any], **measures: dict[str, Any]) -> Model:
    """Return a model with some measures of its own."""
    own = {
        "search": {"events": ["Search"], "feature": True},
        "export": {"events": ["Export"], "feature": True, "summed": True},
        "alert_received": {"events": ["Alert received"], "passive": True},
    }
    return build_model(
        {
            "bands": {"healthy": 60, "at_risk": 30, "hysteresis": 2},
            "measures": own | measures,
            "attributes": list(attributes) or [attribute("searches", "count", measures=["search"])],
        }
    )


class Act(NamedTuple):
    """One activity as a test writes it down."""

    org: str
    user: str
    measure: str
    time_ms: int
    id: int
    amount: int = 0
    ref: int = 0
    place: str = ""


def rows_of(acts: Iterable[Act], first_offset: int = 0, topic: str = "product-events", partition: int = 0) -> Rows:
    """Return *acts* as a record of the log, one source offset after the other."""
    packer = Packer()
    for number, act in enumerate(acts):
        subject = act.org + SEPARATOR + act.user
        packer.add(subject, act.measure, act.time_ms, act.amount, act.id, act.ref, number, act.place)
    return packer.rows(topic, partition, first_offset)


def shard_of(model: Model | None = None, **limits: Any) -> Shard:
    """Return an empty shard."""
    return Shard(0, model or model_of(), Limits(**limits))


def hours_of(words: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Return active hours as rows of flags, oldest first, shape (n, 169), from bits (see `state.active_hours`)."""
    bits = np.unpackbits(np.ascontiguousarray(words.T).view(np.uint8), axis=1, bitorder="little")
    assert not bits[:, 169:].any()
    return bits[:, :169].astype(bool)
