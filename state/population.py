"""Who is ranked among whom: the rules, as the health model's `[population]` gives them.

Owns their defaults and bounds. Invariant: plain values.
"""

from __future__ import annotations

from dataclasses import dataclass

PEERS = ("group_type", "job_type")
"""What can make users peers: the group type of their org, or their own job type."""
MAX_WITHOUT = 32
"""Group types that can be left out of the population."""


@dataclass(frozen=True, slots=True)
class PopulationRules:
    """Whose deciles a user is ranked by."""

    peers: str = ""
    """One of PEERS: groups that are large enough have cut points of their own. Empty = everybody is one group."""
    without: tuple[str, ...] = ()
    """Group types of orgs whose users are scored, but count neither for cut points nor in totals."""
