"""Webhooks through the real process to the real Kafka: what is answered, and what is in the topics then."""

from __future__ import annotations

import base64
import gzip
import json
import socket
import time
import uuid
import zlib
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest

from streams.settings import Settings, of_tenant, override
from streams.topic_specs import topic_names
from streams.topics import create_topics
from tests.agents.listen.process import ACME_TOKEN, CHAT_TOKEN, TOKEN, Listening, ends, get, post, records
from tests.faults.system import wait_until

pytestmark = pytest.mark.kafka

EVENT = {"name": "Search", "distinct_id": "ann@acme.example", "time": 1_750_000_000}


@pytest.fixture(scope="module")
def shared(kafka: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Listening]:
    """One process for all tests here."""
    name = f"t{uuid.uuid4().hex[:10]}-"
    changes = {"kafka.brokers": kafka.bootstrap, "kafka.prefix": name, "kafka.partitions": 2}
    settings = override(Settings(), {**changes, "kafka.application": f"{name}app"})
    create_topics(settings)
    limits = {
        "listen.max_body_bytes": 200_000, "listen.max_unpacked_bytes": 400_000, "listen.max_rows": 300,
        "listen.idle_seconds": 2.0, "listen.body_seconds": 2.0, "listen.max_connections": 20,
        "listen.tokens": f"{TOKEN}; {ACME_TOKEN} org=acme; {CHAT_TOKEN} topics=chat",
    }  # fmt: skip
    log = tmp_path_factory.mktemp("listen") / "listen.log"
    with Listening(settings, log, "--only", "http", changes=limits) as found:
        yield found


@pytest.fixture
def listening(shared: Listening) -> Listening:
    """The process, with what earlier tests sent out of sight."""
    topic = topic_names(shared.settings).product_events
    shared.seen = {topic: ends(shared.settings, topic)}
    return shared


def values(listening: Listening, topic: str) -> list[bytes]:
    return [value for _, value in records(listening.settings, topic, listening.seen.get(topic, ()))]


def test_every_form_comes_to_its_topic_as_it_was_sent(listening: Listening) -> None:
    names, url = topic_names(listening.settings), listening.url
    own = b'{ "name":"Search","distinct_id" : "ann", "time":1750000000.5, "properties":{"x":1234567890123456789.10} }'
    assert post(f"{url}/v1/events", own) == (202, {"accepted": 1})
    status, said = post(
        f"{url}/v1/events", own + b"\n\n" + b'{"name":1}\nnonsense\n', Content_Type="application/x-ndjson"
    )
    assert status == 202 and said["accepted"] == 2
    assert [(each["index"], each["reason"]) for each in said["refused"]] == [(2, "not_an_object")]
    assert said["refused"][0]["remedy"]
    payment = {"transaction_id": "t1", "org_id": "acme", "amount": "12.10", "status": "A", "time": 1_750_000_000}
    assert post(f"{url}/v1/transactions", [payment, payment | {"transaction_id": "t2"}]) == (202, {"accepted": 2})
    chat = {"message_id": "m1", "author": "ann", "time": 1_750_000_000, "channel": "help"}
    sample = {"type": "presence", "server": "home", "time": 1_750_000_000, "online": 7}
    assert post(f"{url}/v1/chat", [chat, sample], CHAT_TOKEN) == (202, {"accepted": 2})
    assert values(listening, names.product_events) == [own, own, b'{"name":1}']
    assert dict(records(listening.settings, names.chat_messages)) == {
        b"help": json.dumps(chat).encode(), b"home": json.dumps(sample).encode(),
    }  # fmt: skip
    assert {key for key, _ in records(listening.settings, names.transactions)} == {b"acme"}
    assert listening.figure("orgpulse_listen_accepted_total", form="events") == 3
    assert listening.figure("orgpulse_listen_refused_total", form="events", reason="not_an_object") == 1
    assert listening.figure("orgpulse_listen_acknowledge_seconds_count") == 4


