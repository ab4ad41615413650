"""Whatever a body holds, a form gives messages or says why not; and what it gives is what the workers can judge."""

from __future__ import annotations

import base64
import json
import random
from typing import Any
from urllib.parse import quote

import pytest

from agents.listen.auth import Grant, Tokens, parse_tokens
from agents.listen.forms import FORMS, Asked
from agents.listen.rows import Refused, Sorted
from agents.wiring import sources
from state.identity import spelled
from streams.clock import FixedClock
from streams.model_file import load_model
from streams.reading import Reading, Rejected
from streams.settings import Settings, SettingsError
from streams.topic_specs import topic_names
from tests.faults.extent import fresh_seed

TOKEN = "a-token-that-nobody-guesses"
NOW = 1_767_600_000.0
TOKENS = Tokens({TOKEN: Grant("acme")})
OPEN = Tokens({TOKEN: Grant()})
ODD: list[Any] = [
    None, True, 0, -1, 1.5, 10**30, 1e300, "", " ", "\ud800", "x" * 300, "{", "\x00", [], [1], {}, {"a": 1},
    "2026-01-05", "all",
]  # fmt: skip


def sort(address: str, body: bytes, tokens: Tokens = OPEN, header: str = f"Bearer {TOKEN}", kind: str = "") -> Sorted:
    form = FORMS[address]
    return form.sort(form, Asked(body, kind, header, NOW, 65_536, 1_000), tokens)


def readers() -> dict[str, Any]:
    """Return the workers' own readers, by kind."""
    settings = Settings()
    found = sources(settings, load_model(""), topic_names(settings), FixedClock(NOW))
    kinds = {"product-events": "events", "chat-messages": "chat", "transactions": "transactions"}
    return {kinds[each.name]: each.read for each in found if each.name in kinds}


GOOD: dict[str, Any] = {
    "/v1/events": {"name": "Search", "distinct_id": "ann", "time": NOW, "org_id": "acme", "properties": {"a": 1}},
    "/v1/transactions": {"transaction_id": "t", "org_id": "acme", "amount": "1.50", "status": "A", "time": NOW},
    "/v1/chat": {"message_id": "m", "author": "ann", "time": NOW, "channel": "c", "org_id": "acme"},
    "/mixpanel/track": {"event": "Search", "properties": {"distinct_id": "ann", "time": NOW, "$insert_id": "i"}},
    "/mixpanel/import": {"event": "Search", "properties": {"distinct_id": "ann", "time": NOW, "org_id": "acme"}},
    "/segment/v1/track": {
        "userId": "ann",
        "event": "Search",
        "timestamp": "2026-01-05T08:00:00Z",
        "properties": {"a": 1},
    },
    "/segment/v1/call": {
        "type": "page",
        "anonymousId": "x",
        "messageId": "m",
        "name": "Prices",
        "context": {"groupId": "acme"},
    },
    "/segment/v1/identify": {"userId": "ann", "anonymousId": "x", "traits": {"email": "a@x.example"}, "messageId": "m"},
    "/segment/v1/alias": {"userId": "ann", "previousId": "x", "timestamp": NOW},
    "/segment/v1/batch": {"batch": [{"type": "track", "userId": "ann", "event": "E", "messageId": "m"}], "sentAt": NOW},
}


@pytest.mark.parametrize("address", GOOD)
def test_good_bodies_become_messages_that_the_workers_read(address: str) -> None:
    found = sort(address, json.dumps(GOOD[address]).encode())
    assert found.accepted and not found.refused
    readings: list[Reading] = [readers()[kind](value) for kind, _, value in found.messages]
    assert all(each.who or each.org for each in readings)
    again = sort(address, json.dumps(GOOD[address]).encode())
    assert again.messages == found.messages, "sent again it is the same message"
    if address.startswith("/v1"):
        assert found.messages[0].value == json.dumps(GOOD[address]).encode()
    if address == "/segment/v1/identify":
        assert [(each.who, each.link) for each in readings] == [("ann", "x"), ("ann", spelled("a@x.example"))]


