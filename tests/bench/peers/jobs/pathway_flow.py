"""The small job on Pathway: a group-by with a count, two threads.

Its state is kept on disk only with a licence key (in `PATHWAY_LICENSE_KEY`): without one Pathway refuses.
"""

from __future__ import annotations

import os

import pathway as pw
from marks import BROKER, FOLDER, NAME, RESULT, TOPIC, WEEK_SECONDS, mark, wait_to_be_ended


class Event(pw.Schema):
    """An event as Pathway decodes it."""

    org_id: int
    user_id: int
    time: float


def main() -> None:
    """Read the topic to its end."""
    settings = {"bootstrap.servers": BROKER, "group.id": NAME, "auto.offset.reset": "earliest"}
    events = pw.io.kafka.read(settings, topic=TOPIC, schema=Event, format="json", mode="static")
    weeks = events.select(pw.this.org_id, pw.this.user_id, week=pw.cast(int, pw.this.time) // WEEK_SECONDS)
    counts = weeks.groupby(pw.this.org_id, pw.this.user_id, pw.this.week).reduce(
        pw.this.org_id, pw.this.user_id, pw.this.week, number=pw.reducers.count()
    )
    pw.io.kafka.write(counts, {"bootstrap.servers": BROKER}, RESULT, format="json")
    persistence = None
    key = os.environ.get("PATHWAY_LICENSE_KEY")
    if key:
        pw.set_license_key(key)
        persistence = pw.persistence.Config(
            pw.persistence.Backend.filesystem(FOLDER / "state"),
            snapshot_interval_ms=1000,
            persistence_mode=pw.PersistenceMode.OPERATOR_PERSISTING,
        )
    mark("began")
    pw.run(monitoring_level=pw.MonitoringLevel.NONE, persistence_config=persistence)
    mark("ended")
    wait_to_be_ended()


if __name__ == "__main__":
    main()
