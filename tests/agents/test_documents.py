"""What leaves orgpulse is spelled alike everywhere, and adds up."""

from __future__ import annotations

from decimal import Decimal

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.documents import Documents, fence_of, percent
from state.effects import LatencyMap, OrgScore, UserScore, WeekRow
from tests.agents.by_hand import TOPICS
from tests.state.worlds import HOUR, at, attribute, examples, model_of

MODEL = model_of(
    attribute("searches", "count", 3, measures=["search"]),
    attribute("days", "days_active", 2),
    attribute("features", "distinct", 5),
)
DOCUMENTS = Documents(MODEL, TOPICS, 3, min_count=5)
END = at("2024-03-04T11:00")


def user(parts: list[int], changes: list[int] | None = None, **fields: object) -> UserScore:
    previous = None if changes is None else sum(parts) - sum(changes)
    right = {
        "org": "a",
        "user": "ann",
        "score": sum(parts),
        "previous": previous,
        "band": "healthy",
        "former_band": "healthy",
        "coverage": 9876,
        "contributions": parts,
        "changes": changes,
        "window_end_ms": END,
        "calibration": 4,
        "first_week": False,
    }
    return UserScore(**(right | fields))


def org(**fields: object) -> OrgScore:
    right = {
        "org": "a",
        "name": "Acme",
        "group_type": "SMB",
        "score_active": 5000,
        "score_licensed": 2500,
        "score_median": 4000,
        "previous": None,
        "band": "healthy",
        "former_band": "healthy",
        "active_users": 2,
        "licensed_users": 4,
        "activities": 9,
        "transactions_count": 1,
        "transactions_cents": -250,
        "contributions": [3000, 2000, 0],
        "changes": None,
        "window_end_ms": END,
        "calibration": 4,
    }
    return OrgScore(**(right | fields))


@examples(300)
@given(st.integers(-20_000, 20_000))
def test_a_basis_point_is_exactly_a_hundredth_of_a_percent(points: int) -> None:
    assert Decimal(percent(points)) * 100 == points
    assert percent(points) == f"{Decimal(points) / 100:.2f}".replace("-0.00", "0.00")


@examples(100)
@given(st.integers(0, 9999), st.integers(0, 10**15 - 1), st.integers(0, 9999), st.integers(0, 10**15 - 1))
def test_fences_sort_as_text_like_generation_and_position(g1: int, p1: int, g2: int, p2: int) -> None:
    assert (fence_of(g1, p1) < fence_of(g2, p2)) == ((g1, p1) < (g2, p2))


numbers = st.lists(st.integers(0, 3000), min_size=3, max_size=3)


@examples(100)
@given(numbers, st.none() | st.lists(st.integers(-3000, 3000), min_size=3, max_size=3))
def test_reasons_add_up_to_the_score_and_its_change(parts: list[int], changes: list[int] | None) -> None:
    found = user(parts, changes)
    _, write = DOCUMENTS.user(found, 9, 0)
    reasons = orjson.loads(write.fields["reasons"])
    assert sum(Decimal(r["points"]) for r in reasons) == Decimal(write.fields["score"])
    if changes is not None:
        change = Decimal(write.fields["score"]) - Decimal(write.fields["previous"])
        assert sum(Decimal(r["change"]) for r in reasons) == change
    else:
        assert write.fields["previous"] == "" and all("change" not in r for r in reasons)
    moved = [bool(p or c) for p, c in zip(parts, changes or [0] * 3, strict=True)]
    names = ["searches", "days", "features"]
    assert [r["attribute"] for r in reasons] == [n for n, m in zip(names, moved, strict=True) if m]
    of = {"searches": "30.00", "days": "20.00", "features": "50.00"}
    assert all(r["of"] == of[r["attribute"]] for r in reasons)


def test_kafka_and_redis_say_the_same() -> None:
    for sent, write in (DOCUMENTS.user(user([1, 2, 3]), 77, 2), DOCUMENTS.org(org(), 77, 2)):
        document = orjson.loads(sent.value)
        assert sent.key == document.pop("subject").encode()
        assert document == write.fields
        assert (sent.topic, sent.partition, write.partition) == (TOPICS.scores, 2, 2)
        assert write.fence == write.fields["fence"] == fence_of(3, 77)


def test_a_users_document() -> None:
    sent, write = DOCUMENTS.user(user([3000, 1500, 1], first_week=True), 5, 1)
    assert sent.key == b"user:a/ann"
    assert write.key == "user:{a}:ann"
    expected = {"score": "45.01", "band": "healthy", "coverage": "0.9876", "window_end": "2024-03-04T11:00:00Z"}
    assert write.fields.items() >= (expected | {"calibration": "4", "first_week": "1", "schema": "1"}).items()
    assert write.ranks == (("org:{a}:users:by-score", "ann", 45.01),)


def test_missing_scores_are_empty_and_not_zero() -> None:
    _, write = DOCUMENTS.org(org(score_active=None, score_licensed=None, score_median=None, licensed_users=0), 5, 1)
    names = ("score_active", "score_licensed", "score_median", "previous", "coverage")
    assert [write.fields[n] for n in names] == [""] * 5
    assert write.ranks == (("orgs:by-score", "a", None),)


