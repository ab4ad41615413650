"""What a downstream service reads of orgpulse, as typed values.

Invariant: missing is None, never zero; every score says how old it is and whether that is too old.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
CELLS = tuple(f"{day}-{hour:02}" for day in WEEKDAYS for hour in range(24))  # index = hour of week


@dataclass(frozen=True, slots=True)
class Reason:
    """One attribute's share of a score, in points of a hundred."""

    attribute: str
    points: Decimal
    of: Decimal | None  # the most it could have given
    change: Decimal | None  # since the week before; None = not known


@dataclass(frozen=True, slots=True)
class Split:
    """What a change since the last closed week is made of, in points of a hundred; the parts add up to it."""

    own: Decimal  # the same users did otherwise
    population: Decimal  # others moved the cut points
    membership: Decimal  # of an org: other users are active or belong to it
    configuration: Decimal  # another model was loaded

    @property
    def total(self) -> Decimal:
        """The whole change."""
        return self.own + self.population + self.membership + self.configuration


@dataclass(frozen=True, slots=True)
class Mover:
    """A user, and what this user alone did to the org's mean over active users since the last closed week."""

    user: str
    change: Decimal


@dataclass(frozen=True, slots=True)
class GroupScore:
    """Scores of an org's users of one job type, like the org's own; None = no such score."""

    score_active: Decimal | None
    score_licensed: Decimal | None
    score_median: Decimal | None
    active_users: int
    licensed_users: int


@dataclass(frozen=True, slots=True)
class GroupTotals:
    """Figures over all orgs of one group type; a mean is None where there is nobody to take it of."""

    orgs: int
    active_users: int
    licensed_users: int
    score_active: Decimal | None
    score_licensed: Decimal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """What user and org scores have in common. Scores are percentages with two decimals.

    Attributes:
        split: What the change since the last closed week is made of; None = there is nothing to compare with.
        history: Scores at the close of the last eight calendar weeks, oldest first; None = no score then.
        trend: Points a week over those, from at least three scores (the median of the slopes between any two).
        peers: Whose deciles the users are ranked by: the name of a peer group, `all` or `default` (the shipped cut
            points); None = not known, or an org whose users are not all ranked by the same.
        window_end: The end of the week that the document was made of; it moves only when the document changes.
        age_seconds: How long ago this was known to hold: since the later of `window_end` and of the moment up to
            which every partition was counted (`as_of` of the totals). None = neither is known.
        stale: Whether that is longer than the reader's limit, or unknown.
    """

    previous: Decimal | None
    band: str
    coverage: float | None
    reasons: tuple[Reason, ...]
    split: Split | None
    history: tuple[Decimal | None, ...]
    trend: Decimal | None
    peers: str | None
    window_end: datetime | None
    calibration: int | None  # generation of the cut points; 0 = the shipped ones
    fence: str
    age_seconds: float | None
    stale: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class UserScore(Score):
    """A user's health. `coverage` is the share of the model's weight that had data."""

    org: str
    user: str
    score: Decimal | None
    first_week: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class OrgScore(Score):
    """An org's health, three ways. `coverage` is active over licensed users."""

    org: str
    name: str
    group_type: str | None
    score_active: Decimal | None
    score_licensed: Decimal | None
    score_median: Decimal | None
    active_users: int | None
    licensed_users: int | None
    activities: int | None
    transactions_count: int | None
    transactions_cents: int | None
    movers: tuple[Mover, ...]  # who moved it up most, then who moved it down most
    why: str  # why it scores nothing or has no score; empty when somebody is active
    alert_since: datetime | None  # since when an alert is open; None = none is
    by_job_type: Mapping[str, GroupScore]  # the one with most seats first; empty = nobody has a job type


@dataclass(frozen=True, slots=True)
class Alert:
    """The last fall of an org that was told, open or resolved."""

    org: str
    name: str
    kind: str  # raised or resolved
    rule: str  # below_threshold or fall
    fingerprint: str
    score: Decimal | None  # when it was told last
    former: Decimal | None  # at the last week's close before it
    since: datetime | None
    until: datetime | None  # None = it is open
    acknowledged_by: str | None
    muted_until: datetime | None

    @property
    def is_open(self) -> bool:
        """Whether it has not been resolved."""
        return self.kind == "raised"


@dataclass(frozen=True, slots=True)
class Cell:
    """One hour of the week. `seconds` is None below the minimum of replies; a count is None where nothing came."""

    name: str  # mon-00 … sun-23; all = the whole week
    seconds: float | None
    replies: int | None
    messages: int | None
    answered: int | None
    first_seconds: float | None = None  # the same quantile, of first replies only
    within: int | None = None  # messages whose first reply came within the map's target


@dataclass(frozen=True, slots=True)
class LatencyMap:
    """Reply latency by hour of week: 168 cells, the first is Monday 00:00 in `timezone` ("local" = each org's own)."""

    org: str
    week: tuple[Cell, ...]
    timezone: str
    period: str
    quantile: float | None
    fence: str
    whole: Cell | None = None  # all hours together
    target_seconds: int | None = None
    lines: tuple[str, ...] = ()  # channels, teams and measures that can be looked at apart (`Reader.latency_lines`)
    months: tuple[str, ...] = ()  # in which anything happened (UTC)

    @property
    def cells(self) -> dict[int, tuple[float, int]]:
        """The hours with a figure: hour of week → ``(seconds, replies)``."""
        return {
            hour: (cell.seconds, cell.replies or 0) for hour, cell in enumerate(self.week) if cell.seconds is not None
        }


@dataclass(frozen=True, slots=True)
class Totals:
    """Figures over all partitions: `users_by_band` has a band only where it was counted."""

    orgs: int | None
    users_active: int | None
    users_by_band: Mapping[str, int]
    as_of: datetime | None  # every partition with an org had counted up to here
    fence: str
    age_seconds: float | None
    stale: bool
    by_group_type: Mapping[str, GroupTotals]  # empty = no org has a group type


@dataclass(frozen=True, slots=True)
class Change:
    """One entry of the stream of changes; `fields` holds all that the entry holds."""

    id: str
    fields: Mapping[str, str]

    @property
    def at(self) -> datetime:
        """When Redis took the entry, by its own clock."""
        return datetime.fromtimestamp(int(self.id.partition("-")[0]) / 1000, UTC)

    @property
    def org(self) -> str:
        """The org it is about, or whose user."""
        return self.fields.get("subject", "").partition(":")[2].partition("/")[0]

    @property
    def user(self) -> str | None:
        """The user it is about; None = the org itself."""
        kind, _, name = self.fields.get("subject", "").partition(":")
        return name.partition("/")[2] if kind == "user" else None

    @property
    def former(self) -> str | None:
        """The band before."""
        return self.fields.get("from")

    @property
    def band(self) -> str | None:
        """The band now."""
        return self.fields.get("to")

    @property
    def cause(self) -> str | None:
        """``drop`` or ``rise``."""
        return self.fields.get("cause")

    @property
    def score(self) -> Decimal | None:
        """The score now."""
        text = self.fields.get("score")
        return Decimal(text) if text else None

    @property
    def previous(self) -> Decimal | None:
        """The score of the last closed week."""
        text = self.fields.get("previous")
        return Decimal(text) if text else None
