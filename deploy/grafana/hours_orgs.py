"""The lower half of the dashboard *Hours*: all orgs side by side, and chat activity."""

from __future__ import annotations

from deploy.grafana.ask import COUNT, DIFFERENCE, ORG_COLUMN
from deploy.grafana.board import Row
from deploy.grafana.colours import LATENCY_STEPS
from deploy.grafana.panels import Ask, Says, coloured_by, lines, property_of, rows, unit_of
from deploy.grafana.shapes import joined


def _single(metric: str, offset: str = "") -> str:
    """Return a figure of each org, without the one of all together."""
    return f'max by (org) (orgpulse_org_{metric}{{org!="all"}}{offset})'


ORGS = Row(
    "All orgs",
    9,
    [
        rows(
            24,
            Says(
                "Orgs by how long people wait",
                "The slowest first. The name leads to the org's page; choose it above for its map.",
                "s",
                "No reply has been measured yet",
            ),
            _single("reply_latency_seconds"),
            f"{_single('reply_latency_seconds')} - {_single('reply_latency_seconds', ' offset 1w')}",
            _single("answered_ratio"),
            _single("answered_within_target_ratio"),
            transformations=joined(
                {
                    "org": "Org",
                    "Value #A": "Waiting, p80",
                    "Value #B": "Against a week ago",
                    "Value #C": "Answered",
                    "Value #D": "Within the target",
                },
                "Value #A",
                descending=True,
            ),
            overrides={
                "Org": ORG_COLUMN,
                "Waiting, p80": coloured_by(LATENCY_STEPS),
                "Against a week ago": coloured_by(DIFFERENCE),
                "Answered": [unit_of("percentunit")],
                "Within the target": [unit_of("percentunit")],
            },
            decimals=1,
        )
    ],
)


def _chat(metric: str) -> str:
    """Return *metric* of the chosen org; of ``all`` it is the sum over the orgs with series of their own."""
    total = f'label_replace(sum(max by (org) ({metric})), "org", "all", "", "")'
    return f'(max by (org) ({metric}) or {total}) and on (org) label_replace(vector(1), "org", "$org", "", "")'


CHAT = Row(
    "Chat: $org",
    8,
    [
        lines(
            12,
            Says(
                "Messages a minute",
                "Rate at the end of the last whole ten minutes, smoothed; of `all` the sum over the orgs shown."
                " A line that stays at nothing in working hours: the room died, or its feed did (Pipeline).",
                "short",
                "No chat of this org",
            ),
            Ask(_chat("orgpulse_chat_messages_per_minute"), "{{org}}"),
            low=0,
        ),
        lines(
            12,
            Says(
                "Members online",
                "As the last presence sample said; of `all` the sum over the orgs shown. Many online and few messages:"
                " people listen. No line: there are no samples.",
                "short",
                "No presence samples of this org",
            ),
            Ask(_chat("orgpulse_chat_online_members"), "{{org}}"),
            low=0,
        ),
        rows(
            24,
            Says(
                "Chat of all orgs",
                "The busiest first. A last message that is long ago in a room that used to be busy is worth asking"
                " about.",
                "short",
                "No chat yet",
            ),
            "max by (org) (orgpulse_chat_messages_per_minute)",
            "max by (org) (orgpulse_chat_window_messages)",
            "max by (org) (orgpulse_chat_online_members)",
            "time() - max by (org) (orgpulse_chat_last_message_timestamp_seconds)",
            transformations=joined(
                {
                    "org": "Org",
                    "Value #A": "Messages a minute",
                    "Value #B": "In the last ten minutes",
                    "Value #C": "Online",
                    "Value #D": "Since the last message",
                },
                "Value #A",
                descending=True,
            ),
            overrides={
                "Org": ORG_COLUMN,
                "In the last ten minutes": COUNT,
                "Online": COUNT,
                "Since the last message": [unit_of("s"), property_of("decimals", 0)],
            },
            decimals=2,
        ),
    ],
)
