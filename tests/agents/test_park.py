"""Activities wait for their person, and leave once."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.ingest import CREATE, ids_of
from agents.ledger import PARK, Ledger
from agents.park import MAX_CLAIMS, MAX_WAITING, MAX_WAITING_BYTES, Park
from state.activity import Rows, origin_of
from state.identity import org_alias, unlinked_alias
from state.ledger import PARK_OUTCOMES
from state.limits import NO_LIMIT
from streams.metrics import Metrics
from streams.parked import Alias, Forgotten, Parked, encode_parked, read_claims
from streams.suppression import Suppression
from tests.agents.by_hand import DEAD, Counted, Sent, Table, all_records, chunk_of, router
from tests.agents.test_ingest import Place as IngestPlace
from tests.agents.test_ingest import event
from tests.state.worlds import examples


class Place:
    """The handler of one partition of `unresolved`."""

    def __init__(self, suppressed: Suppression | None = None, max_waiting: int = NO_LIMIT) -> None:
        self.table, self.counted, self.next = Table(), Counted(), 0
        self.ledger = Ledger(self.table, Metrics())
        self.handler = Park(router(), self.table, DEAD, self.ledger, self.counted, suppressed, max_waiting=max_waiting)

    def send(self, *records: Parked | Alias | Forgotten) -> Sent:
        outcome = self.handler.handle(chunk_of("unresolved", [encode_parked(r) for r in records], self.next))
        self.next += len(records)
        assert outcome.after_commit is not None
        outcome.after_commit()
        return Sent(all_records(outcome))

    def total(self, name: str) -> int:
        topic, partition, outcome = name.split("/")
        shares = self.ledger.shares(0, PARK).get((topic, int(partition)), [0] * len(PARK_OUTCOMES))
        return shares[PARK_OUTCOMES.index(outcome)]


def parked(
    alias: str = "zoe", offset: int = 5, org: str = "", partition: int = 1, id_: str = "e", ref: str = ""
) -> Parked:
    return Parked(alias, org, "search", 1_709_550_000_000, 3, id_, ref, "product-events", partition, offset)


ZOE = Alias("zoe", "a", "10")


def test_before_its_alias_an_activity_waits_and_then_leaves_once() -> None:
    #  parked ──── wait ──── alias ► sent      alias again ► nothing
    place = Place()
    assert place.send(parked()).acts == []
    assert place.send(ZOE).acts == [("a", "10", "search", 5)]
    assert place.send(ZOE).acts == []


def test_after_its_alias_an_activity_leaves_at_once() -> None:
    place = Place()
    assert place.send(ZOE).acts == []
    assert place.send(parked()).acts == [("a", "10", "search", 5)]


def test_both_in_one_chunk_meet_too() -> None:
    assert Place().send(parked(), ZOE, parked(offset=6)).acts == [("a", "10", "search", 5), ("a", "10", "search", 6)]


def test_the_org_of_the_message_goes_before_the_persons() -> None:
    assert Place().send(ZOE, parked(org="b")).acts == [("b", "10", "search", 5)]


def test_an_org_that_is_learnt_releases_what_waited_for_it() -> None:
    place = Place()
    place.send(parked(org_alias("z"), org="z"))
    assert place.send(Alias(org_alias("z"), "z", "")).acts == [("z", "", "search", 5)]


def test_what_leaves_keeps_its_source_time_amount_and_ids() -> None:
    place = Place()
    place.send(parked(offset=7, partition=1, ref="cr"), parked(offset=5, partition=1), parked(offset=9, partition=2))
    sent = place.send(ZOE)
    rows = {r.partition: r for _, r in sent.activities if isinstance(r, Rows)}
    assert {p: (r.topic, r.first_offset) for p, r in rows.items()} == {
        1: ("product-events", 5),
        2: ("product-events", 9),
    }
    id_, ref = ids_of("a", parked(ref="cr"))
    assert rows[1].id[:8] == id_.to_bytes(8, "little")
    assert rows[1].ref[:8] == ref.to_bytes(8, "little")
    assert place.total("product-events/1/released") == 2


def test_a_released_activity_is_the_one_that_would_have_been_forwarded() -> None:
    raw = event("zoe", org_id="a", event_id="e")
    (waiting,) = IngestPlace().send(raw).parked
    (_, forwarded), *_ = IngestPlace(unknown=CREATE).send(raw).activities
    (_, released), *_ = Place().send(Alias("zoe", "a", "zoe"), waiting).activities
    assert isinstance(forwarded, Rows) and isinstance(released, Rows)
    assert (released.id, released.time_ms, released.subjects) == (forwarded.id, forwarded.time_ms, forwarded.subjects)


def test_a_bots_activities_go_nowhere_and_are_counted() -> None:
    place = Place()
    sent = place.send(parked(), Alias("zoe", "a", "10", bot=True), parked(offset=6))
    assert (sent.acts, sent.dead) == ([], [])
    assert place.total("product-events/1/bot") == 2


def test_an_alias_that_is_gone_is_waited_for_again() -> None:
    place = Place()
    place.send(ZOE, Alias("zoe", "", "10", gone=True))
    assert place.send(parked()).acts == []
    assert place.send(Alias("zoe", "b", "11")).acts == [("b", "11", "search", 5)]


def test_of_two_users_who_claim_an_alias_the_first_has_it_and_leaves_it_to_the_other() -> None:
    place = Place()
    place.send(ZOE, Alias("zoe", "b", "11"))
    assert place.send(parked()).acts == [("a", "10", "search", 5)]
    place.send(Alias("zoe", "c", "10"))  # moved; that is no new claim
    assert place.send(parked(offset=6)).acts == [("c", "10", "search", 6)]
    place.send(Alias("zoe", "", "10", gone=True))
    assert place.send(parked(offset=7)).acts == [("b", "11", "search", 7)]
    place.send(Alias("zoe", "", "10", gone=True), Alias("zoe", "", "11", gone=True))
    assert place.send(parked(offset=8)).acts == []


def test_the_earlier_claim_counts_even_if_it_is_heard_of_later() -> None:
    place = Place()
    place.send(Alias("zoe", "b", "09", claimed_ms=2000), Alias("zoe", "a", "10", claimed_ms=1000))
    assert place.send(parked()).acts == [("a", "10", "search", 5)]


def test_a_claim_kept_by_a_former_version_is_known() -> None:
    place = Place()
    place.table.stage(0, b"k:zoe", encode_parked(ZOE))
    assert place.send(parked()).acts == [("a", "10", "search", 5)]


def test_the_claims_of_one_alias_are_bounded() -> None:
    place = Place()
    place.send(*(Alias("zoe", "a", str(number)) for number in range(MAX_CLAIMS + 50)))
    (raw,) = place.table.contents[0].values()
    assert len(read_claims(raw)) == MAX_CLAIMS


def test_a_thousand_who_wait_cost_their_bytes_once_a_chunk() -> None:
    #  encoded anew for each of them, the row alone would be hundreds of times what came in
    place, encoded = Place(), 0
    for first in range(0, MAX_WAITING, 100):
        sent = place.send(*(parked(offset=first + number) for number in range(100)))
        encoded += sum(len(record.value or b"") for record in sent.kept)
    assert encoded < 6 * sum(len(encode_parked(parked(offset=number))) for number in range(MAX_WAITING))


def test_beyond_the_limit_an_activity_is_dead() -> None:
    place = Place()
    place.send(*(parked(offset=n) for n in range(MAX_WAITING)))
    sent = place.send(parked(offset=5000), parked("other", offset=5001))
    (letter,) = sent.dead
    assert (letter["reason"], letter["topic"], letter["partition"], letter["offset"]) == (
        "park_full",
        "product-events",
        1,
        5000,
    )
    assert place.counted.counts["dead:park_full"] == place.total("product-events/1/dropped") == 1
    assert letter["value"] is None and "read the bytes at this offset" in letter["detail"]
    assert len(place.send(ZOE).acts) == MAX_WAITING


def test_what_waits_for_one_alias_fits_in_one_record() -> None:
    #  ids may be long: a thousand of them would not fit in a message
    place, long = Place(), "日" * 250
    sent = place.send(*(parked(offset=n, id_=long, ref=long) for n in range(400)))
    assert all(len(record.value) <= MAX_WAITING_BYTES for record in sent.kept)
    released = place.send(ZOE).acts
    assert 0 < len(released) < 400
    assert len(released) + len(sent.dead) == 400


def test_a_chunk_writes_each_key_of_the_table_once() -> None:
    place, successor = Place(), Place()
    sent = place.send(*(parked(offset=n) for n in range(50)), parked("other"), ZOE, parked(offset=50))
    assert len({record.key for record in sent.kept}) == len(sent.kept) == 3
    successor.table.recover(sent.kept)
    assert successor.table.contents[0] == place.table.contents[0]


@examples(60)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("act"), st.sampled_from("xyz")),
            st.tuples(st.just("known"), st.sampled_from("xyz")),
            st.tuples(st.just("gone"), st.sampled_from("xyz")),
        ),
        max_size=30,
    ),
    st.integers(1, 5),
)
def test_every_activity_waits_or_left_once(steps: list[tuple[str, str]], size: int) -> None:
    place, sent_offsets, expected, waiting, known = Place(), [], [], {}, set()
    records = []
    for offset, (kind, alias) in enumerate(steps):
        if kind == "act":
            records.append(parked(alias, offset, id_=str(offset)))
            (expected if alias in known else waiting.setdefault(alias, [])).append(offset)
        elif kind == "known":
            records.append(Alias(alias, "a", "user " + alias))
            known.add(alias)
            expected += waiting.pop(alias, [])
        else:
            records.append(Alias(alias, "", "user " + alias, gone=True))
            known.discard(alias)
    for n in range(0, len(records), size):
        sent_offsets += [act[3] for act in place.send(*records[n : n + size]).acts]
    assert sorted(sent_offsets) == sorted(expected)
    assert place.total("product-events/1/released") == len(expected)
    assert place.total("product-events/1/waiting") == sum(map(len, waiting.values()))


@pytest.mark.parametrize("alias", ["ü", "日本", "a b"])
def test_any_text_is_an_alias(alias: str) -> None:
    assert Place().send(parked(alias), Alias(alias, "a", "10")).acts == [("a", "10", "search", 5)]


def test_who_was_of_no_org_at_the_time_waits_for_a_membership() -> None:
    #  a ───┤ 1000        2000 ├─── b
    place = Place()
    stints = [(0, 1000, "a"), (2000, 2**62, "b")]
    first, second, third = (
        msgspec.structs.replace(parked(offset=n, id_=str(n)), time_ms=at) for n, at in ((1, 999), (2, 1000), (3, 2000))
    )
    sent = place.send(first, second, third, Alias("zoe", "b", "10", memberships=stints))
    assert sent.acts == [("a", "10", "search", 1), ("b", "10", "search", 3)]
    assert place.total("product-events/1/waiting") == 1
    longer = Alias("zoe", "b", "10", memberships=[(0, 1500, "a"), (2000, 2**62, "b")])
    assert place.send(longer).acts == [("a", "10", "search", 2)]
    assert place.total("product-events/1/waiting") == 0


def test_what_an_operator_unlinked_waits_until_it_is_linked_again() -> None:
    place = Place()
    apart = unlinked_alias("zoe")
    assert place.send(parked(alias=apart), ZOE).acts == []
    sent = place.send(Alias(apart, "a", "11"))
    assert sent.acts == [("a", "11", "search", 5)]
    (rows,) = [record for _, record in sent.activities if isinstance(record, Rows)]
    assert origin_of(rows.subjects[0]) == ("a", "11", "zoe", False)


def test_only_so_many_wait_in_a_partition_however_many_aliases_they_wait_for() -> None:
    #  3 wait │ 2 more ► no room │ one is known, leaves │ one more waits
    place = Place(max_waiting=3)
    place.send(*(parked(f"stranger{n}", n) for n in range(3)))
    place.send(*(parked(f"stranger{n}", n) for n in range(3, 5)))
    assert place.total("product-events/1/waiting") == 3 and place.total("product-events/1/dropped") == 2
    assert place.send(Alias("stranger1", "a", "10")).acts == [("a", "10", "search", 1)]  # who has room goes on
    place.send(parked("stranger6", 6), parked("stranger7", 7))
    assert place.total("product-events/1/waiting") == 3 and place.total("product-events/1/dropped") == 3
    assert place.send(parked("stranger1", 9)).acts == [("a", "10", "search", 9)]  # and whoever is known needs none
