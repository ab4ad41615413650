"""The dashboard *Hours*: at which hours of the week people wait for an answer, and where that changed."""

from __future__ import annotations

from grafana_foundation_sdk.builders import table

from deploy.grafana import hours_orgs
from deploy.grafana.ask import DIFFERENCE
from deploy.grafana.board import Board, Row, org_variable
from deploy.grafana.colours import LATENCY_STEPS, Steps
from deploy.grafana.panels import Ask, Property, Says, figure, lines, property_of, rows
from deploy.grafana.shapes import matrix

_CELL = 'max by (weekday, hour) (orgpulse_reply_latency_seconds{org="$org"})'
_WHOLE = 'max(orgpulse_org_reply_latency_seconds{org="$org"})'
# Every hour and weekday that anybody has a cell for, so that maps of different orgs have the same rows and columns.
_EMPTY_CELLS = "NaN * max by (weekday, hour) (orgpulse_reply_latency_seconds)"
_NO_MAP = "No reply has been measured for this org"
_NOT_YET = "Prometheus has no map of this org that far back"
_HOURS = "By hour of the week, in the org's own time zone, over the last months that `[latency] rolling_months` says."
_DAY_COLUMN: dict[str, list[Property]] = {
    "Day": [
        property_of("custom.cellOptions", {"type": "auto"}),
        property_of("custom.width", 70),
        property_of("unit", "string"),
    ]
}


def _before(weeks: int) -> str:
    return f'max by (weekday, hour) (orgpulse_reply_latency_seconds{{org="$org"}} offset {weeks}w)'


def _mean_before(weeks: int) -> str:
    """Return the mean of a cell one, two, … *weeks* weeks ago, of those that Prometheus has."""
    told = " or ".join(f'label_replace({_before(ago)}, "ago", "{ago}", "", "")' for ago in range(1, weeks + 1))
    return f"avg by (weekday, hour) ({told})"


def _with_empty_cells(expr: str) -> str:
    return f"({expr}) or {_EMPTY_CELLS}"


def _week_of(org: str) -> str:
    """Return p80 over the replies of the rolling week. Of all orgs together every worker shows those of its own."""
    replies = f'orgpulse_org_week_replies{{org="{org}", org'
    return f'histogram_quantile(0.8, max by (le) ({replies}!="all"}}) or sum by (le) ({replies}="all"}}))'


def _map(says: Says, cell: str, steps: Steps) -> table.Panel:
    """Return *cell* as a table of days and hours, coloured by *steps*."""
    return rows(
        24,
        says,
        _with_empty_cells(cell),
        transformations=matrix("weekday", "hour", "Day"),
        overrides=_DAY_COLUMN,
        steps=steps,
        coloured=True,
        decimals=1,
    )


_FIGURES = Row(
    "Now: $org",
    4,
    [
        figure(
            6,
            Says(
                "Waiting for an answer, p80",
                "Four of five answered messages were answered within this time. "
                + _HOURS
                + " Long: see below at which hours, and who is there then.",
                "s",
                _NO_MAP,
            ),
            _WHOLE,
            LATENCY_STEPS,
        ),
        figure(
            6,
            Says(
                "Against a week ago",
                "How much longer (orange) or shorter (blue) people wait than by the map of a week ago."
                " Longer: the map of differences shows the hours.",
                "s",
                _NOT_YET,
            ),
            f'{_WHOLE} - max(orgpulse_org_reply_latency_seconds{{org="$org"}} offset 1w)',
            DIFFERENCE,
        ),
        figure(
            6,
            Says(
                "Answered",
                "Share of messages that got a reply at all. Low: people ask where nobody looks, or messages need none.",
                "percentunit",
                "No messages of this org",
            ),
            'max(orgpulse_org_answered_ratio{org="$org"})',
            decimals=1,
        ),
        figure(
            6,
            Says(
                "Answered within the target",
                "Share of messages whose first reply came within `[latency] target_minutes`."
                " Low though most are answered: answers come, but late.",
                "percentunit",
                "No messages of this org",
            ),
            'max(orgpulse_org_answered_within_target_ratio{org="$org"})',
            decimals=1,
        ),
    ],
)

_MAPS = Row(
    "Hours of the week: $org",
    13,
    [
        _map(
            Says(
                "Waiting for an answer, p80, by the hour of the message",
                _HOURS + " Dark is quick, yellow slow; empty = no reply."
                " Yellow cells are where one more person answering helps most.",
                "s",
                _NO_MAP,
            ),
            _CELL,
            LATENCY_STEPS,
        ),
        _map(
            Says(
                "Difference to a week ago",
                "The map above less the one of a week ago: orange = people wait longer now, blue = shorter, grey ="
                " within five minutes; empty = one of the two has no reply. An orange block is a shift that changed.",
                "s",
                _NOT_YET,
            ),
            f"{_CELL} - {_before(1)}",
            DIFFERENCE,
        ),
        _map(
            Says(
                "Difference to the mean of the four weeks before",
                "The map above less the mean of those of one to four weeks ago, as far as Prometheus has them; colours"
                " as above. What is orange here and was not last week is new.",
                "s",
                _NOT_YET,
            ),
            f"{_CELL} - {_mean_before(4)}",
            DIFFERENCE,
        ),
    ],
)

_TIME = Row(
    "Over time: $org",
    8,
    [
        lines(
            12,
            Says(
                "Waiting for an answer, p80 of a week, over time",
                "Replies to messages of the last seven days, at each point; and of the months that the map covers."
                " The week rising above the months: it became slower lately. With all orgs alike: look at who"
                " answers.",
                "s",
                _NO_MAP,
            ),
            Ask(_week_of("$org"), "$org, the week"),
            Ask(_WHOLE, "$org, the map's months"),
            Ask(_week_of("all"), "all orgs, the week"),
            low=0,
        ),
        lines(
            12,
            Says(
                "Answered, and within the target, over time",
                "Shares of messages. A falling upper line: more stays unanswered; a falling lower one: answers come"
                " later.",
                "percentunit",
                "No messages of this org",
            ),
            Ask('max(orgpulse_org_answered_ratio{org="$org"})', "answered"),
            Ask('max(orgpulse_org_answered_within_target_ratio{org="$org"})', "within the target"),
            low=0,
            high=1,
        ),
    ],
)

BOARD = Board(
    name="hours",
    title="orgpulse: Hours",
    description="At which hours of the week people wait for an answer, and where that changed.",
    rows=(_FIGURES, _MAPS, _TIME, hours_orgs.ORGS, hours_orgs.CHAT),
    since="now-30d",
    variables=(org_variable("orgpulse_org_reply_latency_seconds"),),
)
