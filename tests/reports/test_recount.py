"""Small examples counted by hand, so that the recount and the system can't share one misunderstanding.

The rolling week ends on Wednesday 2024-03-20 at 12:30 UTC: its running hour is 12:00, its first one is
Wednesday 2024-03-13 12:00.
"""

from __future__ import annotations

import json
from typing import Any

import pandas as pd
import pytest

from reports.recount import Options, Raw, Recount, recount
from reports.recount_latency import WHOLE_WEEK
from reports.recount_score import cut_points

AS_OF = "2024-03-20T12:30:00Z"
MODEL: dict[str, Any] = {
    "bands": {"healthy": 40, "at_risk": 20, "hysteresis": 2},
    "measures": {
        "search": {"events": ["Search"], "feature": True},
        "train": {"events": ["Train"], "feature": True},
        "alert": {"events": ["Alert"], "passive": True},
        "made": {"events": ["Made"]},
        "upload": {"events": ["Upload"], "summed": True},
        "login": {"actions": ["login"]},
    },
    "attributes": [
        {"name": "searches", "kind": "count", "weight": 1, "measures": ["search"], "cuts": list(range(1, 10))},
        {"name": "trained", "kind": "boolean", "weight": 2, "measures": ["train"]},
        {"name": "latency", "kind": "mean", "weight": 3, "measures": ["reply_given"], "missing": "reweight",
         "cuts": [-9000, -8000, -7000, -6000, -5000, -4000, -3000, -2000, -1000]},
    ],
}  # fmt: skip


def ms(text: str) -> int:
    return int(pd.Timestamp(text).timestamp() * 1000)


class World:
    """Collects raw messages; offsets count up, in order of arrival."""

    def __init__(self) -> None:
        self.raw: list[Raw] = []

    def put(self, topic: str, fields: Any, key: str = "", *, value: bytes | None = None) -> World:
        value = json.dumps(fields).encode() if value is None and fields is not None else value
        self.raw.append((topic, 0, len(self.raw), key.encode(), value, ms(AS_OF) + len(self.raw)))
        return self

    def user(self, user: str, org: str, **more: Any) -> World:
        return self.put("users", {"user_id": user, "org_id": org, **more}, user)

    def org(self, org: str, **more: Any) -> World:
        return self.put("orgs", {"org_id": org, **more}, org)

    def event(self, who: str, name: str, time: str = "2024-03-20T10:00:00Z", **more: Any) -> World:
        return self.put("product-events", {"name": name, "distinct_id": who, "time": time, **more})

    def chat(self, id_: str, who: str, time: str, parent: str | None = None, org: str = "acme") -> World:
        fields = {"message_id": id_, "author": who, "time": time, "channel": "c", "org_id": org}
        return self.put("chat-messages", fields | ({"in_reply_to": parent} if parent else {}))

    def trade(self, id_: str, amount: Any, status: str, time: str = "2024-03-19T09:00:00Z") -> World:
        fields = {"transaction_id": id_, "org_id": "acme", "amount": amount, "status": status, "time": time}
        return self.put("transactions", fields)

    def count(self, population: dict[str, Any] | None = None, **options: Any) -> Recount:
        return recount(self.raw, MODEL | {"population": population or {}}, ms(AS_OF), Options(**options))


def ledger(found: Recount, topic: str) -> dict[str, int]:
    """Return the outcomes of a topic that happened at all."""
    row: dict[str, int] = found.ledger.loc[(topic, 0)].to_dict()
    return {name: number for name, number in row.items() if number}


def test_a_score_is_the_weighted_mean_of_its_attributes() -> None:
    world = World().user("ann", "acme")
    for number in range(3):
        world.event("ann", "Search", event_id=f"s{number}")
    world.event("ann", "Train")
    found = world.count()
    # Three searches reach the cut points 1, 2 and 3: 0.3, weight 1; trained: 1, weight 2. No reply: its weight of 3
    # is left out. (1 · 3000 + 2 · 10000) / 3 = 7666.67, of which 1000 + 6666.67.
    assert found.users.loc[("acme", "ann"), "score"] == 7666
    assert found.contributions.loc[("acme", "ann")].to_dict() == {"searches": 1000, "trained": 6666, "latency": 0}
    assert found.users.loc[("acme", "ann"), "coverage"] == 3 * 10_000 // 6
    assert not found.calibrated


