"""A refused message that is mended and sent again counts once, however often it is asked for."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from agents.simulate import Message
from tests.faults import proof
from tests.faults.commands import orgpulse
from tests.faults.extent import long_form
from tests.faults.system import Size, System, wait_until

pytestmark = [long_form, pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(300)]

BAD = 7


def test_letters_that_are_mended_and_replayed_count_once(kafka: Any, redis_server: Any, tmp_path: Path) -> None:
    with System(kafka.bootstrap, redis_server.url, tmp_path, workers=1, size=Size(25, 150, 2)) as system:
        system.play(3.0).join()
        org = system.base.orgs[0].id
        when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 3600))
        paid = {"org_id": org, "amount": "12.34", "currency": "ZZZ", "status": "A", "time": when}
        bad = [json.dumps({"transaction_id": f"late-{number}", **paid}).encode() for number in range(BAD)]
        system.send([Message("transactions", b"k%d" % number, value) for number, value in enumerate(bad)])
        wanted = ("--topic", "transactions", "--reason", "unknown_currency", "--since", "10m")

        def letters() -> int:
            found = json.loads(orgpulse(system, "dead-letters", "list", *wanted, "--json"))
            return sum(kind["letters"] for kind in found["counts"])

        wait_until(lambda: "" if letters() >= BAD else "not all refused yet", 60)
        sent = letters()  # the history holds some of its own
        for _ in range(2):  # the second time there is nothing left to send
            orgpulse(system, "dead-letters", "replay", *wanted, "--set", 'currency="USD"', "--yes")
        system.sent += sent
        system.rest()
        assert not proof.differences(system)
        mended = [raw for raw in system.raw if raw[0] == "transactions" and b'"late-' in raw[4]]
        assert sum(b'"USD"' in raw[4] for raw in mended) == BAD
        assert "The ledger closes" in orgpulse(system, "ledger")
