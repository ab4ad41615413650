"""The way of absolute values into Redis: in the background, in batches, fenced; never in the way of the stream.

Invariant: `put` never waits. What Redis could not take yet is kept, one write per key, within a limit; past the limit,
or when Redis is another one than before or lost what it held, everything is told again. Delivery is at least once,
and the script makes that harmless.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import TypeAlias

import structlog
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError

from streams.clock import Clock
from streams.fenced_write import SCRIPT_SHA, Queued, Write, outcome_of, pack
from streams.metrics import Metrics
from streams.pending_writes import PendingWrites
from streams.reader_connect import Connect
from streams.redaction import cover
from streams.redis_errors import kind_of
from streams.redis_identity import Identity
from streams.redis_resync import Resync, Source
from streams.redis_rights import missing_text

__all__ = ["RedisSink", "Source", "Write"]

SCRIPT_WRITES = 64  # writes per script call: Redis serves others in between (about 1 ms)
CHANGES_LENGTH = 100_000  # entries the `changes` stream keeps, about
TOMBSTONE_SECONDS = 3600  # how long a deleted subject refuses older writes
IDENTITY_SECONDS = 2.0  # how often to ask whether this is still the same Redis
TIMEOUT_SECONDS = 5.0  # how long a reply may take
BACK_OFF_SECONDS = (0.1, 5.0)  # first and longest wait after a failure, doubled in between
PAUSE_SECONDS = 0.1  # how long telling again makes way for what is more urgent
REMIND_SECONDS = 30.0  # how often to say that Redis is still away

Call: TypeAlias = tuple[list[Queued], list[str], bytes]  # writes, and the keys and payload of their script call

_log = structlog.get_logger(__name__)


class RedisSink:
    """Writes to Redis in the background of one event loop; every method is called from that loop."""

    def __init__(
        self,
        url: str,
        prefix: str,
        ttl_seconds: int,
        batch: int,
        max_pending: int,
        metrics: Metrics,
        clock: Clock,
        source: Source,
        *,
        timeout_seconds: float = TIMEOUT_SECONDS,
        connect: Connect | None = None,
    ) -> None:
        """Prepare, without connecting.

        Args:
            url: ``redis://…``, ``rediss://…`` or ``unix://…``.
            prefix: Put before every key, e.g. ``orgpulse:v1:``.
            ttl_seconds: Lifetime of every key since its last write; everything is told again after half of it.
            batch: Writes per round trip.
            max_pending: Writes kept while Redis is away.
            metrics: Where to count.
            clock: Tells when the last write came through.
            source: Gives everything that should be in Redis now.
            timeout_seconds: How long to wait for a reply before Redis counts as away.
            connect: Login and certificates, beside the URL.
        """
        login = (connect or Connect()).login_options(url)
        self._client: Redis = Redis.from_url(
            url,
            **login,
            socket_timeout=timeout_seconds,
            socket_connect_timeout=timeout_seconds,
            retry=Retry(NoBackoff(), 0),
        )
        self._prefix = prefix
        self._limits = (str(ttl_seconds), str(min(ttl_seconds, TOMBSTONE_SECONDS)), str(CHANGES_LENGTH))
        self._batch = batch
        self._metrics = metrics
        self._clock = clock
        self._resync = Resync(source, prefix, metrics)
        self._renew_seconds = ttl_seconds / 2
        self._pending = PendingWrites(max_pending)
        self._ahead: list[Call] = []
        self._wake, self._idle = asyncio.Event(), asyncio.Event()
        self._idle.set()
        self._identity = Identity(prefix, ttl_seconds)
        self._checked_at: float | None = None  # None = check before the next write
        self._shedding = False  # past the limit: a resync will cover what is put now
        self._fenced = 0  # since that was last said
        self._answered = False  # whether Redis ever took anything
        self._away_since, self._reminded_at = clock.now(), 0.0
        self._wait_seconds = BACK_OFF_SECONDS[0]
        self.healthy = True
        self.last_error = ""
        self.may_tell: Callable[[], bool] = lambda: True
        """Whether there is time to tell what was told before; what is put goes out in any case."""
        metrics.redis_pending.set(0)

    @property
    def pending(self) -> int:
        """How many writes wait."""
        return len(self._pending) + sum(len(queued) for queued, _, _ in self._ahead)

    def put(self, writes: Iterable[Write]) -> None:
        """Take *writes* over; never waits, and sheds load past the limit rather than grow."""
        pending, outdated = self._pending, 0
        for write in writes:
            if self._shedding and write.fields:
                self._metrics.redis_dropped.add(1)
            elif not pending.add(write):
                outdated += 1
            elif pending.full:
                self._shed()
        if outdated:
            self._metrics.redis_fenced.add(outdated)
        self._metrics.redis_pending.set(len(pending))
        if len(pending):
            self._idle.clear()
            self._wake.set()

    def request_resync(self, reason: str) -> None:
        """Have everything emitted again, e.g. after a recovery or a new assignment."""
        self._resync.request(reason)
        self._idle.clear()
        self._wake.set()

    def tell(self, writes: Iterator[Write], about: int) -> None:
        """Have *writes*, *about* so many, told in the background beside what is put: what came back in a recovery.

        They are asked for piece by piece, so they must bear changes of the state in between (see `Source.everything`).
        """
        self._resync.add(writes, about)
        self._idle.clear()
        self._wake.set()

    @property
    def status(self) -> tuple[bool, str]:
        """Whether Redis takes writes, and for people: since when not and why, or how far a resync is."""
        if self.healthy and self._answered:
            return True, self._resync.progress or "takes writes"
        since = datetime.fromtimestamp(self._away_since, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        seconds = max(0.0, self._clock.now() - self._away_since)
        return False, f"{self.last_error or 'not reached yet'}; since {since} ({seconds:.0f} s), {self.pending} waiting"

    async def drain(self, timeout: float) -> bool:
        """Wait until nothing is pending, at most *timeout* seconds; return whether that came true."""
        try:
            await asyncio.wait_for(self._idle.wait(), timeout)
        except TimeoutError:
            return False
        return True

    async def run(self) -> None:
        """Write until cancelled.

        Raises:
            Exception: What `source` raised; a state that can't be read is not to be hidden.
        """
        me = asyncio.current_task()
        assert me is not None
        try:
            while True:
                if me.cancelling():  # Python 3.11's wait_for, which the client uses, can swallow a cancellation
                    raise asyncio.CancelledError
                try:
                    await self._check_identity()
                    sent = await self._send() or await self._sweep()
                except (RedisError, OSError) as error:
                    await self._back_off(error)
                    continue
                self._recovered()
                if not sent and self._resync.telling:
                    await asyncio.sleep(PAUSE_SECONDS)
                elif not sent:
                    await self._wait_for_work()
        finally:
            await self._client.aclose()

    async def _check_identity(self) -> None:
        """Ask Redis who it is; another one than before is empty or old, so everything goes out again."""
        now = time.monotonic()
        if self._checked_at is not None and now - self._checked_at < IDENTITY_SECONDS:
            return
        reason = await self._identity.change(self._client)
        if not reason and now - self._resync.done_at >= self._renew_seconds:
            reason = "keys are halfway through their lifetime"
            self._resync.done_at = now
        if reason:
            self.request_resync(reason)
        if self._fenced:
            _log.warning("redis held newer values than these writes; they were refused", writes=self._fenced)
        self._checked_at, self._fenced = now, 0

    async def _send(self) -> bool:
        """Send one round of script calls; return whether there was anything to send.

        The next round is packed while Redis works on this one: both cost about the same.
        """
        if self._resync.wanted and (self.healthy or not len(self._pending)):
            self._shedding = False
            self._resync.begin()
        calls, self._ahead = self._ahead or self._pack_next(), []
        if not calls:
            return False
        failed = calls
        try:
            async with self._client.pipeline(transaction=False) as pipe:
                for _, keys, payload in calls:
                    pipe.evalsha(SCRIPT_SHA, len(keys), *keys, payload, *self._limits)
                working = asyncio.ensure_future(pipe.execute(raise_on_error=False))
                await asyncio.wait((working,), timeout=0.001)
                self._ahead = self._pack_next() if self.healthy else []
                replies = await working
            failed = [call for call, reply in zip(calls, replies, strict=True) if isinstance(reply, Exception)]
        finally:
            if failed:
                self._give_back(failed)
            self._metrics.redis_pending.set(self.pending)
        errors = [reply for reply in replies if isinstance(reply, Exception)]
        for reply in replies:
            if not isinstance(reply, Exception):
                self._account(reply)
        if errors:
            raise errors[0]
        self._metrics.redis_last_write.set(self._clock.now())
        return True

    def _give_back(self, failed: list[Call]) -> None:
        """Put what failed, and what was packed after it, back among the pending."""
        again = [item for queued, _, _ in (*failed, *self._ahead) for item in queued]
        self._ahead = []
        self._pending.give_back(again)

    def _pack_next(self) -> list[Call]:
        queued = self._next()
        parts = [queued[at : at + SCRIPT_WRITES] for at in range(0, len(queued), SCRIPT_WRITES)]
        return [(part, *pack(part, self._prefix)) for part in parts]

    def _next(self) -> list[Queued]:
        """Take what goes out next; during a resync half of it is new, so that neither starves the other.

        After a failure a single script call probes first, lest a resync pile up before a Redis that takes nothing.
        """
        room = self._batch if self.healthy else SCRIPT_WRITES
        if not self._resync.telling or not self.may_tell() or (not self.healthy and len(self._pending)):
            return self._pending.take(room)
        queued = self._pending.take((room + 1) // 2)
        again = self._resync.take(max(1, room - len(queued)))
        # A pending write of the same key follows; overtaking it would make its change look like a repetition.
        queued += [(write, ()) for write in again if write.key not in self._pending]
        return queued

    async def _sweep(self) -> bool:
        """After a resync, look for keys that nobody knows; return whether there was anything to look at."""
        found = await self._resync.sweep(self._client)
        if found:
            self.put(found)
        return found is not None

    def _account(self, reply: list[int | bytes]) -> None:
        outcome = outcome_of(reply)
        self._metrics.redis_writes.add(outcome.applied, "applied")
        self._metrics.redis_writes.add(outcome.repeated, "repeated")
        if outcome.fenced:
            self._metrics.redis_fenced.add(outcome.fenced)
            self._fenced += outcome.fenced
        if outcome.spoiled:
            self._metrics.redis_writes.add(outcome.spoiled, "spoiled")
            _log.error("redis refused writes for good", writes=outcome.spoiled, error=outcome.error)

    def _shed(self) -> None:
        dropped = self._pending.shed()
        self._metrics.redis_dropped.add(dropped)
        _log.error("redis writes dropped, a resync will follow", dropped=dropped, limit=self._pending.limit)
        self._shedding = True
        self.request_resync(f"more than {self._pending.limit} writes were pending")

    async def _back_off(self, error: Exception) -> None:
        """Say what is wrong, and wait longer each time, up to five seconds."""
        kind = kind_of(error)
        self._metrics.redis_errors.add(1, kind)
        self._metrics.redis_up.set(0)
        now = self._clock.now()
        if self.healthy and self._answered:
            self._away_since = now
        if self.healthy or kind != self.last_error.partition(":")[0] or now - self._reminded_at >= REMIND_SECONDS:
            self._reminded_at = now
            _log.warning("redis does not take writes", kind=kind, error=str(error), pending=len(self._pending))
        missing = await missing_text(self._client, self._prefix, self.last_error) if kind == "NOPERM" else ""
        self.healthy, self.last_error = False, missing or cover(f"{kind}: {error}")
        self._checked_at = None
        if kind == "NOSCRIPT":
            return  # the next round loads it
        if kind == "READONLY" or not isinstance(error, ResponseError):
            await self._client.connection_pool.disconnect()  # the address may lead to another server by now
        await asyncio.sleep(self._wait_seconds)
        self._wait_seconds = min(self._wait_seconds * 2, BACK_OFF_SECONDS[1])

    def _recovered(self) -> None:
        if not self.healthy:
            away = round(max(0.0, self._clock.now() - self._away_since), 3)
            _log.info("redis takes writes", after_seconds=away, pending=len(self._pending))
        self._answered = True
        self.healthy, self.last_error, self._wait_seconds = True, "", BACK_OFF_SECONDS[0]
        self._metrics.redis_up.set(1)

    async def _wait_for_work(self) -> None:
        self._idle.set()
        self._wake.clear()
        try:
            await asyncio.wait_for(self._wake.wait(), IDENTITY_SECONDS)
        except TimeoutError:
            return
