"""What can be asked of Redis: keys, commands and what the replies mean, without any I/O.

A question is a generator. It yields commands that go out in one pipeline, gets their replies, and returns the
answer; so the blocking and the asyncio reader share every line but the sending. Invariant: each hash is read by one
HGETALL, so no document is ever half of one write and half of another.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from streams.clock import Clock
from streams.published import Alert, Change, LatencyMap, OrgScore, Totals, UserScore
from streams.published_chat import ChatActivity, chat_of
from streams.published_decode import Decoder, alert_of, latency_of
from streams.published_index import ORGS_A_CALL, OrgLine, command, lines_of
from streams.published_workers import CARDS, WorkerCard, card_key, card_of

if TYPE_CHECKING:
    from state.lines import Lines, OverallLines

STALE_SECONDS = 7200.0  # partitions report once an hour; two hours late is late
MAX_KEYS = 10_000  # documents read by one call
PAGE = 500  # members of a ranking looked at per round trip while a band is looked for
ALL = "all"  # the org that stands for every org together, in latency

T = TypeVar("T")
S = TypeVar("S", OrgScore, UserScore)
Command: TypeAlias = tuple[str | int, ...]
Question: TypeAlias = Generator[Sequence[Command], list[Any], T]


@dataclass(frozen=True, slots=True)
class Ranking:
    """Which of a ranking to read: the lowest first unless *highest*, within scores *low* … *high*, of one *band*.

    The first *skip* of those are left out.
    """

    count: int
    highest: bool = False
    low: float | None = None
    high: float | None = None
    band: str | None = None
    skip: int = 0

    def command(self, key: str, offset: int, count: int) -> Command:
        """Return the command for *count* members from *offset* on."""
        low = "-inf" if self.low is None else repr(float(self.low))
        high = "+inf" if self.high is None else repr(float(self.high))
        if self.highest:
            return ("ZREVRANGEBYSCORE", key, high, low, "LIMIT", offset, count)
        return ("ZRANGEBYSCORE", key, low, high, "LIMIT", offset, count)


class Questions:
    """The questions under one prefix."""

    def __init__(self, prefix: str, clock: Clock, stale_seconds: float) -> None:
        """Ask under *prefix*; what was known to hold over *stale_seconds* ago is stale."""
        self._prefix, self._clock, self._stale_seconds = prefix, clock, stale_seconds
        self._changes, self._orgs = f"{prefix}changes", f"{prefix}orgs:by-score"

    def users(self, places: Iterable[tuple[str, str]]) -> Question[list[UserScore | None]]:
        """Ask for users given as ``(org, user)``; the answers are in the same order."""
        wanted = _bounded(list(places))
        found, decoder = yield from self._documents([f"user:{{{org}}}:{user}" for org, user in wanted])
        return [decoder.user(org, user, fields) for (org, user), fields in zip(wanted, found, strict=True)]

    def orgs(self, orgs: Iterable[str]) -> Question[list[OrgScore | None]]:
        """Ask for orgs; the answers are in the same order."""
        wanted = _bounded(list(orgs))
        found, decoder = yield from self._documents([f"org:{{{org}}}" for org in wanted])
        return [decoder.org(org, fields) for org, fields in zip(wanted, found, strict=True)]

    def user(self, org: str, user: str) -> Question[UserScore | None]:
        """Ask for one user."""
        return (yield from self.users([(org, user)]))[0]

    def org(self, org: str) -> Question[OrgScore | None]:
        """Ask for one org."""
        return (yield from self.orgs([org]))[0]

    def orgs_by_score(self, ranking: Ranking) -> Question[list[OrgScore]]:
        """Ask for orgs in the order of their score."""
        return self._ranked(self._orgs, ranking, self.orgs)

    def users_by_score(self, org: str, ranking: Ranking) -> Question[list[UserScore]]:
        """Ask for users of an org in the order of their score."""
        return self._ranked(self._users_key(org), ranking, lambda users: self.users([(org, user) for user in users]))

    def latency(self, org: str) -> Question[LatencyMap | None]:
        """Ask for the latency map of an org."""
        (fields,) = yield [("HGETALL", f"{self._prefix}latency:{{{org}}}")]
        return latency_of(org, fields)

    def chat(self, org: str) -> Question[ChatActivity | None]:
        """Ask for the chat activity of an org."""
        found, decoder = yield from self._documents([f"chat:{{{org}}}"])
        return chat_of(org, found[0], decoder)

    def latency_lines(self, org: str, months: range) -> Question[Lines | OverallLines | None]:
        """Ask for an org's lines in *months* (UTC)."""
        from streams.published_lines import lines_of, months_within  # it needs numpy, which the other questions don't

        (fields,) = yield [("HGETALL", f"{self._prefix}latency:{{{org}}}")]
        found = latency_of(org, fields)
        if found is None:
            return None
        wanted = months_within(found.months, months)
        documents = (
            yield [("HGETALL", f"{self._prefix}latency:{{{org}}}:{month}") for month in wanted] if wanted else []
        )
        return lines_of(found, dict(zip(wanted, documents, strict=True)))

    def alert(self, org: str) -> Question[Alert | None]:
        """Ask for the last alert of an org."""
        (fields,) = yield [("HGETALL", f"{self._prefix}alert:{{{org}}}")]
        return alert_of(org, fields)

    def open_alerts(self, limit: int) -> Question[list[Alert]]:
        """Ask for the open alerts, newest first."""
        (orgs,) = yield [("ZREVRANGE", f"{self._prefix}alerts:open", 0, limit - 1)]
        if not orgs:
            return []
        documents = yield [("HGETALL", f"{self._prefix}alert:{{{org}}}") for org in orgs]
        found = [alert_of(org, fields) for org, fields in zip(orgs, documents, strict=True)]
        return [alert for alert in found if alert is not None and alert.is_open]

    def alert_count(self) -> Question[int]:
        """Ask how many alerts are open."""
        (count,) = yield [("ZCARD", f"{self._prefix}alerts:open")]
        return int(count)

    def totals(self) -> Question[Totals | None]:
        """Ask for the overall figures."""
        (fields,) = yield [("HGETALL", f"{self._prefix}totals")]
        return Decoder(self._clock.now(), self._stale_seconds).totals(fields)

    def org_ids(self, limit: int) -> Question[list[str]]:
        """Ask for orgs that have a score, lowest first."""
        (names,) = yield [("ZRANGE", self._orgs, 0, limit - 1)]
        return list(names)

    def user_ids(self, org: str, limit: int) -> Question[list[str]]:
        """Ask for users of an org that have a score, lowest first."""
        (names,) = yield [("ZRANGE", self._users_key(org), 0, limit - 1)]
        return list(names)

    def org_lines(self) -> Question[list[OrgLine]]:
        """Ask for a line of each of the first `MAX_KEYS` orgs that have a score, lowest first; two round trips."""
        orgs = yield from self.org_ids(MAX_KEYS)
        parts = [orgs[at : at + ORGS_A_CALL] for at in range(0, len(orgs), ORGS_A_CALL)]
        if not parts:
            return []
        replies = yield [command([f"{self._prefix}org:{{{org}}}" for org in part]) for part in parts]
        return [line for part, reply in zip(parts, replies, strict=True) for line in lines_of(part, reply)]

    def user_count(self, org: str) -> Question[int]:
        """Ask how many users of an org have a score."""
        (count,) = yield [("ZCARD", self._users_key(org))]
        return int(count)

    def workers(self) -> Question[list[WorkerCard]]:
        """Ask for the cards of the workers that run, by name."""
        (names,) = yield [("ZRANGE", f"{self._prefix}{CARDS}", 0, MAX_KEYS - 1)]
        if not names:
            return []
        found = yield [("HGETALL", f"{self._prefix}{card_key(name)}") for name in names]
        cards = (card_of(name, fields, self._clock.now()) for name, fields in zip(names, found, strict=True))
        return sorted((card for card in cards if card is not None), key=lambda card: card.name)

    def orgs_of_user(self, user: str) -> Question[list[str]]:
        """Ask in which of the first `MAX_KEYS` orgs a user id has a score."""
        orgs = yield from self.org_ids(MAX_KEYS)
        scores = yield [("ZSCORE", self._users_key(org), user) for org in orgs]
        return [org for org, score in zip(orgs, scores, strict=True) if score is not None]

    def changes(self, since_id: str, block_ms: int | None, count: int) -> Question[list[Change]]:
        """Ask for changes after *since_id*, oldest first; wait *block_ms* for the first one."""
        block: Command = () if block_ms is None else ("BLOCK", block_ms)
        (reply,) = yield [("XREAD", "COUNT", count, *block, "STREAMS", self._changes, since_id)]
        return _entries(reply)

    def last_change_id(self) -> Question[str]:
        """Ask for the id of the newest change; "0-0" when there is none."""
        (entries,) = yield [("XREVRANGE", self._changes, "+", "-", "COUNT", 1)]
        return str(entries[0][0]) if entries else "0-0"

    def make_group(self, group: str, since_id: str) -> Question[None]:
        """Have a consumer group made that begins after *since_id*."""
        yield [("XGROUP", "CREATE", self._changes, group, since_id, "MKSTREAM")]

    def group_changes(self, group: str, consumer: str, block_ms: int | None, count: int) -> Question[list[Change]]:
        """Ask for changes that no consumer of *group* got yet."""
        block: Command = () if block_ms is None else ("BLOCK", block_ms)
        head: Command = ("XREADGROUP", "GROUP", group, consumer, "COUNT", count)
        (reply,) = yield [(*head, *block, "STREAMS", self._changes, ">")]
        return _entries(reply)

    def claim(self, group: str, consumer: str, idle_ms: int, count: int) -> Question[list[Change]]:
        """Ask for changes that a consumer of *group* got and did not acknowledge for *idle_ms*."""
        reply = yield [("XAUTOCLAIM", self._changes, group, consumer, idle_ms, "0-0", "COUNT", count)]
        return [Change(entry, dict(fields)) for entry, fields in reply[0][1] if entry is not None and fields]

    def acknowledge(self, group: str, ids: Sequence[str]) -> Question[int]:
        """Say that changes were dealt with; the answer is how many were waiting for that."""
        if not ids:
            return 0
        (count,) = yield [("XACK", self._changes, group, *ids)]
        return int(count)

    def _documents(self, keys: Sequence[str]) -> Question[tuple[list[Mapping[str, str]], Decoder]]:
        if not keys:
            return [], Decoder(self._clock.now(), self._stale_seconds)
        commands: list[Command] = [("HGETALL", self._prefix + key) for key in keys]
        *found, as_of = yield [*commands, ("HGET", f"{self._prefix}totals", "as_of")]
        return found, Decoder(self._clock.now(), self._stale_seconds, as_of)

    def _users_key(self, org: str) -> str:
        return f"{self._prefix}org:{{{org}}}:users:by-score"

    def _ranked(
        self, key: str, ranking: Ranking, documents: Callable[[list[str]], Question[list[S | None]]]
    ) -> Question[list[S]]:
        """Ask for *documents* of the members of a ranking, until there are enough of the band."""
        found: list[S] = []
        for offset in self._offsets(ranking):
            (names,) = yield [ranking.command(key, offset, _page(ranking))]
            asked = yield from documents(names)
            found += [one for one in asked if one is not None and ranking.band in (None, one.band)]
            if len(names) < _page(ranking) or len(found) >= ranking.count + _skipped(ranking):
                break
        return found[_skipped(ranking) :][: ranking.count]

    def _offsets(self, ranking: Ranking) -> range:
        if not 0 < ranking.count <= MAX_KEYS:
            raise ValueError(f"count is {ranking.count}, must be 1 to {MAX_KEYS}")
        if not 0 <= ranking.skip < 1 << 31:
            raise ValueError(f"skip is {ranking.skip}, must be 0 to {(1 << 31) - 1}")
        return range(ranking.skip - _skipped(ranking), 1 << 32, _page(ranking))


def _page(ranking: Ranking) -> int:
    return ranking.count if ranking.band is None else PAGE


def _skipped(ranking: Ranking) -> int:
    """Return how many documents are read only to be left out: which have the band is seen in them alone."""
    return 0 if ranking.band is None else ranking.skip


def _bounded(wanted: list[T]) -> list[T]:
    if len(wanted) > MAX_KEYS:
        raise ValueError(f"{len(wanted)} documents asked for at once, at most {MAX_KEYS}: ask in parts")
    return wanted


def _entries(reply: Any) -> list[Change]:
    """Return the entries of one stream; protocol 3 gives a dict and wraps them in one more list."""
    streams = reply.values() if isinstance(reply, dict) else [entries for _, entries in reply or ()]
    found = []
    for entries in streams:
        nested = entries and isinstance(entries[0], list) and entries[0] and isinstance(entries[0][0], list | tuple)
        for entry_id, fields in [entry for part in entries for entry in part] if nested else entries:
            found.append(Change(entry_id, dict(fields)))
    return found