def test_rounding_leftovers_go_to_the_largest_remainder() -> None:
    model = {"measures": MODEL["measures"], "attributes": [
        {"name": name, "kind": "boolean", "weight": 1, "measures": [m]}
        for name, m in (("a", "search"), ("b", "train"), ("c", "upload"))
    ]}  # fmt: skip
    world = World().user("ann", "acme").event("ann", "Search").event("ann", "Train")
    found = recount(world.raw, model, ms(AS_OF))
    # 20000 / 3 = 6666; each of two parts is 3333.33: equal remainders, so the earlier attribute has the rest.
    assert found.users.loc[("acme", "ann"), "score"] == 6666
    assert found.contributions.loc[("acme", "ann")].tolist() == [3333, 3333, 0]
    three = recount(world.event("ann", "Search", "2024-03-20T11:00:00Z").raw, MODEL, ms(AS_OF))
    assert three.contributions.loc[("acme", "ann")].sum() == three.users.loc[("acme", "ann"), "score"]


def test_a_repeated_id_counts_once() -> None:
    world = World().user("ann", "acme")
    world.event("ann", "Search", event_id="e").event("ann", "Search", event_id="e")
    world.event("ann", "Search").event("ann", "Search")  # without an id: the same bytes are the same event
    found = world.count()
    assert found.users.loc[("acme", "ann"), "activities"] == 2
    assert ledger(found, "product-events") == {"consumed": 4, "accepted": 2, "duplicate": 2}


def test_the_same_id_in_two_orgs_is_two_events() -> None:
    world = World().user("ann", "acme").user("bob", "beta")
    world.event("ann", "Search", event_id="e").event("bob", "Search", event_id="e")
    assert ledger(world.count(), "product-events") == {"consumed": 2, "accepted": 2}


def test_ghosts_the_system_and_bots_are_set_apart() -> None:
    world = World().user("ann", "acme").user("robot", "acme", bot=True)
    said = {"org": "acme", "created": "2024-03-20T10:00:00Z", "action": "login"}
    world.put("syslog-activities", said | {"id": 1, "userid": "ann", "ghost": 1})
    world.put("syslog-activities", said | {"id": 2, "userid": 0, "org": 0})
    world.put("syslog-activities", said | {"id": 3, "userid": "robot"})
    world.put("syslog-activities", said | {"id": 4, "userid": "ann"})
    found = world.count()
    assert ledger(found, "syslog-activities") == {
        "consumed": 4, "accepted": 1, "ghost": 1, "system": 1, "bot": 1,
    }  # fmt: skip
    assert found.orgs.loc["acme"][["activities", "licensed_users"]].tolist() == [1, 1]
    assert "0" not in found.orgs.index


def test_lines_of_both_syslog_forms_say_the_same() -> None:
    world = World()
    data = b'[a@1 id="1" org="acme" userid="ann" ghost="0" action="login"]'
    world.put("syslog-activities", None, value=b"<134>1 2024-03-20T10:00:00Z h p 1 - " + data + b" x")
    world.put("syslog-activities", None, value=b"<134>Mar 20 11:00:00 h p[1]: org=acme userid=ann action=login id=2")
    world.put("syslog-activities", None, value=b"<134>Mar 20 11:30:00 h p[1]: org=acme userid=ann action=login id=2")
    found = world.count()
    assert found.users.loc[("acme", "ann"), "activities"] == 2
    assert ledger(found, "syslog-activities")["duplicate"] == 1


