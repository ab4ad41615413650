"""What is corrected after a change of identity equals what would have been counted had it been known from the start."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from state.activity import Correction, Record, Rows, Tick, decode_record, encode_record, origin_of, subject_of
from state.effects import Gone, UserScore
from state.health import Model
from state.mending import Mending, Right
from state.org_log import Scan
from state.packing import Packer
from state.shard import Shard
from state.week import HOUR_MS
from state.week_grid import described
from tests.state.random_logs import MEASURES, START
from tests.state.worlds import DAY, HOUR, Act, at, attribute, examples, hours_of, model_of, rows_of, shard_of

MODEL = model_of(
    attribute("searches", "count", 2, measures=["search"]),
    attribute("exported", "sum", 5, measures=["export"]),
    attribute("typical", "median", 3, measures=["export"], cuts=[-900, -800, -700, -600, -500, -400, -300, -200, -100]),
    attribute("stored", "gauge", 3, measures=["stored"], cuts=[n * 100 for n in range(1, 10)]),
    attribute("days", "days_active", 3),
    attribute("share", "share_of_org", 2, cuts=[n * 1000 for n in range(1, 10)]),
    stored={"events": ["Stored"], "gauge": True},
)
LIMITS = {"allowed_lateness_hours": 40 * 24, "reply_horizon_hours": 400 * 24, "max_open_messages": 10_000}
ORGS, ALIASES = ("a", "b"), ("p", "q", "r", "s")
Identity = dict[str, tuple[str, str]]
"""Alias → user and org where the message names none; an alias that is missing is nobody's."""


def salt(org: str) -> int:
    return {"a": 0xA0_0000, "b": 0xB0_0000, "zz": 0}[org]


class Said:
    """A message as it comes in: which alias, which org it names ("" = none), and what."""

    def __init__(self, rng: random.Random, number: int, now_ms: int) -> None:
        self.alias, self.org = rng.choice(ALIASES), rng.choice(("", "", *ORGS))
        self.measure, self.time_ms = (
            rng.choice((*MEASURES, "stored", "stored")),
            now_ms - rng.randrange(1, 300) * HOUR // 3,
        )
        self.amount = rng.randrange(1000) if self.measure in ("export", "stored") else 0
        self.id = 1000 + number
        self.ref = 1000 + rng.randrange(number + 3) if self.measure == "message" and rng.random() < 0.7 else 0

    def origin(self, known: Identity) -> str:
        """Return the subject that it is counted under, the org zz for nobody."""
        if self.alias not in known:
            return subject_of("zz", "nobody")
        user, org = known[self.alias]
        return subject_of(self.org or org, user, self.alias, named=bool(self.org))

    def add(self, packer: Packer, known: Identity, at_: int) -> None:
        origin = self.origin(known)
        mixed = salt(origin_of(origin)[0])
        ref = self.ref ^ mixed if self.ref else 0
        packer.add(origin, self.measure, self.time_ms, self.amount, self.id ^ mixed, ref, at_)


def packed(said: list[Said], known: Identity) -> Rows:
    packer = Packer()
    for number, each in enumerate(said):
        each.add(packer, known, number)
    return packer.rows("chat-messages", 0, 0)


def right_of(known: Identity) -> Right:
    """Return whose an activity is by *known*; nobody's is told apart only by where it should not be."""

    def right(origin: str, time_ms: int, source: str) -> tuple[str, str] | None:
        org, _, via, named = origin_of(origin)
        if via not in known:
            return None
        user, home = known[via]
        return (org if named else home), user

    return right


def mended(log: list[Record], known: Identity, model: Model = MODEL, from_ms: int = 0) -> list[Correction]:
    scan = Scan(ORGS, shard_of(model, **LIMITS)._limits, from_ms)
    for record in log:
        scan.take(record)
    mending = Mending(scan.logs, right_of(known), salt, model.catalogue, shard_of(model, **LIMITS)._limits, from_ms)
    found = mending.corrections({"x", "y", *ALIASES})
    return [decode_record(encode_record(each)) for each in found]  # type: ignore[misc]


