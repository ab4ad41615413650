"""Compares the system at rest with the recount, field by field.

Owns the list of what must agree: every user, org and latency map in Redis, the
rankings, and the metrics of all workers together. Invariant: a key that only
one side has is a difference, and what was compared is counted, so an empty list
of differences cannot come from having looked at nothing.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple

import pandas as pd

from reports.collect import Documents, Rest, Samples
from reports.recount import Recount
from reports.recount_groups import label_of
from reports.recount_latency import ALL, WHOLE_WEEK

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_BANDS = ("at_risk", "watch", "healthy")
_COMPARED = re.compile(r"(user:|org:|latency:\{[^{}]*\}$|orgs:by-score$)")
"""Months of latency are compared by `compare_lines`; what workers say of themselves, `worker:…`, is not compared."""
_OF_MONTHS = {"period", "lines", "months", "target_seconds"}
_PAST = (
    "previous", "band", "window_end", "calibration", "fence", "schema", "reasons",
    "change", "history", "trend", "movers", "alert_since",
)  # fmt: skip
"""Fields that are checked otherwise, or depend on the past."""
_Labels = tuple[tuple[str, str], ...]
_ROUNDED = 0.00051  # seconds; latencies are shown to the millisecond


class Difference(NamedTuple):
    """One field on which the two disagree; None = not there."""

    key: str
    field: str
    system: object
    recount: object


@dataclass
class Comparison:
    """What was compared and what differs."""

    differences: list[Difference] = field(default_factory=list)
    keys: int = 0
    fields: int = 0
    kinds: Counter[str] = field(default_factory=Counter)

    def check(self, key: str, name: str, system: object, recount: object, tolerance: float = 0.0) -> None:
        """Compare one field; numbers may differ by *tolerance*."""
        self.fields += 1
        if tolerance and system is not None and recount is not None:
            equal = abs(float(str(system)) - float(str(recount))) <= tolerance
        else:
            equal = system == recount
        if not equal:
            self.differences.append(Difference(key, name, system, recount))

    def add(self, other: Comparison) -> None:
        """Add what another comparison looked at."""
        self.differences += other.differences
        self.keys += other.keys
        self.fields += other.fields
        self.kinds += other.kinds


def compare(found: Recount, rest: Rest, model: Mapping[str, Any], *, quantile: float = 0.8, min_count: int = 1,
            counters: bool = False) -> Comparison:  # fmt: skip
    """Return how *rest* (Redis and metrics) differs from the recount.

    Args:
        found: The recount as of the same moment.
        rest: From `collect.wait_at_rest`.
        model: The parsed TOML.
        quantile: Of the latency cells.
        min_count: Cells with fewer replies show no figure.
        counters: Also compare what was counted since the workers started (not after a restart: counters begin anew).
    """
    result = Comparison()
    compare_documents(result, rest.documents, expected_documents(found, model, quantile, min_count), found, model)
    _compare_totals(result, rest.documents.get("totals", {}), found)
    _compare_metrics(result, rest.metrics, found, counters)
    return result


def compare_documents(
    result: Comparison, documents: Documents, expected: Documents, found: Recount, model: Mapping[str, Any]
) -> None:
    """Add to *result* how hashes and rankings differ from the *expected* ones.

    What stands for a deleted subject, so that no older write comes back, is nothing.
    """
    system = {
        key: value
        for key, value in documents.items()
        if _COMPARED.match(key) and "deleted" not in value and (key in expected or not _is_empty_map(key, value))
    }
    for key in sorted(expected.keys() | system.keys()):
        _compare_key(result, key, system.get(key), expected.get(key), found, model)


def _is_empty_map(key: str, document: Mapping[str, Any]) -> bool:
    """Say whether it is a map of latency in whose months nothing happened."""
    return key.startswith("latency:") and document.get("all:messages") == document.get("all:n") == "0"


def expected_documents(found: Recount, model: Mapping[str, Any], quantile: float, min_count: int) -> Documents:
    """Return the hashes and rankings that should be in Redis; latencies as (seconds, tolerance)."""
    expected: Documents = {}
    users, orgs = _rows(found.users), _rows(found.orgs)
    for row, parts in zip(users, found.contributions.to_numpy().tolist(), strict=True):
        org, user = row.Index
        expected[f"user:{{{org}}}:{user}"] = {
            "score": percent(row.score),
            "coverage": f"{row.coverage / 10_000:.4f}",
            "first_week": "1" if row.first_week else "0",
            "peers": row.peers,
            "points": _points(model, parts),
        }
        expected.setdefault(f"org:{{{org}}}:users:by-score", {})[user] = row.score / 100
    ranking = expected.setdefault("orgs:by-score", {})
    for row, parts in zip(orgs, found.org_contributions.to_numpy().tolist(), strict=True):
        expected[f"org:{{{row.Index}}}"] = _org_fields(row, found, model) | {"points": _points(model, parts)}
        if not pd.isna(row.score_active):
            ranking[row.Index] = row.score_active / 100
    return expected | _latency_documents(found, quantile, min_count)


def _rows(table: pd.DataFrame) -> Iterable[Any]:
    """Return the rows as named tuples, whose fields no checker knows."""
    return table.itertuples()


def _org_fields(row: Any, found: Recount, model: Mapping[str, Any]) -> dict[str, Any]:
    seats = int(row.licensed_users)
    entry = found.entries[row.Index]
    fields = {name: percent(getattr(row, name)) for name in ("score_active", "score_licensed", "score_median")}
    whole = ("active_users", "licensed_users", "activities", "transactions_count", "transactions_cents")
    by_job_type = _shown(found.by_job_type.get(row.Index, {}))
    peers = model.get("population", {}).get("peers", "")
    # Users of one org may have many job types, so an org is not ranked by one of them.
    label = label_of(entry.group_type[:80] if peers else "", found.peers, found.calibrated)
    return {
        "name": entry.name,
        "group_type": entry.group_type,
        "why": "" if row.active_users else "only idle seats" if seats else "nobody licensed or active",
        "coverage": f"{min(row.active_users / seats, 1):.4f}" if seats else "",
        **fields,
        **{name: str(int(getattr(row, name))) for name in whole},
        **({} if peers == "job_type" else {"peers": label}),
        **({"by_job_type": by_job_type} if by_job_type else {}),
    }


def _shown(figures: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return figures by group as documents show them: scores as percentages, none as null."""
    return {
        group: {
            name: percent(value) if name.startswith("score") and value is not None else value
            for name, value in each.items()
        }
        for group, each in figures.items()
    }


