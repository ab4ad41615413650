"""Owns `orgpulse worker`.

Invariant: exits 0 only after a clean stop.
"""

from __future__ import annotations

import asyncio
import sys

import click

from streams.logs import configure
from streams.settings import Settings


@click.command()
@click.pass_obj
def worker(settings: Settings) -> None:
    """Run one worker: read, score, publish, until SIGTERM or Ctrl-C.

    Several workers with equal settings (but their own worker.name and web.port)
    share the partitions among themselves. On SIGTERM a worker finishes what is
    under way, writes a checkpoint, commits and leaves the group.

    \b
    Health:  http://HOST:PORT/live, /ready, /metrics ([web] host, port)
    """
    from agents.run_worker import Worker

    configure(settings.log.level, settings.log.format)
    try:
        import uvloop
    except ImportError:  # not on every platform; only a matter of speed
        pass
    else:
        asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    sys.exit(Worker(settings).run())