def test_mixpanels_bodies_are_taken_in_all_their_wrappings_and_their_tokens_go(listening: Listening) -> None:
    def event(number: int, **more: Any) -> dict[str, Any]:
        inside = {"distinct_id": "ann", "time": 1_750_000_000, "$insert_id": f"i{number}", **more}
        return {"event": "Search", "properties": inside}

    url, form = listening.url, "application/x-www-form-urlencoded"
    inside = base64.b64encode(json.dumps(event(1, token=TOKEN)).encode()).decode()
    assert post(f"{url}/mixpanel/track", f"data={quote(inside)}".encode(), "", Content_Type=form) == (200, 1)
    plain = quote(json.dumps([event(2, token=TOKEN), event(3, token="no such token at all")]))
    status, said = post(f"{url}/mixpanel/track?verbose=1", f"data={plain}&ip=1".encode(), "", Content_Type=form)
    assert (status, said["status"], said["accepted"]) == (400, 0, 1)
    by_library = f"data={quote(json.dumps(event(9)))}&verbose=1&ip=0".encode()  # as Mixpanel's own for Python sends it
    secret = base64.b64encode(f"{TOKEN}:".encode()).decode()
    status, said = post(f"{url}/mixpanel/import", by_library, "", Content_Type=form, Authorization=f"Basic {secret}")
    assert (status, said["status"]) == (200, 1)
    packed = gzip.compress(json.dumps([event(4), event(5)]).encode())
    basic = base64.b64encode(f"service.account:{TOKEN}".encode()).decode()
    status, said = post(
        f"{url}/mixpanel/import?strict=1", packed, "", Content_Encoding="gzip", Authorization=f"Basic {basic}"
    )
    assert (status, said["num_records_imported"]) == (200, 2)
    lines = b"\n".join(json.dumps(event(number)).encode() for number in (6, 7))
    assert post(f"{url}/mixpanel/import", lines) == (202, {"accepted": 2})
    status, said = post(f"{url}/mixpanel/track", [event(8)], "")
    assert (status, said["status"]) == (401, 0) and "token" in said["error"]  # where the libraries look for it
    found = [json.loads(value) for value in values(listening, topic_names(listening.settings).product_events)]
    ids = sorted(each["properties"]["$insert_id"] for each in found)
    assert ids == ["i1", "i2", "i4", "i5", "i6", "i7", "i9"]
    assert not any("token" in each["properties"] for each in found)


def test_segments_calls_become_events_and_links(listening: Listening) -> None:
    url, key = listening.url, base64.b64encode(f"{TOKEN}:".encode()).decode()
    stamp = "2025-06-15T15:06:40.500Z"
    track = {"userId": "ann", "event": "Search", "messageId": "m1", "timestamp": stamp, "properties": {"quantity": 3}}
    assert post(f"{url}/segment/v1/track", track, "", Authorization=f"Basic {key}") == (
        200, {"success": True, "accepted": 1},
    )  # fmt: skip
    calls = [
        {"type": "page", "anonymousId": "x1", "name": "Prices", "messageId": "m2"},
        {
            "type": "identify",
            "userId": "ann",
            "anonymousId": "x1",
            "traits": {"email": "ann@acme.example"},
            "messageId": "m3",
        },
        {"type": "group", "userId": "ann", "groupId": "acme", "messageId": "m4"},
        {"type": "track", "userId": "ann", "messageId": "m5"},
        {"type": "track", "event": "Export", "userId": "ann"},
        {"type": "sing", "userId": "ann"},
    ]
    status, said = post(f"{url}/segment/v1/batch", {"batch": calls, "sentAt": stamp, "writeKey": TOKEN}, "")
    assert (status, said["accepted"], said["ignored"]) == (200, 3, 1)
    assert [(each["index"], each["field"]) for each in said["refused"]] == [(3, "event"), (5, "type")]
    found = [json.loads(value) for value in values(listening, topic_names(listening.settings).product_events)]
    names = sorted(each.get("name") or each["event"] for each in found)
    assert names == ["$create_alias", "$identify", "Export", "Search", "Viewed a Page"]
    (search,) = [each for each in found if each.get("name") == "Search"]
    assert search == {
        "name": "Search", "distinct_id": "ann", "time": stamp, "event_id": "m1", "quantity": 3,
        "properties": {"quantity": 3},
    }  # fmt: skip
    assert TOKEN not in json.dumps(found)
    status, said = post(f"{url}/segment/v1/batch", {"batch": []}, "")
    assert (status, said["code"]) == (401, "unknown_token") and said["message"]
    no_time = {"userId": "ann", "event": "Search"}
    status, said = post(f"{url}/segment/v1/track", no_time)
    assert (status, said["refused"][0]["field"]) == (400, "timestamp")


def test_a_token_decides_whose_rows_they_are_and_where_they_may_go(listening: Listening) -> None:
    url = listening.url
    assert post(f"{url}/v1/events", EVENT, "")[0] == 401
    assert post(f"{url}/v1/events", EVENT, "wrong" * 5)[0] == 401
    status, said = post(f"{url}/v1/events", EVENT, CHAT_TOKEN)
    assert (status, said["error"]["reason"]) == (403, "not_allowed")
    assert post(f"{url}/v1/events", [EVENT, EVENT | {"org_id": None}, EVENT | {"org_id": "acme"}], ACME_TOKEN)[0] == 202
    status, said = post(f"{url}/v1/events", [EVENT, EVENT | {"org_id": "bolt"}], ACME_TOKEN)
    assert (status, said["accepted"], said["refused"][0]["field"]) == (202, 1, "org_id")
    export = {"event": "Search", "properties": {"distinct_id": "ann", "time": 1_750_000_000}}
    assert post(f"{url}/mixpanel/import", [export], ACME_TOKEN)[0] == 202
    found = [json.loads(value) for value in values(listening, topic_names(listening.settings).product_events)]
    assert [each.get("org_id") or each["properties"]["org_id"] for each in found] == ["acme"] * 5
    assert b"wrong" not in listening.log.read_bytes() and TOKEN.encode() not in listening.log.read_bytes()