def play(log: list[Record], model: Model = MODEL) -> Shard:
    shard = shard_of(model, **LIMITS)
    for record in log:
        shard.apply(record, shard.position)
    return shard


def content(shard: Shard) -> dict[str, Any]:
    """Return all that is known of users who ever did something, by name."""
    called, names = shard.subjects.names, shard.model.catalogue.names
    summed = [i for i, measure in enumerate(shard.model.catalogue.measures) if measure.summed]
    slots = [s for s, name in enumerate(called) if not name.startswith("zz") and shard.board.since[s] >= 0]
    found: dict[str, Any] = {}
    for slot in slots:
        hours = np.flatnonzero(hours_of(shard.week.active_hours(np.array([slot])))).tolist()
        board = shard.board
        found[called[slot]] = (
            shard.week.counts_of(np.array([slot])).tolist(), [int(shard.week.sum_of(i)[slot]) for i in summed],
            hours, int(board.since[slot]),
            int(board.score[slot]), board.parts[slot].tolist(),
        )  # fmt: skip
    for week in shard.history.weeks():
        keys, counts, sum_keys, sums = shard.history.read(week)
        for cells in ((keys, counts), (sum_keys, sums)):
            for key, value in zip(*(part.tolist() for part in cells), strict=True):
                name = called[key // 128]
                if not name.startswith("zz"):
                    place = f"week {week} {name} {names[key % 128]}"
                    found[place] = (*found.get(place, ()), value)
    for week, (known, scores) in shard.history._scores.items():
        for slot, score in zip(known.tolist(), scores.tolist(), strict=True):
            if slot in slots and score:
                found[f"closing {week} {called[slot]}"] = score
    for org in shard.latency.orgs():
        for line in shard.latency.lines(org) if org != "zz" else ():
            grid = shard.latency.grid(org, "UTC", None, line)
            if not grid.is_empty:
                found[f"line {org} {line}"] = grid.dump()
    shard.chat.segments()  # brings all in order
    for told in shard.chat._tell(np.arange(len(shard.subjects.orgs)), shard.watermark_ms):
        if told.org != "zz" and told.windows:
            found[f"chat {told.org}"] = (told.windows, told.people, told.messages, told.last_message_ms)
    for id_ in shard.replies.ids():
        entry, waiting = shard.replies.known(id_)
        answers = [(at_ms, n, called[s]) for at_ms, n, s in waiting or (entry.answers if entry else [])]
        author = called[entry.slot] if entry else answers[0][2]
        if not author.startswith("zz"):
            said = entry and (called[entry.slot], entry.time_ms, entry.place, entry.parent)
            found[f"open {id_}"] = (said, sorted(answers))
    return found


def world(seed: int, records: int = 24) -> tuple[list[list[Said]], list[int]]:
    rng = random.Random(seed)
    batches, times, now, number = [], [], START, 0
    sent: list[Said] = []
    for _ in range(records):
        now += rng.choice((0, HOUR // 2, 5 * HOUR, 2 * DAY))
        batch = [Said(rng, number := number + 1, now) for _ in range(rng.randrange(1, 9))]
        batch += rng.sample(sent, min(len(sent), rng.randrange(3)))
        sent += batch
        batches.append(batch)
        times.append(now)
    return batches, times


OLD: Identity = {"p": ("ann", "a"), "q": ("ann", "a"), "r": ("bob", "a"), "s": ("dan", "b")}
NEW: Identity = {"p": ("ann", "a"), "q": ("cat", "b"), "s": ("bob", "a")}


@examples(60)
@given(st.integers(0, 10**6), st.integers(0, 24), st.integers(0, 24))
def test_corrected_is_as_if_it_had_been_known_from_the_start(seed: int, switch: int, early: int) -> None:
    batches, times = world(seed)
    log: list[Record] = []
    for number, (batch, now) in enumerate(zip(batches, times, strict=True)):
        log.append(packed(batch, OLD if number < switch else NEW))
        log.append(Tick(now, number))
        if number == early and number >= switch:
            log += mended(log, NEW)
    log += mended(log, NEW)
    end = Tick(times[-1] + 3 * HOUR, 99)
    assert mended(log, NEW) == []
    wanted = [r for b, now, n in zip(batches, times, range(99), strict=False) for r in (packed(b, NEW), Tick(now, n))]
    assert content(play([*log, end])) == content(play([*wanted, end]))


EVERYBODY: Identity = NEW | {"r": ("dan", "b")}


@examples(20)
@given(st.integers(0, 10**6), st.integers(0, 12))
def test_replies_that_measure_nothing_are_as_many_as_if_it_had_been_known(seed: int, switch: int) -> None:
    batches, _ = world(seed, 12)
    log: list[Record] = [packed(batch, OLD if n < switch else EVERYBODY) for n, batch in enumerate(batches)]
    wanted: list[Record] = [packed(batch, EVERYBODY) for batch in batches]
    assert play([*log, *mended(log, EVERYBODY)]).folder.apart == play(wanted).folder.apart


@examples(15)
@given(st.integers(0, 10**6))
def test_what_was_corrected_and_taken_back_is_as_before(seed: int) -> None:
    batches, times = world(seed, 12)
    log: list[Record] = [packed(batch, OLD) for batch in batches]
    former = content(play([*log, Tick(times[-1], 1)]))
    for known in (NEW, OLD):
        log += mended(log, known)
    assert content(play([*log, Tick(times[-1], 1)])) == former


@examples(20)
@given(st.integers(0, 10**6), st.integers(0, 30))
def test_what_the_log_no_longer_tells_stays_as_it_was_corrected(seed: int, days: int) -> None:
    batches, _ = world(seed, 12)
    log: list[Record] = [packed(batch, OLD) for batch in batches]
    log += mended(log, NEW, from_ms=START - days * DAY)
    for from_ms in (START - days * DAY, START - 2 * DAY, START + 3 * DAY):
        kept = [r for r, batch in zip(log, batches, strict=False) if any(s.time_ms >= from_ms for s in batch)]
        kept += [record for record in log if isinstance(record, Correction)]
        assert mended(kept, NEW, from_ms=max(from_ms, START - days * DAY)) == []


def test_a_correction_in_pieces_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    batches, times = world(5)
    log: list[Record] = [packed(batch, OLD) for batch in batches]
    whole = mended(log, NEW)
    monkeypatch.setattr("state.mending.MAX_ITEMS", 2)
    pieces = mended(log, NEW)
    assert len(pieces) > len(whole) and max(len(each.rows) for each in pieces) == 2
    end = Tick(times[-1] + HOUR, 9)
    assert content(play([*log, *pieces, end])) == content(play([*log, *whole, end]))


def test_a_checkpoint_after_a_correction_restores_to_the_same() -> None:
    batches, times = world(11)
    log: list[Record] = [packed(batch, OLD) for batch in batches]
    log += [*mended(log, NEW), Tick(times[-1], 1)]
    shard, again = play(log), shard_of(MODEL, **LIMITS)
    again.restore(shard.checkpoint())
    assert content(again) == content(shard) and again.checkpoint() == shard.checkpoint()


SOME = at("2024-03-05T10:30")


def search(alias: str, user: str, hours_ago: int, id_: int) -> Act:
    return Act("a", f"{user}\x1f{alias}", "search", SOME - hours_ago * HOUR_MS, id_ ^ salt("a"))


def after(acts: list[Act], known: Identity, model: Model) -> tuple[Shard, list]:
    log: list[Record] = [rows_of(acts), Tick(SOME, 1)]
    shard = play(log, model)
    said: list = []
    for record in [*mended(log, known, model), Tick(SOME, 2)]:
        said += shard.apply(record, shard.position) or []
    return shard, said


def test_a_user_of_whom_nothing_is_left_goes_and_their_week_says_so() -> None:
    model = model_of(attribute("searches", "count", measures=["search"]))
    shard, said = after([search("x", "ann", 1, 1), search("x", "ann", 30, 2)], {"x": ("bob", "a")}, model)
    assert [effect for effect in said if isinstance(effect, Gone)] == [Gone("a", "ann")]
    scores = [effect.user for effect in said if isinstance(effect, UserScore)]
    assert scores == ["bob"] and not shard.has_document("a", "ann") and shard.has_document("a", "bob")


def test_an_hour_stays_active_for_what_is_left_in_it() -> None:
    model = model_of(attribute("days", "days_active"))
    acts = [search("x", "ann", 1, 1), search("y", "ann", 1, 2), search("x", "ann", 30, 3)]
    shard, _ = after(acts, {"x": ("bob", "a"), "y": ("ann", "a")}, model)
    active: Callable[[str], int] = lambda user: int(  # noqa: E731
        hours_of(shard.week.active_hours(np.array([shard.subjects.find("a", user)]))).sum()
    )
    assert (active("ann"), active("bob")) == (1, 2)


def test_a_reply_to_oneself_becomes_one_to_somebody_else() -> None:
    model = model_of(attribute("days", "days_active"))
    parent = Act("a", "ann\x1fx", "message", SOME - 2 * HOUR_MS, 7)
    reply = Act("a", "ann\x1fy", "message", SOME - HOUR_MS, 8, ref=7)
    shard, _ = after([parent, reply], {"x": ("ann", "a"), "y": ("bob", "a")}, model)
    grid = shard.latency.grid("a", "UTC")
    assert [
        (hour, events, grid.quantiles_ms(0.5)[hour])
        for hour, (events, _, answered) in described(grid).items()
        if answered
    ] == [(24 + 8, 1, float(HOUR_MS))]
    assert shard.folder.apart["self_reply"] == 0


def test_a_reply_to_somebody_else_becomes_one_to_oneself() -> None:
    model = model_of(attribute("days", "days_active"))
    acts = [Act("a", "ann\x1fx", "message", SOME - 2 * HOUR_MS, 7)]
    acts.append(Act("a", "bob\x1fy", "message", SOME - HOUR_MS, 8, ref=7))
    shard, _ = after(acts, {"x": ("ann", "a"), "y": ("ann", "a")}, model)
    assert shard.folder.apart["self_reply"] == 1
    assert not shard.latency.grid("a", "UTC").replies.any()


@pytest.mark.parametrize("behind", ["nothing ever happened there", "a week behind", "a day behind"])
def test_what_comes_to_a_partition_that_is_behind_counts_there(behind: str) -> None:
    #  its partition ──── watermark        moved activities at SOME ──► time moves on with them
    model = model_of(attribute("searches", "count", measures=["search"]))
    ago = {"nothing ever happened there": None, "a week behind": 8 * DAY, "a day behind": DAY}[behind]
    own: list[Record] = [] if ago is None else [rows_of([Act("b", "bea", "search", SOME - ago, 5 ^ salt("b"))])]
    theirs = [rows_of([search("x", "ann", 0, 1), search("x", "ann", 30, 2)])]
    limits = shard_of(model, **LIMITS)._limits
    scans = {org: Scan([org], limits) for org in ORGS}
    for org, log in (("a", theirs), ("b", own)):
        for record in log:
            scans[org].take(record)
    logs = {org: scan.logs[org] for org, scan in scans.items()}
    found = Mending(logs, right_of({"x": ("cat", "b")}), salt, model.catalogue, limits).corrections({"x"})
    mine: list[Record] = [*own, *(record for record in found if record.org == "b"), Tick(0, 9)]
    moved = [Act("b", "cat", "search", SOME - hours * HOUR_MS, n ^ salt("b")) for n, hours in ((1, 0), (2, 30))]
    assert content(play(mine, model)) == content(play([*own, rows_of(moved), Tick(0, 9)], model))
    for record in mine:
        scans["b"].take(record)  # a later run sees the same: what is late for the shard is late for it
    assert scans["b"]._intake.watermark_ms == play(mine, model).watermark_ms == SOME
