"""Owns how requests are answered: statuses, and bodies that say which row, which field and what to do.

Invariant: own addresses and bearer tokens are answered 202; who proves itself as a vendor's library does is answered as
by the vendor (200, in its words), because those libraries take nothing else for success. Both mean: Kafka has it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from agents.listen.forms import Form
from agents.listen.rows import Refused, Sorted

MOST_NAMED = 100
"""Refused rows that an answer names; the rest are only counted."""
STATUS_OF = {
    "unknown_token": 401,
    "not_allowed": 403,
    "body_too_large": 413,
    "too_many_rows": 413,
    "too_slow": 408,
    "bad_encoding": 415,
}
"""Reason → status of a whole request; any other is 400."""


def refused(error: Refused, form: Form) -> web.Response:
    """Return the answer to a request of which nothing is taken."""
    status = STATUS_OF.get(error.reason, 400)
    headers = {"WWW-Authenticate": 'Bearer realm="orgpulse"'} if status == 401 else {}
    if status in (408, 413):
        headers["Connection"] = "close"  # the rest of its body is not read
    return _json(status, _whole(error, form), headers)


def _whole(error: Refused, form: Form | None) -> dict[str, Any]:
    """Return what went wrong with a whole request, where the form's libraries look for it."""
    text = f"{error.message}. {error.remedy}"
    if form is not None and form.name == "mixpanel":
        return {"status": 0, "error": text, "accepted": 0, "reason": error.reason}
    body = {"accepted": 0, "error": said(error)}
    if form is not None and form.name == "segment":
        body |= {"success": False, "code": error.reason, "message": text}
    return body


def said(error: Refused, index: int | None = None) -> dict[str, Any]:
    """Return a refusal as JSON."""
    found: dict[str, Any] = {} if index is None else {"index": index}
    if error.field:
        found["field"] = error.field
    return found | {"reason": error.reason, "message": error.message, "remedy": error.remedy}


def later(why: str, seconds: int, form: Form | None = None) -> web.Response:
    """Return the answer to a request that must come again: whether Kafka has it is not known."""
    error = Refused("unavailable", why, "Send the same again: it counts once.")
    return _json(503, _whole(error, form), {"Retry-After": str(seconds)})


def over_quota(seconds: int, form: Form) -> web.Response:
    """Return the answer to a request of which nothing was read, because more came than the quota lets in."""
    error = Refused("quota", "more comes than the quota lets in", f"Send the same again in {seconds} s.")
    return _json(429, _whole(error, form), {"Retry-After": str(seconds), "Connection": "close"})


def taken(found: Sorted, form: Form, query: Mapping[str, str]) -> web.Response:
    """Return the answer to a request whose accepted rows Kafka has."""
    if found.vendor and form.name == "mixpanel":
        return _mixpanel(found, form, query)
    none = not found.accepted and not found.ignored and found.refused
    if found.vendor and form.name == "segment" and not none:
        return _json(200, {"success": True, **_summary(found)})
    return _json(400 if none else 202, _summary(found))


def _summary(found: Sorted) -> dict[str, Any]:
    body: dict[str, Any] = {"accepted": found.accepted}
    if found.ignored:
        body["ignored"] = found.ignored
    if found.refused:
        body["refused_count"] = len(found.refused)
        body["refused"] = [said(error, index) for index, error in found.refused[:MOST_NAMED]]
    return body


def _mixpanel(found: Sorted, form: Form, query: Mapping[str, str]) -> web.Response:
    """Answer as Mixpanel does: `/track` with 1 or 0, `/import` with counts and the records that failed."""
    first = found.refused[0][1] if found.refused else None
    well = first is None
    if found.verbose or query.get("verbose") == "1":  # as its libraries ask, also of `/import`
        told = {"status": int(well), "error": None if first is None else f"{first.message}. {first.remedy}"}
        return _json(200 if well else 400, told | _summary(found))
    if form.call == "track":
        return web.Response(text=str(int(well)), status=200 if well else 400)
    status = 200 if first is None else 400
    body: dict[str, Any] = {
        "code": status,
        "num_records_imported": found.accepted,
        "status": "OK" if first is None else "Bad Request",
    }
    if first is not None:
        body["error"] = "some data points in the request failed validation"
        body["failed_records"] = [
            {"index": index, "insert_id": "", "field": error.field, "message": f"{error.message}. {error.remedy}"}
            for index, error in found.refused[:MOST_NAMED]
        ]
    return _json(status, body)


def _json(status: int, body: Any, headers: Mapping[str, str] | None = None) -> web.Response:
    text = json.dumps(body, ensure_ascii=False) + "\n"
    return web.Response(status=status, text=text, content_type="application/json", headers=headers)
