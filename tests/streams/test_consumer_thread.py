"""The thread that talks to Kafka: its loop."""

from __future__ import annotations

import asyncio

import pytest

from streams.faust_app import make_app


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
