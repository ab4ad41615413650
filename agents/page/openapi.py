"""The description of the API (OpenAPI 3.1), made from its end points and from the types that are sent.

Invariant: nothing in it is written by hand that the program knows; docs/openapi.json is what `document` returns.
Run ``python -m agents.page.openapi`` to write it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec

from agents.page.api import END_POINTS, ROOT, EndPoint
from agents.page.choose import MOST_PAGES, MOST_PER_PAGE, MOST_TEXT, PER_PAGE, SORTS
from agents.page.problems import RETRY_SECONDS, Problem
from streams.published_decode import BANDS

FILE = Path(__file__).resolve().parents[2] / "docs" / "openapi.json"
_REFERENCE = "#/components/schemas/{name}"
_PARAMETERS: dict[str, tuple[str, dict[str, Any]]] = {
    "org": ("Id of an org, percent-encoded.", {"type": "string"}),
    "user": ("Id of a user, percent-encoded; it may hold slashes.", {"type": "string"}),
    "band": ("Only those in this band.", {"type": "string", "enum": list(BANDS)}),
    "group_type": ("Only orgs of this group type.", {"type": "string", "maxLength": MOST_TEXT}),
    "q": ("Only orgs whose name or id holds this text, whatever its case.", {"type": "string", "maxLength": MOST_TEXT}),
    "sort": (
        f"Order: {'; '.join(f'`{name}` {what}' for name, (what, _) in SORTS.items())}.",
        {"type": "string", "enum": list(SORTS), "default": "risk"},
    ),
    "page": ("Which page, from 1 on.", {"type": "integer", "minimum": 1, "maximum": MOST_PAGES, "default": 1}),
    "per_page": (
        "How many a page holds.",
        {"type": "integer", "minimum": 1, "maximum": MOST_PER_PAGE, "default": PER_PAGE},
    ),
}
_ABOUT = """\
What any worker knows of any org: read from Redis, nothing is computed here. Scores and points are percentages as text
with two decimals, so that they add up exactly. What is missing is null; `stale` and `age_seconds` say how old it is.
Where passwords or tokens are configured, one of them has to be sent (docs/security-http.md)."""


def document() -> dict[str, Any]:
    """Return the description."""
    (problem, *answers), schemas = msgspec.json.schema_components(
        [Problem, *(each.answer for each in END_POINTS)], ref_template=_REFERENCE
    )
    paths = {
        ROOT + end_point.path: {"get": _operation(end_point, answer, problem)}
        for end_point, answer in zip(END_POINTS, answers, strict=True)
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "orgpulse", "version": "1", "summary": "Health scores and reply latency", "description": _ABOUT,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "password": {"type": "http", "scheme": "basic"}, "token": {"type": "http", "scheme": "bearer"},
            },
        },
        "security": [{}, {"password": []}, {"token": []}],
    }  # fmt: skip


def text() -> str:
    """Return the description as it stands in the file."""
    return json.dumps(document(), indent=1, ensure_ascii=False) + "\n"


def _operation(end_point: EndPoint, answer: dict[str, Any], problem: dict[str, Any]) -> dict[str, Any]:
    in_path = [name for name in ("org", "user") if f"{{{name}}}" in end_point.path]
    parameters = [_parameter(name, "path") for name in in_path]
    parameters += [_parameter(name, "query") for name in end_point.query]
    responses: dict[str, Any] = {
        "200": {"description": "The answer.", "content": {"application/json": {"schema": answer}}},
        "400": _failure("A parameter can't be, or does not exist.", problem),
        "401": _in_words("Nobody who is known: no password or token, or a wrong one."),
        "429": _in_words("Too many requests, or too many wrong passwords; Retry-After says how long to wait."),
    }
    if end_point.may_miss:
        responses["404"] = _failure("There is no such thing, or nothing is known of it yet.", problem)
    if end_point.path != "/health":
        responses["503"] = _failure("Redis does not answer, or not in a way that this version can read.", problem)
        retry = {"description": f"Seconds to wait, {RETRY_SECONDS}; absent where waiting does not help."}
        responses["503"]["headers"] = {"Retry-After": retry | {"schema": {"type": "integer"}}}
    name = "_".join(part.strip("{}") + ("_one" if part[0] == "{" else "") for part in end_point.path.split("/")[1:])
    found: dict[str, Any] = {"operationId": name, "summary": end_point.summary}
    return found | ({"parameters": parameters} if parameters else {}) | {"responses": responses}


def _parameter(name: str, where: str) -> dict[str, Any]:
    description, schema = _PARAMETERS[name]
    return {"name": name, "in": where, "required": where == "path", "description": description, "schema": schema}


def _in_words(description: str) -> dict[str, Any]:
    return {"description": description, "content": {"text/plain": {"schema": {"type": "string"}}}}


def _failure(description: str, problem: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "content": {"application/problem+json": {"schema": problem}}}


if __name__ == "__main__":
    FILE.write_text(text(), "utf-8")
