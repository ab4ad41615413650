"""Everything is computed anew beside running workers, takes over, and is right; the workers go on by themselves."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from streams.settings import override
from streams.topic_specs import topic_names
from tests.faults import proof
from tests.faults.commands import orgpulse
from tests.faults.extent import long_form
from tests.faults.system import Size, System
from tests.streams import kafka_topics

pytestmark = [long_form, pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(400)]


def test_a_rebuild_beside_running_workers_takes_over_and_everything_is_right(
    kafka: Any, redis_server: Any, tmp_path: Path
) -> None:
    with System(kafka.bootstrap, redis_server.url, tmp_path, size=Size(25, 150, 2)) as system:
        system.play(25.0)  # goes on during the rebuild
        before = [system.workers.pid(number) for number in (0, 1)]
        said = orgpulse(system, "rebuild", "--logs", str(tmp_path / "aside"))
        assert "Generation 1 is live" in said
        assert [system.workers.pid(number) for number in (0, 1)] == before  # they began anew by themselves
        system.wait_recovered(workers=2)
        system.settings = override(system.settings, {"worker.generation": 1})
        system.rest()
        found = proof.differences(system)
        assert not found, found
        fences = {document["fence"][:5] for key, document in system.at_rest.documents.items() if "fence" in document}
        assert fences == {"0001."}
        for number in (0, 1):
            system.workers.stop(number)
        former = topic_names(override(system.settings, {"worker.generation": 0}))
        assert former.activities in asyncio.run(kafka_topics.topics(kafka.bootstrap))
        assert "topics deleted" in orgpulse(system, "rebuild", "--drop-old")
        left = asyncio.run(kafka_topics.topics(kafka.bootstrap))
        assert former.activities not in left and topic_names(system.settings).activities in left
        assert former.product_events in left and former.weeks in left
