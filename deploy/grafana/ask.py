"""What more than one part of a dashboard asks or shows.

Invariant: while a partition changes hands two workers may show the same org, so what is said of an org is the greater.
"""

from __future__ import annotations

from deploy.grafana.board import page_links
from deploy.grafana.colours import diverging
from deploy.grafana.panels import Property, property_of, unit_of

NO_WORKER = "No worker says"
NO_ORGS = "No org has a score yet"
RATE = "[$__rate_interval]"

DIFFERENCE = diverging(300, 3_600, 4 * 3_600)
"""Seconds that people wait longer or shorter."""
ORG_COLUMN: list[Property] = [
    property_of("links", page_links()),
    unit_of("string"),
    property_of("custom.minWidth", 140),
]

COUNT: list[Property] = [unit_of("short"), property_of("decimals", 0)]
"""What a column of whole numbers has beside others that are none."""


def score(kind: str = "active", when: str = "") -> str:
    """Ask for the score of each org, 0-1; *when* is another time than now, as Prometheus writes it."""
    return f'max by (org) (orgpulse_org_health_ratio{{kind="{kind}"}}{when and f" {when}"})'


def change(offset: str) -> str:
    """Ask how much the score of each org changed since *offset* ago, in points of 100."""
    return f"100 * ({score()} - {score(when=f'offset {offset}')})"


def group(what: str, kind: str) -> str:
    """Ask for a figure of each group type."""
    return f'max by (group_type) (orgpulse_group_{what}{{kind="{kind}"}})'


def quantile(share: float, histogram: str) -> str:
    """Ask for a quantile of a histogram over time."""
    return f"histogram_quantile({share}, sum by (le) (rate({histogram}_bucket{RATE})))"


def counted(counter: str, by: str) -> str:
    """Ask how much a counter grew within the rate interval, its first value included.

    A series with labels begins with its first value, which `increase` does not see: one dead letter would show nothing.
    """
    return f"clamp_min(sum by ({by}) ({counter} - ({counter} offset $__rate_interval or 0 * {counter})), 0)"
