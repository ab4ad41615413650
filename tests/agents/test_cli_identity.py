"""`orgpulse identity`: what is said of aliases, and what the log is corrected to."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import msgspec
import orjson
import pytest
from aiokafka import AIOKafkaProducer
from click.testing import CliRunner, Result

from agents import mend as mending
from agents.cli_identity import identity
from agents.ingest import ids_of
from agents.routing import router_of
from state.activity import Correction, decode_record, subject_of
from state.packing import Packer
from streams.reading import Reading
from streams.settings import Settings, override
from streams.topic_specs import topic_names
from tests.streams.kafka_topics import read_all

NOON = 1_709_550_000_000  # 2024-03-04T11:00:00Z


class Installation:
    """A directory, a log with some activities, and no worker."""

    def __init__(self, settings: Settings) -> None:
        self.settings, self.names = settings, topic_names(settings)
        self.router = router_of(settings)
        self.next = 0

    def run(self, *arguments: str) -> Result:
        return CliRunner().invoke(identity, arguments, obj=self.settings)

    def shown(self, who: str, *more: str) -> dict[str, Any]:
        return json.loads(self.run("show", who, "--json", *more).stdout)

    def user(self, user: str, org: str, **fields: Any) -> None:
        entry = {"user_id": user, "org_id": org} | fields
        self.send(self.names.users, self.router.partition(user), user.encode(), orjson.dumps(entry))

    def act(self, alias: str, user: str, org: str = "acme", number: int = 3, *, named: bool = False) -> None:
        packer = Packer()
        for _ in range(number):
            self.next += 1
            said = Reading(org, alias, "search", NOON, 0, f"p{self.next}", "")
            packer.add(subject_of(org, user, alias, named=named), "search", NOON, 0, *ids_of(org, said), self.next)
        out = self.router.packed(self.router.partition(org), packer.rows("product-events", 0, 0))[0]
        self.send(out.topic, out.partition, None, out.value)

    def send(self, topic: str, partition: int, key: bytes | None, value: bytes | None) -> None:
        async def sent() -> None:
            producer = AIOKafkaProducer(bootstrap_servers=self.settings.kafka.brokers, acks="all")
            await producer.start()
            try:
                await producer.send_and_wait(topic, value, key=key, partition=partition)
            finally:
                await producer.stop()

        asyncio.run(sent())

    def corrections(self) -> list[Correction]:
        kafka = self.settings.kafka
        parts = asyncio.run(read_all(kafka.brokers, self.names.activities, kafka.partitions))
        records = [decode_record(value or b"") for part in parts for _, _, value in part]
        return [record for record in records if isinstance(record, Correction)]


@pytest.fixture
def place(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Installation:
    monkeypatch.setattr(mending, "_SETTLE_SECONDS", 0.0)
    found = Installation(settings)
    found.user("8", "acme", email="Ann@Acme.example")
    found.user("9", "acme", username="bob")
    return found


def changes(corrections: list[Correction]) -> dict[str, int]:
    """Return by subject how many activities came or went."""
    found: dict[str, int] = {}
    for record in corrections:
        for row in record.rows:
            name = record.subjects[row[0]].replace("\x1f", "/")
            found[name] = found.get(name, 0) + row[3]
    return found


@pytest.mark.kafka
def test_an_alias_is_unlinked_and_linked_and_the_log_follows(place: Installation) -> None:
    place.act("ann@acme.example", "8")
    place.act("8", "8")
    assert place.shown("ANN@acme.example", "--check")["out_of_line"] == 0
    said = place.run("link", "ann@acme.example", "9")
    assert said.exit_code == 1 and "is 8" in said.output and "unlink" in said.output

    said = place.run("unlink", "Ann@Acme.example")
    assert "3 activities count elsewhere now; orgs that change: acme" in said.stdout, said.output
    assert changes(place.corrections()) == {"acme/8": -3}
    found = place.shown("ann@acme.example")
    assert (found["user"], found["unlinked"], found["claimed_by"]) == (None, True, ["8"])
    assert "leads to nobody" in place.run("show", "ann@acme.example").stdout

    assert "3 activities count elsewhere now" in place.run("link", "ann@acme.example", "9").stdout
    assert changes(place.corrections()) == {"acme/8": -3, "acme/9": 3}
    assert place.shown("9")["aliases"] == [
        {"alias": "9", "by": "directory"}, {"alias": "ann@acme.example", "by": "operator"},
        {"alias": "bob", "by": "directory"},
    ]  # fmt: skip

    assert "whose the directory says" in place.run("reset", "ann@acme.example").stdout
    assert changes(place.corrections()) == {"acme/8": 0, "acme/9": 0}
    assert "everything that the log holds counts" in place.run("mend", "8", "9").stdout


@pytest.mark.kafka
def test_a_corrected_membership_moves_activities_to_the_other_org_but_not_those_that_named_theirs(
    place: Installation,
) -> None:
    place.act("bob", "9")
    place.act("bob", "9", number=2, named=True)
    place.user("9", "bolt", username="bob", since="2024-01-01")
    said = place.run("mend", "bob", "--dry-run")
    assert "3 activities would count elsewhere; orgs that change: acme, bolt" in said.stdout, said.output
    assert place.corrections() == []
    place.run("mend", "9")
    assert changes(place.corrections()) == {"acme/9": -3, "bolt/9": 3}
    (there,) = [record for record in place.corrections() if record.org == "bolt"]
    expected = {ids_of("bolt", Reading("", "", "", 0, 0, f"p{number}", ""))[0] for number in (1, 2, 3)}
    assert {id_ for id_, _ in there.ids} == expected  # a duplicate of theirs is still one
    shown = place.run("show", "bob", "--check").stdout
    assert "2024-01-01" in shown and "every activity that the log still holds counts where it belongs" in shown


@pytest.mark.kafka
def test_slips_are_refused_in_plain_words(place: Installation) -> None:
    place.settings = override(place.settings, {"ingest.max_aliases": 2})
    for arguments, said in (
        (("link", "x", "nobody"), 'knows no user "nobody"'),
        (("unlink", "x"), '"x" leads to nobody'),
        (("reset", "8"), 'nothing was said of "8"'),
        (("link", "x", "8"), "8 has 2 aliases already"),
    ):
        found = place.run(*arguments)
        assert found.exit_code in (1, 2) and said in found.output, found.output


@pytest.mark.kafka
def test_what_was_begun_and_left_is_ended_by_mending(place: Installation) -> None:
    place.act("ann@acme.example", "8")
    said = place.run("unlink", "ann@acme.example", "--no-mend")
    assert "orgpulse identity mend ann@acme.example" in said.stdout and place.corrections() == []
    assert place.shown("ann@acme.example", "--check")["out_of_line"] == 3
    told = place.run("show", "ann@acme.example", "--check").stdout
    assert "3 activities count elsewhere: orgpulse identity mend ann@acme.example" in told
    place.run("mend", "ann@acme.example")
    assert changes(place.corrections()) == {"acme/8": -3}


def test_a_correction_keeps_its_shape_on_the_wire() -> None:
    record = Correction(
        "a",
        ["a\x1f8"],
        ["search"],
        [(0, 0, 5, -1, -7, 3)],
        [(2**64 - 1, 5)],
        places=["#a"],
        opened=[(1, 0, 2, 0, 9, [(7, 8, 0)])],
    )
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(record), type=Correction) == record
