"""The lower half of the dashboard *Accounts*: users by band, seats in use, group types."""

from __future__ import annotations

from deploy.grafana.ask import COUNT, NO_ORGS, ORG_COLUMN, group, score
from deploy.grafana.board import Row
from deploy.grafana.colours import BAND_COLOURS, BAND_STEPS, BLUE, ORANGE, VERMILION, Steps
from deploy.grafana.panels import Ask, Says, coloured_by, lines, rows, unit_of
from deploy.grafana.shapes import joined

_SEATS: Steps = ((None, VERMILION), (0.25, ORANGE), (0.5, BLUE))

USERS = Row(
    "Users and seats",
    9,
    [
        lines(
            12,
            Says(
                "Users by band",
                "Active users of all orgs by the band of their score, one on the other. A growing vermilion layer is"
                " worth a look at the movers. For seconds, while a partition changes hands, some count twice.",
                "short",
                "No user has a score yet",
            ),
            Ask("sum by (band) (orgpulse_users_by_band)", "{{band}}"),
            colours=BAND_COLOURS,
            stacked=True,
            low=0,
        ),
        rows(
            12,
            Says(
                "Seats in use",
                "What is left of an org's score when idle seats count as nothing, the least first: 100 % = every"
                " licensed seat is active. A high score on few seats is an account that may want fewer of them.",
                "percentunit",
                NO_ORGS,
            ),
            f"{score('licensed')} / {score()}",
            score(),
            score("licensed"),
            'max by (org) (orgpulse_org_active_users{org!="other"})',
            transformations=joined(
                {
                    "org": "Org",
                    "Value #A": "Seats in use",
                    "Value #B": "Score of the active",
                    "Value #C": "Score of all seats",
                    "Value #D": "Active users",
                },
                "Value #A",
            ),
            overrides={
                "Org": ORG_COLUMN,
                "Seats in use": coloured_by(_SEATS),
                "Score of the active": coloured_by(BAND_STEPS),
                "Score of all seats": coloured_by(BAND_STEPS),
                "Active users": COUNT,
            },
            decimals=1,
        ),
    ],
)

GROUPS = Row(
    "Group types",
    8,
    [
        rows(
            8,
            Says(
                "Group types now",
                "Users of all orgs of a group type, and the mean of their scores: of the active, and of all licensed"
                " seats. The wider the two lie apart, the more seats are idle.",
                "percentunit",
                "No group type has a score yet",
            ),
            group("health_ratio", "active"),
            group("health_ratio", "licensed"),
            group("users", "active"),
            group("users", "licensed"),
            transformations=joined(
                {
                    "group_type": "Group type",
                    "Value #A": "Active",
                    "Value #B": "All seats",
                    "Value #C": "Active users",
                    "Value #D": "Seats",
                },
                "group_type",
            ),
            overrides={
                "Group type": [unit_of("string")],
                "Active": coloured_by(BAND_STEPS),
                "All seats": coloured_by(BAND_STEPS),
                "Active users": COUNT,
                "Seats": COUNT,
            },
        ),
        lines(
            8,
            Says(
                "Score of group types over time",
                "Mean over the active users of a group type. One that falls alone: a change of product or price for"
                " it.",
                "percentunit",
                "No group type has a score yet",
            ),
            Ask(group("health_ratio", "active"), "{{group_type}}"),
            low=0,
        ),
        lines(
            8,
            Says(
                "Licensed seats in use, by group type",
                "Active users over licensed users. Above 100 %: people without a licence are active.",
                "percentunit",
                "No group type has users yet",
            ),
            Ask(f"{group('users', 'active')} / {group('users', 'licensed')}", "{{group_type}}"),
            low=0,
        ),
    ],
)
