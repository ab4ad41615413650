"""The whole pipeline, top to bottom.

    product-events ─┐
    syslog-activities ─┤             activities            scores, weeks, alerts ► Kafka
    chat-messages ─────┼─► ingest ──► (by org) ──► fold ──► hashes, change stream ► Redis
    transactions ──────┘     │            ▲                  gauges, histograms   ► Prometheus
    users, orgs ─► members ──┼────────────┤          (identities: read by ingest, written by it and by operators)
                             ├─► unresolved ─► park
                             └─► dead-letters     fold ─► summaries ─► count people ─► activities

Owns who is connected to what. Invariant: every arrow is one chunk agent, and
everything an agent writes goes out in one transaction with its offset.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from agents.chat_documents import ChatDocuments
from agents.checkpoints import Checkpoints
from agents.count_people import CountPeople, MapSettings
from agents.directory import directory_limits_of
from agents.documents import Documents
from agents.fold import FoldAgent
from agents.ingest import Ingest, Source, policies
from agents.ledger import Ledger
from agents.members import Members
from agents.park import Park
from agents.quarantine import (
    Quarantine,
    read_census_row,
    read_ledger_row,
    read_member_row,
    read_park_row,
)
from agents.routing import Router, router_of
from agents.shadow import ShadowCensus, ShadowTeller
from state.census import Census
from state.health import Model
from state.identity import Directory
from state.limits import Limits
from state.shard import Shard
from streams.chunks import add_chunk_agent
from streams.clock import Clock
from streams.dead_letters import DeadLetters, FloodGuard
from streams.faust_app import ChunkApp, make_app
from streams.held_back import HeldBack
from streams.metrics import Metrics
from streams.model_file import load_shadow
from streams.pseudonyms import pseudonyms_of
from streams.read_chat import chat_reader
from streams.read_product import product_reader
from streams.read_syslog import syslog_reader
from streams.read_transactions import transaction_reader
from streams.reading import Reader
from streams.settings import Settings
from streams.source_bytes import SourceBytes
from streams.suppression import Suppression, covers_of, suppression_of
from streams.tables import ChunkTable
from streams.topic_specs import TopicNames, group_of, lanes_of, source_topics, topic_names
from streams.transactions import TransactionSettings


@dataclass(slots=True)
class Pipeline:
    """One worker's agents and what they share."""

    app: ChunkApp
    topics: TopicNames
    directory: Directory
    ledger: Ledger
    fold: FoldAgent
    people: CountPeople
    quarantine: Quarantine
    model: Model
    suppressed: Suppression


