"""What is done to workers beyond killing them.

Invariant: a fault has ended, and was seen to have happened, when its function returns.
"""

from __future__ import annotations

from reports.collect import read_metrics
from tests.faults.system import System, wait_until


def sleep_past_session(system: System, sleeper: int, other: int) -> None:
    """Freeze worker *sleeper* until *other* has everything, wake it, and see that it gives up."""
    workers, began = system.workers, system.workers.log(sleeper).stat().st_size
    workers.freeze(sleeper)
    wait_until(lambda: "" if alone(system, other) else "not taken over", 60)
    workers.thaw(sleeper)
    wait_until(lambda: "" if gave_up(system, sleeper, began) else "still at work", 60)
    if sleeper not in workers.running:
        workers.start(sleeper)


def alone(system: System, number: int) -> bool:
    """Whether worker *number* has all partitions; the others are asleep and can't be asked."""
    url = f"http://127.0.0.1:{system.workers.port(number)}/metrics"
    marks = read_metrics(url, ("orgpulse_watermark",)).get("orgpulse_watermark_timestamp_seconds", {})
    return len(marks) == system.settings.kafka.partitions


def gave_up(system: System, number: int, since: int) -> bool:
    """Whether a worker's log says, after byte *since*, that it lost the right to write."""
    said = system.workers.log(number).read_bytes()[since:]
    return b"FencedError" in said or b"was taken over" in said or b"worker stopped" in said
