"""Measures by hour of the week, counted by hand."""

from __future__ import annotations

from typing import Any

import pytest

from reports.recount import Recount, recount
from reports.recount_measures import LINE
from reports.recount_weeks import closed_weeks
from tests.reports.test_recount import AS_OF, World, ledger, ms

MINUTE, HOUR, YEARS_17 = 60_000, 3_600_000, 2**39
TEN = "2024-03-20T10:00:00Z"  # a Wednesday: hour 58 of the week
AT_TEN = ms(TEN)
LATENCY = [-9000, -8000, -7000, -6000, -5000, -4000, -3000, -2000, -1000]
MODEL: dict[str, Any] = {
    "bands": {"healthy": 40, "at_risk": 20, "hysteresis": 2},
    "measures": {
        "order": {"events": ["Order"], "hours": True},
        "acknowledged": {"events": ["Ack"], "hours": True, "since": "created_at", "summed": True},
        "served": {"events": ["Served"], "hours": True, "duration": "s"},
        "signup": {"events": ["Signup"], "hours": True, "time": "signed_up_at"},
        "login": {"actions": ["login"], "hours": True},
        "plain": {"events": ["Plain"]},
        "transaction": {"hours": True},
        "message": {"hours": True},
    },
    "attributes": [
        {"name": "wait", "kind": "median", "weight": 1, "measures": ["acknowledged"], "cuts": LATENCY},
        {"name": "waited", "kind": "sum", "weight": 1, "measures": ["acknowledged"], "cuts": list(range(1, 10))},
        {"name": "did", "kind": "count", "weight": 1, "measures": ["acknowledged"], "cuts": list(range(1, 10))},
    ],
}


class Office(World):
    """One org in New York, four hours behind UTC."""

    def __init__(self) -> None:
        super().__init__()
        self.org("acme", timezone="America/New_York").user("ann", "acme")

    def act(self, name: str, time: str = TEN, **more: Any) -> Office:
        fields = {"event_id": f"e{len(self.raw)}", "name": name, "distinct_id": "ann", "time": time}
        self.put("product-events", fields | more)
        return self

    def counted(self, model: dict[str, Any] = MODEL) -> Recount:
        return recount(self.raw, model, ms(AS_OF))


def lines(found: Recount, measure: str, org: str = "acme") -> dict[tuple[str, int], list[int]]:
    """Return by month and hour of the week: events, durations, firsts, within four hours, sums of all and of firsts."""
    rows, place = found.lines.to_dict("index"), (org, LINE + measure)
    return {(month, hour): list(row.values()) for (*of, month, hour), row in rows.items() if tuple(of) == place}


def dead(found: Recount) -> dict[str, int]:
    return {name[5:]: n for name, n in ledger(found, "product-events").items() if name.startswith("dead:")}


def test_an_event_counts_at_its_own_time_in_the_zone_of_its_org() -> None:
    office = Office().act("Order", quantity=7).act("Order", "2024-03-20T10:59:59.999Z").act("Plain")
    office.act("Order", "2024-03-20T11:00Z")
    expected = {("2024-03", 54): [2, 0, 0, 0, 0, 0], ("2024-03", 55): [1, 0, 0, 0, 0, 0]}
    assert lines(office.counted(), "order") == expected
    assert lines(office.counted(), "order", "all") == lines(office.counted(), "order")
    assert not lines(office.counted(), "plain")


