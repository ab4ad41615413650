"""The small job on Quix Streams: a stateful update an event, exactly once, state in RocksDB with a changelog."""

from __future__ import annotations

import os
from typing import Any

from marks import BROKER, FOLDER, NAME, TOPIC, WEEK_SECONDS, mark
from quixstreams import Application, State

began = False


def count(event: dict[str, Any], state: State) -> None:
    """Add one to the count of the event's user and week; the state is the org's, which is the message key."""
    global began
    if not began:
        began = True
        mark("began")
    key = f"{event['org_id']}/{event['user_id']}/{int(event['time']) // WEEK_SECONDS}"
    state.set(key, state.get(key, 0) + 1)


def main() -> None:
    """Run until the bench ends it."""
    app = Application(
        broker_address=BROKER,
        consumer_group=NAME,
        auto_offset_reset="earliest",
        processing_guarantee="exactly-once",
        commit_interval=float(os.environ.get("PEERS_COMMIT_SECONDS", "1")),
        state_dir=FOLDER / "state",
        loglevel="WARNING",
    )
    frame = app.dataframe(app.topic(TOPIC, key_deserializer="bytes", value_deserializer="json"))
    frame.update(count, stateful=True)
    app.run()


if __name__ == "__main__":
    main()
