"""Chat that is easily counted wrongly: deletions, edits, ids that come again, answers that come before questions.

Owns the conversations, and the look at a set of raw messages that says which kinds of them it holds. Invariant: what is
right does not depend on who reads faster: where the order of two messages matters, they lie in one source partition.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from random import Random
from typing import Any, NamedTuple

from agents.simulate import Base, Message
from reports.recount import Raw

TEAMS = {"hard-help": "hard-support", "hard-desk": "hard-support"}
"""Channels that are one team's; a setting (`ingest.teams`)."""
CHANNELS = ("hard-help", "hard-desk", "hard-dev", "hard-ops")
KINDS = (
    "several channels", "channels of one team", "several answers", "answer in another channel", "deletion after",
    "deletion before", "deleted question with answers", "deleted first answer", "deletion by another org", "edit",
    "id that comes again otherwise", "answer to oneself", "answer before its question in time",
    "answer that comes before its question", "answer after 50 hours", "answer from another org", "one id in two orgs",
)  # fmt: skip
_MINUTE_MS, _HOUR_MS = 60_000, 3_600_000
_LONGEST_HOURS = 52
_ORGS = 5
_FEWEST = 4
"""Users of an org in which people talk like this."""


class _Said(NamedTuple):
    """A message or what became of it, in the order of sending; several keys lie in any partitions."""

    org: str
    id: str
    who: str
    time_ms: int
    parent: str = ""
    channel: str = "hard-help"
    type: str = ""
    key: str = ""

    def message(self) -> Message:
        """Return it as it is sent."""
        fields: dict[str, Any] = {"message_id": self.id, "author": self.who, "time": self.time_ms, "org_id": self.org}
        fields |= {"channel": self.channel} | ({"in_reply_to": self.parent} if self.parent else {})
        fields |= {"type": self.type} if self.type else {}
        return Message("chat-messages", (self.key or self.org).encode(), json.dumps(fields).encode())


def hard_talk(base: Base, end_ms: int, weeks: int, chance: Random, rounds: int = 2) -> list[Message]:
    """Return conversations of every kind in some orgs of *base*, in the order of sending.

    Args:
        base: The people.
        end_ms: When the last message is written, at the latest.
        weeks: How far they go back.
        chance: Where chance comes from.
        rounds: Conversations of each kind and org.
    """
    people: defaultdict[str, list[str]] = defaultdict(list)
    for user in base.users:
        if not user.bot:
            people[base.orgs[user.org].id].append(user.username)
    large = [org for org in people if len(people[org]) >= _FEWEST]
    orgs = chance.sample(large, min(_ORGS, len(large)))
    queues = []
    for number, org in enumerate(orgs):
        other = orgs[number - 1]
        for turn in range(rounds):
            for kind, conversation in enumerate(_CONVERSATIONS):
                span_ms = weeks * 7 * 24 * _HOUR_MS - _LONGEST_HOURS * _HOUR_MS
                at_ms = end_ms - _LONGEST_HOURS * _HOUR_MS - chance.randrange(span_ms)
                who = chance.sample(people[org], _FEWEST)
                stem, places = f"hard-{org}-{turn}-{kind}", chance.sample(CHANNELS, 2)
                queues.append(list(conversation(org, other, stem, who, at_ms, places)))
    said = []
    while queues:  # conversations run side by side
        queue = chance.choice(queues)
        said.append(queue.pop(0))
        queues = [each for each in queues if each]
    return [each.message() for each in said]


def _answers(org: str, _: str, stem: str, who: list[str], at_ms: int, places: list[str]) -> Iterator[_Said]:
    yield _Said(org, stem, who[0], at_ms, channel=places[0])
    for number, (minutes, place) in enumerate(((50, 0), (20, 1), (90, 0), (20, 0))):
        by = who[1 + number % 3]
        yield _Said(
            org, f"{stem}-{number}", by, at_ms + minutes * _MINUTE_MS, stem, places[place], key=f"{org}{number}"
        )


def _deleted(org: str, _: str, stem: str, who: list[str], at_ms: int, places: list[str]) -> Iterator[_Said]:
    yield _Said(org, stem, who[0], at_ms, channel=places[0])
    yield _Said(org, f"{stem}-a", who[1], at_ms + 7 * _MINUTE_MS, stem, places[0])
    yield _Said(org, stem, who[0], at_ms + 9 * _MINUTE_MS, channel=places[0], type="delete")
    yield _Said(org, f"{stem}-b", who[2], at_ms + 11 * _MINUTE_MS, stem, places[0])


