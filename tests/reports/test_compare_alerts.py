"""What is said of alerts in two places is held against each other: each kind of disagreement is a difference."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from reports.collect import Rest
from reports.compare_alerts import compare_alerts
from reports.recount_people import Raw

NAME = "score_drop/acme/2024-03-04T13:00:00Z"
AT = "2024-03-04T13:00:00Z"
SINCE = 1_709_557_200


class Said:
    """An open alert of acme, told everywhere; change it and look."""

    def __init__(self) -> None:
        fields = {"kind": "raised", "rule": "fall", "fingerprint": NAME, "from": "90.00", "score": "71.00"}
        fields |= {"since": AT, "until": "", "acknowledged_by": "", "muted_until": ""}
        self.records: list[dict[str, Any]] = [{"org": "acme", **fields, "causes": []}]
        self.documents: dict[str, dict[str, Any]] = {
            "alert:{acme}": {**fields, "band": "raised", "schema": "1"},
            "alerts:open": {"acme": SINCE + 0.5},
            "org:{acme}": {"alert_since": AT},
            "org:{bolt}": {"alert_since": ""},
        }
        self.changes = [{"subject": "org:acme", "cause": "alert", "fingerprint": NAME, "to": "raised"}]
        self.page = {
            "orgpulse_alerts_open": {(("partition", "0"),): 1.0, (("partition", "1"),): 0.0},
            "orgpulse_org_alert": {(("org", "acme"),): 1.0},
        }

    def differences(self) -> list[str]:
        told: list[Raw] = [("alerts", 0, n, b"acme", json.dumps(r).encode(), 0) for n, r in enumerate(self.records)]
        result = compare_alerts(Rest(0, [self.page], self.documents), told, self.changes)
        assert result.kinds["alert"] == 1
        return [f"{found.key} {found.field}".strip() for found in result.differences]

    def note(self, **changes: str) -> None:
        """Let somebody note something, and Redis show it."""
        self.records.append({k: v for k, v in self.records[-1].items() if k != "causes"} | changes)
        self.documents["alert:{acme}"] |= changes


def test_what_is_said_everywhere_agrees_notes_included() -> None:
    said = Said()
    assert said.differences() == []
    said.note(acknowledged_by="kim")
    assert said.differences() == []


def resolve(said: Said) -> None:
    said.records.append(said.records[-1] | {"kind": "resolved", "until": "2024-03-07T10:00:00Z"})


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        (lambda said: said.records.append(said.records[0]), f"alerts {NAME} told before"),
        (resolve, "alerts:open"),
        (lambda said: said.documents["alert:{acme}"].update(kind="resolved"), "alert:{acme} kind"),
        (lambda said: said.documents.update({"alert:{bolt}": {"kind": "raised"}}), "alert:{bolt} kind"),
        (lambda said: said.documents["alerts:open"].clear(), "alerts:open"),
        (lambda said: said.documents["org:{bolt}"].update(alert_since=AT), "org:{bolt} alert_since"),
        (lambda said: said.changes.append(said.changes[0]), f"changes {(NAME, 'raised')} told before"),
        (lambda said: said.changes.clear(), "changes of acme newest"),
        (lambda said: said.page["orgpulse_alerts_open"].clear(), "metric orgpulse_alerts_open"),
        (lambda said: said.page["orgpulse_org_alert"].clear(), "metric orgpulse_org_alert"),
    ],
)  # fmt: skip
def test_each_disagreement_is_found(change: Callable[[Said], object], wrong: str) -> None:
    said = Said()
    change(said)
    assert wrong in said.differences()


def test_an_episode_that_ended_needs_no_entry_in_changes_that_redis_lost() -> None:
    said = Said()
    resolve(said)
    ended = {"kind": "resolved", "until": "2024-03-07T10:00:00Z"}
    said.documents |= {"alert:{acme}": said.documents["alert:{acme}"] | ended, "alerts:open": {}}
    said.documents["org:{acme}"] = {"alert_since": ""}
    said.page = {}
    assert said.differences() == ["changes of acme newest"]
    said.changes = []
    assert said.differences() == []