def _latency_documents(found: Recount, quantile: float, min_count: int) -> Documents:
    expected: Documents = {}
    cells: dict[Any, Any] = found.latency.to_dict("index")
    for (org, hour), cell in cells.items():
        document = expected.setdefault(f"latency:{{{org}}}", {"quantile": str(quantile)})
        if org != ALL:
            document["timezone"] = found.entries[org].zone
        name = "all" if hour == WHOLE_WEEK else f"{_DAYS[hour // 24]}-{hour % 24:02}"
        document |= {f"{name}:n": str(cell["replies"]), f"{name}:messages": str(cell["messages"]),
                     f"{name}:answered": str(cell["answered"]),
                     f"{name}:within": (cell["within"], cell["within_tolerance"])}  # fmt: skip
        for shown, figure in ((name, "latency"), (f"{name}:first", "first_latency")):
            if cell["replies"] >= min_count and cell["replies" if shown == name else "answered"]:
                tolerance = cell[figure.replace("latency", "tolerance") + "_ms"]
                document[shown] = (cell[f"{figure}_ms"] / 1000, tolerance / 1000)
    return expected


def _compare_key(
    result: Comparison, key: str, system: Mapping[str, Any] | None, expected: Mapping[str, Any] | None,
    found: Recount, model: Mapping[str, Any],
) -> None:  # fmt: skip
    result.keys += 1
    result.kinds[key.partition(":")[0]] += 1
    if system is None or expected is None:
        result.check(key, "", None if system is None else "there", None if expected is None else "there")
        return
    system = dict(system)
    if "by_job_type" in system:
        system["by_job_type"] = json.loads(system["by_job_type"])
    if "points" in expected:
        reasons = json.loads(system.pop("reasons", "[]"))
        system["points"] = {r["attribute"]: (r["points"], r["of"]) for r in reasons if r["points"] != "0.00"}
        score = system.get("score_active", system.get("score"))
        _compare_band(result, key, system.get("band"), score, model)
        end = datetime.fromtimestamp(found.as_of_ms / 1000, UTC).strftime("%Y-%m-%dT%H:59:59Z")
        result.check(key, "window_end up to now", system.get("window_end", "") <= end, True)
    for name in sorted((system.keys() | expected.keys()) - set(_PAST) - _OF_MONTHS):
        if name == "timezone" and name not in expected:
            continue
        theirs, ours = system.get(name), expected.get(name)
        if isinstance(ours, tuple):
            result.check(key, name, theirs, ours[0], ours[1] + _ROUNDED)
        else:
            result.check(key, name, theirs, ours)


