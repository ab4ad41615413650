"""The thread that talks to Kafka: its loop."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from streams.faust_app import make_app
from tests.faults.system import wait_until


def test_the_loop_of_the_thread_is_not_closed_at_its_end_and_may_be_woken_after() -> None:
    uvloop = pytest.importorskip("uvloop")

    async def made() -> None:
        app = make_app("job", "127.0.0.1:1", partitions=1)
        app.loop = asyncio.get_running_loop()
        thread = app.consumer._thread
        loop = thread.thread_loop
        assert not thread._close_thread_loop_on_stop  # not even at its end
        thread._stopped_set()
        loop.close()

    former = asyncio.get_event_loop_policy()
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())  # as `orgpulse worker` does
    try:
        asyncio.run(made())
    finally:
        asyncio.set_event_loop_policy(former)


def test_a_crash_is_told_to_each_loop_in_its_own_thread() -> None:
    """From the main thread and from the consumer's: nobody touches the other's loop, and the app knows at once."""

    async def crashed(from_thread: bool) -> None:
        app = make_app("job", "127.0.0.1:1", partitions=1)
        app._home = app.loop = asyncio.get_running_loop()
        thread = app.consumer._thread
        there = thread.thread_loop
        runner = threading.Thread(target=there.run_forever)
        runner.start()
        touched: list[int] = []
        for service, home in ((app, threading.get_ident()), (thread, runner.ident)):

            def set_(service: Any = service, home: Any = home, former: Any = service._crashed.set) -> None:
                touched.append(threading.get_ident() - home)
                former()

            service._crashed.set = set_
        error = RuntimeError("no more")
        if from_thread:
            await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(thread.crash(error), there))
        else:
            await app.crash(error)
        await asyncio.to_thread(wait_until, lambda: "" if len(touched) > 1 else "not both are told", 60)
        assert app.failure is error and set(touched) == {0}
        thread.close()
        assert asyncio.all_tasks() == {asyncio.current_task()}
        there.call_soon_threadsafe(there.stop)
        runner.join()

    for from_thread in (False, True):
        asyncio.run(crashed(from_thread))
