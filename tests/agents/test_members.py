"""What the directory says reaches every place it concerns."""

from __future__ import annotations

import msgspec
import orjson
import pytest

from agents.ledger import Ledger
from agents.members import CARRIED, Members
from state.activity import Member, Org
from state.identity import UserRecord, org_alias
from state.ledger import SourceLedger
from state.membership import FOREVER_MS
from streams.metrics import Metrics
from streams.parked import Alias
from streams.read_directory import DirectoryLimits
from streams.suppression import Suppression
from tests.agents.by_hand import DEAD, NOW, Counted, Sent, Table, chunk_of, router

NOW_MS = int(NOW * 1000)


class Place:
    """The handlers of one partition of both directory topics."""

    def __init__(self, suppressed: Suppression | None = None) -> None:
        self.table, self.counted = Table(), Counted()
        ledger, limits = Ledger(self.table, Metrics()), DirectoryLimits(40, 5, 1000)  # type: ignore[arg-type]
        self.handlers = {
            kind: Members(
                kind, router(), self.table, DEAD, ledger, limits=limits, counted=self.counted, suppressed=suppressed
            )
            for kind in ("users", "orgs")
        }

    def send(self, kind: str, *records: tuple[bytes | None, bytes | None]) -> Sent:
        outcome = self.handlers[kind].handle(chunk_of(kind, [v for _, v in records], keys=[k for k, _ in records]))
        assert outcome.after_commit is not None
        outcome.after_commit()
        return Sent(list(outcome.records))

    def user(self, user: str, **fields: object) -> Sent:
        return self.send("users", (user.encode(), orjson.dumps({"user_id": user, "org_id": "a"} | fields)))

    def org(self, org: str, **fields: object) -> Sent:
        return self.send("orgs", (org.encode(), orjson.dumps({"org_id": org} | fields)))


def claim(alias: str, org: str, user: str, *, bot: bool = False) -> Alias:
    """Return what those who wait hear of an alias that the directory tells of now."""
    return Alias(alias, org, user, bot=bot, claimed_ms=int(NOW * 1000))


def test_a_new_user_is_told_to_its_org_and_to_who_waits_for_it() -> None:
    sent = Place().user("8", email="Ann@Example.ORG", licensed=False, job_type="ops")
    assert sent.activities == [(router().partition("a"), Member("a", "8", False, "ops"))]
    assert sent.aliases == [claim("8", "a", "8"), claim("ann@example.org", "a", "8")]
    assert [p for p, _ in sent.waiting] == [router().partition("8"), router().partition("ann@example.org")]


def test_a_change_of_org_is_told_to_both() -> None:
    place = Place()
    place.user("8")
    sent = place.user("8", org_id="b")
    assert sent.activities == [
        (router().partition("a"), Member("a", "8", True, "", until_ms=NOW_MS)),
        (router().partition("b"), Member("b", "8", True, "", since_ms=NOW_MS)),
    ]
    moved = [(0, NOW_MS, "a"), (NOW_MS, FOREVER_MS, "b")]
    assert sent.aliases == [msgspec.structs.replace(claim("8", "b", "8"), memberships=moved)]


def test_a_membership_that_was_wrong_altogether_is_taken_back() -> None:
    place = Place()
    place.user("8")
    sent = place.user("8", org_id="b", since="2001-01-01", until="2024-01-01")
    since, until = 978_307_200_000, 1_704_067_200_000
    assert [record for _, record in sent.activities] == [
        Member("a", "8", True, "", until_ms=since),
        Member("b", "8", True, "", since_ms=since, until_ms=until),
    ]
    sent = place.user("8", org_id="c", since=946_684_800)
    gone = [record for _, record in sent.activities if record.gone]
    assert gone == [Member("b", "8", False, "", gone=True)]


