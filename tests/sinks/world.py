"""A made-up stream for the sinks: weeks restated and erased, scores, events that come twice, people who change.

Invariant: the same seed makes the same records.
"""

from __future__ import annotations

import json
import random

from tests.sinks.house import Record, said, week

LABELS = [f"2026-W{number}" for number in range(36, 48)]
JOBS = ("engineer", "designer", "ops", "sales", None)


def stream(chance: random.Random, orgs: int, users: int) -> list[Record]:
    """Return records in the order in which they are sent."""
    found: list[Record] = []
    for number in range(orgs):
        org = f"o{number}"
        found.append(said("orgs", org, org_id=org, name=f"Org {number}", account_value_usd=chance.randrange(200_000)))
        for who in range(users):
            found.append(_user(chance, org, f"{org}-u{who}"))
    for label in LABELS:
        for number in range(orgs):
            org = f"o{number}"
            found.append(week(f"org:{org}", label, state="provisional", score=None, contributions=None))
            for who in range(users):
                name = f"{org}-u{who}"
                found.append(week(f"user:{org}/{name}", label, **_scored(chance)))
                found += [_event(chance, name) for _ in range(chance.randrange(3))]
                if chance.random() < 0.2:
                    found.append(_user(chance, org, name))
            found.append(week(f"org:{org}", label, **_scored(chance)))
            found.append(said("scores", f"org:{org}", subject=f"org:{org}", score_active="12.34", band="at_risk"))
            if chance.random() < 0.4:
                found.append(_late(chance, found))
    return found


def _late(chance: random.Random, found: list[Record]) -> Record:
    """Return a restatement of a row that was told, or its end."""
    topic, key, value = chance.choice([each for each in found if each[0] == "weeks" and each[2]])
    if chance.random() < 0.3:
        return topic, key, None
    row = json.loads(value or b"")
    return topic, key, json.dumps({**row, "state": "restated", **_scored(chance)}).encode()


def _scored(chance: random.Random) -> dict[str, object]:
    score = f"{chance.randrange(10_000) / 100:.2f}"
    return {
        "score": score, "contributions": {"active_days": score}, "activities": chance.randrange(500),
        "transactions_cents": chance.randrange(10**9), "counts": {"logins": chance.randrange(50)},
    }  # fmt: skip


def _user(chance: random.Random, org: str, name: str) -> Record:
    if chance.random() < 0.05:
        return "users", name.encode(), None
    mail = f"{name.title()}@Example.ORG" if chance.random() < 0.8 else f"{name}.new@example.org"
    return said("users", name, user_id=name, org_id=org, email=mail, job_type=chance.choice(JOBS))


def _event(chance: random.Random, name: str) -> Record:
    number = chance.randrange(2000)  # some come twice, with other content
    return said(
        "product-events", f"{chance.randrange(9)}", event_id=f"e{number}", name="Search", quantity=chance.randrange(9),
        distinct_id=f"{name}@example.org", time=1_790_000_000 + number, properties={"page": chance.randrange(99)},
    )  # fmt: skip