@pytest.mark.parametrize("address", GOOD)
def test_spoilt_bodies_are_refused_or_judged_by_the_workers_and_never_a_fault(address: str) -> None:
    chance, judged = random.Random(fresh_seed()), readers()
    outcomes = {"read": 0, "dead": 0, "refused": 0, "body refused": 0}
    for _ in range(1_500):
        row = json.loads(json.dumps(GOOD[address]))
        spoil(row, chance)
        text = json.dumps(row, ensure_ascii=chance.random() < 0.5).encode("utf-8", "surrogatepass")
        if chance.random() < 0.3:
            at = chance.randrange(len(text))
            text = (
                text[:at] + bytes(chance.choices(range(256), k=chance.randrange(3))) + text[at + chance.randrange(3) :]
            )
        rows = chance.choice((text, b"[" + text + b"," + text + b"]", text + b"\n" + text))
        try:
            found = sort(address, rows, chance.choice((OPEN, TOKENS)))
        except Refused as error:
            assert error.message and error.remedy and error.reason
            outcomes["body refused"] += 1
            continue
        outcomes["refused"] += len(found.refused)
        for kind, _, value in found.messages:
            assert value[:1] == b"{"
            try:
                judged[kind](value)
                outcomes["read"] += 1
            except Rejected:
                outcomes["dead"] += 1
    assert outcomes["read"] and outcomes["body refused"] + outcomes["refused"], outcomes
    print(address, outcomes)


def spoil(row: Any, chance: random.Random) -> None:
    """Change something somewhere inside."""
    place = row
    while isinstance(place, dict | list) and place:
        key = chance.choice(list(place) if isinstance(place, dict) else range(len(place)))
        if chance.random() < 0.6 or not isinstance(place[key], dict | list) or not place[key]:
            if isinstance(place, dict) and chance.random() < 0.3:
                del place[key]
            else:
                place[key] = chance.choice(ODD)
            return
        place = place[key]


def test_headers_of_any_sort_are_no_fault() -> None:
    chance = random.Random(fresh_seed())
    for _ in range(2_000):
        text = "".join(chr(chance.choice((*range(32, 127), 0xE9, 0xDC80, 0x20AC))) for _ in range(chance.randrange(40)))
        for header in (text, f"Basic {text}", f"Bearer {text}"):
            assert OPEN.grant_of_header(header)[0] is None
    for name, password in ((TOKEN, ""), ("anybody", TOKEN)):
        proof = base64.b64encode(f"{name}:{password}".encode()).decode()
        assert OPEN.grant_of_header(f"basic {proof}") == (Grant(), True)
    assert OPEN.grant_of_header(f"Bearer {TOKEN}") == (Grant(), False)


def test_a_form_with_an_unreadable_data_field_is_refused() -> None:
    kind = "application/x-www-form-urlencoded"
    for body in (b"", b"data=", b"data=%%%", b"nothing=1", b"data=" + quote("not base64!").encode(), b"\xff=1"):
        with pytest.raises(Refused):
            sort("/mixpanel/track", body, kind=kind)
    urlsafe = base64.urlsafe_b64encode(json.dumps([GOOD["/mixpanel/track"]] * 3).encode()).rstrip(b"=")
    assert sort("/mixpanel/track", b"data=" + urlsafe, kind=kind).accepted == 3


def test_mistakes_in_the_tokens_are_told_without_them() -> None:
    for text, said in (("short", "5 characters"), (f"{TOKEN} rog=acme", "rog="), (f"{TOKEN} topics=music", "topics="),
                       (f"{TOKEN}\n{TOKEN} org=a", "twice"), (f"{TOKEN} secret-word", "a word")):  # fmt: skip
        with pytest.raises(SettingsError) as error:
            parse_tokens(text)
        assert said in error.value.message and TOKEN not in str(error.value) and "secret-word" not in str(error.value)
    assert len(parse_tokens(f"# who may send\n\n{TOKEN}; another-token-of-length org=a topics=chat\n")) == 2
