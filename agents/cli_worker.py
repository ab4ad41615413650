"""Owns `orgpulse worker`.

Invariant: exits 0 only after a clean stop.
"""

from __future__ import annotations

import asyncio
import faulthandler
import os
import signal
import sys
import threading

import click

from streams.generation import with_generation
from streams.logs import configure
from streams.restart import OPTION
from streams.settings import Settings
from streams.web_gate import Gate

_GENERATION_SECONDS = 3.0  # without Kafka for so long the worker begins, and asks again once it is there


@click.command()
@click.option(OPTION, hidden=True, default="", help="What a worker that begins anew by itself knows of before.")
@click.option("--leashed", is_flag=True, hidden=True, help="End when standard input does: with whoever began it.")
@click.pass_obj
def worker(settings: Settings, started_anew: str, leashed: bool) -> None:
    """Run one worker: read, score, publish, until SIGTERM or Ctrl-C.

    Several workers with equal settings (but their own worker.name and web.port)
    share the partitions among themselves. On SIGTERM a worker finishes what is
    under way, writes a checkpoint, commits and leaves the group. While Kafka is
    away it waits; after a failure that may pass it begins anew by itself
    ([worker] restart).

    \b
    Health:  http://HOST:PORT/live, /ready, /metrics ([web] host, port)
    """
    del started_anew  # read from the command line itself (streams.restart)
    if leashed:
        threading.Thread(target=_end_with_input, name="leash", daemon=True).start()
    Gate(settings.web, settings.web.host, "[web] ")  # what is wrong there is said before all the rest is loaded
    from agents.run_worker import Worker

    configure(settings.log.level, settings.log.format, settings.worker.tenant)
    faulthandler.enable()  # should native code bring the process down, the log says where
    try:
        import uvloop
    except ImportError:  # not on every platform; only a matter of speed
        pass
    else:
        asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    if settings.worker.aside == "no":
        settings = with_generation(settings, patience_seconds=_GENERATION_SECONDS)
    sys.exit(Worker(settings).run())


def _end_with_input() -> None:
    """Ask this process to end once nobody holds the other end of its standard input: whoever began it was killed."""
    while os.read(sys.stdin.fileno(), 1024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