def test_seat_coverage_never_exceeds_one() -> None:
    assert DOCUMENTS.org(org(), 5, 1)[1].fields["coverage"] == "0.5000"
    assert DOCUMENTS.org(org(active_users=9), 5, 1)[1].fields["coverage"] == "1.0000"


@pytest.mark.parametrize(
    ("former", "band", "cause"),
    [("", "healthy", None), ("watch", "watch", None), ("healthy", "watch", "drop"), ("at_risk", "watch", "rise")],
)
def test_a_change_of_band_is_told_with_its_cause(former: str, band: str, cause: str | None) -> None:
    _, write = DOCUMENTS.user(user([1, 2, 3], [1, 1, 1], band=band, former_band=former), 5, 1)
    if cause is None:
        assert write.change is None
    else:
        assert write.change is not None
        expected = {"subject": "user:a/ann", "from": former, "to": band, "cause": cause, "score": "0.06"}
        assert write.change.items() >= expected.items()


def test_a_latency_cell_with_few_replies_has_no_figure() -> None:
    cells = {
        0: (1500.4, 5, 9, 3, 900.0, 2),
        167: (90_000.0, 4, 4, 4, 9.0, 1),
        20: (None, 0, 7, 0, None, 0),
    }
    write = DOCUMENTS.latency(LatencyMap("a", "UTC", "2024-01/2024-03", 0.8, cells), 5, 1)
    assert write.key == "latency:{a}"
    assert write.fields["mon-00"] == "1.500"
    assert (write.fields["mon-00:first"], write.fields["mon-00:within"]) == ("0.900", "2")
    assert not {"sun-23", "sun-23:first"} & write.fields.keys()
    assert "sun-23" not in write.fields and "mon-20" not in write.fields
    counts = {"mon-00:n": "5", "sun-23:n": "4", "mon-20:messages": "7", "mon-20:answered": "0", "timezone": "UTC"}
    assert write.fields.items() >= counts.items()


def test_fifty_hours_are_180_000_seconds() -> None:
    write = DOCUMENTS.latency(LatencyMap("a", "UTC", "p", 0.8, {9: (50.0 * HOUR, 5, 5, 5, 50.0 * HOUR, 0)}), 5, 1)
    assert write.fields["mon-09"] == "180000.000"


def test_a_weeks_row_names_its_subject_and_keeps_zero_apart_from_nothing() -> None:
    row = WeekRow("a", "", "2024-W10", "final", {"transaction": 2}, {"transaction": 500}, 0, 0, None, None)
    sent = DOCUMENTS.week(row, 1)
    assert (sent.topic, sent.key) == (TOPICS.weeks, b"org:a|2024-W10")
    document = orjson.loads(sent.value)
    expected = {"user": None, "score": None, "contributions": None, "transactions_count": 2, "transactions_cents": 500}
    assert document.items() >= expected.items()
    user_row = WeekRow("a", "ann", "2024-W10", "final", {"search": 1}, {}, 1, 1, 0, {"days": 5}, 7, [5, None, 0])
    document = orjson.loads(DOCUMENTS.week(user_row, 1).value)
    names = [a.name for a in MODEL.attributes]
    expected = {"subject": "user:a/ann", "user": "ann", "score": "0.00", "contributions": {"days": "0.05"}}
    expected |= {"calibration": 7, "attributes": {names[0]: 5, names[2]: 0}, "score_median": None}
    assert document.items() >= expected.items()


def test_an_attributes_name_with_quotes_is_still_json() -> None:
    model = model_of(attribute('say "hi"\\', "days_active"))
    _, write = Documents(model, TOPICS, 0, 1).user(user([5], [1]), 1, 0)
    assert orjson.loads(write.fields["reasons"])[0]["attribute"] == 'say "hi"\\'


def test_a_document_told_again_has_the_changes_that_redis_may_lack_and_none_of_its_own() -> None:
    write = DOCUMENTS.again(user([3000, 2000, 0], [1000, 0, 0], band="watch", former_band="healthy"), 7, 0)
    assert write.change is None and write.missed is not None
    assert {former: (entry["from"], entry["to"], entry["cause"]) for former, entry in write.missed.items()} == {
        "at_risk": ("at_risk", "watch", "rise"),
        "healthy": ("healthy", "watch", "drop"),
    }
    assert DOCUMENTS.again(org(score_active=None, band="", former_band=""), 7, 0).missed is None


@pytest.mark.parametrize(
    ("active", "licensed", "why"),
    [(0, 4, "only idle seats"), (0, 0, "nobody licensed or active"), (2, 4, ""), (2, 0, "")],
)
def test_an_org_that_scores_nothing_says_why(active: int, licensed: int, why: str) -> None:
    assert DOCUMENTS.org(org(active_users=active, licensed_users=licensed), 1, 1)[1].fields["why"] == why