def build(settings: Settings, model: Model, clock: Clock, metrics: Metrics) -> Pipeline:
    """Connect everything; nothing runs and nothing is read yet."""
    kafka, ingest, topics = settings.kafka, settings.ingest, topic_names(settings)
    app = _app(settings, topics)
    table = {n: ChunkTable(app, name=n, partitions=kafka.partitions) for n in ("ledger", "members", "park", "shard")}
    census_table = ChunkTable(app, name="census", partitions=1)
    for each in (*table.values(), census_table):
        app.tables.add(each)
    app.remember_origins()
    app.held_back = held_back_of(settings, topics)
    directory, ledger = Directory(), Ledger(table["ledger"], metrics)
    router = router_of(settings)
    app.bundle = router.bundled
    lookup = SourceBytes(kafka, source_topics(topics))
    suppressed = suppression_of(settings)
    dead = DeadLetters(topics.dead_letters, clock.now, ingest.max_value_bytes, lookup, covers_of(settings, suppressed))
    documents = Documents(model, topics, settings.worker.generation, settings.latency.min_count)

    def counted(topic: str, counts: Counter[str]) -> None:
        _count(metrics, topic, counts)

    aside = settings.worker.aside
    found = sources(settings, model, topics, clock) if aside != "directory" else []
    _add_ingest(app, settings, found, router, directory, ledger, dead, clock, counted, suppressed)
    for kind, topic in (("users", topics.users), ("orgs", topics.orgs)):
        members = Members(
            kind, router, table["members"], dead, ledger,
            limits=directory_limits_of(settings), counted=counted, suppressed=suppressed, ends_entries=aside == "no",
        )  # fmt: skip
        add_chunk_agent(app, topic, members.handle, name=f"members-{kind}")
    park = Park(router, table["park"], dead, ledger, counted, suppressed, max_waiting=ingest.max_parked)
    add_chunk_agent(app, topics.unresolved, park.handle, name="park", kept=True)
    limits, shadow = limits_of(settings), load_shadow(settings.model.shadow, model)
    checkpoints = Checkpoints(
        table["shard"], time.monotonic, settings.checkpoint.every_seconds, settings.checkpoint.every_rows,
        metrics.checkpoint_bytes.add,
    )  # fmt: skip
    fold = FoldAgent(
        lambda partition: Shard(partition, model, limits, shadow),
        checkpoints,
        documents,
        dead,
        ledger,
        topics.summaries,
        metrics,
        clock,
    )
    fold.chat = ChatDocuments(documents, chat_zones(settings))
    fold.on_turn = app.chunks.note_step
    add_chunk_agent(app, topics.activities, fold.handle_in_turns, name="fold", kept=True)
    people = CountPeople(
        lambda: Census(settings.calibration.min_population, model.population.peers), census_table, documents, metrics,
        topics.activities, kafka.partitions, map_settings_of(settings),
    )  # fmt: skip
    if shadow is not None:
        fold.shadow = ShadowTeller(
            Documents(shadow, topics, settings.worker.generation, settings.latency.min_count), metrics
        )
        people.shadow = ShadowCensus(
            shadow.digest, lambda: Census(settings.calibration.min_population, shadow.population.peers), census_table,
            topics.activities, kafka.partitions,
        )  # fmt: skip
    add_chunk_agent(app, topics.summaries, people.handle, name="count-people", partitions=1, kept=True)
    rows = {
        table["ledger"]: read_ledger_row, table["members"]: read_member_row, table["park"]: read_park_row,
        census_table: read_census_row,
    }  # fmt: skip
    return Pipeline(app, topics, directory, ledger, fold, people, Quarantine(rows, dead, metrics), model, suppressed)


def _add_ingest(
    app: ChunkApp, settings: Settings, found: list[Source], router: Router, directory: Directory,
    ledger: Ledger, dead: DeadLetters, clock: Clock, counted: Callable[[str, Counter[str]], None],
    suppressed: Suppression,
) -> None:  # fmt: skip
    """Add an agent for each raw topic."""
    ingest = settings.ingest
    for source in found:
        agent = Ingest(
            source, router, directory, ledger, dead,
            FloodGuard(source.name, ingest.flood_ratio, ingest.flood_window_events),
            now=clock.now, max_value_bytes=ingest.max_value_bytes,
            max_ahead_ms=settings.time.max_ahead_seconds * 1000,
            lateness_ms=settings.time.allowed_lateness_hours * 3_600_000, max_aliases=ingest.max_aliases,
            counted=counted, suppressed=suppressed,
        )  # fmt: skip
        add_chunk_agent(app, source.topic, agent.handle, name=f"ingest-{source.name}")


def sources(settings: Settings, model: Model, topics: TopicNames, clock: Clock) -> list[Source]:
    """Return the raw topics with their readers."""
    ingest, longest = settings.ingest, settings.ingest.max_id_chars
    syslog: Reader = syslog_reader(
        model.catalogue, ingest.channels, clock.now,
        zone=settings.time.syslog_zone, year=settings.time.syslog_year, max_id=longest,
    )  # fmt: skip
    readers: dict[str, tuple[str, Reader]] = {
        "product-events": (topics.product_events, product_reader(model.catalogue, longest)),
        "syslog-activities": (topics.syslog_activities, syslog),
        "chat-messages": (topics.chat_messages, chat_reader(ingest.channels, longest, ingest.teams)),
        "transactions": (topics.transactions, transaction_reader(ingest.currency, longest)),
    }
    unknown, pseudonyms = policies(ingest), pseudonyms_of(settings)
    if pseudonyms is not None:
        readers = {name: (topic, pseudonyms.reader(read)) for name, (topic, read) in readers.items()}
    return [Source(topic, name, read, unknown[name]) for name, (topic, read) in readers.items()]


