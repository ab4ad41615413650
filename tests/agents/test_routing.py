"""Everything of one org goes to one partition, in records that fit."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.routing import halves
from state.activity import Bundle, Record, Rows, Tick, decode_record, encode_record
from state.activity import rows_of as rows_in
from state.identity import EVENT, Link, UserRecord
from state.packing import unpack
from streams.parked import Alias, decode_parked
from streams.transactions import Outgoing
from tests.agents.by_hand import PARTITIONS, TOPICS, router
from tests.agents.test_members import NOW_MS
from tests.agents.test_park import Place, parked
from tests.state.worlds import Act, examples, rows_of

acts = st.lists(
    st.builds(
        Act,
        st.sampled_from("ab"),
        st.text("xyz", max_size=2),
        st.sampled_from(["search", "message"]),
        st.integers(0, 2**50),
        st.integers(0, 2**64 - 1),
        st.integers(-(2**62), 2**62),
        st.sampled_from([0, 1, 2**64 - 1]),
        st.sampled_from(["", "", "#help", "#a-channel-with-a-long-name"]),
    ),
    min_size=2,
    max_size=40,
)


def activities(rows: Rows) -> list[tuple]:
    columns = unpack(rows)
    names = zip(
        [rows.subjects[i] for i in columns.subject.tolist()],
        [rows.measures[i] for i in columns.measure.tolist()],
        *(getattr(columns, c).tolist() for c in ("time_ms", "amount", "id", "ref", "at")),
        [columns.places[i] for i in columns.place.tolist()],
        strict=True,
    )
    return list(names)


@examples(80)
@given(acts)
def test_two_halves_are_the_whole(found: list[Act]) -> None:
    rows = rows_of(found, 7)
    first, second = halves(rows)
    assert activities(first) + activities(second) == activities(rows)
    assert abs(len(first.measure) - len(second.measure)) <= 1
    for half in (first, second):
        assert sorted(half.subjects) == sorted({name for name, *_ in activities(half)})
        assert (half.topic, half.first_offset, half.arrived) == (rows.topic, 7, rows.arrived)


@examples(40)
@given(acts, st.integers(370, 2000))
def test_packed_rows_fit_into_their_messages(found: list[Act], most: int) -> None:
    sent = router(most).packed(2, rows_of(found))
    assert all(record.value is not None and len(record.value) <= most * 9 // 10 for record in sent)
    assert {(record.topic, record.partition) for record in sent} == {(TOPICS.activities, 2)}
    together = [act for record in sent for act in activities(decode_record(record.value))]
    assert together == activities(rows_of(found))


def test_a_row_that_fits_in_no_message_is_told_instead_of_halved_for_ever() -> None:
    with pytest.raises(ValueError, match="max_message_bytes"):
        router(100).packed(0, rows_of([Act("a", "x" * 200, "search", 1, 1)]))


@pytest.mark.parametrize("event_first", [True, False])
def test_what_an_event_says_of_an_alias_counts_after_the_directory(event_first: bool) -> None:
    #  event: zoe is ann    directory: zoe is bob    whoever waits for zoe ► bob, as all that comes later
    ann = UserRecord("ann", "a", ["ann"], "", True, False)
    (said,) = [decode_parked(out.value or b"") for out in router().link(Link("zoe", "ann", EVENT), ann)[1:2]]
    claim = Alias("zoe", "b", "bob", claimed_ms=NOW_MS)
    place = Place()
    place.send(*([said, claim] if event_first else [claim, said]))
    assert place.send(parked()).acts == [("b", "bob", "search", 5)]
    place.send(
        Alias("zoe", "a", "ann", claimed_ms=NOW_MS - 1), said
    )  # the directory says it as well, and said it first
    assert place.send(parked(offset=6)).acts == [("a", "ann", "search", 6)]


def test_what_an_operator_says_of_an_alias_counts_before_the_directory() -> None:
    ann = UserRecord("ann", "a", ["ann"], "", True, False)
    (said,) = [decode_parked(out.value or b"") for out in router().link(Link("zoe", "ann"), ann)[1:2]]
    place = Place()
    place.send(Alias("zoe", "b", "bob", claimed_ms=1), said, Alias("zoe", "a", "ann", claimed_ms=NOW_MS))
    assert place.send(parked()).acts == [("a", "ann", "search", 5)]


def test_an_orgs_subjects_records_and_ticks_meet_in_one_partition() -> None:
    routes = router()
    for org in map(str, range(50)):
        home = routes.partition(org)
        assert 0 <= home < PARTITIONS
        assert routes.partition_of_subject(f"{org}\x1fann") == routes.partition_of_subject(f"{org}\x1f") == home
        sent = routes.activity(org, Tick(1, 2))
        assert (sent.partition, sent.value) == (home, encode_record(Tick(1, 2)))
    assert len({routes.partition(str(n)) for n in range(50)}) == PARTITIONS


def test_partitions_never_change() -> None:
    # A change would scatter an org over two shards; these numbers are for ever.
    assert [router().partition(name) for name in ("a", "b", "acme", "7", "ü")] == [3, 3, 1, 2, 2]


@examples(60)
@given(
    st.lists(st.tuples(st.integers(0, 2), st.lists(acts, min_size=1, max_size=2)), max_size=12), st.integers(400, 4000)
)
def test_rows_of_one_transaction_are_bundled_by_partition_in_their_order(
    found: list[tuple[int, list[list[Act]]]], most: int
) -> None:
    mine = router(most)
    sent: list[Outgoing] = []
    for number, (kind, chunks) in enumerate(found):
        for some in chunks:
            if kind == 2:
                sent.append(Outgoing("elsewhere", 0, b"k", b"%d" % number))
                sent.append(mine.activity("a", Tick(number, 1)))
            else:
                sent += mine.packed(kind, rows_of(some, number))
    out = mine.bundled(sent)
    assert [o for o in out if o.topic == "elsewhere"] == [o for o in sent if o.topic == "elsewhere"]
    assert all(len(o.value or b"") <= most for o in out)
    for partition in range(PARTITIONS):

        def told(records: list[Outgoing], partition: int = partition) -> list[Record]:
            here = [r for r in records if r.topic == TOPICS.activities and r.partition == partition]
            found = [decode_record(r.value or b"") for r in here]
            return [each for record in found for each in (rows_in(record) or [record])]

        assert told(out) == told(sent)


def test_small_rows_of_one_partition_become_one_record() -> None:
    some = rows_of([Act("a", "x", "search", 1, 1)])
    (out,) = router().bundled(router().packed(1, some) * 3)
    assert decode_record(out.value or b"") == Bundle([some] * 3)
