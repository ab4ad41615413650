"""The dashboard *Accounts*: which orgs are well, which slip, who uses the seats they pay for."""

from __future__ import annotations

from grafana_foundation_sdk.builders import table

from deploy.grafana import accounts_seats
from deploy.grafana.ask import COUNT, NO_ORGS, NO_WORKER, ORG_COLUMN, change, score
from deploy.grafana.board import Board, Row
from deploy.grafana.colours import (
    BAND_STEPS,
    alarm,
    diverging,
    reversed_steps,
)
from deploy.grafana.panels import Ask, Says, coloured_by, figure, lines, rows, unit_of
from deploy.grafana.shapes import joined, listed

_POINTS = "suffix:points"
_NOT_YET = "Prometheus has no scores that far back"
_THRESHOLD = "scalar(max(orgpulse_churn_threshold_ratio))"
_ALERT = "max by (org) (orgpulse_org_alert_since_timestamp_seconds)"
_MOVED = reversed_steps(diverging(1, 3, 10))


_FIGURES = Row(
    "Now",
    4,
    [
        figure(
            5,
            Says(
                "Orgs at risk",
                "Orgs whose score is below the churn threshold, of those with series of their own."
                " Click a name in the list below for the reasons.",
                "short",
                NO_ORGS,
            ),
            f"count({score()} < {_THRESHOLD}) or 0 * count({score()})",
            alarm(1),
        ),
        figure(
            5,
            Says(
                "Open alerts",
                "Orgs that fell by what their own users did and have not recovered, in all partitions."
                " `orgpulse alerts list` names all of them, also those without series of their own.",
                "short",
                NO_WORKER,
            ),
            "sum(max by (partition) (orgpulse_alerts_open))",
            alarm(1),
        ),
        figure(
            5,
            Says(
                "Alerts",
                "Whether falls are told now. Held: a source is missing for everybody, or a backlog is worked off, so a"
                " fall would say nothing about the org; see Pipeline, input that is missing.",
                "bool",
                NO_WORKER,
            ),
            "max(orgpulse_alerts_held)",
            alarm(1),
            texts={"0": "told", "1": "held"},
        ),
        figure(
            5,
            Says(
                "Users at risk",
                "Share of all active users in the lowest band. It rises with single orgs; if it rises alone, look at"
                " Pipeline first: missing events lower everybody.",
                "percentunit",
                "No user has a score yet",
            ),
            '(sum(orgpulse_users_by_band{band="at_risk"}) or 0 * sum(orgpulse_users_by_band))'
            " / sum(orgpulse_users_by_band)",
            decimals=1,
        ),
        figure(
            4,
            Says(
                "Orgs not shown here",
                "Orgs without series of their own: only the most active ones have them, or those that `[metrics] orgs`"
                " names. The page knows all; `[metrics] org_limit` raises the number.",
                "short",
                NO_WORKER,
            ),
            "sum(orgpulse_orgs_left_out)",
        ),
    ],
)

_SCORES = Row(
    "Accounts",
    11,
    [
        rows(
            14,
            Says(
                "Orgs by score",
                "The lowest first. Score: mean over active users; seats: mean over licensed seats, idle ones count"
                " nothing; blue = healthy, orange = watch, vermilion = at risk, by the edges of the model that ships."
                " The name leads to the reasons.",
                "percentunit",
                NO_ORGS,
            ),
            score(),
            change("1w"),
            score("licensed"),
            score("median"),
            'max by (org) (orgpulse_org_active_users{org!="other"})',
            'max by (org) (orgpulse_org_activities{org!="other"})',
            transformations=joined(
                {
                    "org": "Org",
                    "Value #A": "Score",
                    "Value #B": "In a week",
                    "Value #C": "Seats",
                    "Value #D": "Median",
                    "Value #E": "Active users",
                    "Value #F": "Activities",
                },
                "Value #A",
            ),
            overrides={
                "Org": ORG_COLUMN,
                "Score": coloured_by(BAND_STEPS),
                "In a week": [*coloured_by(_MOVED), unit_of(_POINTS)],
                "Active users": COUNT,
                "Activities": COUNT,
            },
            decimals=1,
        ),
        rows(
            10,
            Says(
                "Open alerts",
                "Orgs that fell by their own users' doing, the newest first, and since when (event time)."
                " The name leads to the causes; `orgpulse alerts ack ORG` says that somebody sees to it.",
                "dateTimeFromNow",
                "No open alert",
            ),
            f"1000 * {_ALERT}",
            f"({score()}) and on (org) {_ALERT}",
            f"({change('1w')}) and on (org) {_ALERT}",
            transformations=joined(
                {"org": "Org", "Value #A": "Since", "Value #B": "Score", "Value #C": "In a week"},
                "Value #A",
                descending=True,
            ),
            overrides={
                "Org": ORG_COLUMN,
                "Score": [*coloured_by(BAND_STEPS), unit_of("percentunit")],
                "In a week": [*coloured_by(_MOVED), unit_of(_POINTS)],
            },
            decimals=1,
        ),
    ],
)


def _movers(span: str, offset: str) -> table.Panel:
    """Return the orgs that moved most in *span*, up or down."""
    title = f"Change in {span}"
    return rows(
        6,
        Says(
            f"Biggest movers in {span}",
            f"The ten orgs whose score changed most in {span}, in points of 100: orange = fell, blue = rose."
            " The name leads to the causes. All of them at once: new cut points or missing input, see Pipeline.",
            _POINTS,
            _NOT_YET,
        ),
        f"({change(offset)}) and topk(10, abs({change(offset)}))",
        transformations=listed({"org": "Org", "Value": title}, "Value"),
        overrides={"Org": ORG_COLUMN, title: coloured_by(_MOVED)},
        decimals=1,
    )


_MOVERS = Row(
    "What moved",
    9,
    [
        _movers("a day", "1d"),
        _movers("a week", "1w"),
        lines(
            12,
            Says(
                "The ten lowest scores over time",
                "Orgs that are lowest at the end of the time shown; dashed: below it an org is at risk."
                " One line that bends is an org; all of them at once is the model or the input.",
                "percentunit",
                NO_ORGS,
            ),
            Ask(f"{score()} and on (org) bottomk(10, {score(when='@ end()')})", "{{org}}"),
            Ask("max(orgpulse_churn_threshold_ratio)", "at risk below"),
            low=0,
            high=1,
        ),
    ],
)

BOARD = Board(
    name="accounts",
    title="orgpulse: Accounts",
    description="Which orgs are well, which slip, and who uses the seats they pay for.",
    rows=(_FIGURES, _SCORES, _MOVERS, accounts_seats.USERS, accounts_seats.GROUPS),
    since="now-7d",
)
