"""Owns the settings of how much an installation, or a tenant of one, may take in: default, limits, meaning.

Invariant: like `streams.settings_wire`; docs/settings.md and orgpulse.example.toml are made from here.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta


class QuotaSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How much may be taken in; beyond it messages wait in Kafka. A tenant's stand in `[tenants.NAME]` itself."""

    events_per_second: Annotated[
        int,
        Meta(
            ge=0,
            le=1000000000,
            description="Raw messages that all workers together take a second; each has the share of its partitions. "
            "What is above waits in Kafka. For `listen`: what one such process takes over HTTP, 429 above it. "
            "0: no limit.",
        ),
    ] = 0
    bytes_per_second: Annotated[
        int,
        Meta(
            ge=0,
            le=1000000000000,
            description="The same in bytes of keys and values; `orgpulse acl kafka` makes a quota of producers of it "
            "too. 0: no limit.",
        ),
    ] = 0
    burst_seconds: Annotated[
        float,
        Meta(gt=0, le=3600, description="So many seconds' worth may come at once after as long a pause."),
    ] = 10.0
