"""A wrong figure of a whole week in Prometheus is reported."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from reports.collect import Samples
from reports.compare_chat import compare_chat, compare_chat_metrics
from reports.compare_latency_metrics import compare_latency_metrics
from reports.recount import Recount
from tests.reports.test_recount import AS_OF, ms
from tests.reports.test_recount_replies import one_question

SECONDS = "orgpulse_org_reply_latency_seconds"
ANSWERED, WITHIN = "orgpulse_org_answered_ratio", "orgpulse_org_answered_within_target_ratio"
APART = "orgpulse_replies_apart"
ONLINE = "orgpulse_chat_online_members"


def counted() -> Recount:
    """Return a question with two answers, an own remark and one that is before it."""
    return one_question().say("before", "bob", "08:59", "m").count()


def pages() -> list[Samples]:
    """Return what two workers show of that."""
    apart = [
        {(("kind", kind), ("partition", str(p))): float(p) for kind in ("self_reply", "negative_latency")}
        for p in (0, 1)
    ]
    apart[0][("kind", "negative_duration"), ("partition", "0")] = 0.0
    shown: list[Samples] = [{APART: each} for each in apart]
    for org, page in (("acme", shown[0]), ("all", shown[1])):
        page |= {
            SECONDS: {(("org", org), ("quantile", "0.8")): 1080.0},  # 18 minutes
            ANSWERED: {(("org", org),): 0.2},
            WITHIN: {(("org", org),): 0.2},
        }
    return shown


def changed(name: str, by: float) -> Callable[[list[Samples]], None]:
    def change(shown: list[Samples]) -> None:
        for labels in shown[1][name]:
            shown[1][name][labels] += by

    return change


def test_equal_figures_are_equal() -> None:
    result = compare_latency_metrics(counted(), pages())
    assert (result.differences, result.kinds["metric"], result.fields) == ([], 9, 9)


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        (changed(SECONDS, 0.001), [f"metric {SECONDS} all/0.8"]),
        (changed(ANSWERED, -0.1), [f"metric {ANSWERED} all"]),
        (changed(WITHIN, -0.1), [f"metric {WITHIN} all"]),
        (changed(APART, 1.0), [f"metric {APART} negative_latency", f"metric {APART} self_reply"]),
        (lambda shown: shown[0].pop(SECONDS), [f"metric {SECONDS} acme/0.8"]),
        (lambda shown: shown[0].update({WITHIN: shown[1][WITHIN]}), [f"metric {WITHIN} acme", f"metric {WITHIN} all"]),
    ],
)  # fmt: skip
def test_a_wrong_or_missing_figure_is_reported(change: Callable[[list[Samples]], Any], wrong: list[str]) -> None:
    shown = pages()
    change(shown)
    assert [difference.key for difference in compare_latency_metrics(counted(), shown).differences] == wrong


def test_series_of_chat_are_those_of_its_document() -> None:
    chat, as_of_ms = counted().chat, ms(AS_OF)
    document = {"online": "3", "rate_per_minute": "0.125", "messages_10m": "2"}
    last = ms("2024-03-19T09:20:00Z") / 1000
    page: Samples = {
        ONLINE: {(("org", "acme"),): 3.0},
        "orgpulse_chat_messages_per_minute": {(("org", "acme"),): 0.1253},
        "orgpulse_chat_window_messages": {(("org", "acme"),): 2.0},
        "orgpulse_chat_last_message_timestamp_seconds": {(("org", "acme"),): last},
    }
    documents = {"chat:{acme}": document, "chat:{gone}": {"deleted": "1"}}
    assert not compare_chat_metrics(chat, [page], as_of_ms, documents).differences
    assert compare_chat(chat, {}, as_of_ms).differences
    for name, series in page.items():
        wrong = compare_chat_metrics(chat, [page | {name: {k: v + 1 for k, v in series.items()}}], as_of_ms, documents)
        assert [difference.key for difference in wrong.differences] == [f"metric {name} acme"]
    silent = {"chat:{acme}": {n: v for n, v in document.items() if n != "online"}}  # not known is no series, never zero
    assert len(compare_chat_metrics(chat, [page], as_of_ms, silent).differences) == 1
