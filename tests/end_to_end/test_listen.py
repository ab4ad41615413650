"""From a webhook and from a line of syslog to what Redis shows: each thing that people did counts once."""

from __future__ import annotations

import socket
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import redis

from reports.collect import read_metrics
from tests.agents.listen.process import ACME_TOKEN, TOKEN, Listening, post
from tests.faults.system import Size, System, wait_until

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

TOKENS = f"{TOKEN}; {ACME_TOKEN} org=acme"


def test_webhooks_and_syslog_count_in_the_scores_once(kafka: Any, redis_server: Any, tmp_path: Path) -> None:
    with System(kafka.bootstrap, redis_server.url, tmp_path, workers=1, size=Size(3, 50, 1)) as system:
        ann, acme = b'{"user_id":"ann","org_id":"acme","email":"ann@acme.example"}', b'{"org_id":"acme"}'
        system.send([("users", b"ann", ann), ("orgs", b"acme", acme)])
        prefix, now = system.settings.redis.prefix, int(time.time()) - 60
        store = redis.Redis.from_url(redis_server.url, decode_responses=True)

        def shown() -> dict[str, Any]:
            found: Any = store.hgetall(f"{prefix}org:{{acme}}")
            return dict(found)

        changes = {"listen.tokens": TOKENS}
        with Listening(system.settings, tmp_path / "listen.log", changes=changes) as listening:
            url, stamp = listening.url, datetime.fromtimestamp(now, UTC).isoformat()
            own = {"name": "Search", "distinct_id": "ann", "time": now}
            for _ in range(2):  # sent again after a lost answer: the same bytes, counted once
                assert post(f"{url}/v1/events", own)[0] == 202
                assert (
                    post(f"{url}/segment/v1/track", {"userId": "ann", "event": "Export", "timestamp": stamp})[0] == 202
                )
            link = {"userId": "ann", "anonymousId": "visitor-7", "timestamp": stamp, "type": "identify"}
            page = {"anonymousId": "visitor-7", "timestamp": stamp, "type": "page", "name": "Prices"}
            assert post(f"{url}/segment/v1/batch", {"batch": [link, page]})[0] == 202
            viewed = {"event": "Search", "properties": {"distinct_id": "ann", "time": now, "$insert_id": "i1"}}
            assert post(f"{url}/mixpanel/import", [viewed], ACME_TOKEN)[0] == 202
            paid = {"transaction_id": "t1", "org_id": "acme", "amount": "12.10", "status": "A", "time": now}
            assert post(f"{url}/v1/transactions", paid)[0] == 202
            said = {"message_id": "m1", "author": "ann", "time": now, "channel": "help"}
            assert post(f"{url}/v1/chat", said, ACME_TOKEN)[0] == 202
            address = ("127.0.0.1", listening.syslog_port)
            line = f'<13>1 {stamp} host app - - [a@1 org="acme" userid="ann" action="view" id="%d"]'
            with socket.create_connection(address) as tcp:
                counted = (line % 1).encode()
                tcp.sendall((line % 0).encode() + b"\n" + str(len(counted)).encode() + b" " + counted)
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
                for number in (1, 2, 3):  # the first one came over TCP already
                    udp.sendto((line % number).encode(), address)
            # Search, Export, Viewed a Page, Search, a message, four lines; the payment counts apart
            wait_until(lambda: "" if shown().get("transactions_cents") == "1210" else str(shown()), 90)
            wait_until(lambda: "" if duplicates(system) == 3 else f"{duplicates(system)} duplicates", 90)
            wait_until(lambda: "" if shown().get("activities") == "9" else str(shown()), 90)
            assert listening.stop() == 0


def duplicates(system: System) -> float:
    """Return how many messages were the same as one before."""
    page = read_metrics(system.workers.urls[0], ("orgpulse_events",)).get("orgpulse_events_total", {})
    return sum(number for labels, number in page.items() if dict(labels)["outcome"] == "duplicate")
