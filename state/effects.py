"""What a shard has to say after a tick.

Owns the shapes of everything that leaves the pure core. Scores and
contributions are basis points (1/10,000). Invariant: values are absolute, so
saying them twice does no harm.
"""

from __future__ import annotations

import msgspec


class UserScore(msgspec.Struct, array_like=True, tag="u"):
    """A user's health. `previous` and `changes` compare with the last closed calendar week."""

    org: str
    user: str
    score: int
    previous: int | None
    band: str
    former_band: str
    coverage: int
    contributions: list[int]
    changes: list[int] | None
    window_end_ms: int
    calibration: int
    first_week: bool
    split: list[int] | None = None
    """What the change since the last week's close is made of (see `state.change.CAUSES`)."""
    recent: list[int] = []
    """Closing scores of the last weeks, oldest first; -1 = none."""
    trend: int | None = None
    """Basis points a week."""
    peers: str = ""
    """Whose deciles it is ranked by (see `state.peers.CutPoints.label`)."""


class GroupScore(msgspec.Struct, array_like=True):
    """Scores of some of an org's users, as an org's own: None = no such score."""

    score_active: int | None
    score_licensed: int | None
    score_median: int | None
    active_users: int
    licensed_users: int


class OrgScore(msgspec.Struct, array_like=True, tag="o"):
    """An org's health. None = no such score (no active user, no licensed user)."""

    org: str
    name: str
    group_type: str
    score_active: int | None
    score_licensed: int | None
    score_median: int | None
    previous: int | None
    band: str
    former_band: str
    active_users: int
    licensed_users: int
    activities: int
    transactions_count: int
    transactions_cents: int
    contributions: list[int]
    changes: list[int] | None
    window_end_ms: int
    calibration: int
    alert_since_ms: int = 0
    """Since when an episode of alerts is open; 0 = none is."""
    split: list[int] | None = None
    """What the change of the mean over active users is made of (see `state.change.CAUSES`)."""
    recent: list[int] = []
    trend: int | None = None
    movers: list[tuple[str, int]] = []
    """Users who moved that mean most since the last week's close, and by how much."""
    by_job_type: dict[str, GroupScore] = {}
    """Of users with a job type; the largest first."""
    peers: str = ""
    """Whose deciles all of its users are ranked by; empty = not all by the same."""


class Alert(msgspec.Struct, array_like=True, tag="a"):
    """The last episode of an org (see `state.alerts`); scores are basis points, times event time."""

    org: str
    name: str
    kind: str
    rule: str
    fingerprint: str
    since_ms: int
    until_ms: int
    """When it was resolved; 0 = it is open."""
    origin: int
    """Score at the last week's close before it."""
    score: int
    acknowledged_by: str
    muted_until_ms: int
    causes: OrgScore | None
    """The org's score at the moment, where the episode begins or ends now."""
    needed: int = 0
    """The fall that was needed; 0 = told before this was said."""


CellFigures = tuple[float | None, int, int, int, float | None, int]
"""Of an hour of the week: quantile of the waits for every reply (ms, None = none), replies, messages, how many of them
were answered, quantile of the waits for the first reply (ms), how many were answered within the target."""


class LatencyMap(msgspec.Struct, array_like=True, tag="l"):
    """An org's latency by hour of the week over the rolling period."""

    org: str
    timezone: str
    period: str
    quantile: float
    cells: dict[int, CellFigures]
    target_ms: int = 0
    lines: list[str] = []
    """What can be looked at apart (see `state.lines`)."""
    months: list[str] = []
    """Months (UTC; of all orgs together each one's own) in which anything happened."""
    whole: CellFigures = (None, 0, 0, 0, None, 0)
    """The same of all hours together."""


class LatencyMonth(msgspec.Struct, array_like=True, tag="lm"):
    """One month of an org's lines, as bytes that `state.waits.Waits.load` reads; the month is in UTC."""

    org: str
    month: str
    lines: dict[str, bytes]


