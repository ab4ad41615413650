"""Owns `orgpulse listen`.

Invariant: exits 0 only if Kafka has everything that was accepted.
"""

from __future__ import annotations

import asyncio
import sys

import click

from streams.logs import configure
from streams.settings import Settings, SettingsError

_EPILOG = """\b
Examples:
  ORGPULSE_LISTEN_TOKENS_FILE=/run/secrets/tokens orgpulse listen
  orgpulse listen --only syslog
  curl -H "Authorization: Bearer $TOKEN" -d '{"name": "Search", "distinct_id": "ann", "time": 1750000000}' \\
      http://127.0.0.1:6070/v1/events
  logger --server 127.0.0.1 --port 5514 --udp --rfc5424 "userid=ann org=acme action=view"

\b
Health:  http://HOST:PORT/live, /ready, /metrics ([listen] pages_host, pages_port)
All of it: docs/bridges.md
"""


@click.command(epilog=_EPILOG)
@click.option("--only", type=click.Choice(["http", "syslog"]), help="Take only webhooks, or only syslog.")
@click.pass_obj
def listen(settings: Settings, only: str | None) -> None:
    """Take webhooks (own, Mixpanel's and Segment's form) and syslog in, and write them to Kafka.

    A request is answered with success only after Kafka has acknowledged it; while Kafka is away or too
    much is waiting the answer is 503: send the same again, it counts once. Syslog comes over UDP, TCP
    and TLS. Several such processes may run side by side; they share nothing. On SIGTERM nothing new is
    taken, and what was accepted is brought to Kafka.
    """
    from agents.listen.auth import parse_tokens
    from agents.listen.run import Listener

    tokens = parse_tokens(settings.listen.tokens)
    http, syslog = only != "syslog", only != "http"
    if http and not len(tokens):
        raise SettingsError(
            "listen.tokens names nobody who may send over HTTP",
            "Name them (docs/bridges.md), or take only syslog: orgpulse listen --only syslog",
        )
    configure(settings.log.level, settings.log.format, settings.worker.tenant)
    try:
        import uvloop
    except ImportError:  # not on every platform; only a matter of speed
        pass
    else:
        asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    sys.exit(Listener(settings, tokens, http=http, syslog=syslog).run())
