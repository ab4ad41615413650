"""Groups for the recount: who is ranked among whom, and scores by job type and by group type.

Owns the recount's own idea of peers, straight from the parsed TOML and the directory. Invariant: whole numbers, every
division rounds down; the same user is in one group at most.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from reports.recount_people import People
from reports.recount_score import Rules, population_cuts, scores

_NAME_CHARS = 80
_MOST_GROUPS, _MOST_JOBS, _MOST_TYPES = 32, 20, 32
_REST, _UNGROUPED, _EVERYBODY, _SHIPPED = "other", "none", "all", "default"

Cuts = Mapping[str, Sequence[int]]


def groups_of(model: Mapping[str, Any], people: People, index: pd.Index[Any]) -> pd.Series:
    """Return the peer group of each (org, user) of *index*; empty = none."""
    match model.get("population", {}).get("peers"):
        case "job_type":
            found = [people.jobs.get(key, "") for key in index]
        case "group_type":
            found = [people.orgs[org].group_type if org in people.orgs else "" for org, _ in index]
        case _:
            found = ["" for _ in index]
    return pd.Series(found, index, dtype=object).str[:_NAME_CHARS].replace(_REST, "")


def counted_orgs(model: Mapping[str, Any], people: People, orgs: Iterable[str]) -> list[str]:
    """Return those of *orgs* that are in the population."""
    without = model.get("population", {}).get("without", [])
    return [org for org in orgs if org not in people.orgs or people.orgs[org].group_type not in without]


def peer_cuts(
    rules: Rules, values: pd.DataFrame, known: pd.DataFrame, groups: pd.Series, least: int
) -> dict[str, dict[str, list[int]]]:
    """Return the cut points of each group with at least *least* users in a population (*values*), the largest only."""
    mine = groups[values.index]
    sizes = Counter(group for group in mine.tolist() if group)
    large = sorted((group for group in sizes if sizes[group] >= least), key=lambda group: (-sizes[group], group))
    return {
        group: population_cuts(rules, values[mine == group], known[mine == group])
        for group in sorted(large[:_MOST_GROUPS])
    }


def scores_by_group(
    rules: Rules, values: pd.DataFrame, known: pd.DataFrame, stands: pd.DataFrame, groups: pd.Series, cuts: Cuts,
    own: Mapping[str, Cuts],
) -> tuple[pd.DataFrame, pd.DataFrame]:  # fmt: skip
    """Return (score and coverage, contributions) by user: by the cut points *own* to their group, else by *cuts*."""
    mine = groups[values.index]
    parts = []
    for group in sorted({group if group in own else "" for group in mine}):
        here = mine == group if group else ~mine.isin(list(own))
        parts.append(scores(rules, values[here], known[here], own[group] if group else cuts, stands[here]))
    if not parts:
        return scores(rules, values, known, cuts)
    figures, contributions = (pd.concat(each).loc[values.index] for each in zip(*parts, strict=True))
    return figures, contributions


def label_of(group: str, own: Iterable[str], calibrated: bool) -> str:
    """Return what documents say of whose deciles somebody of *group* is ranked by; *own* have some of their own."""
    if group in own:
        return f"group:{group}" if group in (_EVERYBODY, _SHIPPED) else group
    return _EVERYBODY if calibrated else _SHIPPED


def seats_of(people: People, users: pd.DataFrame) -> dict[str, set[str]]:
    """Return org → who holds a seat: the licensed, and who is not in the directory while active."""
    seats: dict[str, set[str]] = defaultdict(set)
    for (org, user), kind in people.membership.items():
        if kind == "licensed":
            seats[org].add(user)
    for org, user in users.index[users["active"]]:
        if (org, user) not in people.membership:
            seats[org].add(user)
    return seats


def by_job_type(users: pd.DataFrame, seats: Mapping[str, set[str]], people: People) -> dict[str, dict[str, Any]]:
    """Return org → job type → its figures: scores (None = none) and numbers of users, the largest only and the rest."""
    score = dict(zip(users.index, users["score"].tolist(), strict=True))
    active = set(users.index[users["active"]])
    held = {(org, user) for org, some in seats.items() for user in some}
    members: dict[str, dict[str, list[tuple[str, str]]]] = defaultdict(lambda: defaultdict(list))
    for key in sorted(active | held):
        job = people.jobs.get(key, "")[:_NAME_CHARS]
        if job:
            members[key[0]][job].append(key)
    found: dict[str, dict[str, Any]] = {}
    for org, jobs in members.items():
        ranked = sorted(
            (job for job in jobs if job != _REST),
            key=lambda job: (-sum(key in held for key in jobs[job]), -len(jobs[job]), job),
        )
        for job in ranked[_MOST_JOBS:]:
            jobs[_REST] += jobs.pop(job)
        found[org] = {job: _figures(some, active, held, score) for job, some in jobs.items()}
    return found


def _figures(
    members: Sequence[tuple[str, str]], active: set[Any], held: set[Any], score: Mapping[Any, int]
) -> dict[str, Any]:
    at_work = sorted(score[key] for key in members if key in active)
    seated = [score.get(key, 0) for key in members if key in held]
    idle = 0 if seated else None
    middle = [at_work[(len(at_work) - 1) // 2], at_work[len(at_work) // 2]] if at_work else []
    return {
        "score_active": sum(at_work) // len(at_work) if at_work else idle,
        "score_licensed": sum(seated) // len(seated) if seated else None,
        "score_median": sum(middle) // 2 if middle else idle,
        "active_users": len(at_work),
        "licensed_users": len(seated),
    }


def by_group_type(
    users: pd.DataFrame, seats: Mapping[str, set[str]], people: People, orgs: Iterable[str]
) -> dict[str, dict[str, Any]]:
    """Return group type → orgs, users and mean scores (None = of nobody) over all *orgs*; empty if none has one."""
    names = {org: people.orgs[org].group_type[:_NAME_CHARS] if org in people.orgs else "" for org in orgs}
    if not any(names.values()):
        return {}
    sizes = Counter(name or _UNGROUPED for name in names.values())
    shown = sorted((name for name in sizes if name != _REST), key=lambda name: (-sizes[name], name))[:_MOST_TYPES]
    group = {org: name if (name := names[org] or _UNGROUPED) in shown else _REST for org in names}
    table = users.assign(group=[group[org] for org, _ in users.index])
    at_work = table[table["active"]].groupby("group")["score"].agg(["size", "sum"])
    held = pd.MultiIndex.from_tuples([(o, u) for o in seats for u in sorted(seats[o])], names=["org", "user"])
    seated = pd.DataFrame({"score": users["score"].reindex(held, fill_value=0)})
    seated = seated.assign(group=[group[org] for org, _ in held]).groupby("group")["score"].agg(["size", "sum"])
    rows: list[dict[Any, Any]] = [each.to_dict("index") for each in (at_work, seated)]
    found = {}
    for name, number in Counter(group.values()).items():
        (users_n, points), (seats_n, on_seats) = (
            (int(row["size"]), int(row["sum"])) for row in (each.get(name, {"size": 0, "sum": 0}) for each in rows)
        )
        found[name] = {
            "orgs": number,
            "active_users": users_n,
            "licensed_users": seats_n,
            "score_active": points // users_n if users_n else None,
            "score_licensed": on_seats // seats_n if seats_n else None,
        }
    return found
