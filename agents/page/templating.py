"""Templates, and what they call: wording, addresses, moments.

Invariant: everything is escaped unless it was made here; a name that is not defined is an error, not a blank.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from pathlib import Path
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from agents import wording
from agents.page import draw
from agents.page.api import address
from agents.page.assets import Assets
from reports.short_text import plain_name, two_digits

FOLDER = Path(__file__).parent / "templates"
_DOTS = (".", "..")
"""Ids that a browser takes for steps in a path, also when they are encoded."""


def org_url(org: str) -> str:
    """Return the address of an org's page.

    >>> org_url("a/b c"), org_url("..")
    ('/orgs/a%2Fb%20c', '/subject?org=..')
    """
    return address("/subject", {"org": org}) if org in _DOTS else f"/orgs/{quote(org, safe='')}"


def user_url(org: str, user: str) -> str:
    """Return the address of a user's page."""
    if org in _DOTS or user in _DOTS:
        return address("/subject", {"org": org, "user": user})
    return f"/orgs/{quote(org, safe='')}/users/{quote(user, safe='')}"


def direction(points: Decimal | None) -> str:
    """Return the class of a change: `up`, `down` or `same`."""
    return "same" if not points else "up" if points > 0 else "down"


def utc(time: datetime | None) -> str:
    """Return a moment for the attribute of <time>."""
    return "" if time is None else time.isoformat()


def make_environment(assets: Assets) -> Environment:
    """Return the environment of all templates."""
    environment = Environment(
        loader=FileSystemLoader(FOLDER), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    environment.filters.update(
        percent=wording.percent, signed=wording.signed, number=wording.number, minute=wording.minute, utc=utc,
        age=wording.age, band=wording.band_name, rule=wording.rule_name, plain=plain_name, duration=two_digits,
        direction=direction,
    )  # fmt: skip
    environment.globals.update(
        asset=assets.address, org_url=org_url, user_url=user_url, difference=wording.difference,
        weeks_line=draw.weeks_line, main_moves=wording.main_moves, main_gaps=wording.main_gaps, address=address,
        cut_points=wording.cut_points, transactions=wording.transactions,
    )  # fmt: skip
    return environment
