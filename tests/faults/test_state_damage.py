"""State that was damaged in Kafka is mended, set aside or refused, never taken for a state; every figure is right."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from streams.topic_specs import topic_names
from tests.faults import proof
from tests.faults.extent import long_form
from tests.faults.state_faults import counted, damage
from tests.faults.system import Size, System
from tests.streams import kafka_topics

pytestmark = [long_form, pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(300)]


def test_damaged_state_is_mended_or_set_aside_and_a_cut_changelog_refused(
    kafka: Any, redis_server: Any, tmp_path: Path
) -> None:
    with System(kafka.bootstrap, redis_server.url, tmp_path, size=Size(25, 150, 2)) as system:
        system.play(4.0)
        system.rest()
        for number in (0, 1):
            system.workers.stop(number)
        damaged, poisoned = damage(system)
        system.workers.start(0)
        system.wait_recovered(workers=1)
        assert counted(system, "orgpulse_state_damaged") == damaged > 1
        assert counted(system, "orgpulse_state_quarantined") == poisoned
        system.workers.start(1)
        system.wait_recovered(workers=2)
        assert counted(system, "orgpulse_state_quarantined") == poisoned  # not again
        system.rest()
        assert not proof.differences(system)
        for number in (0, 1):
            system.workers.stop(number)
        names = topic_names(system.settings)
        asyncio.run(kafka_topics.let_cut(kafka.bootstrap, names.members_changelog))
        asyncio.run(kafka_topics.cut(kafka.bootstrap, names.members_changelog, 0, 1))
        system.workers.start(0)
        assert system.workers.code_of(0, timeout=60.0) == 1
        assert "are gone" in system.workers.tail(0) and "orgpulse rebuild" in system.workers.tail(0)