def _compare_band(result: Comparison, key: str, band: str | None, score: str | None, model: Mapping[str, Any]) -> None:
    """Check that a band is one that the score allows; which of two depends on the past (hysteresis)."""
    if not score:
        return
    edges, points = model["bands"], float(score)
    slack = float(edges["hysteresis"])
    lowest = sum(points >= edges[name] + slack for name in ("at_risk", "healthy"))
    highest = sum(points >= edges[name] - slack for name in ("at_risk", "healthy"))
    result.check(key, "band allowed by score", band in _BANDS[lowest : highest + 1], True)


def _compare_totals(result: Comparison, totals: Mapping[str, str], found: Recount) -> None:
    result.keys += 1
    result.kinds["totals"] += 1
    result.check("totals", "orgs", totals.get("orgs"), str(found.population_orgs))
    by_group_type = json.loads(totals.get("by_group_type", "{}"))
    result.check("totals", "by_group_type", by_group_type, _shown(found.by_group_type))
    result.check("totals", "users_active", totals.get("users_active"), str(found.population))
    banded = sum(int(totals.get(band, 0)) for band in _BANDS)
    result.check("totals", "users by band", banded, found.population)


def _compare_metrics(result: Comparison, metrics: Sequence[Samples], found: Recount, counters: bool) -> None:
    before = result.fields
    expected: Samples = {"orgpulse_org_health_ratio": {}, "orgpulse_reply_latency_seconds": {}}
    for kind in ("active", "licensed", "median"):
        figures: dict[Any, Any] = found.orgs[f"score_{kind}"].dropna().to_dict()
        for org, score in figures.items():
            expected["orgpulse_org_health_ratio"][("kind", kind), ("org", org)] = score / 10_000
    for name in ("active_users", "activities"):
        sizes: dict[Any, Any] = found.orgs[name].to_dict()
        expected[f"orgpulse_org_{name}"] = {(("org", org),): float(size) for org, size in sizes.items()}
    for name, values in expected.items():
        if name != "orgpulse_reply_latency_seconds":
            _compare_samples(result, name, metrics, values)
    _compare_group_metrics(result, metrics, found)
    population = [s["orgpulse_population_users"][()] for s in metrics if () in s.get("orgpulse_population_users", {})]
    result.check("metric orgpulse_population_users", "", set(population), {float(found.population)})
    shown = _merged(metrics, "orgpulse_reply_latency_seconds")
    cells = {}
    for labels, seconds in shown.items():
        by = dict(labels)
        cells[by["org"], _DAYS.index(by["weekday"][2:].lower()) * 24 + int(by["hour"])] = seconds
    hours = found.latency.index.get_level_values("hour") != WHOLE_WEEK
    waited: dict[Any, Any] = found.latency[hours & (found.latency["replies"] > 0)].to_dict("index")
    for place in sorted(cells.keys() | waited.keys()):
        cell = waited.get(place)
        ours, slack = (None, 0.0) if cell is None else (cell["latency_ms"] / 1000, cell["tolerance_ms"] / 1000 + 1e-6)
        result.check(f"metric orgpulse_reply_latency_seconds {place}", "", cells.get(place), ours, slack)
    if counters:
        _compare_counters(result, metrics, found)
    result.kinds["metric"] += result.fields - before
    result.keys += result.fields - before


