"""Compares what is said of alerts in one place with what is said in the others: topic, hashes, ranks, changes, metrics.

Owns that agreement; whether an alert was due is nobody's question here. Invariant: shares no code with what it looks
at, and each record, hash, entry and series that is there is looked at.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from reports.collect import Rest, Samples
from reports.compare import Comparison
from reports.recount_people import Raw

RAISED, RESOLVED = "raised", "resolved"
OPEN_KEY = "alerts:open"
_SAME = ("kind", "rule", "fingerprint", "from", "since", "until", "acknowledged_by", "muted_until")
"""Fields of a record that the hash has as well; its `score` and `name` are of when it was told last."""
_LABELS = {"org:all": "all", "org:other": "other"}


def compare_alerts(rest: Rest, told: Sequence[Raw], changes: Iterable[Mapping[str, str]]) -> Comparison:
    """Return where topic, Redis and metrics disagree about alerts.

    Args:
        rest: Redis and metrics, at rest.
        told: All records of the topic `alerts`, in order by partition.
        changes: The entries of the stream `changes`, oldest first, as far as Redis has them.
    """
    result = Comparison()
    last = _last_records(result, told)
    result.kinds["alert"] = len(last)
    documents = {key: fields for key, fields in rest.documents.items() if "deleted" not in fields}
    hashes = {key[7:-1]: fields for key, fields in documents.items() if key.startswith("alert:{")}
    for org in sorted(last.keys() | hashes.keys()):
        record, shown = last.get(org, {}), hashes.get(org, {})
        result.keys += 1
        for name in _SAME:
            result.check(f"alert:{{{org}}}", name, shown.get(name), record.get(name))
    opened = {org: record for org, record in last.items() if record["kind"] == RAISED}
    seconds = {org: int(datetime.fromisoformat(record["since"]).timestamp()) for org, record in opened.items()}
    ranked = {org: int(since) for org, since in documents.get(OPEN_KEY, {}).items()}
    result.check(OPEN_KEY, "", ranked, seconds)
    for key, fields in documents.items():
        if key.startswith("org:{") and "alert_since" in fields:
            since = opened.get(key[5:-1], {}).get("since", "")
            result.check(key, "alert_since", fields["alert_since"], since)
    _compare_changes(result, last, changes)
    _compare_metrics(result, rest.metrics, set(opened))
    return result


def _last_records(result: Comparison, told: Sequence[Raw]) -> dict[str, dict[str, Any]]:
    """Return the last record of each org; beginnings and ends must take turns, and an end be of what began last."""
    last: dict[str, dict[str, Any]] = {}
    for _, _, _, _, value, _ in told:
        record = json.loads(value or b"{}")
        former = last.get(record["org"], {"kind": RESOLVED, "fingerprint": ""})
        same = record["fingerprint"] == former["fingerprint"]
        if "causes" in record:  # else it is a note of somebody's
            result.check(f"alerts {record['fingerprint']}", "kind before", former["kind"],
                         RAISED if record["kind"] == RESOLVED else RESOLVED)  # fmt: skip
            result.check(f"alerts {record['fingerprint']}", "told before", same, record["kind"] == RESOLVED)
        else:
            result.check(f"alerts {record['fingerprint']}", "noted of", same, True)
        last[record["org"]] = record
    return last


def _compare_changes(
    result: Comparison, last: Mapping[str, Mapping[str, Any]], changes: Iterable[Mapping[str, str]]
) -> None:
    """Look for an entry told twice or missing; one that Redis lost with everything else is told if it still holds."""
    seen: set[tuple[str, str]] = set()
    newest: dict[str, tuple[str, str]] = {}
    for entry in changes:
        if entry.get("cause") != "alert":
            continue
        place = entry["fingerprint"], entry["to"]
        result.check(f"changes {place}", "told before", place in seen, False)
        seen.add(place)
        newest[entry["subject"].removeprefix("org:")] = place
    for org in sorted(last.keys() | newest.keys()):
        record = last.get(org, {})
        if org in newest or record.get("kind") == RAISED:
            last_told = (record.get("fingerprint"), record.get("kind"))
            result.check(f"changes of {org}", "newest", newest.get(org), last_told)


def _compare_metrics(result: Comparison, metrics: Sequence[Samples], opened: set[str]) -> None:
    total = sum(value for page in metrics for value in page.get("orgpulse_alerts_open", {}).values())
    result.check("metric orgpulse_alerts_open", "", total, float(len(opened)))
    shown = [dict(labels)["org"] for page in metrics for labels in page.get("orgpulse_org_alert", {})]
    result.check("metric orgpulse_org_alert", "", sorted(_LABELS.get(org, org) for org in shown), sorted(opened))
