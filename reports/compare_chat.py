"""Compares the chat documents and metrics with the recount.

A document that nothing changed is not written again, so each is compared with the recount as of the moment that it
names; that nothing was left untold since is seen by its windows, which must be those of now. Invariant: an org that
only one side has is a difference.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from reports.collect import Documents, Samples
from reports.compare import Comparison
from reports.recount_chat import ChatCount

_LAST = "orgpulse_chat_last_message_timestamp_seconds"
_AS_TOLD = {
    "orgpulse_chat_online_members": ("online", None),
    "orgpulse_chat_messages_per_minute": ("rate_per_minute", "0"),
    "orgpulse_chat_window_messages": ("messages_10m", "0"),
}
"""Series → the field of the document that says the same, and what it is where there is none (None = no series)."""
_ROUNDED = 0.00051  # messages per minute, shown to three decimals
_JSON = ("windows", "people")


def compare_chat(chat: ChatCount, documents: Documents, as_of_ms: int) -> Comparison:
    """Return how the chat documents in Redis differ from the recount; the system has come to *as_of_ms*."""
    result = Comparison()
    shown = {key[6:-1]: doc for key, doc in documents.items() if key.startswith("chat:{") and "deleted" not in doc}
    for org in sorted(shown.keys() | set(chat.orgs(as_of_ms))):
        key, document = f"chat:{{{org}}}", shown.get(org)
        result.keys += 1
        result.kinds["chat"] += 1
        if document is None:
            result.check(key, "", None, "there")
            continue
        told_ms = int(datetime.fromisoformat(document["updated"]).timestamp() * 1000)
        expected = chat.document(org, told_ms)
        if not expected:
            result.check(key, "", "there", None)
            continue
        _compare_document(result, key, document, expected)
        now = chat.document(org, as_of_ms).get("windows")
        result.check(key, "windows now", json.loads(document["windows"]), now)
    return result


def compare_chat_metrics(
    chat: ChatCount, metrics: Sequence[Samples], as_of_ms: int, documents: Documents
) -> Comparison:
    """Return how the time of the last message differs from the recount, and the other series from the *documents*.

    These are of the moment at which a document was told last, which is compared with the recount (`compare_chat`).
    """
    result = Comparison()
    for name, (shown_as, default) in _AS_TOLD.items():
        told = {key[6:-1]: doc.get(shown_as, default) for key, doc in documents.items()
                if key.startswith("chat:{") and "deleted" not in doc}  # fmt: skip
        wanted = {org: float(value) for org, value in told.items() if value is not None}
        series = {dict(labels)["org"]: value for samples in metrics for labels, value in samples.get(name, {}).items()}
        for org in sorted(series.keys() | wanted.keys()):
            result.keys += 1
            result.kinds["metric"] += 1
            result.check(f"metric {name} {org}", "", series.get(org), wanted.get(org), _ROUNDED)
    shown = {dict(labels)["org"]: value for samples in metrics for labels, value in samples.get(_LAST, {}).items()}
    recent = chat.messages[chat.messages["time_ms"] >= chat.since_ms(as_of_ms)]
    expected: Mapping[Any, Any] = recent.groupby("org")["time_ms"].max().to_dict()
    for org in sorted(shown.keys() | expected.keys()):
        time_ms = expected.get(org)
        result.keys += 1
        result.kinds["metric"] += 1
        result.check(f"metric {_LAST} {org}", "", shown.get(org), None if time_ms is None else time_ms / 1000, 1e-3)
    return result


def _compare_document(result: Comparison, key: str, document: Mapping[str, str], expected: Mapping[str, Any]) -> None:
    for name in sorted((document.keys() | expected.keys()) - {"fence", "schema"}):
        theirs: Any = document.get(name)
        if name in _JSON and theirs is not None:
            theirs = json.loads(theirs)
        tolerance = _ROUNDED if name == "rate_per_minute" else 0.0
        result.check(key, name, theirs, expected.get(name), tolerance)