def _compare_group_metrics(result: Comparison, metrics: Sequence[Samples], found: Recount) -> None:
    users, ratios = dict[_Labels, float](), dict[_Labels, float]()
    for group, figures in found.by_group_type.items():
        for kind in ("active", "licensed"):
            labels, mean = (("group_type", group), ("kind", kind)), figures[f"score_{kind}"]
            users[labels] = float(figures[f"{kind}_users"])
            if mean is not None:
                ratios[labels] = mean / 10_000
    _compare_samples(result, "orgpulse_group_users", metrics, users)
    # The metric is not rounded down to a basis point.
    _compare_samples(result, "orgpulse_group_health_ratio", metrics, ratios, 0.000_1)


def _compare_counters(result: Comparison, metrics: Sequence[Samples], found: Recount) -> None:
    counted: Counter[tuple[str, str]] = Counter()
    dead: Counter[tuple[str, str]] = Counter()
    for samples in metrics:
        for labels, number in samples.get("orgpulse_events_total", {}).items():
            counted[dict(labels)["topic"], dict(labels)["outcome"]] += int(number)
        for labels, number in samples.get("orgpulse_dead_letters_total", {}).items():
            dead[dict(labels)["topic"], dict(labels)["reason"]] += int(number)
    by_topic: dict[Any, Any] = found.ledger.groupby(level="topic").sum().to_dict("index")
    for topic, row in by_topic.items():
        for outcome in ("consumed", "accepted", "duplicate", "ghost", "system", "edit", "directory"):
            result.check(f"metric orgpulse_events_total {outcome}", topic, counted[topic, outcome], row[outcome])
        for name in (name for name in row if name.startswith("dead:")):
            result.check("metric orgpulse_dead_letters_total", f"{topic} {name}", dead[topic, name[5:]], row[name])


def _compare_samples(
    result: Comparison, name: str, metrics: Sequence[Samples], expected: Mapping[_Labels, float],
    tolerance: float = 1e-9,
) -> None:  # fmt: skip
    system = _merged(metrics, name)
    for labels in sorted(system.keys() | expected.keys()):
        result.check(f"metric {name} {dict(labels)}", "", system.get(labels), expected.get(labels), tolerance)


def _merged(metrics: Sequence[Samples], name: str) -> dict[_Labels, float]:
    """Return a metric of all workers; what two of them show must not hide, so it is added up."""
    found: dict[_Labels, float] = {}
    for samples in metrics:
        for labels, value in samples.get(name, {}).items():
            found[labels] = found.get(labels, 0.0) + value
    return found


def _points(model: Mapping[str, Any], parts: Sequence[int]) -> dict[str, tuple[str, str]]:
    weights = sum(a["weight"] for a in model["attributes"])
    pairs = zip(model["attributes"], parts, strict=True)
    return {a["name"]: (percent(p), percent(a["weight"] * 10_000 // weights)) for a, p in pairs if p}


def percent(basis_points: Any) -> str:
    """Return basis points as a percentage with two decimals, nothing as nothing.

    >>> percent(6341), percent(pd.NA)
    ('63.41', '')
    """
    return "" if pd.isna(basis_points) else f"{basis_points // 100}.{basis_points % 100:02d}"