class ChatCounts(msgspec.Struct, array_like=True, tag="h"):
    """An org's chat over the last days; no windows = there is nothing to tell any more."""

    org: str
    timezone: str
    since_ms: int
    """What is older is not counted."""
    updated_ms: int
    """The watermark that it holds as of."""
    online: int | None
    """None = not known: the newest sample is too old."""
    online_at_ms: int
    """Time of the newest sample; 0 = there is none."""
    last_message_ms: int
    messages: int
    windows: list[tuple[int, int, int | None]]
    """Number of ten minutes since the epoch, messages, online (None = no sample); those in which something was."""
    people: list[tuple[str, str, int]]
    """User, display name (empty = none), messages; most messages first."""
    people_left_out: int


class WeekRow(msgspec.Struct, array_like=True, tag="w"):
    """One calendar week of one subject (`user` empty = the org); state is provisional, final or restated."""

    org: str
    user: str
    week: str
    state: str
    counts: dict[str, int]
    sums: dict[str, int]
    activities: int
    active_users: int
    score: int | None
    """At the close, from the week itself; of an org the mean over active users. None = none, or the week is open."""
    contributions: dict[str, int] | None
    """None too for weeks that were closed by another model, which keep their scores."""
    calibration: int | None = None
    """Generation of the cut points of the close."""
    attributes: list[int | None] | None = None
    """A user's attribute values before ranking, in the order of the model; None = no data. Empty: was not active."""
    score_licensed: int | None = None
    score_median: int | None = None


class GroupTotal(msgspec.Struct, array_like=True):
    """Orgs of one group type, their users, and exact sums of these users' scores (basis points)."""

    orgs: int = 0
    active_users: int = 0
    licensed_users: int = 0
    active_points: int = 0
    licensed_points: int = 0


Values = dict[str, tuple[list[int], list[int]]]
"""Attribute → ascending distinct values, and how many users have each."""


class Summary(msgspec.Struct, array_like=True, tag="s"):
    """One partition's share of the population."""

    partition: int
    round: int
    users_active: int
    users_by_band: dict[str, int]
    orgs: int
    values: Values
    grids: dict[int, dict[str, bytes]]
    """Latency of all its orgs together: month → line → `WeekGrid.dump`, of months that changed since the last one."""
    watermark_ms: int = -1
    """Up to when the partition had counted; 0 = nothing ever happened there, -1 = made before this was said."""
    model: str = ""
    """Of which shadow model; empty = the live one."""
    peers: str = ""
    """What makes users peers; empty = there are no groups."""
    groups: dict[str, tuple[int, Values]] = {}
    """Peer group → how many users are active, and their values."""
    by_group_type: dict[str, GroupTotal] = {}
    """Of all orgs, those left out of the population too."""
    orgs_left_out: int = 0
    """Orgs that are not in the population."""


class Gone(msgspec.Struct, array_like=True, tag="x"):
    """A user of whom nothing is left: all they did turned out to be somebody else's."""

    org: str
    user: str


TOO_LATE, TOO_MANY = "too_late", "too_many_users"
"""Why a shard refuses activities: beyond its allowed lateness; by a user too many that the directory doesn't know."""


class Late(msgspec.Struct, array_like=True, tag="d"):
    """Source offsets whose event was not applied: it came after its week was closed for good, or there was no room."""

    topic: str
    partition: int
    offsets: list[int]
    reason: str = TOO_LATE
    """TOO_LATE or TOO_MANY."""


class Gap(msgspec.Struct, array_like=True, tag="g"):
    """Activities of a source partition that did not reach their shard (*missing* > 0) or reached it again (< 0)."""

    topic: str
    partition: int
    first_offset: int
    """Source offset of the record at which it was seen."""
    missing: int


Effect = UserScore | OrgScore | Alert | LatencyMap | LatencyMonth | ChatCounts | WeekRow | Summary | Late | Gap | Gone