@pytest.mark.parametrize("since", ["2024-03-18T08:00:00+00:00", AT_TEN - 50 * HOUR, (AT_TEN - 50 * HOUR) // 1000])
def test_a_duration_since_a_property_begins_there(since: Any) -> None:
    found = Office().act("Ack", properties={"created_at": since, "else": {"created_at": 1}}).counted()
    assert lines(found, "acknowledged") == {("2024-03", 4): [1, 1, 1, 0, 50 * HOUR, 50 * HOUR]}
    assert found.happened["amount"].tolist() == [50 * HOUR]
    exported = Office()
    inner = {"distinct_id": "ann", "time": TEN, "created_at": since}
    exported.put("product-events", {"event": "Ack", "properties": inner})
    assert lines(exported.counted(), "acknowledged") == lines(found, "acknowledged")


def test_a_stated_duration_begins_so_long_before_its_event() -> None:
    found = Office().act("Served", quantity=3601).act("Served", quantity=0).counted()
    assert lines(found, "served") == {
        ("2024-03", 52): [1, 1, 1, 1, 3_601_000, 3_601_000], ("2024-03", 54): [1, 1, 1, 1, 0, 0],
    }  # fmt: skip


def test_a_count_takes_place_at_the_time_in_its_property() -> None:
    office = Office().act("Signup", properties={"signed_up_at": "2021-01-01T04:30:00Z"})
    office.act("Signup", properties={"signed_up_at": AT_TEN + HOUR})
    expected = {("2020-12", 95): [1, 0, 0, 0, 0, 0], ("2024-03", 55): [1, 0, 0, 0, 0, 0]}
    assert lines(office.counted(), "signup") == expected


def test_a_negative_duration_counts_as_an_activity_and_is_in_no_hour_sum_or_median() -> None:
    office = Office().act("Ack", properties={"created_at": AT_TEN + 1}).act("Served", quantity=-5)
    for number in (3, 5, 7):
        office.act("Ack", properties={"created_at": AT_TEN - number})
    office.act("Ack", properties={"created_at": AT_TEN + 9 * HOUR * 24 * 365})
    found = office.counted()
    assert lines(found, "acknowledged") == {("2024-03", 53): [3, 3, 3, 3, 15, 15]}
    assert not lines(found, "served")
    assert found.users.loc[("acme", "ann"), "activities"] == 6
    assert ledger(found, "product-events")["accepted"] == 6
    shown = recount(office.raw, MODEL, ms("2024-03-27T12:00Z"))
    row = closed_weeks(shown, MODEL)["acme", "ann", "2024-W12"]
    assert row["sums"] == {"acknowledged": 15} and row["attributes"] == {"wait": 5, "waited": 15, "did": 5}


@pytest.mark.parametrize(
    ("name", "fields", "reason"),
    [
        ("Ack", {}, "missing_field"),
        ("Ack", {"properties": None}, "missing_field"),
        ("Ack", {"properties": {"Created_At": AT_TEN}}, "missing_field"),
        ("Ack", {"properties": {"created_at": None}}, "missing_field"),
        ("Ack", {"properties": {"created_at": True}}, "wrong_type"),
        ("Ack", {"properties": {"created_at": [AT_TEN]}}, "wrong_type"),
        ("Ack", {"properties": [1]}, "wrong_type"),
        ("Ack", {"properties": {"created_at": "yesterday"}}, "bad_time"),
        ("Ack", {"properties": {"created_at": "1999-12-31T23:59:59Z"}}, "bad_time"),
        ("Ack", {"properties": {"created_at": AT_TEN - YEARS_17}}, "bad_time"),
        ("Served", {}, "missing_field"),
        ("Served", {"quantity": True}, "wrong_type"),
        ("Served", {"quantity": 549_755_814}, "bad_quantity"),
        ("Signup", {}, "missing_field"),
        ("Signup", {"properties": {"signed_up_at": AT_TEN + HOUR + 1}}, "bad_time"),
        ("Signup", {"properties": 5}, "wrong_type"),
    ],
)
def test_what_cannot_be_told_is_refused(name: str, fields: dict[str, Any], reason: str) -> None:
    found = Office().act(name, **fields).counted()
    assert dead(found) == {reason: 1} and found.happened.empty and found.lines.empty


def test_the_longest_durations_still_count() -> None:
    office = Office().act("Ack", properties={"created_at": AT_TEN - YEARS_17 + 1}).act("Served", quantity=549_755_813)
    found = office.counted()
    assert [row[4] for row in lines(found, "acknowledged").values()] == [YEARS_17 - 1]
    assert [row[4] for row in lines(found, "served").values()] == [549_755_813_000]


def test_built_in_measures_count_where_the_model_says_so() -> None:
    office = Office()
    for number, (status, time) in enumerate((("A", "08:00"), ("A", "09:00"), ("P", "10:00"), ("A", "11:00"))):
        trade = {"transaction_id": number // 3, "org_id": "acme", "amount": 5, "time": f"2024-03-20T{time}:00Z"}
        office.put("transactions", trade | {"status": status})
    for number, time in enumerate(("08:00", "09:00")):
        office.chat(f"m{number}", "ann", f"2024-03-20T{time}:00Z")
    office.put("chat-messages", {"type": "delete", "message_id": "m0", "time": TEN, "org_id": "acme"})
    office.put("syslog-activities", {"id": 1, "org": "acme", "userid": "ann", "created": TEN, "action": "login"})
    found = office.counted()
    assert lines(found, "transaction") == {("2024-03", 55): [1, 0, 0, 0, 0, 0]}  # the other one was taken back
    # A deleted message was written all the same.
    assert lines(found, "message") == {("2024-03", 52): [1, 0, 0, 0, 0, 0], ("2024-03", 53): [1, 0, 0, 0, 0, 0]}
    assert lines(found, "login") == {("2024-03", 54): [1, 0, 0, 0, 0, 0]}
    plain = MODEL | {"measures": {name: entry for name, entry in MODEL["measures"].items() if "actions" not in entry}}
    assert set(office.counted(plain).lines.index.unique("line")) == {
        "replies/c", "measure/transaction", "measure/message",
    }  # fmt: skip


def test_hours_take_nothing_else_from_a_built_in_measure() -> None:
    office = Office().chat("m", "ann", TEN)
    office.put("transactions", {"transaction_id": 1, "org_id": "acme", "amount": 5, "status": "A", "time": TEN})
    model = MODEL | {"attributes": [{"name": "breadth", "kind": "distinct", "weight": 1, "cuts": list(range(1, 10))}]}
    found = office.counted(model)
    assert found.users.loc[("acme", "ann"), "score"] == 1000  # a message is a feature
    assert found.orgs.loc["acme", ["activities", "transactions_cents"]].tolist() == [1, 500]


def test_a_repeated_event_counts_once() -> None:
    office = Office().act("Ack", properties={"created_at": AT_TEN - 5})
    office.raw.append((*office.raw[-1][:2], 99, *office.raw[-1][3:]))
    assert lines(office.counted(), "acknowledged") == {("2024-03", 53): [1, 1, 1, 1, 5, 5]}
