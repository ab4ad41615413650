"""Every raw message becomes exactly one thing."""

from __future__ import annotations

import base64

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.ingest import CREATE, PARK, Ingest, Source
from agents.ledger import Ledger
from state.activity import Rows, origin_of
from state.identity import EVENT, Directory, Link, OrgRecord, UserRecord, org_alias, unlinked_alias
from state.ledger import SourceLedger
from state.membership import FOREVER_MS
from streams.chunks import Outcome
from streams.dead_letters import MAX_LETTERS_BYTES, FloodError, FloodGuard
from streams.metrics import Metrics
from streams.read_directory import DirectoryLimits, link_entry
from streams.read_product import product_reader
from streams.read_syslog import syslog_reader
from streams.read_transactions import transaction_reader
from streams.suppression import Suppression
from tests.agents.by_hand import DEAD, NOW, TOPICS, Counted, Sent, Table, chunk_of, router
from tests.state.worlds import HOUR, examples, model_of

CATALOGUE = model_of().catalogue
NOW_MS = int(NOW * 1000)
LIMITS = DirectoryLimits(40, 5, 1000)


def test_the_letters_of_a_chunk_hold_so_many_bytes_and_the_rest_say_where_theirs_are() -> None:
    place = Place()
    outcome = place.handler.handle(chunk_of("product-events", [b"x" * 250] * 30_000, 100))
    letters = [orjson.loads(record.value or b"") for record in outcome.records if record.topic == DEAD._topic]
    assert [letter["offset"] for letter in letters] == list(range(100, 30_100))  # one each, as ever
    whole = [letter for letter in letters if letter["value"] is not None]
    assert letters[: len(whole)] == whole and 1000 < len(whole) < 20_000
    assert sum(len(record.value or b"") for record in outcome.records) < 4 * MAX_LETTERS_BYTES
    assert "read the bytes at this offset of the source topic" in letters[-1]["detail"]


READERS = {
    "product-events": product_reader(CATALOGUE, 40),
    "syslog-activities": syslog_reader(CATALOGUE, {}, lambda: NOW, zone="UTC", year=0, max_id=40),
    "transactions": transaction_reader("USD", 40),
}


class Place:
    """One source topic with its handler and what it leaves behind."""

    def __init__(
        self, name: str = "product-events", unknown: str = PARK, flood: float = 1.0, window: int = 10**6,
        suppressed: Suppression | None = None,
    ) -> None:  # fmt: skip
        self.table, self.directory, self.counted, self.name = Table(), Directory(), Counted(), name
        self.directory.learn_user("8", UserRecord("8", "a", ["8", "ann@example.org", "ann"], "", True, False))
        self.directory.learn_user("9", UserRecord("9", "a", ["robot"], "", True, True))
        self.directory.learn_org("a", OrgRecord("a", "Acme", "UTC", ""))
        self.handler = Ingest(
            Source(name, name, READERS[name], unknown), router(), self.directory, Ledger(self.table, Metrics()), DEAD,
            FloodGuard(name, flood, window), now=lambda: NOW, max_value_bytes=300, max_ahead_ms=HOUR,
            lateness_ms=48 * HOUR, max_aliases=5, counted=self.counted, suppressed=suppressed,
        )  # fmt: skip
        self.next = 100

    def outcome(self, *values: bytes | None) -> Outcome:
        outcome = self.handler.handle(chunk_of(self.name, list(values), self.next))
        self.next += len(values)
        assert outcome.next_offset == self.next
        return outcome

    def send(self, *values: bytes | None) -> Sent:
        outcome = self.outcome(*values)
        assert outcome.after_commit is not None
        outcome.after_commit()
        return Sent(list(outcome.records))

    @property
    def ledger(self) -> SourceLedger:
        return SourceLedger.load(self.table.read(0, self.name.encode()))


def event(who: object = "ann", ago_hours: float = 0, **fields: object) -> bytes:
    return orjson.dumps({"name": "Search", "distinct_id": who, "time": NOW_MS - int(ago_hours * HOUR)} | fields)


# --- who ---


