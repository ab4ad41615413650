"""The dashboard *Pipeline*: is every message accounted for, how far behind is it, are the workers and servers well?"""

from __future__ import annotations

from deploy.grafana import pipeline_servers
from deploy.grafana.ask import NO_WORKER, RATE, counted, quantile
from deploy.grafana.board import Board, Row
from deploy.grafana.colours import OUTCOME_COLOURS, alarm
from deploy.grafana.panels import Ask, Says, figure, lines, rows, spread, unit_of
from deploy.grafana.shapes import matrix

_NO_MESSAGES = "No message has come yet"


_LEDGER = Row(
    "Ledger: is every message accounted for?",
    8,
    [
        figure(
            4,
            Says(
                "Lost or counted twice",
                "Activities that did not reach their shard just once, since ever. Anything but 0 is a fault: run"
                " `orgpulse ledger`; `orgpulse rebuild` mends it.",
                "short",
                NO_WORKER,
            ),
            "sum(orgpulse_ledger_gap_messages)",
            alarm(1),
        ),
        figure(
            4,
            Says(
                "Under way",
                "Activities sent and not yet counted by a shard: 0 at rest. Above 0 for long without traffic: run"
                " `orgpulse ledger`, it says whether one is missing.",
                "short",
                NO_WORKER,
            ),
            'sum(orgpulse_ledger_messages{outcome=~"forwarded|released"})'
            ' - sum(orgpulse_ledger_messages{outcome=~"accepted|duplicate|late"})',
        ),
        rows(
            16,
            Says(
                "Messages by what became of them, since ever",
                "One row a topic: forwarded + released = accepted + duplicate + late once nothing is under way."
                " Apart: the directory, ghosts, bots and the system, which no score counts. Many late, parked or"
                " dead-lettered ones: `orgpulse dead-letters list` and `orgpulse doctor`.",
                "short",
                _NO_MESSAGES,
            ),
            "sum by (topic, outcome) (orgpulse_ledger_messages)",
            transformations=matrix("topic", "outcome", "Topic"),
            overrides={"Topic": [unit_of("string")]},
        ),
        lines(
            8,
            Says(
                "Coming in",
                "Messages read a second, by topic. A line at 0 at a busy hour: its producer is away.",
                "cps",
                _NO_MESSAGES,
            ),
            Ask(f'sum by (topic) (rate(orgpulse_events_total{{outcome="consumed"}}{RATE}))', "{{topic}}"),
            stacked=True,
            low=0,
        ),
        lines(
            8,
            Says(
                "What became of them",
                "Messages a second by outcome, of all topics. Parked ones wait for the directory (is it complete?),"
                " late ones came after their week was closed, duplicates do no harm.",
                "cps",
                _NO_MESSAGES,
            ),
            Ask(f'sum by (outcome) (rate(orgpulse_events_total{{outcome!="consumed"}}{RATE}))', "{{outcome}}"),
            colours=OUTCOME_COLOURS,
            stacked=True,
            low=0,
        ),
        lines(
            8,
            Says(
                "Dead letters by reason",
                "Messages that could not be used, in the time between two points. `orgpulse dead-letters list` shows"
                " them; once mended, `orgpulse dead-letters replay` sends them again.",
                "short",
                "No dead letter",
            ),
            Ask(counted("orgpulse_dead_letters_total", "topic, reason"), "{{topic}}: {{reason}}"),
            bars=True,
            low=0,
        ),
    ],
)

