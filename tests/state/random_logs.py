"""Random logs of the `activities` topic, from a seed.

Invariant: a seed gives the same log on every machine.
"""

from __future__ import annotations

import random

from state.activity import Calibration, Member, Org, Record, Tick
from tests.state.worlds import DAY, HOUR, TEN, Act, at, attribute, model_of, rows_of

START = at("2024-03-27T12:00")  # a Wednesday; Berlin's clocks change on Sunday
ZONES = ("UTC", "Europe/Berlin", "Asia/Kolkata", "America/New_York", "Pacific/Auckland")
ORGS = ("a", "b", "c")
USERS = ("ann", "bob", "cat", "dan")
MEASURES = ("search", "search", "search", "export", "alert_received", "message", "message", "syslog", "no such measure")

MODEL = model_of(
    attribute("searches", "count", 2, measures=["search"]),
    attribute("exported", "sum", 5, measures=["export"]),
    attribute("features", "distinct", 4),
    attribute("recency", "recency_hours", 1, cuts=[-90, -80, -70, -60, -50, -40, -30, -20, -10]),
    attribute("days", "days_active", 3),
    attribute("share", "share_of_org", 2, cuts=[n * 1000 for n in TEN]),
    attribute("own", "ratio", 2, measures=["search"], against=["alert_received"], missing="reweight"),
)
LIMITS = {"allowed_lateness_hours": 21 * 24, "reply_horizon_hours": 20 * 24, "max_open_messages": 60}


def random_act(rng: random.Random, now_ms: int, back_hours: int, number: int) -> Act:
    """Return an activity of the last *back_hours* before *now_ms*."""
    org, time_ms = rng.choice(ORGS), now_ms - rng.randrange(back_hours * HOUR)
    if rng.random() < 0.15:
        kind = rng.choice(("transaction", "transaction", "transaction_other"))
        return Act(org, "", kind, time_ms, number, rng.randrange(-5000, 9000), 1 + rng.randrange(12))
    measure = rng.choice(MEASURES)
    amount = rng.randrange(1000) if measure == "export" else 0
    ref = 1000 + rng.randrange(number) if measure == "message" and rng.random() < 0.6 else 0
    return Act(org, rng.choice(USERS), measure, time_ms, 1000 + number, amount, ref)


def random_log(seed: int, records: int = 40) -> list[Record]:
    """Return rows in and out of order, some of them twice or too late, ticks, members, zones and cut points."""
    rng = random.Random(seed)
    log: list[Record] = [Org(org, "", rng.choice(ZONES), "") for org in ORGS if rng.random() < 0.7]
    now, number, round_ = START, 1, 0
    sent: list[Act] = []
    for _ in range(records):
        kind = rng.choices(("rows", "tick", "member", "org", "cuts"), (10, 6, 2, 2, 1))[0]
        if kind == "rows":
            now += rng.choice((0, HOUR // 3, HOUR, 9 * HOUR, DAY, 3 * DAY))
            acts = []
            for _ in range(rng.randrange(1, 12)):
                acts.append(random_act(rng, now, rng.choice((1, 1, 24, 200, 600)), number))
                number += 1
            acts += rng.sample(sent, min(len(sent), rng.randrange(3)))
            sent += acts
            log.append(rows_of(acts, number * 10, rng.choice(("product-events", "chat-messages")), rng.randrange(2)))
        elif kind == "tick":
            round_ += rng.random() < 0.5
            log.append(Tick(rng.choice((0, now)), round_))
        elif kind == "member":
            org, user = rng.choice(ORGS), rng.choice((*USERS, "idle"))
            log.append(Member(org, user, rng.random() < 0.8, "", gone=rng.random() < 0.2))
        elif kind == "org":
            log.append(Org(rng.choice(ORGS), "Name", rng.choice(ZONES), "SMB", gone=rng.random() < 0.1))
        else:
            cuts = sorted(rng.randrange(1, 50) for _ in range(9))
            log.append(Calibration(rng.randrange(1, 9), 100, {"searches": cuts, "unknown": cuts}))
    return [*log, Tick(now, round_ + 1)]