@pytest.mark.parametrize("who", ["8", 8, "ann", "ann@example.org", " Ann@Example.ORG "])
def test_any_alias_leads_to_the_user(who: object) -> None:
    assert Place().send(event(who)).acts == [("a", "8", "search", 100)]


def test_an_unknown_person_waits_for_the_directory() -> None:
    sent = Place().send(event("Bob@Example.ORG", org_id="a", event_id="e"))
    assert sent.acts == []
    (parked,) = sent.parked
    assert (parked.alias, parked.org, parked.measure, parked.id) == ("bob@example.org", "a", "search", "pe")
    assert (parked.topic, parked.partition, parked.offset, parked.time_ms) == ("product-events", 0, 100, NOW_MS)
    assert sent.waiting[0][0] == router().partition("bob@example.org")


def test_where_the_message_gives_the_org_an_unknown_person_is_created() -> None:
    place = Place(unknown=CREATE)
    assert place.send(event("Bob@Example.ORG", org_id="b")).acts == [("b", "bob@example.org", "search", 100)]
    assert [p.alias for p in place.send(event("bob")).parked] == ["bob"]  # without an org, waiting is all one can do


def test_a_known_person_may_act_in_another_org() -> None:
    assert Place().send(event("ann", org_id="b")).acts == [("b", "8", "search", 100)]


def test_a_bot_is_counted_apart() -> None:
    place = Place()
    sent = place.send(event("robot"))
    assert (sent.acts, sent.parked, sent.dead) == ([], [], [])
    assert place.counted.counts == {"bot": 1, "forwarded": 0} or place.counted.counts == {"bot": 1}


def told_apart(sent: Sent) -> list[tuple[str, str, str, bool]]:
    (rows,) = [record for _, record in sent.activities if isinstance(record, Rows)]
    return [origin_of(subject) for subject in rows.subjects]


def test_an_activity_says_by_which_alias_it_came_and_whether_it_named_the_org() -> None:
    sent = Place().send(event("ann"), event(8), event("ann", org_id="a"), event("8", org_id="a"))
    assert told_apart(sent) == [
        ("a", "8", "ann", False), ("a", "8", "8", False), ("a", "8", "ann", True), ("a", "8", "8", True),
    ]  # fmt: skip


def mover(place: Place) -> Place:
    """Let user 7 be in a until 30 hours ago and in b from 10 hours ago on."""
    stints = [(0, NOW_MS - 30 * HOUR, "a"), (NOW_MS - 10 * HOUR, FOREVER_MS, "b")]
    place.directory.learn_user("7", UserRecord("7", "b", ["7", "mo"], "", True, False, memberships=stints))
    return place


def test_who_changes_orgs_counts_where_they_were_at_the_events_time() -> None:
    #  a ────────┤ 30 h ago   nowhere   10 h ago ├──────── b
    place = mover(Place())
    sent = place.send(event("mo"), event("mo", 40), event("mo", 20), event("mo", 20, org_id="c"))
    assert sent.acts == [("b", "7", "search", 100), ("a", "7", "search", 101), ("c", "7", "search", 103)]
    assert [(p.alias, p.org, p.offset) for p in sent.parked] == [("mo", "", 102)]


def test_an_alias_that_an_operator_took_from_everybody_waits_apart() -> None:
    place = Place()
    place.directory.learn_link("ann", Link("ann", ""))
    sent = place.send(event("ann"), event("ann@example.org"))
    assert [p.alias for p in sent.parked] == [unlinked_alias("ann")] and len(sent.acts) == 1


def says(name: str, **properties: object) -> bytes:
    return orjson.dumps({"event": name, "properties": {"time": NOW_MS, **properties}})


@pytest.mark.parametrize(
    "message",
    [
        says("$identify", **{"$identified_id": "ann", "$anon_id": "anon-1"}),
        says("$create_alias", distinct_id="anon-1", alias="ann"),
        says("$create_alias", distinct_id="Ann@Example.org", alias="anon-1"),
    ],
)
def test_an_event_links_an_unknown_alias_to_a_known_user(message: bytes) -> None:
    place = Place()
    sent = place.send(message)
    assert [link_entry(r.key, r.value, LIMITS).record for r in sent.links] == [Link("anon-1", "8", EVENT)]
    assert [(a.alias, a.user) for a in sent.aliases] == [("anon-1", "8"), (unlinked_alias("anon-1"), "8")]
    assert (place.counted.counts["identity"], place.counted.counts["link:made"], sent.acts) == (1, 1, [])


