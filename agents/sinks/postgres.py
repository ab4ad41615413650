"""The PostgreSQL sink, top to bottom.

    product-events ─► product_event        users ─► app_user, user_alias, job_type
    weeks ─► user_score, company_score_history      orgs ─► org, group_type
    scores ─► live_score                   identities ─► identity_link

Owns who is connected to what.
"""

from __future__ import annotations

from faust.types import TP

from agents.directory import directory_limits_of
from agents.sinks.feed import Feed
from agents.sinks.intakes import Events, Intake, Links, Orgs, Scores, Users, Weeks
from agents.sinks.offsets import follow_store
from agents.sinks.pg_store import PgStore
from agents.sinks.process import Process
from streams.chunks import add_chunk_agent
from streams.clock import Clock
from streams.dead_letters import DeadLetters
from streams.log_reader import Follower
from streams.model_file import load_model
from streams.pseudonyms import pseudonyms_of
from streams.read_product import product_reader
from streams.settings import Settings
from streams.suppression import Suppression, covers_of, suppression_of

KIND = "postgres"


class PostgresSink:
    """One process of the sink, assembled."""

    def __init__(self, settings: Settings, clock: Clock | None = None) -> None:
        self.process = Process(settings, KIND, clock)
        self.store = PgStore(settings.sink)
        self._migrate = settings.sink.migrate
        mine, topics = self.process, self.process.topics
        suppressed = suppression_of(settings, mine.fail)
        self._list = Follower(settings.kafka, [topics.suppressed], lambda _, record: suppressed.take(record))
        letters = DeadLetters(
            topics.dead_letters, mine.clock.now, settings.ingest.max_value_bytes, covers=covers_of(settings, suppressed)
        )
        self._feeds = {}
        for name, intake in _intakes(settings, suppressed).items():
            feed = Feed(name, intake, self.store, mine.patience, letters, mine.figures, mine.clock, mine.leaving)
            topic: str = getattr(topics, name.replace("-", "_"))
            self._feeds[topic] = feed
            add_chunk_agent(mine.app, topic, feed.handle, name=f"sink-{name}")
        mine.app.on_owned = self._on_owned

    def run(self) -> int:
        """Run until SIGTERM or SIGINT; return the exit code."""
        return self.process.run(lambda: self.store.prepare(create=self._migrate), [self._list, _Closing(self.store)])

    async def _on_owned(self, tps: frozenset[TP]) -> None:
        mine = self.process
        marks = await mine.briefly(lambda: self.store.marks(mine.ids(tps)))
        starts = await follow_store(mine.app, tps, marks)
        await mine.briefly(lambda: self.store.begin(starts))
        for topic, feed in self._feeds.items():
            feed.assigned({tp.partition: marks[topic, tp.partition].epoch for tp in tps if tp.topic == topic})


class _Closing:
    """A service that closes the connections in the end."""

    def __init__(self, store: PgStore) -> None:
        self._store = store

    async def start(self) -> None:
        """Nothing to begin."""

    async def stop(self) -> None:
        """Close."""
        await self._store.close()


def _intakes(settings: Settings, suppressed: Suppression) -> dict[str, Intake]:
    model, limits, ingest = load_model(settings.model.file), directory_limits_of(settings), settings.ingest
    reader, pseudonyms = product_reader(model.catalogue, ingest.max_id_chars), pseudonyms_of(settings)
    if pseudonyms is not None:
        reader = pseudonyms.reader(reader)
    return {
        "users": Users(limits, suppressed),
        "orgs": Orgs(limits),
        "identities": Links(limits),
        "weeks": Weeks(model),
        "scores": Scores(),
        "product-events": Events(
            reader,
            ingest.max_value_bytes,
            settings.time.max_ahead_seconds * 1000,
            suppressed,
            covered=pseudonyms is not None,
        ),
    }
