"""Which orgs a list shows, in which order, and which part of it.

Invariant: pure; the same lines and choice give the same page, and every org is on exactly one page.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from agents.page.problems import bad_request
from agents.wording import difference, points_lost
from streams.published_decode import BANDS
from streams.published_index import OrgLine

PER_PAGE, MOST_PER_PAGE = 50, 100
MOST_TEXT = 200
MOST_PAGES = 10_000
_BAND_ORDER = {"at_risk": 0, "watch": 1, "healthy": 2}
_LAST = Decimal(10**9)
SORTS: dict[str, tuple[str, Callable[[OrgLine], tuple[Any, ...]]]] = {
    "risk": ("at risk first", lambda o: (_BAND_ORDER.get(o.band, 3), -points_lost(o))),
    "score": ("lowest score first", lambda o: (_LAST if o.score_active is None else o.score_active,)),
    "change": ("fell most first", lambda o: (_or_last(difference(o.score_active, o.previous)),)),
    "users": ("most seats first", lambda o: (-max(o.active_users or 0, o.licensed_users or 0),)),
    "name": ("by name", lambda o: (o.name.casefold(),)),
}
"""Order → what it is called, and the key; an org's id decides between equal ones."""


@dataclass(frozen=True, slots=True)
class Part:
    """A stretch of a list."""

    page: int = 1
    per_page: int = PER_PAGE

    @property
    def skip(self) -> int:
        """How many come before it."""
        return (self.page - 1) * self.per_page

    def pages(self, found: int) -> int:
        """Return how many there are of *found* entries, at least one."""
        return max(1, -(-found // self.per_page))


@dataclass(frozen=True, slots=True)
class Choice:
    """Which orgs are wanted; an empty text = any."""

    band: str = ""
    group_type: str = ""
    text: str = ""
    sort: str = "risk"
    part: Part = Part()


def choose(lines: Sequence[OrgLine], choice: Choice) -> list[OrgLine]:
    """Return those that are wanted, in order, of all pages."""
    text = choice.text.casefold()
    found = [
        line
        for line in lines
        if choice.band in ("", line.band)
        and choice.group_type in ("", line.group_type)
        and (not text or text in line.name.casefold() or text in line.org.casefold())
    ]
    key = SORTS[choice.sort][1]
    return sorted(found, key=lambda line: (*key(line), line.org))


def group_types(lines: Sequence[OrgLine]) -> list[str]:
    """Return the group types there are."""
    return sorted({line.group_type for line in lines if line.group_type})


def choice_of(query: Mapping[str, str], *, strict: bool) -> Choice:
    """Return what a query asks for; empty parameters count as not given.

    Raises:
        ProblemError: If a parameter can't be; *strict*: or is not known.
    """
    known(query, ("band", "group_type", "q", "sort", "page", "per_page"), strict=strict)
    band, sort = query.get("band", ""), query.get("sort") or "risk"
    if band and band not in BANDS:
        raise bad_request(f'band is "{shown(band)}", must be one of {", ".join(BANDS)}')
    if sort not in SORTS:
        raise bad_request(f'sort is "{shown(sort)}", must be one of {", ".join(SORTS)}')
    texts = {name: query.get(name, "").strip() for name in ("group_type", "q")}
    for name, text in texts.items():
        if len(text) > MOST_TEXT:
            raise bad_request(f"{name} has {len(text)} characters, at most {MOST_TEXT} are allowed")
    return Choice(band, texts["group_type"], texts["q"], sort, part_of(query))


def part_of(query: Mapping[str, str]) -> Part:
    """Return which part of a list a query asks for.

    Raises:
        ProblemError: If a number can't be.
    """
    return Part(_number(query, "page", 1, MOST_PAGES), _number(query, "per_page", PER_PAGE, MOST_PER_PAGE))


def known(query: Mapping[str, str], names: Sequence[str], *, strict: bool) -> None:
    """Refuse parameters that do not exist, if *strict*.

    Raises:
        ProblemError: If there is one.
    """
    unknown = [name for name in query if name not in names]
    if strict and unknown:
        allowed = f"there are {', '.join(names)}" if names else "there is none here"
        raise bad_request(f'no parameter "{shown(unknown[0])}": {allowed}')


def shown(text: str) -> str:
    """Return the beginning of a text that somebody sent, to be said again."""
    return text if len(text) <= 40 else text[:39] + "…"


def _number(query: Mapping[str, str], name: str, default: int, most: int) -> int:
    text = query.get(name, "")
    if not text:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 9 and 1 <= int(text) <= most):
        raise bad_request(f'{name} is "{shown(text)}", must be a whole number from 1 to {most}')
    return int(text)


def _or_last(value: Decimal | None) -> Decimal:
    return _LAST if value is None else value
