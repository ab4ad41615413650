"""The API: its answers are what Redis holds and what its description promises."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from agents.page import openapi
from agents.page.templating import user_url
from deploy.local.redis import LocalRedis
from streams.clock import FixedClock
from streams.reader import Ranking, Reader
from tests.agents.page.filled import Made, make, put
from tests.agents.page.served import Served

NOW = 1_796_040_000.0
DOCUMENT = json.loads(openapi.text())


@pytest.fixture(scope="module")
def made() -> Made:
    return make(int(NOW * 1000) - 40_000, 60, 400)


@pytest.fixture(scope="module")
def served(redis_server: LocalRedis, made: Made) -> Iterator[Served]:
    put(redis_server.url, "page-api:", made.writes())
    with Served(redis_server.url, "page-api:", FixedClock(NOW)) as page:
        yield page


@pytest.fixture(scope="module")
def reader(served: Served) -> Iterator[Reader]:
    with Reader(served.settings.redis.url, served.settings.redis.prefix, FixedClock(NOW)) as found:
        yield found


def complaints(path: str, status: int, body: Any) -> list[str]:
    """Return how *body* differs from what the description says of *path*."""
    response = DOCUMENT["paths"][path]["get"]["responses"][str(status)]
    (content,) = response["content"].values()
    schema = {"$ref": "#/components/schemas/" + content["schema"]["$ref"].rpartition("/")[2]}
    whole = {**schema, "components": DOCUMENT["components"]}
    return [error.message for error in Draft202012Validator(whole, format_checker=None).iter_errors(body)]


def test_the_description_is_valid_openapi_and_the_file_is_current() -> None:
    OpenAPIV31SpecValidator(json.loads(openapi.text())).validate()
    assert openapi.FILE.read_text("utf-8") == openapi.text(), "make docs"


def test_the_description_is_served(served: Served) -> None:
    assert served.get("/api/v1/openapi.json").json == DOCUMENT


def test_every_answer_is_of_the_type_that_the_description_names(served: Served) -> None:
    (user,) = served.get("/api/v1/orgs/northwind/users?per_page=1").json["users"]
    names = {"{org}": "northwind", "{user}": user["user"]}
    for path in DOCUMENT["paths"]:
        asked = path if not path.endswith("/chat") else path.replace("{org}", "homebase")
        for name, value in names.items():
            asked = asked.replace(name, value)
        answer = served.get(asked)
        assert answer.status == 200, asked
        assert answer.headers["Content-Type"] == "application/json"
        assert complaints(path, 200, answer.json) == []


def test_a_wrong_answer_would_be_seen(served: Served) -> None:
    found = served.get("/api/v1/orgs/northwind").json
    assert complaints("/api/v1/orgs/{org}", 200, found | {"active_users": "12"})
    assert complaints("/api/v1/orgs/{org}", 200, {k: v for k, v in found.items() if k != "band"})


@pytest.mark.parametrize(
    ("path", "asked", "status"),
    [
        ("/api/v1/orgs", "/api/v1/orgs?band=x", 400), ("/api/v1/orgs", "/api/v1/orgs?colour=red", 400),
        ("/api/v1/orgs/{org}", "/api/v1/orgs/nobody", 404),
        ("/api/v1/orgs/{org}", "/api/v1/orgs/northwind?page=1", 400),
        ("/api/v1/orgs/{org}/users", "/api/v1/orgs/nobody/users", 404),
        ("/api/v1/orgs/{org}/users", "/api/v1/orgs/northwind/users?band=bad", 400),
        ("/api/v1/orgs/{org}/users/{user}", "/api/v1/orgs/northwind/users/nobody", 404),
        ("/api/v1/orgs/{org}/chat", "/api/v1/orgs/northwind/chat", 404),
        ("/api/v1/orgs/{org}/latency", "/api/v1/orgs/nobody/latency", 404),
        ("/api/v1/alerts", "/api/v1/alerts?page=-1", 400),
    ],
)  # fmt: skip
def test_a_problem_is_a_document(served: Served, path: str, asked: str, status: int) -> None:
    answer = served.get(asked)
    assert answer.status == status
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert complaints(path, status, answer.json) == []
    assert answer.json["status"] == status and answer.json["detail"]


def test_lists_come_in_pages_that_hold_everything_once(served: Served, reader: Reader) -> None:
    for path, key, name in (
        ("/api/v1/orgs?per_page=7&sort=name", "orgs", "org"),
        ("/api/v1/orgs/northwind/users?per_page=5", "users", "user"),
        ("/api/v1/alerts?per_page=1", "alerts", "org"),
    ):  # fmt: skip
        following: str | None = path
        names: list[str] = []
        while following:
            answer = served.get(following).json
            names += [each[name] for each in answer[key]]
            following = answer["next"]
        assert len(names) == len(set(names)) == answer["found"] > 2
    assert names == [alert.org for alert in reader.open_alerts()]


def test_values_are_those_of_the_reader(served: Served, reader: Reader) -> None:
    builtins = msgspec.to_builtins
    (user,) = reader.users_by_score("northwind", Ranking(1))
    for path, value in (
        ("/api/v1/orgs/northwind", reader.org("northwind")),
        ("/api/v1/orgs/northwind/latency", reader.latency("northwind")),
        ("/api/v1/latency", reader.latency()), ("/api/v1/totals", reader.totals()),
        ("/api/v1/orgs/homebase/chat", reader.chat("homebase")), ("/api/v1" + user_url("northwind", user.user), user),
    ):  # fmt: skip
        assert served.get(path).json == json.loads(msgspec.json.encode(builtins(value))), path
    watched = served.get("/api/v1/orgs/northwind/users?band=at_risk&per_page=3&page=2").json["users"]
    expected = reader.users_by_score("northwind", Ranking(3, band="at_risk", skip=3))
    assert [each["user"] for each in watched] == [each.user for each in expected] and expected


def test_a_stretch_of_a_ranking_begins_where_the_one_before_ended(reader: Reader) -> None:
    whole = [user.user for user in reader.users_by_score("northwind", Ranking(100))]
    parts = [user.user for skip in (0, 4, 8) for user in reader.users_by_score("northwind", Ranking(4, skip=skip))]
    assert parts == whole[:12] and len(whole) >= 12
    in_band = [user.user for user in reader.users_by_score("northwind", Ranking(100, band="at_risk", highest=True))]
    skipped = reader.users_by_score("northwind", Ranking(3, band="at_risk", skip=2, highest=True))
    assert [user.user for user in skipped] == in_band[2:5]
    with pytest.raises(ValueError, match="skip"):
        reader.users_by_score("northwind", Ranking(3, skip=-1))


def test_lines_hold_what_the_documents_hold(reader: Reader) -> None:
    documents = reader.orgs_by_score(Ranking(1000))
    lines = reader.org_lines()
    assert [line.org for line in lines] == [each.org for each in documents]
    for line, each in zip(lines, documents, strict=True):
        for name in ("name", "band", "group_type", "score_active", "previous", "active_users", "alert_since"):
            assert getattr(line, name) == getattr(each, name)
    assert reader.user_count("northwind") == len(reader.user_ids("northwind")) > 5