def test_an_unknown_person_waits_until_the_directory_learns_the_alias() -> None:
    world = World().user("ann", "acme").event("Ann@New.example", "Search", event_id="e")
    assert ledger(world.count(), "product-events") == {"consumed": 1, "waiting": 1}
    found = world.user("ann", "acme", aliases=["ann@new.EXAMPLE"]).count()
    assert ledger(found, "product-events") == {"consumed": 1, "accepted": 1}
    assert found.users.index.tolist() == [("acme", "ann")]


def test_unknown_authors_of_chat_become_users_of_the_named_org() -> None:
    found = World().chat("m", "Zed@Example.org", "2024-03-20T10:00:00Z").count()
    assert found.users.index.tolist() == [("acme", "zed@example.org")]
    assert found.orgs.loc["acme", "licensed_users"] == 1  # unlisted: a seat while active


def test_a_later_status_takes_a_transaction_back_out() -> None:
    world = World().org("acme").trade("1", "10.50", "A").trade("2", 20, "A").trade("3", "-4.25", "A")
    world.trade("4", "99", "D").trade("2", 20, "V").trade("5", "1", "P").trade("5", "1", "A")
    world.trade("1", "10.50", "V", "2024-03-18T09:00:00Z")  # earlier by its own time: no news
    found = world.count()
    assert found.orgs.loc["acme", "transactions_count"] == 3
    assert found.orgs.loc["acme", "transactions_cents"] == 1050 - 425 + 100


def test_bad_money_is_refused() -> None:
    world = World().org("acme").trade("1", "0.001", "A").trade("2", "x", "A").trade("3", True, "A")
    assert ledger(world.count(), "transactions") == {
        "consumed": 3, "dead_lettered": 3, "dead:bad_amount": 1, "dead:wrong_type": 2,
    }  # fmt: skip


