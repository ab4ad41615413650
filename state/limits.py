"""How far back a shard looks and how much it keeps.

Owns the bounds that the settings give a shard. Invariant: plain values.
"""

from __future__ import annotations

from dataclasses import dataclass

NO_LIMIT = 1 << 62


@dataclass(frozen=True, slots=True)
class Limits:
    """Horizons and bounds of a shard."""

    allowed_lateness_hours: int = 1344
    max_ids: int = 4_000_000
    reply_horizon_hours: int = 731 * 24
    max_open_messages: int = 250_000
    rolling_months: int = 3
    quantile: float = 0.8
    chat_days: int = 7
    max_chat_messages: int = 2_000_000
    max_chat_samples: int = 500_000
    max_chat_people: int = 50
    target_ms: int = 4 * 3_600_000
    keep_months: int = 37
    max_lines: int = 64
    max_created_per_org: int = NO_LIMIT
    max_created: int = NO_LIMIT