def test_two_known_users_are_never_merged_by_an_event() -> None:
    place = mover(Place())
    sent = place.send(
        says("$create_alias", distinct_id="ann", alias="mo"), says("$create_alias", distinct_id="x", alias="y")
    )
    assert sent.links == [] and sent.aliases == []
    assert (place.counted.counts["link:merge"], place.counted.counts["link:unknown"]) == (1, 1)
    assert place.ledger.apart == 2


def test_a_user_has_only_so_many_aliases_and_what_an_operator_said_stands() -> None:
    place = Place()
    for number in range(2):
        place.directory.learn_link(f"n{number}", Link(f"n{number}", "8", EVENT))
    place.directory.learn_link("kiosk", Link("kiosk", ""))
    place.send(*(says("$create_alias", distinct_id="ann", alias=alias) for alias in ("kiosk", "one-more")))
    assert (place.counted.counts["link:unlinked"], place.counted.counts["link:too_many"]) == (1, 1)


def activity(**fields: object) -> bytes:
    return orjson.dumps({"id": 1, "org": "a", "userid": "8", "created": NOW_MS} | fields)


def test_operators_and_the_system_itself_are_counted_apart() -> None:
    place = Place("syslog-activities", CREATE)
    sent = place.send(activity(ghost=1), activity(org=0), activity(org=0, ghost=1), activity())
    assert sent.acts == [("a", "8", "syslog", 103)]
    assert (place.counted.counts["ghost"], place.counted.counts["system"], place.ledger.apart) == (1, 2, 3)


def transaction(org: str, id_: int = 1) -> bytes:
    return orjson.dumps({"transaction_id": id_, "org_id": org, "amount": "5", "status": "A", "time": NOW_MS})


def test_a_transaction_is_its_orgs_and_waits_for_an_unknown_one() -> None:
    sent = Place("transactions").send(transaction("a"), transaction("z"))
    assert sent.acts == [("a", "", "transaction", 100)]
    assert [(p.alias, p.org) for p in sent.parked] == [(org_alias("z"), "z")]
    assert Place("transactions", CREATE).send(transaction("z")).acts == [("z", "", "transaction", 100)]


# --- when ---


@pytest.mark.parametrize(("ago", "reason"), [(-1.0, None), (-1.001, "bad_time"), (48.0, None), (48.001, "too_late")])
def test_the_future_and_the_far_past_are_dead_letters(ago: float, reason: str | None) -> None:
    #   ── too late ──┤ 48 h before the newest ──── now ── + 1 h ├── bad time ──
    place = Place()
    place.send(event())
    sent = place.send(event(ago_hours=ago))
    assert [letter["reason"] for letter in sent.dead] == ([reason] if reason else [])
    assert place.ledger.watermark_ms == max(NOW_MS, NOW_MS - int(ago * HOUR) if not reason else 0)


def test_within_a_chunk_the_newest_so_far_decides_what_is_late() -> None:
    sent = Place().send(event(ago_hours=500), event(ago_hours=0), event(ago_hours=500))
    assert [act[3] for act in sent.acts] == [100, 101]
    assert [letter["offset"] for letter in sent.dead] == [102]


# --- dead letters ---


def test_a_dead_letter_holds_the_message_its_place_and_the_reason() -> None:
    sent = Place().send(b"\xffnot json")
    (letter,) = sent.dead
    assert (letter["reason"], letter["topic"], letter["partition"], letter["offset"]) == (
        "not_json",
        "product-events",
        0,
        100,
    )
    assert base64.b64decode(letter["value"]) == b"\xffnot json"
    assert (letter["key"], letter["time"]) == (None, NOW)