def test_idle_seats_lower_the_licensed_score_alone() -> None:
    world = World().user("ann", "acme").user("bob", "acme").user("cy", "acme", licensed=False).user("di", "acme")
    world.put("users", None, "di")  # gone
    found = world.event("ann", "Train").event("cy", "Search").event("di", "Train").count()
    # ann: 2·10000/3 = 6666, cy: 1·1000/3 = 333. Seats: ann and bob.
    org = found.orgs.loc["acme"]
    assert org[["score_active", "score_licensed", "score_median"]].tolist() == [6999 // 2, 6666 // 2, 6999 // 2]
    assert org[["active_users", "licensed_users"]].tolist() == [2, 2]
    assert ("acme", "bob") not in found.users.index  # never did anything: no score of his own
    assert found.org_contributions.loc["acme"].sum() == 6999 // 2


def test_an_org_with_idle_seats_only_scores_zero_and_one_without_seats_has_no_score() -> None:
    found = World().org("empty").user("ann", "idle").count()
    assert found.orgs.loc["idle"][["score_active", "score_licensed", "score_median"]].tolist() == [0, 0, 0]
    assert found.orgs.loc["empty"][["score_active", "score_licensed"]].isna().all()


def test_passive_measures_make_nobody_active() -> None:
    found = World().user("ann", "acme").event("ann", "Alert").count()
    assert found.users.loc[("acme", "ann")][["score", "activities", "active"]].tolist() == [0, 0, False]
    assert found.orgs.loc["acme", "active_users"] == 0


@pytest.mark.parametrize(
    ("time", "counts"),
    [("2024-03-13T12:00:00Z", 1), ("2024-03-13T11:59:59Z", 0), ("2024-03-20T12:29:00Z", 1)],
)
def test_the_week_is_168_whole_hours_and_the_running_one(time: str, counts: int) -> None:
    found = World().user("ann", "acme").event("ann", "Search", time).count()
    assert found.users.loc[("acme", "ann"), "activities"] == counts


def test_a_reply_may_arrive_before_its_parent_and_counts_in_the_parents_hour() -> None:
    world = World().org("acme", timezone="Asia/Kolkata")
    world.chat("r", "bob", "2024-03-19T03:45:00Z", "m")
    world.chat("m", "ann", "2024-03-18T18:20:00Z")  # Monday 23:50 in India, five and a half hours east
    world.chat("self", "ann", "2024-03-18T18:30:00Z", "m").chat("early", "cy", "2024-03-18T18:19:00Z", "m")
    cell = World.count(world).latency.loc[("acme", 23)]
    # Only bob's reply measures: 9 h 25 min. Monday 23h holds m and early (23:49); self is Tuesday 00:00.
    assert cell["latency_ms"] == (9 * 60 + 25) * 60_000
    assert cell[["replies", "messages", "answered"]].tolist() == [1, 2, 1]
    assert world.count().latency.loc[("acme", 24), "messages"] == 1


def test_days_count_in_full_and_p80_lies_between_neighbours() -> None:
    world = World()
    for number, hours in enumerate((50, 10, 20, 30)):
        at = pd.Timestamp("2024-03-11T09:00:00Z") + pd.Timedelta(hours=hours)
        world.chat(f"m{number}", "ann", "2024-03-11T09:00:00Z")
        world.chat(f"r{number}", "bob", at.isoformat(), f"m{number}")
    cell = world.count().latency.loc[("acme", 9)]
    # 10, 20, 30, 50 hours: place 3 · 0.8 = 2.4 lies between 30 and 50.
    assert cell["latency_ms"] == pytest.approx(38 * 3_600_000)
    assert cell[["replies", "answered"]].tolist() == [4, 4]


def test_two_replies_to_one_message_answer_it_once() -> None:
    world = World().chat("m", "ann", "2024-03-19T09:00:00Z")
    world.chat("r1", "bob", "2024-03-19T09:10:00Z", "m").chat("r2", "cy", "2024-03-19T09:20:00Z", "m")
    assert world.count().latency.loc[("acme", 33)][["replies", "messages", "answered"]].tolist() == [2, 3, 1]


def test_the_hour_that_summer_time_skips_stays_empty() -> None:
    world = World().org("acme", timezone="America/New_York")
    # On Sunday 2024-03-10 clocks went from 02:00 to 03:00, at 07:00 UTC.
    world.chat("a", "ann", "2024-03-10T06:59:00Z").chat("b", "ann", "2024-03-10T07:00:00Z")
    hours = world.count().latency.loc["acme"]["messages"].to_dict()
    assert hours == {6 * 24 + 1: 1, 6 * 24 + 3: 1, WHOLE_WEEK: 2}


def test_a_week_begins_on_monday_in_the_zone_of_the_org() -> None:
    world = World().org("acme", timezone="Asia/Kathmandu").user("ann", "acme")  # 5 h 45 min east
    world.event("ann", "Search", "2024-03-17T18:14:59Z").event("ann", "Search", "2024-03-17T18:15:00Z")
    world.trade("1", "2.00", "A", "2024-03-17T18:15:00Z")
    weeks = world.count().weeks
    assert weeks.loc[("acme", "2024-W11")].tolist() == [1, 1, 0, 0]
    assert weeks.loc[("acme", "2024-W12")].tolist() == [1, 1, 1, 200]


def test_what_is_older_than_the_lateness_of_its_partition_is_refused() -> None:
    world = World().user("ann", "acme").event("ann", "Search").event("ann", "Search", "2024-01-24T09:00:00Z")
    assert ledger(world.count(), "product-events") == {
        "consumed": 2, "accepted": 1, "dead_lettered": 1, "dead:too_late": 1,
    }  # fmt: skip


def test_times_are_told_apart_by_size() -> None:
    world = World().user("ann", "acme")
    second = ms("2024-03-20T10:00:00Z") // 1000
    for unit in (1, 1000, 1_000_000):
        world.event("ann", "Search", second * unit, event_id=str(unit))  # type: ignore[arg-type]
    assert world.count().users.loc[("acme", "ann"), "activities"] == 3


def test_ranks_come_from_the_population_once_it_is_large_enough() -> None:
    world = World()
    for number in range(10):
        world.user(f"u{number}", "acme")
        for event in range(number + 1):
            world.event(f"u{number}", "Search", event_id=f"{number}-{event}")
    found = world.count(min_population=10)
    # 1 … 10 searches: one user below 2, two below 3 …: the lowest has rank 0, the highest 0.9 (weight 1 of 3).
    assert found.cuts["searches"] == [2, 3, 4, 5, 6, 7, 8, 9, 10]
    assert found.users["score"].tolist() == [rank * 1000 // 3 for rank in range(10)]
    assert found.calibrated and found.population == 10


def test_equal_values_share_a_rank() -> None:
    # Four of five are equal: nobody lies below them, and four fifths below the fifth.
    assert cut_points(pd.Series([5, 5, 5, 5, 9]))[:7] == [9] * 7


def office() -> World:
    """Return four analysts with 1 … 4 searches, four traders with 5 … 8 in another org, and a cook with one."""
    world = World().org("acme", group_type="SMB").org("beta", group_type="Internal")
    for number in range(8):
        world.user(f"u{number}", "acme" if number < 4 else "beta", job_type="aaa" if number < 4 else "ttt")
        for event in range(number + 1):
            world.event(f"u{number}", "Search", event_id=f"{number}-{event}")
    world.user("cook", "acme", job_type="cook").event("cook", "Search", event_id="c")
    return world.user("idle", "acme", job_type="aaa")


def test_peers_are_ranked_among_themselves_where_there_are_enough() -> None:
    found = office().count({"peers": "job_type"}, min_population=4)
    # A quarter lies below 2, a half below 3, three quarters below 4: cuts 1 and 2, then 3 to 5, then 6 and 7.
    assert found.peers["aaa"]["searches"] == [2, 2, 3, 3, 3, 4, 4, 2**63 - 1, 2**63 - 1]
    assert found.peers["ttt"]["searches"][:3] == [6, 6, 7] and set(found.peers) == {"aaa", "ttt"}
    ranks = [found.users.loc[("acme" if n < 4 else "beta", f"u{n}"), "score"] * 3 // 1000 for n in range(8)]
    assert ranks[:4] == ranks[4:]
    assert found.users["peers"].to_dict() == {
        **{("acme", f"u{n}"): "aaa" for n in range(4)}, **{("beta", f"u{n}"): "ttt" for n in range(4, 8)},
        ("acme", "cook"): "all",
    }  # fmt: skip


def test_group_types_that_are_left_out_are_scored_but_not_counted() -> None:
    found = office().count({"without": ["Internal"]}, min_population=5)
    assert (found.population, found.population_orgs, found.calibrated) == (5, 1, True)
    assert found.cuts["searches"][0] == 2 and found.users.loc[("beta", "u7"), "score"] == 8000 // 3
    assert not office().count({"without": ["Internal"]}, min_population=6).calibrated


def test_orgs_are_scored_by_job_type_and_group_type() -> None:
    found = office().count()
    scores = {n: found.users.loc[("acme" if n < 4 else "beta", f"u{n}"), "score"] for n in range(8)}
    # By the shipped cut points 1 … 9: n searches reach n of them.
    assert [scores[n] for n in range(4)] == [1000 // 3, 2000 // 3, 1000, 4000 // 3]
    assert found.by_job_type["acme"] == {
        "aaa": {"score_active": (333 + 666 + 1000 + 1333) // 4, "score_licensed": 3332 // 5, "score_median": 833,
                "active_users": 4, "licensed_users": 5},
        "cook": {"score_active": 333, "score_licensed": 333, "score_median": 333, "active_users": 1,
                 "licensed_users": 1},
    }  # fmt: skip
    assert found.by_group_type["SMB"] == {
        "orgs": 1, "active_users": 5, "licensed_users": 6, "score_active": 3665 // 5, "score_licensed": 3665 // 6,
    }  # fmt: skip
    assert World().user("ann", "acme").event("ann", "Search").count().by_group_type == {}
