"""Each cause of a difference is told from what was seen; what nothing explains is called so."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from reports.backfill_causes import Explain
from reports.backfill_rows import Compared, compare_rows
from reports.backfill_side import Explained, Side
from state.activity import Calibration, Member, Org
from state.trace import Event
from state.week import week_end_ms, week_number
from streams.model_file import load_model

WEEK = "2026-W40"
MIDDLE_MS = week_end_ms(week_number(WEEK), "UTC") - 3 * 86_400_000
TOLD_MS = week_end_ms(week_number(WEEK), "UTC") + 1000
MODEL = load_model("")


def row(user: str = "ann", org: str = "acme", **fields: Any) -> dict[str, Any]:
    found = {
        "subject": f"user:{org}/{user}" if user else f"org:{org}", "org": org, "user": user or None, "week": WEEK,
        "state": "final", "activities": 1, "counts": {"search": 1}, "sums": {}, "score": "10.00",
        "contributions": {"searches": "10.00"}, "calibration": 3, "attributes": {"searches": 1},
    }  # fmt: skip
    return found | fields


def rows(*found: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {f"{each['subject']}|{each['week']}": each for each in found}


def event(user: str = "ann", org: str = "acme", time_ms: int = MIDDLE_MS, outcome: str = "accepted") -> Event:
    return Event(org, user, "search", time_ms, "product-events", outcome)


def events(*found: Event) -> dict[tuple[int, int], Event]:
    return {(number, each.time_ms): each for number, each in enumerate(found)}


def explained(
    here: list[dict[str, Any]], there: list[dict[str, Any]], ours: Side, theirs: Side
) -> tuple[Compared, Explained]:
    compared = compare_rows(rows(*here), rows(*there))
    told = dict.fromkeys(rows(*there), TOLD_MS)
    return compared, Explain(ours, theirs, told, ["searches weight 4 → 5"]).explain(compared)


def side(**fields: Any) -> Side:
    return replace(Side(users={"ann", "bob"}, model=MODEL), **fields)


MORE = row(activities=2, counts={"search": 2})


def test_equal_rows_have_no_cause_and_a_row_of_nothing_is_no_difference() -> None:
    nothing = row("bob", counts={}, activities=0, score="0.00")
    found, sums = explained([row(state="restated"), nothing], [row()], side(), side())
    assert (found.equal, found.differences, sums.rows.total()) == (1, [], 0)


def test_a_late_event_is_told_by_its_log_or_by_its_letter() -> None:
    ours = side(events=events(event(), event()))
    in_log = side(events=events(event(), event(outcome="late")))
    letter = side(events=events(event()), letters={(1, MIDDLE_MS): "too_late"})
    for theirs in (in_log, letter):
        found, sums = explained([MORE], [row()], ours, theirs)
        assert found.differences[0].causes == ["late"] and sums.events["late"] == 1


def test_a_message_that_one_side_refused_is_told_with_its_reason() -> None:
    ours = side(events=events(event(), event()))
    theirs = side(events=events(event()), letters={(1, MIDDLE_MS): "bad_time"})
    found, _ = explained([MORE], [row()], ours, theirs)
    assert found.differences[0].causes == ["refused"] and "bad_time" in found.differences[0].why[0]


def test_who_is_counted_elsewhere_or_waits_is_the_directorys_doing() -> None:
    ours = side(events=events(event(), event()))
    for theirs in (
        side(events=events(event(), event(org="other"))),
        side(events=events(event()), waiting=frozenset({(1, MIDDLE_MS)})),
        side(events=events(event()), corrected=frozenset({"acme"})),
    ):
        assert explained([MORE], [row()], ours, theirs)[0].differences[0].causes == ["directory"]


def test_a_user_who_is_gone_is_told_on_both_of_the_rows_that_differ() -> None:
    gone = row("zoe")
    by_alias = row("zoe@acme.example")
    theirs = side(events=events(event("zoe")), members={("acme", "zoe"): [(0, Member("acme", "zoe", True, ""))]})
    ours = side(events=events(event("zoe@acme.example")))
    found, _ = explained([by_alias], [gone], ours, theirs)
    assert [each.causes for each in found.differences] == [["deleted"], ["deleted"]]


def test_messages_that_one_side_never_had_are_counted_by_source_and_day() -> None:
    for mine, other, ours, theirs, cause in (
        ([row()], [MORE], side(events=events(event())), side(events=events(event(), event())), "missing here"),
        ([MORE], [row()], side(events=events(event(), event())), side(events=events(event())), "missing there"),
    ):
        found, sums = explained(mine, other, ours, theirs)
        assert found.differences[0].causes == [cause]
        assert dict(sums.days) == {(cause, "product-events", "2026-10-02"): 1}


def test_what_the_live_log_no_longer_holds_is_not_called_missing() -> None:
    theirs = side(events=events(event()), known_from_ms=MIDDLE_MS + 1)
    found, _ = explained([MORE], [row()], side(events=events(event(), event())), theirs)
    assert found.differences[0].causes == ["no longer known"]


def test_an_event_counts_in_another_week_of_another_zone() -> None:
    edge = event(time_ms=week_end_ms(week_number(WEEK), "UTC") - 1000)
    tokyo, utc = {"acme": [(0, Org("acme", "", "Asia/Tokyo", ""))]}, {"acme": [(0, Org("acme", "", "UTC", ""))]}
    ours, theirs = side(events=events(event(), edge), orgs=tokyo), side(events=events(event(), edge), orgs=utc)
    found, _ = explained([row()], [MORE], ours, theirs)
    assert found.differences[0].causes == ["time zone"]


def test_a_week_that_is_not_over_on_one_side_is_told() -> None:
    found, _ = explained([row(state="provisional")], [row()], side(), side())
    assert found.differences[0].causes == ["provisional"]


def test_a_licence_that_changed_after_the_row_was_told_explains_the_orgs_score() -> None:
    then, now = Member("acme", "ann", True, ""), Member("acme", "ann", False, "")
    theirs = side(members={("acme", "ann"): [(0, then), (TOLD_MS + 5, now)]})
    ours = side(members={("acme", "ann"): [(TOLD_MS + 9, now)]})
    head = row("", score_licensed="10.00")
    found, _ = explained([row("", score_licensed=None)], [head], ours, theirs)
    assert found.differences[0].causes == ["directory"] and "no licence now" in found.differences[0].why[0]
    unchanged = side(members={("acme", "ann"): [(0, now)]})
    found, _ = explained([row("", score_licensed=None)], [head], ours, unchanged)
    assert found.differences[0].causes == ["unexplained"]


def test_another_model_is_told_with_what_differs() -> None:
    ours = side(model=replace(MODEL, attributes=MODEL.attributes[1:]))
    found, _ = explained([row(score="11.00")], [row()], ours, side())
    assert found.differences[0].causes == ["model"] and "weight 4 → 5" in found.differences[0].why[0]


def test_a_week_that_was_closed_before_the_model_was_changed_is_another_models() -> None:
    found, _ = explained([row(score="11.00")], [row()], side(), side(former_model_until_ms=TOLD_MS))
    assert found.differences[0].causes == ["model"] and "earlier model" in found.differences[0].why[0]


def test_other_cut_points_explain_only_what_they_are_of() -> None:
    changed = row(score="11.00", contributions={"searches": "11.00"})
    here, there = (
        Calibration(3, 0, {"searches": [2], "logins": [1]}),
        Calibration(3, 0, {"searches": [1], "logins": [1]}),
    )
    found, _ = explained([changed], [row()], side(cuts={3: here}), side(cuts={3: there}))
    assert found.differences[0].causes == ["cut points"] and "searches" in found.differences[0].why[0]
    other = Calibration(3, 0, {"searches": [2], "logins": [2]})  # not of what moved
    found, _ = explained([changed], [row()], side(cuts={3: here}), side(cuts={3: other}))
    assert found.differences[0].causes == ["unexplained"]


def test_a_share_of_the_org_follows_what_others_did_and_the_org_follows_its_users() -> None:
    mine = [MORE, row("bob", score="9.00"), row("", counts={"search": 3})]
    other = [row(), row("bob"), row("", counts={"search": 2})]
    ours = side(events=events(event(), event(), event("bob")))
    theirs = side(events=events(event(), event(outcome="late"), event("bob")))
    found, _ = explained(mine, other, ours, theirs)
    assert {each.user: each.causes for each in found.differences} == {"": ["late"], "ann": ["late"], "bob": ["late"]}


def test_what_the_events_do_not_add_up_to_stays_unexplained() -> None:
    many = row(activities=5, counts={"search": 5})
    ours, theirs = side(events=events(event(), event())), side(events=events(event(), event(outcome="late")))
    found, _ = explained([many], [row()], ours, theirs)
    assert found.differences[0].causes == ["late", "unexplained"]
    assert "+3 more" in found.differences[0].why[1]


def test_replies_follow_from_the_messages_that_differ() -> None:
    mine = row(counts={"search": 2, "reply_given": 1}, replies=1)
    ours, theirs = side(events=events(event(), event())), side(events=events(event(), event(outcome="late")))
    assert explained([mine], [row(replies=0)], ours, theirs)[0].differences[0].causes == ["late"]
