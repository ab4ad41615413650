"""Compares what Prometheus shows of whole weeks of latency, and of what is in none, with the recount.

Invariant: a series that only one side has is a difference. Counts of partitions are held against the recount's sum:
which org lies where is not its business.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from reports.collect import Samples
from reports.compare import Comparison
from reports.recount import Recount
from reports.recount_latency import WHOLE_WEEK, replies_apart

_SECONDS = "orgpulse_org_reply_latency_seconds"
_SHARES = {
    "orgpulse_org_answered_ratio": "answered",
    "orgpulse_org_answered_within_target_ratio": "within",
}
_APART = "orgpulse_replies_apart"
_ROUNDED = 1e-6
_Expected = dict[tuple[str, ...], tuple[float, float]]
"""Labels → value, and how far off it may be."""


def compare_latency_metrics(found: Recount, metrics: Sequence[Samples], quantile: float = 0.8) -> Comparison:
    """Return how the quantile and the shares of whole weeks, of orgs and of all, and what counts apart differ.

    Args:
        found: The recount as of the same moment.
        metrics: The pages of all workers, each with series of every org of its own.
        quantile: Of the waits.
    """
    result = Comparison()
    weeks = found.latency[found.latency.index.get_level_values("hour") == WHOLE_WEEK].droplevel("hour")
    rows = {str(org): row for org, row in weeks.to_dict("index").items()}
    waits: _Expected = {
        (org, str(quantile)): (row["latency_ms"] / 1000, row["tolerance_ms"] / 1000 + _ROUNDED)
        for org, row in rows.items()
        if row["replies"]
    }
    _compare(result, _SECONDS, _shown(metrics, _SECONDS, "org", "quantile"), waits)
    for name, count in _SHARES.items():
        shares: _Expected = {
            (org,): (row[count] / row["messages"], row.get(f"{count}_tolerance", 0) / row["messages"] + _ROUNDED)
            for org, row in rows.items()
            if row["messages"]
        }
        _compare(result, name, _shown(metrics, name, "org"), shares)
    apart = replies_apart(found.messages) | {"negative_duration": int(found.happened["lacking"].astype(bool).sum())}
    kinds = _shown(metrics, _APART, "kind")
    _compare(result, _APART, kinds, {(kind,): (float(number), _ROUNDED) for kind, number in apart.items()})
    return result


def _shown(metrics: Sequence[Samples], name: str, *labels: str) -> Mapping[tuple[str, ...], float]:
    """Return a metric of all workers by some of its labels, added up: what two of them show must not hide."""
    found: Counter[tuple[str, ...]] = Counter()
    for page in metrics:
        for pairs, value in page.get(name, {}).items():
            by = dict(pairs)
            found[tuple(by[label] for label in labels)] += value  # type: ignore[assignment]  # it counts floats too
    return found


def _compare(result: Comparison, name: str, shown: Mapping[tuple[str, ...], float], expected: _Expected) -> None:
    for place in sorted(shown.keys() | expected.keys()):
        ours, slack = expected.get(place, (None, 0.0))
        result.keys += 1
        result.kinds["metric"] += 1
        result.check(f"metric {name} {'/'.join(place)}", "", shown.get(place), ours, slack)
