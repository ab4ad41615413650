"""What Redis shows is held against the recount, key by key."""

from __future__ import annotations

import pytest

from reports.compare import Comparison, compare_documents
from tests.reports.test_recount import MODEL, World

KEY = "latency:{acme}"
SHOWN = {"mon-00": "1.000", "mon-00:n": "1"}
EXPECTED = {"mon-00": (1.0, 0.0), "mon-00:n": "1"}


@pytest.mark.parametrize(
    ("shown", "expected", "differences"),
    [
        ({KEY: SHOWN}, {KEY: EXPECTED}, 0),
        ({KEY: SHOWN | {"mon-00:n": "2"}}, {KEY: EXPECTED}, 1),
        ({KEY: SHOWN | {"mon-00": "1.010"}}, {KEY: EXPECTED}, 1),
        ({KEY: SHOWN}, {}, 1),
        ({}, {KEY: EXPECTED}, 1),
        ({KEY: {"deleted": "1", "fence": "0.1"}}, {}, 0),
        ({KEY: {"deleted": "1", "fence": "0.1"}}, {KEY: EXPECTED}, 1),
    ],
)
def test_what_only_one_side_has_is_a_difference_but_what_stands_for_a_deleted_subject_is_nothing(
    shown: dict[str, dict[str, str]], expected: dict[str, dict[str, object]], differences: int
) -> None:
    result, found = Comparison(), World().user("ann", "acme").event("ann", "Search").count()
    compare_documents(result, shown, expected, found, MODEL)
    assert len(result.differences) == differences