def test_what_was_carried_over_is_told_to_every_org() -> None:
    place = Place()
    known = UserRecord(
        "8", "b", ["8"], "", True, False, memberships=[(0, 5, "a"), (5, FOREVER_MS, "b")], offset=CARRIED
    )
    place.table.stage(0, b"u:8", msgspec.msgpack.encode(known))
    sent = place.user("8", org_id="b")
    assert [record for _, record in sent.activities] == [
        Member("a", "8", True, "", until_ms=5),
        Member("b", "8", True, "", since_ms=5),
    ]


def test_what_people_call_a_user_is_told_to_the_shard() -> None:
    assert [r.display_name for _, r in Place().user("8", display_name="Ann").activities] == ["Ann"]


def test_an_alias_that_is_no_longer_given_is_taken_away() -> None:
    place = Place()
    place.user("8", aliases=["x", "y"])
    assert place.user("8", aliases=["y", "z"]).aliases == [
        Alias("x", "", "8", gone=True),
        claim("8", "a", "8"),
        claim("y", "a", "8"),
        claim("z", "a", "8"),
    ]


def test_a_tombstone_takes_the_user_and_every_alias_away() -> None:
    place = Place()
    place.user("8", aliases=["x"])
    sent = place.send("users", (b"8", None))
    assert [record for _, record in sent.activities] == [Member("a", "8", False, "", gone=True)]
    assert sent.aliases == [Alias("8", "", "8", gone=True), Alias("x", "", "8", gone=True)]
    assert place.table.read(0, b"u:8") is None
    again = place.send("users", (b"8", None))
    assert (again.activities, again.aliases) == ([], [])


def test_a_bot_takes_no_seat() -> None:
    sent = Place().user("8", bot=True)
    assert sent.activities[0][1] == Member("a", "8", True, "", gone=True)
    assert sent.aliases == [claim("8", "a", "8", bot=True)]


def test_an_org_is_told_to_its_shard_and_to_who_waits_for_it() -> None:
    sent = Place().org("b", name="Acme", timezone="Asia/Kolkata", account_value_usd=10)
    assert sent.activities == [(router().partition("b"), Org("b", "Acme", "Asia/Kolkata", "SMB"))]
    assert sent.aliases == [Alias(org_alias("b"), "b", "")]


def test_an_org_that_is_gone_is_told_as_gone() -> None:
    sent = Place().send("orgs", (b"b", None))
    assert sent.activities[0][1] == Org("b", "", "UTC", "", gone=True)
    assert sent.aliases == [Alias(org_alias("b"), "b", "", gone=True)]


@pytest.mark.parametrize(
    ("kind", "key", "value", "reason"),
    [
        ("users", b"8", b"{", "not_json"),
        ("users", b"8", b'{"user_id": 8}', "missing_field"),
        ("users", b"8", b'{"user_id": true, "org_id": 1}', "wrong_type"),
        ("users", None, None, "blank_id"),
        ("orgs", b"a" * 50, None, "long_id"),
        ("orgs", b"a", b'{"org_id": "a", "timezone": "Mars"}', "bad_zone"),
    ],
)
def test_what_can_not_be_read_is_a_dead_letter(kind: str, key: bytes | None, value: bytes | None, reason: str) -> None:
    place = Place()
    right = orjson.dumps({"user_id": "9", "org_id": "a"})
    sent = place.send(kind, (key, value), (b"9", right))
    assert [letter["reason"] for letter in sent.dead][:1] == [reason]
    assert [letter["offset"] for letter in sent.dead][:1] == [0]
    ledger = SourceLedger.load(place.table.read(0, kind.encode()))
    assert (ledger.consumed, ledger.dead_lettered + ledger.apart) == (2, 2)


def test_bytes_that_are_no_text_are_still_a_key() -> None:
    sent = Place().send("users", (b"\xff\xfe", None))
    assert (sent.dead, sent.activities) == ([], [])


def test_after_a_recovery_the_former_entry_is_known() -> None:
    place, successor = Place(), Place()
    successor.table.recover(place.user("8", aliases=["x"]).kept)
    sent = successor.user("8", org_id="b")
    assert [record.org for _, record in sent.activities] == ["a", "b"]
    assert sent.aliases[0] == Alias("x", "", "8", gone=True)
