"""Computes everything anew from the raw topics, in pandas: the independent oracle.

Owns a second way from raw messages to figures, which shares no line with the
first (an import rule says so). Invariant, and what may be compared: at rest (no
input, every partition evaluated after its last event, all in the same running
hour) the system's documents are a function of the *set* of events, the
directory and `as_of_ms`, whatever the order of arrival was; so are the rows of closed
weeks, given the cut points of each close (`recount_weeks`). What depends on the
past by definition (band with hysteresis, `changes`) is left out.

It holds as long as no event is older than the allowed lateness when it comes
(but for those older than the newest of their own source partition, which are
recounted exactly), the directory knew people, orgs and zones before their
messages, nobody changed orgs, and no bound on memory was reached.

    raw ──► read ──► resolve ──► first of equal ids ──► week ──► scores
                        │                 └──► replies ──► latency
                        └──► ledger
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from reports.recount_calendar import mondays, placed
from reports.recount_carry import with_carried
from reports.recount_chat import ChatCount
from reports.recount_fields import Options, Refused
from reports.recount_groups import (
    by_group_type,
    by_job_type,
    counted_orgs,
    groups_of,
    label_of,
    peer_cuts,
    scores_by_group,
    seats_of,
)
from reports.recount_latency import (
    latency_cells,
    latency_lines,
    matched_replies,
    messages_left,
    rolling_months,
)
from reports.recount_measures import with_measures
from reports.recount_orgs import org_table, org_weeks
from reports.recount_people import OrgEntry, People, Raw
from reports.recount_read import Reader, Said
from reports.recount_score import HOURS, Rules, attribute_table, population_cuts

__all__ = ["Options", "Raw", "Recount", "recount"]

SOURCES = ("product-events", "syslog-activities", "chat-messages", "transactions")
_HOUR_MS = 3_600_000
_COLUMNS = (
    "org",
    "user",
    "measure",
    "time_ms",
    "amount",
    "id",
    "ref",
    "channel",
    "before_ms",
    "lacking",
    "topic",
    "partition",
    "offset",
    "arrived_ms",
)
_FIGURES = ("score_active", "score_licensed", "score_median")


@dataclass
class Recount:
    """What the raw topics say as of `as_of_ms`. Scores and contributions are basis points."""

    as_of_ms: int
    users: pd.DataFrame  # (org, user) → score, coverage, activities, active, first_week, peers
    contributions: pd.DataFrame  # (org, user) × attribute, rows add up to score
    orgs: pd.DataFrame  # org → score_active/licensed/median (NA = none), …_users, activities, transactions_…
    org_contributions: pd.DataFrame  # org × attribute, rows add up to score_active
    latency: pd.DataFrame  # (org or "all", hour of week) of the rolling months; see `latency_cells`
    lines: pd.DataFrame  # (org or "all", line, month, hour of week) of the whole history; see `latency_lines`
    messages: pd.DataFrame  # those not deleted: org, user, id, ref, time_ms, line
    replies: pd.DataFrame  # see `matched_replies`
    cuts: dict[str, list[int]]  # attribute → 9 cut points
    peers: dict[str, dict[str, list[int]]]  # peer group → its own cut points
    population: int  # active users, but of orgs that are left out
    population_orgs: int
    calibrated: bool  # whether cuts come from the population
    ledger: pd.DataFrame  # (topic, partition) → consumed and what became of them; dead:<reason>
    weeks: pd.DataFrame  # (org, ISO week) → activities, active_users, transactions_count, transactions_cents
    entries: dict[str, OrgEntry]  # the directory's word on each org
    happened: pd.DataFrame  # all that counts, a row each: org, user, measure, time_ms, amount, before_ms, lacking, hour
    people: People
    by_job_type: dict[str, dict[str, Any]]  # org → job type → scores (None = none) and numbers of users
    by_group_type: dict[str, dict[str, Any]]  # group type → orgs, numbers of users and their mean scores
    chat: ChatCount = field(default_factory=ChatCount)


class _Waiting(NamedTuple):
    """What is known of replies; see `Recount`."""

    latency: pd.DataFrame
    lines: pd.DataFrame
    messages: pd.DataFrame
    replies: pd.DataFrame


@dataclass
class _Gathered:
    """Resolved messages as rows, and what became of all of them."""

    rows: list[tuple[Any, ...]] = field(default_factory=list)
    counts: dict[tuple[str, int], Counter[str]] = field(default_factory=dict)


def recount(raw: Iterable[Raw], model: Mapping[str, Any], as_of_ms: int, options: Options | None = None) -> Recount:
    """Return everything that *raw* (source topics, users and orgs) leads to.

    Args:
        raw: (topic without prefix, partition, offset, key, value, time stamp in ms), in any order.
        model: The health model, the parsed TOML.
        as_of_ms: End of the rolling week: the watermark.
        options: The settings that matter.
    """
    options = options or Options()
    records = list(raw)
    people = People()
    people.learn([r for r in records if r[0] in ("users", "orgs", "identities")], options, as_of_ms)
    gathered = _gather([r for r in records if r[0] in SOURCES], Reader(model, options), people, options)
    events = pd.DataFrame(gathered.rows, columns=_COLUMNS).sort_values(["arrived_ms", "offset"], kind="stable")
    again = events.duplicated(["org", "id"])
    ledger = _ledger(gathered, events[again], people)
    events = events[~again]
    zones = {org: entry.zone for org, entry in people.orgs.items()}
    messages = messages_left(events, options.teams)
    replies = matched_replies(messages, options.reply_horizon_days)
    happened = _happened(events, replies)
    waiting = _Waiting(
        latency_cells(messages, replies, zones, rolling_months(as_of_ms, options.rolling_months), options),
        latency_lines(*with_measures(messages, replies, happened, model), zones, options.target_seconds),
        messages, replies,
    )  # fmt: skip
    left = happened[~happened["user"].isin(options.forgotten)] if options.forgotten else happened
    found = _scored(left, model, people, as_of_ms, options, waiting, ledger)
    if options.forgotten:  # what an org did in calendar weeks stays counted, with how many people did it
        found.weeks, found.happened = org_weeks(happened, Rules.of(model), zones), happened
    found.chat = ChatCount.of(events, people, options)
    return found


def _gather(records: list[Raw], reader: Reader, people: People, options: Options) -> _Gathered:
    """Read and resolve messages, partition by partition in the order of their offsets."""
    found, newest = _Gathered(), dict[tuple[str, int], int]()
    for topic, partition, offset, _, value, arrived_ms in sorted(records, key=lambda r: (r[0], r[1], r[2])):
        source = (topic, partition)
        counts = found.counts.setdefault(source, Counter())
        counts["consumed"] += 1
        try:
            said = reader.read(topic, value, arrived_ms)
            if said.time_ms < newest.get(source, 0) - options.lateness_hours * _HOUR_MS:
                raise Refused("too_late")
        except Refused as refusal:
            counts["dead:" + refusal.reason] += 1
            continue
        newest[source] = max(newest.get(source, 0), said.time_ms)
        outcome, org, user = _resolve(said, people, options.unknown[topic])
        if outcome != "taken":
            counts[outcome] += 1
            continue
        counts["taken"] += 1
        row = (org, user, said.measure, said.time_ms, said.amount, said.id, said.ref, said.channel)
        found.rows.append((*row, said.before_ms, said.lacking, topic, partition, offset, arrived_ms))
    return found


def _resolve(said: Said, people: People, unknown: str) -> tuple[str, str, str]:
    """Return (taken, org, user), or (why not, "", "")."""
    if said.apart:
        return said.apart, "", ""
    if not said.who:  # the org itself
        known = said.org in people.orgs or unknown == "create"
        return ("taken", said.org, "") if known else ("waiting", "", "")
    person = people.find(said.who)
    if person is not None:
        org = said.org or person.org_at(said.time_ms)
        outcome = "bot" if person.bot else "taken" if org else "waiting"
        return (outcome, org, person.user) if outcome == "taken" else (outcome, "", "")
    if not said.org or unknown == "park":
        return "waiting", "", ""
    name = said.who.strip()
    return "taken", said.org, name.lower() if "@" in name else name


def _ledger(gathered: _Gathered, repeated: pd.DataFrame, people: People) -> pd.DataFrame:
    """Return by source partition what became of its messages."""
    duplicates = Counter(zip(repeated["topic"], repeated["partition"], strict=True))
    rows = {}
    for source, counts in gathered.counts.items():
        dead = sum(n for outcome, n in counts.items() if outcome.startswith("dead:"))
        rows[source] = dict(counts) | {
            "duplicate": duplicates[source],
            "accepted": counts["taken"] - duplicates[source],
            "dead_lettered": dead,
        }
    for source, consumed in people.consumed.items():
        reasons = {f"dead:{r}": n for (t, p, r), n in people.dead.items() if (t, p) == source}
        dead = sum(reasons.values())
        rows[source] = {"consumed": consumed, "dead_lettered": dead, "directory": consumed - dead} | reasons
    table = pd.DataFrame.from_dict(rows, orient="index").fillna(0).astype("int64")
    apart = ["ghost", "system", "edit", "bot", "directory", "identity", "suppressed"]
    wanted = ["consumed", "accepted", "duplicate", "dead_lettered", "waiting", *apart]
    table = table.reindex(columns=[*wanted, *sorted(c for c in map(str, table) if c.startswith("dead:"))], fill_value=0)
    table.index = pd.MultiIndex.from_tuples(table.index, names=["topic", "partition"])
    return table.sort_index()


def _happened(events: pd.DataFrame, replies: pd.DataFrame) -> pd.DataFrame:
    """Return all that counts: activities, replies given and received, transactions approved at last."""
    trade = events["measure"].isin(["transaction", "transaction_other"])
    latest = events[trade].sort_values(["time_ms", "arrived_ms", "offset"], kind="stable")
    latest = latest.drop_duplicates(["org", "ref"], keep="last")
    wanted = ["org", "user", "measure", "time_ms", "amount", "before_ms", "lacking"]
    derived = replies.assign(before_ms=0, lacking=False)
    given = derived.assign(measure="reply_given", amount=replies["latency_ms"] // 1000)
    received = derived.assign(user=replies["parent_user"], measure="reply_received", amount=0)
    parts = [events[~trade], latest[latest["measure"] == "transaction"], given, received]
    found = pd.concat([part[wanted] for part in parts if len(part)] or [events[wanted]], ignore_index=True)
    return found.assign(hour=found["time_ms"] // _HOUR_MS)


def _scored(
    happened: pd.DataFrame, model: Mapping[str, Any], people: People, as_of_ms: int, options: Options,
    waiting: _Waiting, ledger: pd.DataFrame,
) -> Recount:  # fmt: skip
    rules, hour = Rules.of(model), as_of_ms // _HOUR_MS
    week = happened[(happened["hour"] >= hour - HOURS) & (happened["hour"] <= hour)]
    values, known = attribute_table(rules, week, hour)
    members = np.array([people.membership.get(key, "unlisted") != "gone" for key in values.index], bool)
    values, known = values[members], known[members]
    counted = values.index.isin(counted_orgs(model, people, {org for org, _ in values.index}), level="org")
    calibrated = int(counted.sum()) >= options.min_population
    cuts = {a["name"]: list(a["cuts"]) for a in rules.ranked}
    peers: dict[str, dict[str, list[int]]] = {}
    groups = groups_of(model, people, values.index)
    if calibrated:
        cuts = population_cuts(rules, values[counted], known[counted])
        peers = peer_cuts(rules, values[counted], known[counted], groups, options.min_population)
    zones = {org: entry.zone for org, entry in people.orgs.items()}
    filled, stands = values, known
    if rules.carrying:
        now = pd.Series([as_of_ms])
        filled, stands = with_carried(
            rules, placed(happened, zones), values, known, lambda org: mondays(now, zones.get(org, "UTC"))[0]
        )
    figures, parts = scores_by_group(rules, filled, known, stands, groups, cuts, peers)
    users = _users(happened, week, figures, rules, hour)
    users["peers"] = [label_of(group, peers, calibrated) for group in groups_of(model, people, users.index)]
    parts = parts.reindex(users.index, fill_value=0)
    seats = seats_of(people, users)
    orgs, org_parts = org_table(happened, week, users, parts, people)
    entries = {org: people.orgs.get(org, OrgEntry()) for org in orgs.index}
    population_orgs = len(counted_orgs(model, people, orgs.index))
    jobs, kinds = by_job_type(users, seats, people), by_group_type(users, seats, people, orgs.index)
    return Recount(
        as_of_ms, users, parts, orgs, org_parts, *waiting, cuts, peers, int(counted.sum()), population_orgs, calibrated,
        ledger, org_weeks(happened, rules, zones), entries, happened, people, jobs, kinds,
    )  # fmt: skip


def _users(happened: pd.DataFrame, week: pd.DataFrame, figures: pd.DataFrame, rules: Rules, hour: int) -> pd.DataFrame:
    """Return everybody who ever did (or got) something; who was not active this week scores 0."""
    own = happened[happened["user"] != ""]
    since = own.groupby(["org", "user"])["hour"].min()
    counted = week[(week["user"] != "") & ~week["measure"].isin(rules.flagged("passive"))]
    activities = counted.groupby(["org", "user"]).size()
    users = figures.reindex(since.index, fill_value=0)
    users["activities"] = activities.reindex(since.index, fill_value=0)
    users["active"] = since.index.isin(figures.index)
    users["first_week"] = hour - since < HOURS
    return users
