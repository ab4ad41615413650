"""An alert outlives a rebuild: it stays open, who saw to it and who is muted is known, and its end is told once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from streams.reader import Reader
from streams.settings import override
from tests.end_to_end.life import LONG, three_weeks
from tests.faults.commands import orgpulse
from tests.faults.extent import long_form
from tests.faults.system import wait_until

pytestmark = [long_form, pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(300)]


def test_what_was_told_and_noted_of_alerts_outlives_a_rebuild(kafka: Any, redis_server: Any, tmp_path: Path) -> None:
    with three_weeks(kafka.bootstrap, redis_server.url, tmp_path) as life:
        system = life.system
        life.silent = {"acme"}
        life.live(3, step_hours=6)
        life.live_until(lambda: len(life.told()) == 1, "no alert")
        with Reader(system.settings.redis.url, system.settings.redis.prefix) as reader:
            orgpulse(system, "alerts", "ack", "acme", "--by", "kim")
            orgpulse(system, "alerts", "mute", "bolt")
            life.until(lambda: reader.open_alerts()[0].acknowledged_by == "kim", "nobody saw to it")
            (before,) = reader.open_alerts()
            said = orgpulse(system, "rebuild", "--history-weeks", "100", "--logs", str(tmp_path / "aside"))
            assert "1 open alerts and 1 mutes carried over" in said
            system.settings = override(system.settings, {"worker.generation": 1})
            system.wait_recovered(workers=2)
            life.silent = {"acme", "bolt"}
            life.live(3, step_hours=6)
            wait_until(life.disagreement, LONG)
            (after,) = reader.open_alerts()
            assert (after.fingerprint, after.acknowledged_by) == (before.fingerprint, "kim")
            life.silent = set()
            life.live(10)
            life.live_until(lambda: reader.open_alerts() == [], "the alert stays open")
            wait_until(life.disagreement, LONG)
        assert {(org, name) for org, _, name in life.told()} == {("acme", before.fingerprint)}
        assert [kind for _, kind, _ in life.told()] == ["raised", "raised", "resolved"], "the second one is kim's note"