def _deleted_before(org: str, _: str, stem: str, who: list[str], at_ms: int, places: list[str]) -> Iterator[_Said]:
    yield _Said(org, f"{stem}-a", who[3], at_ms + 9 * _MINUTE_MS, channel=places[0], type="delete")
    yield _Said(org, stem, who[0], at_ms, channel=places[0])
    yield _Said(org, f"{stem}-a", who[1], at_ms + 5 * _MINUTE_MS, stem, places[0])
    yield _Said(org, f"{stem}-b", who[2], at_ms + 30 * _MINUTE_MS, stem, places[0])
    yield _Said(org, f"{stem}-c", who[2], at_ms, channel=places[1], type="delete", key=org + "1")
    yield _Said(org, f"{stem}-c", who[2], at_ms, channel=places[1])


def _first_deleted(org: str, _: str, stem: str, who: list[str], at_ms: int, places: list[str]) -> Iterator[_Said]:
    yield _Said(org, stem, who[0], at_ms, channel=places[0])
    yield _Said(org, f"{stem}-a", who[1], at_ms + 3 * _MINUTE_MS, stem, places[0])
    yield _Said(org, f"{stem}-b", who[2], at_ms + 300 * _MINUTE_MS, stem, places[0])
    yield _Said(org, f"{stem}-a", who[1], at_ms + 400 * _MINUTE_MS, channel=places[0], type="delete", key=org + "2")


def _deleted_elsewhere(org: str, other: str, stem: str, who: list[str], at_ms: int, _: list[str]) -> Iterator[_Said]:
    yield _Said(org, stem, who[0], at_ms)
    yield _Said(other, stem, f"guest of {org}", at_ms + _MINUTE_MS, type="delete")
    yield _Said(org, f"{stem}-a", who[1], at_ms + 6 * _MINUTE_MS, stem)


def _edited(org: str, _: str, stem: str, who: list[str], at_ms: int, places: list[str]) -> Iterator[_Said]:
    yield _Said(org, stem, who[0], at_ms, channel=places[0])
    yield _Said(org, stem, who[0], at_ms + 10 * _MINUTE_MS, channel=places[1], type="edit")
    yield _Said(org, f"{stem}-a", who[1], at_ms + 15 * _MINUTE_MS, stem, places[0])
    yield _Said(org, f"{stem}-a", who[1], at_ms + 45 * _MINUTE_MS, type="edit", key=org + "3")


def _again(org: str, _: str, stem: str, who: list[str], at_ms: int, places: list[str]) -> Iterator[_Said]:
    yield _Said(org, stem, who[0], at_ms, channel=places[0])
    yield _Said(org, stem, who[1], at_ms + _HOUR_MS, f"{stem}-a", places[1])
    yield _Said(org, f"{stem}-a", who[1], at_ms + 2 * _HOUR_MS, stem, places[0])
    yield _Said(org, f"{stem}-a", who[2], at_ms + _HOUR_MS, channel=places[0])


def _to_oneself(org: str, _: str, stem: str, who: list[str], at_ms: int, places: list[str]) -> Iterator[_Said]:
    yield _Said(org, stem, who[0], at_ms, channel=places[0])
    yield _Said(org, f"{stem}-a", who[0], at_ms + _MINUTE_MS, stem, places[0])
    yield _Said(org, f"{stem}-b", who[1], at_ms + 40 * _MINUTE_MS, f"{stem}-a", places[0])
    yield _Said(org, f"{stem}-c", who[2], at_ms + 41 * _MINUTE_MS, f"{stem}-c", places[0])


def _earlier(org: str, _: str, stem: str, who: list[str], at_ms: int, places: list[str]) -> Iterator[_Said]:
    yield _Said(org, stem, who[0], at_ms, channel=places[0])
    yield _Said(org, f"{stem}-a", who[1], at_ms - 1, stem, places[0])
    yield _Said(org, f"{stem}-b", who[2], at_ms, stem, places[0])


def _early(org: str, _: str, stem: str, who: list[str], at_ms: int, places: list[str]) -> Iterator[_Said]:
    yield _Said(org, f"{stem}-a", who[1], at_ms + 25 * _MINUTE_MS, stem, places[1])
    yield _Said(org, f"{stem}-b", who[2], at_ms + 5 * _MINUTE_MS, stem, places[0])
    yield _Said(org, stem, who[0], at_ms, channel=places[0])


def _slow(org: str, _: str, stem: str, who: list[str], at_ms: int, places: list[str]) -> Iterator[_Said]:
    yield _Said(org, stem, who[0], at_ms, channel=places[0])
    yield _Said(org, f"{stem}-a", who[1], at_ms + 50 * _HOUR_MS, stem, places[0], key=org + "4")


def _elsewhere(org: str, other: str, stem: str, who: list[str], at_ms: int, _: list[str]) -> Iterator[_Said]:
    yield _Said(org, stem, who[0], at_ms)
    yield _Said(other, f"{stem}-a", f"guest of {org}", at_ms + 4 * _MINUTE_MS, stem)
    yield _Said(other, f"{stem}-b", f"other guest of {org}", at_ms + 8 * _MINUTE_MS, f"{stem}-a")
    yield _Said(org, f"{stem}-b", who[1], at_ms + 16 * _MINUTE_MS, stem)


