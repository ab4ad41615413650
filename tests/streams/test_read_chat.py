"""Chat messages and presence samples."""

from __future__ import annotations

import orjson

from streams.read_chat import chat_reader
from streams.reading import Reading
from tests.state.worlds import at

read = chat_reader({"#acme": "a", "irc.example.org": "b", "77": "c"}, 40)
TIME = at("2024-03-04T10:00")


def message(**fields: object) -> Reading:
    return read(orjson.dumps({"message_id": 1, "author": "ann", "time": TIME} | fields))


def test_a_message_is_read() -> None:
    assert message(org_id=7, in_reply_to=5) == Reading("7", "ann", "message", TIME, 0, "c1", "c5")


def test_an_id_and_a_reply_to_it_are_spelled_alike() -> None:
    assert message(message_id=5).id == message(in_reply_to="5").ref


def test_a_message_that_answers_nothing_refers_to_nothing() -> None:
    assert message(in_reply_to=None).ref == message(in_reply_to="").ref == message().ref == ""


def test_the_org_is_the_messages_then_the_channels_then_the_servers() -> None:
    assert message(org_id="x", channel="#acme").org == "x"
    assert message(channel="#acme", server="irc.example.org").org == "a"
    assert message(channel="#other", server="irc.example.org").org == "b"
    assert message(channel=77).org == "c"
    assert message(channel="#other").org == ""


def test_a_presence_sample_belongs_to_the_org_itself() -> None:
    found = message(type="presence", server="irc.example.org", online=12)
    assert (found.org, found.who, found.measure, found.amount) == ("b", "", "presence", 12)


def test_a_server_without_an_org_is_one() -> None:
    assert message(type="presence", server="elsewhere", online=0).org == "elsewhere"


def test_samples_refer_to_their_server_so_that_two_of_an_org_are_told_apart() -> None:
    refs = [message(type="presence", server=server, org_id="a", online=1).ref for server in ("x", "y", "x", None)]
    assert refs[0] == refs[2] and len(set(refs)) == 3 and refs[3] == ""


def test_a_sample_is_one_for_each_server_and_time() -> None:
    ids = {
        message(type="presence", server=server, online=1, time=time).id
        for server in ("x", "y")
        for time in (TIME, TIME + 1)
    }
    assert len(ids) == 4