_PROGRESS = Row(
    "Progress: how far behind is it?",
    8,
    [
        lines(
            8,
            Says(
                "Waiting messages by topic",
                "Messages in the log and not yet committed. Growing: add a worker (up to one per partition), or see"
                " whether Kafka answers.",
                "short",
                NO_WORKER,
            ),
            Ask("sum by (topic) (max by (topic, partition) (orgpulse_lag_messages))", "{{topic}}"),
            low=0,
        ),
        lines(
            8,
            Says(
                "Age of the watermark",
                "How far each partition's event time lies behind now. It grows without input, jumps back when some"
                " comes; growing while input comes: a worker hangs. In a replay it is the age of the data.",
                "s",
                NO_WORKER,
            ),
            Ask("time() - (max by (partition) (orgpulse_watermark_timestamp_seconds) > 0)", "partition {{partition}}"),
            low=0,
        ),
        lines(
            8,
            Says(
                "Age of the last commit",
                "Since when nothing was committed, by topic, of its oldest partition. Growing while messages wait:"
                " a worker hangs or Kafka takes no transactions.",
                "s",
                NO_WORKER,
            ),
            Ask(
                "max by (topic) (time() - max by (topic, partition) (orgpulse_last_commit_timestamp_seconds))",
                "{{topic}}",
            ),
            low=0,
        ),
        lines(
            8,
            Says(
                "From event to score",
                "From a message's arrival in Kafka to its score's commit: half of them are faster than p50, 99 of 100"
                " faster than p99. Dashed: 5 s. Above it for long: see waiting messages, chunk sizes, Kafka.",
                "s",
                "No score in this time",
            ),
            Ask(quantile(0.5, "orgpulse_event_to_score_seconds"), "p50"),
            Ask(quantile(0.99, "orgpulse_event_to_score_seconds"), "p99"),
            steps=alarm(5),
            low=0,
        ),
        spread(
            8,
            Says(
                "From event to score, all of it",
                "Scores a second by how long they took; yellow is where most are. A second band above the first: one"
                " worker or partition is slower than the others.",
                "s",
                "No score in this time",
            ),
            f"sum by (le) (rate(orgpulse_event_to_score_seconds_bucket{RATE}))",
        ),
        lines(
            8,
            Says(
                "Messages a chunk",
                "How many messages are fetched and committed together. Large chunks: a backlog is worked off. Small"
                " ones while messages wait: commits are slow, look at Kafka.",
                "short",
                _NO_MESSAGES,
            ),
            Ask(quantile(0.5, "orgpulse_chunk_records"), "p50"),
            Ask(quantile(0.99, "orgpulse_chunk_records"), "p99"),
            low=0,
        ),
        lines(
            8,
            Says(
                "Input that is missing",
                "Share of the week before's activities that did not come in the last one, by topic, of the worst"
                " partition. Above 5 % (dashed) alerts about orgs are held: bring the source back.",
                "percentunit",
                "Known after two weeks",
            ),
            Ask("max by (topic) (orgpulse_input_missing_ratio)", "{{topic}}"),
            steps=alarm(0.05),
            low=0,
            high=1,
        ),
        lines(
            8,
            Says(
                "Working off a backlog",
                "Workers whose input waits longer than it should; they then evaluate less often. For long: add a"
                " worker.",
                "short",
                NO_WORKER,
            ),
            Ask("sum(orgpulse_backlog)", "workers"),
            low=0,
        ),
        lines(
            8,
            Says(
                "Remembered for replies and duplicates",
                "Messages kept so that replies find them, and event ids kept to find duplicates. They level off; what"
                " is given up early asks for more `[latency] max_open_messages`.",
                "short",
                NO_WORKER,
            ),
            Ask("sum(max by (partition) (orgpulse_open_messages))", "open messages"),
            Ask("sum(max by (partition) (orgpulse_open_messages_given_up))", "given up early"),
            Ask("sum(max by (partition) (orgpulse_dedupe_ids))", "event ids"),
            low=0,
        ),
    ],
)

BOARD = Board(
    name="pipeline",
    title="orgpulse: Pipeline",
    description="Is every message accounted for, how far behind is it, and are Kafka, Redis and the workers well?",
    rows=(_LEDGER, _PROGRESS, pipeline_servers.WORKERS, pipeline_servers.SERVERS),
    since="now-3h",
)