_CONVERSATIONS = (
    _answers, _deleted, _deleted_before, _first_deleted, _deleted_elsewhere, _edited, _again, _to_oneself, _earlier,
    _early, _slow, _elsewhere,
)  # fmt: skip


def mixed_in(history: list[Message], talk: list[Message], chance: Random) -> list[Message]:
    """Return both, each in its own order."""
    places = sorted(chance.randrange(len(history) + 1) for _ in talk)
    found, at = [], 0
    for place, message in zip(places, talk, strict=True):
        found += history[at:place]
        found.append(message)
        at = place
    return found + history[at:]


Place = tuple[int, int]
Named = tuple[str, str]


def kinds_in(raw: Iterable[Raw]) -> Counter[str]:
    """Return how often each of KINDS occurs in raw messages, as far as they are hard talk.

    It looks at the messages alone: two are known to come one before the other only in one partition.
    """
    found: Counter[str] = Counter()
    told: defaultdict[Named, list[tuple[Place, dict[str, Any]]]] = defaultdict(list)
    ends: defaultdict[str, dict[Named, Place]] = defaultdict(dict)
    for topic, partition, offset, _, value, _ in raw:
        if topic == "chat-messages" and b'"hard-' in (value or b"") and b'"channel": "hard-' in (value or b""):
            fields = json.loads(value or b"")
            named = fields["org_id"], fields["message_id"]
            if "type" in fields:
                ends[fields["type"]].setdefault(named, (partition, offset))
            else:
                told[named].append(((partition, offset), fields))
    for versions in told.values():
        versions.sort(key=lambda each: each[0][1])
    first = {named: versions[0] for named, versions in told.items()}
    answers: defaultdict[Named, list[Named]] = defaultdict(list)
    for named, (place, fields) in first.items():
        found.update(_kinds_of_answer(named[0], place, fields, first))
        answers[named[0], fields.get("in_reply_to", "")].append(named)
        contents = {json.dumps(version) for _, version in told[named]}
        found["id that comes again otherwise"] += len(contents) - 1
    found.update(_kinds_of_ends(ends, first, answers))
    orgs = Counter(id_ for _, id_ in first)
    found["one id in two orgs"] = sum(number > 1 for number in orgs.values())
    found["several answers"] = sum(
        question in first and len({first[each][1]["author"] for each in given}) > 2
        for question, given in answers.items()
    )
    used = {(named[0], fields["channel"]) for named, (_, fields) in first.items()}
    found["several channels"] = sum(number > 2 for number in Counter(org for org, _ in used).values())
    teams = Counter((org, TEAMS[channel]) for org, channel in used if channel in TEAMS)
    found["channels of one team"] = sum(number > 1 for number in teams.values())
    return found


def _kinds_of_answer(
    org: str, place: Place, fields: dict[str, Any], first: dict[Named, tuple[Place, dict[str, Any]]]
) -> Iterator[str]:
    parent = fields.get("in_reply_to")
    if parent is None:
        return
    if (org, parent) not in first:
        if any(id_ == parent for _, id_ in first):
            yield "answer from another org"
        return
    asked_at, asked = first[org, parent]
    waited_ms = fields["time"] - asked["time"]
    if fields["author"] == asked["author"]:
        yield "answer to oneself"
    elif waited_ms < 0:
        yield "answer before its question in time"
    elif waited_ms == 50 * _HOUR_MS:
        yield "answer after 50 hours"
    if asked_at[0] == place[0] and asked_at[1] > place[1]:
        yield "answer that comes before its question"
    if fields["channel"] != asked["channel"]:
        yield "answer in another channel"


def _kinds_of_ends(
    ends: dict[str, dict[Named, Place]], first: dict[Named, tuple[Place, dict[str, Any]]],
    answers: dict[Named, list[Named]],
) -> Iterator[str]:  # fmt: skip
    deleted = ends["delete"]
    for named, at in deleted.items():
        if named not in first:
            if any(id_ == named[1] for _, id_ in first):
                yield "deletion by another org"
            continue
        place, fields = first[named]
        if at[0] == place[0]:
            yield "deletion before" if at[1] < place[1] else "deletion after"
        if answers[named]:
            yield "deleted question with answers"
        beside = answers[named[0], fields.get("in_reply_to", "")]
        times = [first[each][1]["time"] for each in beside]
        if "in_reply_to" in fields and len(beside) > 1 and fields["time"] == min(times):
            yield "deleted first answer"
    for named in ends["edit"]:
        if named in first:
            yield "edit"
