"""A sink on a bench: its metrics, a plain client to see what Redis holds, and a wire that can be slowed and cut."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

import redis

from streams.clock import FixedClock
from streams.metrics import Metrics
from streams.redis_sink import RedisSink, Source, Write

WAIT_SECONDS = 90.0


def fence(position: int) -> str:
    return f"0000.{position:015d}"


def user(name: str, score: str, position: int, **more: Any) -> Write:
    fields = {"score": score, "band": "watch"} if score else {}
    rank = ("org:{acme}:users:by-score", name, float(score) if score else None)
    change = {"subject": f"user:acme/{name}", "to": score}
    return Write(f"user:{{acme}}:{name}", fields, fence(position), (rank,), more.get("change", change))


class Bench:
    """A sink, its metrics, and a plain client to see what Redis holds."""

    def __init__(self, url: str, prefix: str, state: Callable[[], Iterable[Write]] = tuple, **limits: Any) -> None:
        self.metrics = Metrics()
        self._url, self._limits, self.prefix = url, {"ttl": 1000, "batch": 500, "max_pending": 10_000} | limits, prefix
        self.use(Source(state))
        self.redis: Any = redis.Redis.from_url(limits.get("look_at", url), decode_responses=True)

    def use(self, source: Source) -> None:
        """Have a new sink that tells everything from *source*."""
        limits = self._limits
        self.sink = RedisSink(
            self._url, self.prefix, limits["ttl"], limits["batch"], limits["max_pending"],
            self.metrics, FixedClock(7.0), source, timeout_seconds=0.5,
        )  # fmt: skip

    def hash(self, key: str) -> dict[str, str]:
        found: dict[str, str] = self.redis.hgetall(self.prefix + key)
        return found

    def changes(self) -> list[str]:
        return [entry["to"] for _, entry in self.redis.xrange(self.prefix + "changes")]

    async def write(self, *writes: Write) -> None:
        self.sink.put(writes)
        assert await self.sink.drain(WAIT_SECONDS), self.sink.last_error

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(WAIT_SECONDS):
            while not condition():  # noqa: ASYNC110 - what is waited for happens in another process
                await asyncio.sleep(0.01)


@asynccontextmanager
async def running(bench: Bench) -> AsyncIterator[Bench]:
    task = asyncio.create_task(bench.sink.run())
    try:
        yield bench
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        bench.redis.close()
    assert task.cancelled(), task.exception()


class Wire:
    """A way to Redis through this process: each direction waits *delay_seconds*, and can be cut after some bytes."""

    def __init__(self, target: str) -> None:
        self._host, port = target.removeprefix("redis://").split("/")[0].split(":")
        self._port = int(port)
        self.delay_seconds, self.cut_after_bytes, self.cuts, self.slow_bytes = 0.0, 0, 0, 0
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> str:
        """Listen; return the address."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return f"redis://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/0"

    async def __aexit__(self, *exc_info: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        there, back = await asyncio.open_connection(self._host, self._port)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pass_on(reader, back, counted=True))
                group.create_task(self._pass_on(there, writer, counted=False))
        except* OSError:
            pass  # the cut, or the peer's end
        finally:
            for each in (writer, back):
                each.transport.abort()

    async def _pass_on(self, source: asyncio.StreamReader, target: asyncio.StreamWriter, *, counted: bool) -> None:
        while data := await source.read(65536):
            if self.delay_seconds:
                self.slow_bytes += len(data)
                await asyncio.sleep(self.delay_seconds)
            if counted and self.cut_after_bytes:
                self.cut_after_bytes -= min(len(data), self.cut_after_bytes)
                if not self.cut_after_bytes:
                    self.cuts += 1
                    target.write(data[: len(data) // 2])
                    with contextlib.suppress(OSError):
                        await target.drain()
                    raise ConnectionAbortedError("cut in the middle of a pipeline")
            target.write(data)
            await target.drain()
        raise ConnectionResetError("the peer ended it")
