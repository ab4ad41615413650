"""The small job on Bytewax: batches decoded and counted, a stateful step a key, snapshots into its recovery store.

Two processes, as its documentation advises where Python computes (one interpreter's lock each).
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections import Counter
from datetime import timedelta
from typing import Any

import bytewax.operators as op
import orjson
from bytewax.connectors.kafka import KafkaSink, KafkaSinkMessage, KafkaSource
from bytewax.dataflow import Dataflow
from bytewax.operators import StatefulBatchLogic
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.run import cli_main
from marks import BROKER, FOLDER, RESULT, TOPIC, WEEK_SECONDS, mark, wait_to_be_ended

PROCESSES = int(os.environ.get("PEERS_BYTEWAX_PROCESSES", "2"))
began = False


class Count(StatefulBatchLogic[int, int, int]):
    """The count of one key."""

    def __init__(self, count: int | None) -> None:
        self.count = count or 0

    def on_batch(self, values: list[int]) -> tuple[list[int], bool]:
        """Add a batch and emit the new count once."""
        self.count += sum(values)
        return [self.count], StatefulBatchLogic.RETAIN

    def snapshot(self) -> int:
        """Return what is kept."""
        return self.count


def count_batch(messages: list[Any]) -> list[tuple[str, int]]:
    """Decode a batch and count its events by key."""
    global began
    if not began and messages:
        began = True
        mark("began")
    loads = orjson.loads
    events = [loads(message.value) for message in messages]
    found = Counter([(e["org_id"], e["user_id"], int(e["time"]) // WEEK_SECONDS) for e in events])
    return [(f"{org}/{user}/{week}", number) for (org, user, week), number in found.items()]


def to_message(pair: tuple[str, int]) -> KafkaSinkMessage[bytes, bytes]:
    """Spell a count."""
    return KafkaSinkMessage(pair[0].encode(), b"%d" % pair[1])


def main() -> None:
    """Read the topic to its end, in as many processes; the first notes the end when all have ended."""
    flow = Dataflow("count")
    lines = op.input("events", flow, KafkaSource([BROKER], [TOPIC], tail=False, batch_size=10_000))
    pairs = op.flat_map_batch("count_batch", lines, count_batch)
    counts = op.stateful_batch("count", pairs, Count)
    op.output("result", op.map("spell", counts, to_message), KafkaSink([BROKER], RESULT))
    recovery = FOLDER / "recovery"
    others: list[subprocess.Popen[bytes]] = []
    number = int(os.environ.get("PEERS_BYTEWAX_NUMBER", "0"))
    addresses = [text for text in os.environ.get("PEERS_BYTEWAX_ADDRESSES", "").split(";") if text]
    if number == 0:
        recovery.mkdir()
        init_db_dir(recovery, PROCESSES)
        if PROCESSES > 1:
            addresses = [f"127.0.0.1:{port}" for port in free_ports(PROCESSES)]
            for other in range(1, PROCESSES):
                own = {"PEERS_BYTEWAX_NUMBER": str(other), "PEERS_BYTEWAX_ADDRESSES": ";".join(addresses)}
                others.append(subprocess.Popen([sys.executable, __file__], env={**os.environ, **own}))
    cli_main(
        flow,
        process_id=number if addresses else None,
        addresses=addresses or None,
        epoch_interval=timedelta(seconds=1),
        recovery_config=RecoveryConfig(str(recovery), backup_interval=timedelta(0)),
    )
    if number == 0:
        if any(other.wait() for other in others):
            sys.exit("a process failed")
        mark("ended")
        wait_to_be_ended()


def free_ports(count: int) -> list[int]:
    """Return ports that are free now."""
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(one.getsockname()[1]) for one in held]
    for one in held:
        one.close()
    return ports


if __name__ == "__main__":
    main()
