"""Owns simulated product events: what the kinds of users do, and the forms in which events arrive.

Invariant: names are those of the measure catalogue, except for a few that no catalogue knows.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from agents.simulate_base import ARCHETYPES, Base, Floats, Ints, Message
from agents.simulate_rhythm import iso_times, milliseconds

EVENT_NAMES = (
    "Search", "Advanced Search", "Saved Search Created", "Export", "Share", "Alert Created", "Alert Received",
    "Report Scheduled", "Report Opened", "Dashboard Viewed", "Dashboard Created", "Content Viewed", "Content Created",
    "Comment Added", "User Invited", "Settings Changed", "API Call", "Integration Added", "File Uploaded",
    "File Downloaded", "Session Started", "Mobile Session", "Help Opened", "Map Drawn", "Formula Built",
    "Model Trained", "Annotation Made", "Bulk Edit",
)  # fmt: skip
UNKNOWN_NAMES = ("Beta Button Pressed", "Legacy Ping")
_ALL_NAMES = EVENT_NAMES + UNKNOWN_NAMES
_WITH_BYTES = (EVENT_NAMES.index("File Uploaded"), EVENT_NAMES.index("File Downloaded"))
_EVERYBODY = {"Beta Button Pressed": 0.02, "Legacy Ping": 0.01}
_HABITS: dict[str, dict[str, float]] = {
    "power": dict.fromkeys(EVENT_NAMES, 1.0) | {"Search": 4, "Session Started": 4, "Content Viewed": 4, "Export": 2},
    "regular": {
        "Search": 5, "Session Started": 4, "Content Viewed": 5, "Dashboard Viewed": 3, "Report Opened": 1, "Export": 1,
        "Share": 0.7, "Comment Added": 1, "File Downloaded": 1, "File Uploaded": 0.6, "Advanced Search": 0.8,
        "Alert Received": 0.7, "Mobile Session": 0.7, "Help Opened": 0.2, "Annotation Made": 0.3, "Map Drawn": 0.1,
        "Saved Search Created": 0.2, "Content Created": 0.5,
    },
    "viewer": {"Content Viewed": 6, "Dashboard Viewed": 4, "Session Started": 3, "Search": 1, "Mobile Session": 1,
               "File Downloaded": 0.5},
    "receiver": {"Alert Received": 7, "Report Opened": 3, "Session Started": 0.5},
    "repeater": {"Search": 12, "Session Started": 1},
    "analyst": {
        "Map Drawn": 3, "Formula Built": 3, "Model Trained": 1.5, "Advanced Search": 3, "Export": 3, "Search": 3,
        "Session Started": 2, "Report Scheduled": 1, "Dashboard Created": 1, "Annotation Made": 2, "File Uploaded": 2,
        "Saved Search Created": 1, "Alert Created": 1,
    },
    "admin": {
        "User Invited": 2, "Settings Changed": 3, "Integration Added": 1, "Bulk Edit": 2, "Session Started": 3,
        "Dashboard Viewed": 2, "Report Scheduled": 1, "Alert Created": 1, "Search": 1, "API Call": 0.5,
    },
    "bot": {"API Call": 20, "File Uploaded": 1, "Export": 1},
}  # fmt: skip

Encode = Callable[[int], Message]


def _habit_table() -> Floats:
    table = np.zeros((len(ARCHETYPES), len(_ALL_NAMES)))
    for row, archetype in enumerate(ARCHETYPES):
        for name, weight in (_HABITS[archetype] | _EVERYBODY).items():
            table[row, _ALL_NAMES.index(name)] = weight
    return np.cumsum(table / table.sum(axis=1, keepdims=True), axis=1)


_CUMULATIVE_HABITS = _habit_table()


def draw_names(base: Base, rng: np.random.Generator, users: Ints) -> Ints:
    """Return what each of *users* does, as a number into the names, after their archetype's habits."""
    habits = _CUMULATIVE_HABITS[base.archetype[users]]
    drawn = (habits < rng.random(len(users))[:, None]).sum(axis=1)
    return np.asarray(np.minimum(drawn, len(_ALL_NAMES) - 1), dtype=np.int64)


def event_messages(
    base: Base, rng: np.random.Generator, users: Ints, times: Floats, ids: str, later_alias_from: float = float("inf")
) -> Encode:
    """Return what makes the message of event *i*.

    Args:
        base: The people.
        rng: Where chance comes from.
        users: Who, by event.
        times: Event time by event, epoch seconds.
        ids: Prefix of event ids; the same prefix twice makes the same ids.
        later_alias_from: From this time on, people with a new address use it.
    """
    count = len(users)
    names = draw_names(base, rng, users).tolist()
    sizes = np.minimum(rng.lognormal(13.0, 2.2, count), 4e10).astype(np.int64).tolist()
    form = rng.random(count).tolist()
    alias = rng.integers(0, 4, count).tolist()
    iso, millis, who = iso_times(times), milliseconds(times).tolist(), users.tolist()
    with_org = rng.random(count) < 0.3
    org = [f',"org_id":"{base.orgs[o].id}"' if w else "" for o, w in zip(base.org_of[users], with_org, strict=True)]

    def encode(i: int) -> Message:
        user = base.users[who[i]]
        later = user.later_email if user.later_email and millis[i] >= later_alias_from * 1000 and alias[i] < 2 else None
        alias_text = later or (user.email, user.username, user.id, user.id)[alias[i]]
        # A numeric id is sent as a number by half of the programs.
        person = alias_text if alias[i] == 3 and alias_text.isdigit() else f'"{alias_text}"'
        name, how = names[i], form[i]
        quantity = f',"quantity":{sizes[i]},"unit":"byte"' if name in _WITH_BYTES else ""
        if how < 0.3 and not quantity:
            text = (
                f'{{"event":"{_ALL_NAMES[name]}","properties":{{"distinct_id":{person},"time":{millis[i] // 1000},'
                f'"$insert_id":"{ids}{i:x}","mp_lib":"web"{org[i]}}}}}'
            )
            return Message("product-events", alias_text.encode(), text.encode())
        time = _time_text(how, iso[i], millis[i])
        event_id = f'"event_id":"{ids}{i:x}",' if how < 0.98 else ""
        project = f'"project":"p{who[i] % 7}-{who[i]}"' if quantity else f'"page":{i % 40}'
        text = (
            f'{{{event_id}"name":"{_ALL_NAMES[name]}","distinct_id":{person},"time":{time}{org[i]}{quantity},'
            f'"properties":{{{project}}}}}'
        )
        return Message("product-events", alias_text.encode(), text.encode())

    return encode


def _time_text(how: float, iso: str, millis: int) -> str:
    """Return a time in one of the forms that the contract takes."""
    if how < 0.75:
        return f'"{iso}"'
    if how < 0.88:
        return str(millis)
    if how < 0.93:
        return str(millis * 1000)
    if how < 0.97:
        return str(millis // 1000)
    return f'"{iso[:-1]}+00:00"'