def test_what_is_too_much_is_refused_and_a_bomb_is_not_unpacked(listening: Listening) -> None:
    url = f"{listening.url}/v1/events"
    assert post(url, b"x" * 200_001)[0] == 413
    assert post(url, b"[" + b",".join([b"{}"] * 301) + b"]")[0] == 413
    status, said = post(url, [EVENT, EVENT | {"properties": {"x": "y" * 70_000}}])
    assert (status, said["refused"][0]["reason"]) == (202, "too_large")
    bomb = gzip.compress(b" " * 100_000_000, 9)
    assert len(bomb) < 200_000
    began = time.monotonic()
    status, said = post(url, bomb, Content_Encoding="gzip")
    assert (status, said["error"]["reason"]) == (413, "body_too_large") and time.monotonic() - began < 20
    assert post(url, zlib.compress(json.dumps(EVENT).encode()), Content_Encoding="deflate")[0] == 202
    assert post(url, gzip.compress(b"{}")[:-4], Content_Encoding="gzip")[0] == 415
    assert post(url, b"{}", Content_Encoding="br")[0] == 415
    assert post(url, b"[" * 100_000)[0] == 400
    assert post(url, b'{"name": "caf\xff"}')[0] in (202, 400)
    for body in (b"", b"  ", b"nonsense", b'"text"', b"[1, 2"):
        status, said = post(url, body)
        assert status == 400, (body, said)
    assert get(url)[0] == 405 and get(f"{listening.url}/v1/nothing")[0] == 404
    assert get(f"{listening.url}/live")[0] == 200 and get(f"{listening.url}/ready")[0] == 200


def test_who_is_slow_or_one_too_many_is_cut_off(listening: Listening) -> None:
    address = ("127.0.0.1", int(listening.url.rpartition(":")[2]))
    head = f"POST /v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n".encode()
    with socket.create_connection(address) as slow, socket.create_connection(address) as slower:
        slow.sendall(head)  # a head that never ends
        slower.sendall(head + b"Content-Length: 100\r\n\r\n{")  # a body that never ends
        slower.settimeout(60)
        slow.settimeout(60)
        assert slower.recv(1000).startswith(b"HTTP/1.1 408")
        assert slow.recv(1000) == b""
    many = [socket.create_connection(address) for _ in range(40)]
    try:
        wait_until(
            lambda: (
                "" if listening.figure("orgpulse_listen_refused_total", reason="too_many_connections") else "all in"
            ),
            60,
        )
    finally:
        for each in many:
            each.close()
    wait_until(lambda: "" if post(f"{listening.url}/v1/events", EVENT)[0] == 202 else "full", 60)


def test_what_is_no_http_at_all_is_turned_away_and_not_logged(listening: Listening) -> None:
    address = ("127.0.0.1", int(listening.url.rpartition(":")[2]))
    for raw in (
        b"my secret diary\r\n\r\n",
        b"POST /v1/events HTTP/1.1\r\nContent-Length: secret\r\n\r\n",
        b"\x16\x03\x01secret",
    ):
        with socket.create_connection(address) as connection:
            connection.settimeout(60)
            connection.sendall(raw)
            assert connection.recv(1000)[:12] in (b"HTTP/1.1 400", b"HTTP/1.0 400", b"")
    wait_until(lambda: "" if post(f"{listening.url}/v1/events", EVENT)[0] == 202 else "not well", 60)
    assert b"secret" not in listening.log.read_bytes()


def test_what_was_sent_again_is_the_same_message(listening: Listening) -> None:
    """A sender whose answer got lost sends the same bytes: the message that is written is the same too."""
    url = listening.url
    for _ in range(2):
        assert post(f"{url}/v1/events", EVENT, ACME_TOKEN)[0] == 202
        call = {"userId": "ann", "event": "Search", "timestamp": "2025-06-15T15:06:40Z"}
        assert post(f"{url}/segment/v1/track", call, ACME_TOKEN)[0] == 202
    found = values(listening, topic_names(listening.settings).product_events)
    assert len(found) == 4 and len(set(found)) == 2


def test_above_the_quota_the_answer_is_429_and_when_to_send_again_and_nothing_is_taken(
    kafka: Any, tmp_path: Any
) -> None:
    name = f"t{uuid.uuid4().hex[:10]}-"
    plain = {"kafka.brokers": kafka.bootstrap, "kafka.prefix": name, "kafka.partitions": 1}
    quota = {"quota.events_per_second": 1, "quota.burst_seconds": 10.0}
    settings = of_tenant(override(Settings(), {**plain, "kafka.application": f"{name}app", **quota}), "acme")
    create_topics(settings)
    with Listening(settings, tmp_path / "listen.log", "--only", "http") as listening:
        rows = [EVENT | {"event_id": str(n)} for n in range(10_000)]
        assert post(f"{listening.url}/v1/events", rows) == (202, {"accepted": 10_000})  # ahead of time, for two hours
        status, said = post(f"{listening.url}/v1/events", EVENT)
        assert status == 429 and said["error"]["reason"] == "quota" and said["accepted"] == 0
        assert 5_000 < int(said["retry_after"]) <= 9_990
        assert len(records(settings, topic_names(settings).product_events)) == 10_000
        assert listening.figure("orgpulse_listen_refused_total", tenant="acme", reason="quota") == 1
