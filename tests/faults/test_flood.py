"""A flood of unreadable messages stops the worker instead of draining a topic into the dead letters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.faults import proof
from tests.faults.extent import long_form
from tests.faults.system import Size, System, wait_until

pytestmark = [long_form, pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(240)]

WINDOW = 200


def test_a_flood_stops_the_worker_until_somebody_has_looked(kafka: Any, redis_server: Any, tmp_path: Path) -> None:
    #  good …… │ bad deploy: 1,000 unreadable │        flood_ratio raised ──► all read, all in the dead letters
    #          └────────────► worker stops, and stops again when started
    changes = {"ingest.flood_window_events": WINDOW, "ingest.flood_ratio": 0.5}
    with System(
        kafka.bootstrap, redis_server.url, tmp_path, workers=1, size=Size(25, 150, 2), changes=changes
    ) as system:
        system.play(2.0).join()
        system.rest()
        system.send([("transactions", b"deploy", b"\x00 not what it was %d" % number) for number in range(1000)])
        workers = system.workers
        for _ in range(2):
            assert workers.code_of(0, timeout=60.0) == 1, workers.tail(0)
            said = workers.tail(0)
            assert "FloodError" in said and "are unreadable (limit: 50%)" in said and "ingest.flood_ratio" in said
            assert len(proof.letters_of(system, "transactions")) <= WINDOW  # of a thousand
            workers.start(0)
        assert workers.code_of(0, timeout=60.0) == 1
        workers.change({"ingest.flood_ratio": 1.0})
        workers.start(0)
        wait_until(lambda: "" if len(proof.letters_of(system, "transactions")) >= 1000 else "not read on", 60)
        system.rest()
        assert not proof.differences(system)
