"""Owns simulated syslog activities: JSON, RFC 5424 and RFC 3164 lines, ghosts, the system's own lines.

Invariant: every form says the same four things: when, which org, who, what.
"""

from __future__ import annotations

import numpy as np

from agents.simulate_base import Base, Floats, Ints, Message
from agents.simulate_events import Encode
from agents.simulate_rhythm import iso_times

ACTIONS = ("login", "view", "update", "create", "delete", "approve")
_SHARES = (0.3, 0.4, 0.15, 0.08, 0.04, 0.03)
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def syslog_messages(base: Base, rng: np.random.Generator, users: Ints, times: Floats, first_id: int) -> Encode:
    """Return what makes the line of activity *i* (ids count up from *first_id* in steps of two)."""
    count = len(users)
    action = rng.choice(len(ACTIONS), count, p=_SHARES).tolist()
    form, special = rng.random(count).tolist(), rng.random(count).tolist()
    iso, who = iso_times(times), users.tolist()

    def encode(i: int) -> Message:
        user = base.users[who[i]]
        org, what, when = base.orgs[user.org].id, ACTIONS[action[i]], iso[i]
        key = org.encode()
        if form[i] < 0.6:
            ghost = 1 if special[i] < 0.02 else 0
            system = special[i] > 0.97
            org_text = "0" if system else org if org.isdigit() else f'"{org}"'
            person = "0" if system else user.id if user.id.isdigit() else f'"{user.id}"'
            text = (
                f'{{"id":{first_id + 2 * i},"org":{org_text},"userid":{person},"created":"{when}","ghost":{ghost},'
                f'"action":"{what}"}}'
            )
        elif form[i] < 0.85:
            text = (
                f"<134>1 {when} app.{org}.example portal {1000 + i % 9000} ID{i % 97} "
                f'[activity@32473 id="{first_id + 2 * i}" org="{org}" userid="{user.username}" ghost="0" '
                f'action="{what}"] {what} by {user.username}'
            )
        else:
            day, clock = int(when[8:10]), when[11:19]
            text = (
                f"<134>{_MONTHS[int(when[5:7]) - 1]} {day:2d} {clock} app portal[{1000 + i % 9000}]: "
                f"org={org} userid={user.username} action={what} id={first_id + 2 * i}"
            )
        return Message("syslog-activities", key, text.encode())

    return encode
