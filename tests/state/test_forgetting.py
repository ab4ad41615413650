"""Forgetting somebody leaves nothing of them in a shard, and nobody else's figures but shares change by it.

    records before                    records after, theirs too
────────────────────────── Forget ─────────────────────────────►  one shard
──────────────────────────────────── the same without theirs ──►  another one, which keeps what was before
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from state.activity import Correction, Forget, Member, Record, Rows, Tick, decode_record, encode_record
from state.cells import sum_by_key
from state.effects import ChatCounts, Gone, LatencyMap, OrgScore, UserScore, WeekRow
from state.forgotten import digest_of
from state.limits import Limits
from state.measures import MAX_MEASURES
from state.model import build_model
from state.packing import unpack
from state.shard import Shard
from state.week_rows import _active_users
from tests.faults.extent import times
from tests.state.random_logs import LIMITS, ORGS, START, USERS, random_log
from tests.state.worlds import DAY, HOUR, WEEK, Act, at, attribute, examples, model_of, rows_of, shard_of

ZED = "zed-8812@example.org"
"""Stands in for one of the users of random logs: a name that is found in bytes for sure."""
MODEL = model_of(
    attribute("searches", "count", 2, measures=["search"]),
    attribute("exported", "sum", 5, measures=["export"]),
    attribute("typical", "median", 3, measures=["export"], cuts=[-900, -800, -700, -600, -500, -400, -300, -200, -100]),
    attribute("recency", "recency_hours", 1, cuts=[-90, -80, -70, -60, -50, -40, -30, -20, -10]),
    attribute("days", "days_active", 3),
    attribute("own", "ratio", 2, measures=["search"], against=["alert_received"], missing="carry"),
    attribute("given", "count", 2, measures=["reply_given"]),
    attribute("received", "count", 2, measures=["reply_received"]),
)
SALT = b"0123456789abcdef"


def forget(user: str = ZED, org: str = "a", until_ms: int = at("2100-01-01")) -> Forget:
    return Forget(org, SALT, [digest_of(SALT, user)], until_ms)


def renamed(record: Record) -> Record:
    """Return *record* with bob as ZED, in every org."""
    if isinstance(record, Rows):
        return Rows(**{
            **{name: getattr(record, name) for name in record.__struct_fields__},
            "subjects": [name.replace("\x1fbob", "\x1f" + ZED) for name in record.subjects],
        })  # fmt: skip
    if isinstance(record, Member) and record.user == "bob":
        return Member(record.org, ZED, record.licensed, "trader", record.gone, display_name="Zed-8812 Person")
    return record


def without(record: Record, org: str = "a") -> Record | None:
    """Return *record* without what it says of ZED in *org*; None = nothing else."""
    if isinstance(record, Member):
        return None if (record.org, record.user) == (org, ZED) else record
    if not isinstance(record, Rows):
        return record
    columns, name = unpack(record), f"{org}\x1f{ZED}"
    acts = [
        Act(
            *record.subjects[who].split("\x1f")[:2],
            record.measures[what],
            int(time_ms),
            int(id_),
            int(amount),
            int(ref),
        )
        for who, what, time_ms, id_, amount, ref in zip(
            columns.subject, columns.measure, columns.time_ms, columns.id, columns.amount, columns.ref, strict=True
        )
        if record.subjects[who] != name
    ]
    return rows_of(acts, record.first_offset, record.topic, record.partition) if acts else None


SUMMED = [i for i, measure in enumerate(MODEL.catalogue.measures) if measure.summed]


def fresh() -> Shard:
    return Shard(0, MODEL, Limits(**LIMITS))


def of_everybody_else(shard: Shard, org: str = "a") -> dict[str, Any]:
    """Return what is known of each user but ZED of *org*, and of each org what its people did together."""
    found: dict[str, Any] = {}
    for slot, name in enumerate(shard.subjects.names):
        user = name.split("\x1f", 1)[1]
        if not user or user.startswith("\x1e") or name == f"{org}\x1f{ZED}":
            continue
        slots = np.array([slot])
        found[name] = (
            shard.week.counts_of(slots).tolist(), [int(shard.week.sum_of(m)[slot]) for m in SUMMED],
            shard.week.active_hours(slots).tolist(), int(shard.subjects.membership[slot]),
            [
                [column.tolist() for column in part]
                for week in shard.history.weeks() for part in shard.history.cells(week, slots)
            ],
            [shard.history.active_hours(week, slots).tolist() for week in shard.history.weeks()],
            [shard.history.scores_at(week, slots).tolist() for week in shard.history.weeks()],
            shard.board.score[slot], shard.board.previous[slot], shard.board.parts[slot].tolist(),
            shard.board.former_parts[slot].tolist(), shard.board.since[slot], shard.board.band[slot],
        )  # fmt: skip
    return found


def of_orgs(shard: Shard) -> dict[str, Any]:
    """Return what each org did by week, whoever it was, and its latency; by name, for slots differ."""
    found: dict[str, Any] = {}
    for week in shard.history.weeks():
        for keys, values in (shard.history.read(week)[:2], shard.history.read(week)[2:]):
            slots, measures = np.divmod(keys.astype(np.int64), MAX_MEASURES)
            orgs = shard.subjects.org_of[slots].astype(np.int64)
            cells, sums = sum_by_key((orgs * MAX_MEASURES + measures).astype(np.uint64), values)
            kept = sums != 0
            names = [shard.subjects.orgs[int(cell) // MAX_MEASURES].name for cell in cells[kept]]
            found.setdefault(week, []).append(
                sorted(zip(names, (cells[kept] % MAX_MEASURES).tolist(), sums[kept].tolist(), strict=True))
            )
    for week in shard.history.weeks():
        orgs = np.arange(len(shard.subjects.orgs))
        names = [entry.name for entry in shard.subjects.orgs]
        found[week].append(sorted(zip(names, _active_users(shard, week, orgs), strict=True)))
    maps = [effect for effect in shard.documents() if isinstance(effect, LatencyMap)]
    return found | {"maps": sorted((m.org, m.cells, m.whole) for m in maps), "apart": shard.folder.apart}


@examples(times(12))
@given(st.integers(0, 10**6), st.integers(0, 44))
def test_nobody_elses_figures_change_when_somebody_is_forgotten(seed: int, moment: int) -> None:
    log = [renamed(record) for record in random_log(seed, 44)]
    one, other = fresh(), fresh()
    for number, record in enumerate(log):
        if number == moment:
            one.apply(decode_record(encode_record(forget())), one.position)
        one.apply(record, one.position)
        kept = record if number < moment else without(record)
        if kept is not None:
            other.apply(kept, other.position)
    if moment >= len(log):
        one.apply(forget(), one.position)
    assert of_everybody_else(one) == of_everybody_else(other)
    assert of_orgs(one) == of_orgs(other)
    assert one.watermark_ms == other.watermark_ms


@examples(times(10))
@given(st.integers(0, 10**6), st.integers(0, 40), st.lists(st.integers(0, 42), max_size=3, unique=True))
def test_nothing_of_somebody_forgotten_is_in_a_checkpoint_and_restoring_changes_nothing(
    seed: int, moment: int, stops: list[int]
) -> None:
    log = [renamed(record) for record in random_log(seed, 40)]
    log = [*log[:moment], *(forget(org=org) for org in ORGS), *log[moment:]]
    straight, shard = fresh(), fresh()
    for number, record in enumerate(log):
        if number in stops:
            saved = shard.checkpoint()
            shard = fresh()
            shard.restore(saved)
            assert shard.checkpoint() == saved
        one, other = straight.apply(record, number), shard.apply(record, number)
        assert one == other
        if number >= moment + len(ORGS):
            told = [effect for effect in one or () if not isinstance(effect, Gone)]
            assert ZED not in repr(told) and "Zed-8812" not in repr(told)
    assert shard.checkpoint() == straight.checkpoint()
    shard.apply(Tick(0, 10**6), len(log))  # who is gone is said now, and kept no longer
    for name, raw in shard.checkpoint().items():
        assert ZED.encode() not in raw and b"Zed-8812" not in raw, name
    assert list(shard.documents()) == list(straight.documents()) or shard.position > straight.position


def test_forgetting_twice_is_forgetting_once() -> None:
    shard, again = shard_of(), shard_of()
    for each in (shard, again):
        each.apply(rows_of([Act("a", ZED, "search", START, 1), Act("a", "bob", "search", START, 2)]), 0)
        each.apply(forget(), 1)
    effects = again.apply(forget(), 2)
    assert effects is None
    again.apply(Tick(START, 1), 3)
    shard.apply(Tick(START, 1), 3)
    assert again.week.counts_of(np.arange(3)).tolist() == shard.week.counts_of(np.arange(3)).tolist()


def told(shard: Shard, tick: Tick) -> list[Any]:
    return shard.apply(tick, shard.position) or []


def test_a_closed_week_keeps_what_the_org_did_and_loses_who_did_it() -> None:
    monday = at("2024-03-04")
    shard = shard_of(model_of(attribute("searches", "count", measures=["search"]), attribute("share", "share_of_org")))
    shard.apply(
        rows_of([Act("a", who, "search", monday + n * HOUR, 10 + n) for n, who in enumerate([ZED, "bob", ZED, "cat"])]),
        0,
    )
    before = told(shard, Tick(monday + WEEK + HOUR, 1))
    final = {row.user: row for row in before if isinstance(row, WeekRow) and row.state == "final"}
    assert (final[""].activities, final[""].active_users) == (4, 3) and ZED in final
    shard.apply(rows_of([Act("a", ZED, "search", monday + WEEK, 20), Act("a", "bob", "search", monday + WEEK, 21)]), 2)
    shard.apply(forget(), 3)
    said = told(shard, Tick(monday + WEEK + 2 * HOUR, 2))
    assert [effect for effect in said if isinstance(effect, Gone)] == [Gone("a", ZED)]
    weeks = [effect for effect in said if isinstance(effect, WeekRow)]
    assert [(row.user, row.week, row.state) for row in weeks] == [("", "2024-W11", "provisional")], "closed ones stand"
    assert (weeks[0].activities, weeks[0].active_users) == (2, 2)
    (org,) = [effect for effect in said if isinstance(effect, OrgScore)]
    assert (org.active_users, org.activities) == (2, 2), "the rolling week is that of those who are left"
    # Late news of the closed week: its counts still hold everybody's, its people are those who are left.
    shard.apply(rows_of([Act("a", "cat", "search", monday + 5 * HOUR, 30)]), 5)
    restated = [row for row in told(shard, Tick(monday + WEEK + 3 * HOUR, 3)) if isinstance(row, WeekRow)]
    whole = next(row for row in restated if not row.user and row.state == "restated")
    assert (whole.activities, whole.active_users, whole.counts) == (5, 3, {"search": 5})
    shares = {row.user: row.attributes[1] for row in restated if row.user and row.attributes}
    assert shares == {"bob": 10_000 // 3, "cat": 20_000 // 3}, "shares are of those who are left"


def test_replies_to_somebody_forgotten_still_count_for_who_gives_them() -> None:
    shard = shard_of()
    shard.apply(rows_of([Act("a", ZED, "message", START, 1), Act("a", "bob", "message", START, 2)], topic="chat"), 0)
    shard.apply(rows_of([Act("a", ZED, "message", START + HOUR, 3, 0, 2)], topic="chat"), 1)
    shard.apply(forget(), 2)
    later = [
        Act("a", "cat", "message", START + 2 * HOUR, 4, 0, 1),
        Act("a", "cat", "message", START + 2 * HOUR, 5, 0, 2),
    ]
    shard.apply(rows_of(later, topic="chat"), 3)
    index = shard.model.catalogue.index
    counts = {name: shard.week.counts_of(np.array([slot]))[0] for slot, name in enumerate(shard.subjects.names)}
    assert counts["a\x1fcat"][index("reply_given")] == 2
    assert counts["a\x1fbob"][index("reply_received")] == 2
    said = told(shard, Tick(START + 3 * HOUR, 1))
    (chat,) = [effect for effect in said if isinstance(effect, ChatCounts)]
    assert chat.messages == 5 and [(user, n) for user, _, n in chat.people] == [("cat", 2), ("bob", 1)]
    (waits,) = [effect for effect in said if isinstance(effect, LatencyMap)]
    assert waits.whole[1:4] == (3, 5, 2), "replies, messages, answered: the second to bob was not the first"
    assert {effect.user for effect in said if isinstance(effect, UserScore)} == {"bob", "cat"}


def test_a_correction_does_not_bring_them_back() -> None:
    shard = shard_of()
    shard.apply(rows_of([Act("a", ZED, "search", START, 1), Act("a", "bob", "search", START, 2)]), 0)
    shard.apply(forget(), 1)
    names = ["a\x1f" + ZED, "a\x1fbob"]
    rows = [(0, 0, START, 1, 0, START), (1, 0, START, 1, 0, START)]
    shard.apply(Correction("a", names, ["search"], rows, since=[(0, START // HOUR), (1, START // HOUR)]), 2)
    shard.apply(Member("a", ZED, True, "trader", display_name=ZED), 3)
    said = told(shard, Tick(START, 1))
    assert {effect.user for effect in said if isinstance(effect, UserScore)} == {"bob"}
    assert not any(ZED.encode() in raw for raw in shard.checkpoint().values())


def test_who_comes_again_after_the_guard_has_ended_is_somebody_new() -> None:
    shard = shard_of()
    shard.apply(rows_of([Act("a", ZED, "search", START, 1)]), 0)
    shard.apply(forget(until_ms=START + DAY), 1)
    shard.apply(rows_of([Act("a", ZED, "search", START + HOUR, 2), Act("a", "bob", "search", START + 2 * DAY, 3)]), 2)
    assert shard.subjects.find("a", ZED) is None
    shard.apply(rows_of([Act("a", ZED, "search", START + 2 * DAY, 4)]), 3)
    slot = shard.subjects.find("a", ZED)
    assert slot is not None and shard.week.counts_of(np.array([slot])).sum() == 1


@pytest.mark.parametrize("seed", range(3))
def test_a_shadow_model_forgets_too(seed: int) -> None:
    other = build_model({
        "bands": {"healthy": 60, "at_risk": 30, "hysteresis": 2},
        "measures": {"search": {"events": ["Search"], "feature": True}, "export": {"events": ["E"], "summed": True},
                     "alert_received": {"events": ["A"], "passive": True}},
        "attributes": [attribute("searches", "count", measures=["search"])],
    })  # fmt: skip
    shard = Shard(0, model_of(), Limits(**LIMITS), other)
    for record in [renamed(record) for record in random_log(seed)]:
        shard.apply(record, shard.position)
    shard.apply(Tick(0, 10**5), shard.position)
    slot = shard.subjects.find("a", ZED)
    assert slot is not None and shard.shadow is not None
    shard.apply(forget(), shard.position)
    shard.apply(Tick(0, 10**6), shard.position)
    documents = [each for piece in shard.shadow.pieces(0) for each in piece]
    assert documents and not any(isinstance(d, UserScore) and (d.org, d.user) == ("a", ZED) for d in documents)
    assert shard.shadow.board.score[slot] == 0 and not shard.shadow.board.parts[slot].any()
    assert set(USERS) - {"bob"} <= {d.user for d in documents if isinstance(d, UserScore) and d.org == "a"} | set(USERS)
