"""Reading scores and latency from Redis, for services downstream and for the command line.

Owns nothing but the sending: what is asked and what it means is in `reader_questions`. Invariant: it only reads,
but for a consumer group's own place in the stream. What is not there is None, and a score says when it is stale.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from redis import BlockingConnectionPool, Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from streams.clock import Clock, WallClock
from streams.published import Alert, Change, LatencyMap, OrgScore, Totals, UserScore
from streams.published_chat import ChatActivity
from streams.published_index import OrgLine
from streams.published_workers import WorkerCard
from streams.reader_connect import Connect
from streams.reader_errors import ReaderError, reader_error
from streams.reader_questions import ALL, MAX_KEYS, STALE_SECONDS, Question, Questions, Ranking

if TYPE_CHECKING:
    from typing import Self

    from state.lines import Lines, OverallLines

__all__ = ["ALL", "Change", "Connect", "LatencyMap", "OrgScore", "Ranking", "Reader", "Totals", "UserScore"]

T = TypeVar("T")


class Reader:
    """Typed look-ups in what orgpulse publishes; threads may share one.

    Every method raises a `ReaderError` when there is no answer: `RedisAwayError`, `RedisRefusedError`,
    `NewerSchemaError`, `UnreadableError`.
    """

    def __init__(
        self,
        url: str,
        prefix: str = "orgpulse:v1:",
        clock: Clock | None = None,
        stale_seconds: float = STALE_SECONDS,
        connect: Connect | None = None,
    ) -> None:
        """Prepare, without connecting; what was known to hold over *stale_seconds* ago says that it is stale."""
        self._connect = connect or Connect()
        pool: Any = BlockingConnectionPool.from_url(url, retry=Retry(NoBackoff(), 1), **self._connect.pool_options(url))
        self._redis: Any = Redis.from_pool(pool)
        self._ask = Questions(prefix, clock or WallClock(), stale_seconds)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._redis.close()

    def user(self, org: str, user: str) -> UserScore | None:
        """Return a user's score, or None when Redis has none."""
        return self._answer(self._ask.user(org, user))

    def users(self, places: Iterable[tuple[str, str]]) -> list[UserScore | None]:
        """Return the users given as ``(org, user)``, in that order, by one round trip; at most 10,000."""
        return self._answer(self._ask.users(places))

    def org(self, org: str) -> OrgScore | None:
        """Return an org's score, or None when Redis has none."""
        return self._answer(self._ask.org(org))

    def orgs(self, orgs: Iterable[str]) -> list[OrgScore | None]:
        """Return the orgs given, in that order, by one round trip; at most 10,000."""
        return self._answer(self._ask.orgs(orgs))

    def orgs_by_score(self, ranking: Ranking) -> list[OrgScore]:
        """Return orgs by `score_active`, e.g. ``Ranking(10)`` for the ten lowest; one without a score is in none."""
        return self._answer(self._ask.orgs_by_score(ranking))

    def users_by_score(self, org: str, ranking: Ranking) -> list[UserScore]:
        """Return users of an org by score."""
        return self._answer(self._ask.users_by_score(org, ranking))

    def latency(self, org: str = ALL) -> LatencyMap | None:
        """Return the latency map of an org, or of all together, or None when Redis has none."""
        return self._answer(self._ask.latency(org))

    def chat(self, org: str) -> ChatActivity | None:
        """Return the chat activity of an org, or None when Redis has none."""
        return self._answer(self._ask.chat(org))

    def latency_lines(self, org: str, months: range) -> Lines | OverallLines | None:
        """Return an org's latency by line over *months* (UTC, year × 12 + month − 1), or None when Redis has none.

        For months in another zone ask for one more on both sides. The org "all" gives all together.
        """
        return self._answer(self._ask.latency_lines(org, months))

    def alert(self, org: str) -> Alert | None:
        """Return the last alert of an org, open or resolved, or None when there never was one."""
        return self._answer(self._ask.alert(org))

    def open_alerts(self, limit: int = 1000) -> list[Alert]:
        """Return up to *limit* open alerts, newest first."""
        return self._answer(self._ask.open_alerts(limit))

    def alert_count(self) -> int:
        """Return how many alerts are open."""
        return self._answer(self._ask.alert_count())

    def totals(self) -> Totals | None:
        """Return the overall figures, or None when Redis has none."""
        return self._answer(self._ask.totals())

    def org_ids(self, limit: int = MAX_KEYS) -> list[str]:
        """Return up to *limit* orgs that have a score, lowest first."""
        return self._answer(self._ask.org_ids(limit))

    def user_ids(self, org: str, limit: int = MAX_KEYS) -> list[str]:
        """Return up to *limit* users of an org that have a score, lowest first."""
        return self._answer(self._ask.user_ids(org, limit))

    def org_lines(self) -> list[OrgLine]:
        """Return a line of each org that has a score (of the first 10,000), lowest first: enough to choose from."""
        return self._answer(self._ask.org_lines())

    def user_count(self, org: str) -> int:
        """Return how many users of an org have a score."""
        return self._answer(self._ask.user_count(org))

    def workers(self) -> list[WorkerCard]:
        """Return what the running workers say of themselves, by name."""
        return self._answer(self._ask.workers())

    def orgs_of_user(self, user: str) -> list[str]:
        """Return the orgs (of the first 10,000) in which a user id has a score."""
        return self._answer(self._ask.orgs_of_user(user))

    def last_change_id(self) -> str:
        """Return the id of the newest change, from which to follow on; "0-0" when there is none."""
        return self._answer(self._ask.last_change_id())

    def changes(self, since_id: str = "0", wait_seconds: float = 0, count: int = 1000) -> list[Change]:
        """Return up to *count* changes after *since_id*, oldest first; wait for the first one if told to."""
        block_ms = self._connect.block_ms(wait_seconds)
        return self._answer(self._ask.changes(since_id, block_ms, count))

    def follow(self, since_id: str | None = None) -> Iterator[Change]:
        """Yield changes after *since_id* (None = from now on) for ever; after an error go on from the last id seen."""
        last = self.last_change_id() if since_id is None else since_id
        while True:
            for change in self.changes(last, self._connect.timeout_seconds / 2):
                last = change.id
                yield change

    def make_group(self, group: str, since_id: str = "$") -> None:
        """Make a consumer group that begins after *since_id* ("$" = now); one that is there stays as it is."""
        try:
            self._answer(self._ask.make_group(group, since_id))
        except ReaderError as error:
            if "BUSYGROUP" not in str(error):
                raise

    def group_changes(self, group: str, consumer: str, wait_seconds: float = 0, count: int = 100) -> list[Change]:
        """Return changes that no consumer of *group* got yet; each must be acknowledged."""
        block_ms = self._connect.block_ms(wait_seconds)
        return self._answer(self._ask.group_changes(group, consumer, block_ms, count))

    def claim(self, group: str, consumer: str, idle_seconds: float, count: int = 100) -> list[Change]:
        """Return changes that a consumer of *group* got and left for *idle_seconds*; they are *consumer*'s now."""
        return self._answer(self._ask.claim(group, consumer, int(idle_seconds * 1000), count))

    def acknowledge(self, group: str, changes: Iterable[Change]) -> int:
        """Say that *changes* were dealt with; return how many the group was waiting for."""
        return self._answer(self._ask.acknowledge(group, [change.id for change in changes]))

    def _answer(self, question: Question[T]) -> T:
        """Send what *question* yields, one pipeline a time, until it has its answer."""
        try:
            commands = next(question)
            while True:
                with self._redis.pipeline(transaction=False) as pipe:
                    for command in commands:
                        pipe.execute_command(*command)
                    replies = pipe.execute()
                commands = question.send(replies)
        except StopIteration as end:
            answer: T = end.value
            return answer
        except ReaderError:
            raise
        except (RedisError, OSError) as error:
            raise reader_error(error) from error