def limits_of(settings: Settings) -> Limits:
    """Return the shard's horizons and bounds."""
    return Limits(
        allowed_lateness_hours=settings.time.allowed_lateness_hours,
        max_ids=settings.dedupe.max_ids,
        reply_horizon_hours=settings.latency.reply_horizon_days * 24,
        max_open_messages=settings.latency.max_open_messages,
        rolling_months=settings.latency.rolling_months,
        quantile=settings.latency.quantile,
        chat_days=settings.chat.window_days,
        max_chat_messages=settings.chat.max_messages,
        max_chat_samples=settings.chat.max_samples,
        max_chat_people=settings.chat.max_people,
        target_ms=int(settings.latency.target_minutes * 60_000),
        keep_months=max(settings.latency.keep_months, settings.latency.rolling_months),
        max_lines=settings.latency.max_lines,
        max_created_per_org=settings.ingest.max_created_per_org,
        max_created=settings.ingest.max_created,
    )


def held_back_of(settings: Settings, topics: TopicNames) -> HeldBack | None:
    """Return what holds raw messages to the quota; None without one, and for what an operator computes aside."""
    quota = settings.quota
    if settings.worker.aside != "no" or not (quota.events_per_second or quota.bytes_per_second):
        return None
    return HeldBack(quota, topics.sources, settings.kafka.partitions)


def chat_zones(settings: Settings) -> dict[str, str]:
    """Return by org the time zone of its chat server, where it has one of its own."""
    return {settings.ingest.channels.get(name, name): zone for name, zone in settings.chat.zones.items()}


def map_settings_of(settings: Settings) -> MapSettings:
    """Return what the map of all orgs shows."""
    latency = settings.latency
    return MapSettings(latency.rolling_months, latency.quantile, int(latency.target_minutes * 60_000))


def _app(settings: Settings, topics: TopicNames) -> ChunkApp:
    kafka, worker = settings.kafka, settings.worker
    return make_app(
        group_of(settings),
        kafka,
        partitions=kafka.partitions,
        instance_id=worker.name if worker.static_membership else None,
        standby_replicas=worker.standby_replicas,
        max_chunk=settings.ingest.chunk_records,
        commit_seconds=settings.kafka.commit_seconds,
        lane_of=lanes_of(topics),
        session_timeout_seconds=kafka.session_timeout_seconds,
        heartbeat_seconds=min(3.0, kafka.session_timeout_seconds / 4),
        transactions=TransactionSettings(
            transaction_timeout_seconds=kafka.transaction_timeout_seconds,
            max_record_bytes=kafka.max_message_bytes,
        ),
    )


def _count(metrics: Metrics, topic: str, counts: Counter[str]) -> None:
    """Add what became of a chunk's messages to the metrics.

    Forwarded ones are not told here: their shard says whether they were accepted,
    duplicate or late. Keys with slashes are what `park` did about other topics' messages.
    """
    consumed = 0
    for outcome, number in counts.items():
        source, _, what = outcome.partition("/")
        if what:
            metrics.events.add(number, source, what.rpartition("/")[2])
        elif outcome.startswith("link:"):
            metrics.identity_links.add(number, outcome[5:])
        elif outcome.startswith("dead:"):
            metrics.dead_letters.add(number, topic, outcome[5:])
        else:
            consumed += number
            if outcome != "forwarded":
                metrics.events.add(number, topic, outcome)
    if consumed:
        metrics.events.add(consumed, topic, "consumed")
        metrics.chunk_records.observe(consumed)