def test_an_oversized_message_is_dead_and_its_beginning_is_kept() -> None:
    small, large = Place().send(b"x" * 301), Place().send(b"x" * 700)
    assert [letter["reason"] for letter in small.dead + large.dead] == ["too_big", "too_big"]
    assert base64.b64decode(small.dead[0]["value"]) == b"x" * 301
    assert base64.b64decode(large.dead[0]["value"]) == b"x" * 500
    assert "first 500 bytes are kept" in large.dead[0]["detail"]


def test_a_tombstone_is_no_event() -> None:
    (letter,) = Place().send(None).dead
    assert (letter["reason"], letter["value"]) == ("not_json", None)


def test_a_flood_of_dead_letters_stops_the_worker() -> None:
    place = Place(flood=0.5, window=10)
    place.send(*[b"bad"] * 5, *[event()] * 5)  # half of the window is allowed
    place.send(*[b"bad"] * 9)  # not a whole window yet
    with pytest.raises(FloodError, match="are unreadable") as told:
        place.outcome(b"bad")
    assert "Mend the producer" in told.value.remedy


def test_after_a_good_window_the_count_begins_anew() -> None:
    place = Place(flood=0.5, window=10)
    for _ in range(20):
        place.send(*[b"bad"] * 4, *[event()] * 6)
    assert place.ledger.dead_lettered == 80


# --- the ledger ---

UNKNOWN = event("zoe")
MIXTURE = [
    event(),
    event("ann", org_id="b"),
    event("robot"),
    UNKNOWN,
    event("zoe", org_id="b"),
    b"bad",
    None,
    b"x" * 400,
]
MIXTURE += [event(ago_hours=-5), event(ago_hours=40), event(ago_hours=400), event(quantity=2**62), event("")]


@examples(80)
@given(
    st.lists(st.lists(st.sampled_from(MIXTURE), min_size=1, max_size=12), max_size=5), st.sampled_from([CREATE, PARK])
)
def test_of_any_mixture_every_message_becomes_exactly_one_thing(chunks: list[list[bytes | None]], unknown: str) -> None:
    place = Place(unknown=unknown)
    consumed = forwarded = parked = dead = 0
    for values in chunks:
        sent = place.send(*values)
        offsets = [a[3] for a in sent.acts] + [p.offset for p in sent.parked] + [d["offset"] for d in sent.dead]
        assert len(set(offsets)) == len(offsets)
        apart = values.count(event("robot"))
        assert len(offsets) + apart == len(values)
        consumed, forwarded = consumed + len(values), forwarded + len(sent.acts)
        parked, dead = parked + len(sent.parked), dead + len(sent.dead)
        (kept,) = sent.kept
        assert kept.value == place.ledger.dump()
    ledger = place.ledger
    assert (ledger.consumed, ledger.forwarded, ledger.parked, ledger.dead_lettered) == (
        consumed,
        forwarded,
        parked,
        dead,
    )
    assert ledger.forwarded + ledger.parked + ledger.dead_lettered + ledger.apart == ledger.consumed
    counts = place.counted.counts
    assert sum(n for name, n in counts.items() if name.startswith("dead:")) == dead == counts["dead_lettered"]


def test_counts_that_do_not_add_up_are_refused() -> None:
    with pytest.raises(ValueError, match="3 messages"):
        SourceLedger().after(3, {"forwarded": 1, "ghost": 1}, 0)


def test_the_same_message_has_the_same_ids_on_every_way() -> None:
    first, again = Place().send(event(event_id="e")), Place().send(event("8", event_id="e"))
    ids = [rows.id for sent in (first, again) for _, rows in sent.activities]
    assert ids[0] == ids[1]
    assert TOPICS.activities == first.records[0].topic


def test_what_goes_to_a_partition_is_numbered_without_holes_also_after_a_recovery() -> None:
    place, numbers = Place(), []
    for values in ([event()] * 3, [event("nobody"), event()], [event()] * 4):
        sent = place.send(*values)
        numbers += [(rows.before, len(rows.measure)) for _, rows in sent.activities if isinstance(rows, Rows)]
        place.handler = Place().handler
        place.handler._ledger = Ledger(place.table, Metrics())  # type: ignore[arg-type]  # another worker goes on
    assert numbers == [(0, 3), (3, 1), (4, 4)]
    assert place.ledger.sent == {router().partition("a"): 8}
