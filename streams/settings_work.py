"""Owns the settings of the work itself (time, intake, model, latency, limits): default, limits, meaning.

Invariant: every key has a default that works on one machine, a unit at the end of its name where it has
one, and a description; docs/settings.md and orgpulse.example.toml are made from here.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

_Unknown = Literal["create", "park"]


class TimeSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How time passes, and which event times are believed."""

    clock: Annotated[
        Literal["wall", "event"],
        Meta(
            description="`wall`: time passes by itself, so that quiet users age (live). `event`: only events move "
            "time on (backfill and replay)."
        ),
    ] = "wall"
    tick_seconds: Annotated[
        float,
        Meta(
            ge=0.01,
            le=60,
            description="How often a shard to which something came scores what has changed, and commits; one to which "
            "nothing came looks at the time twice a second. Smaller: fresher scores, more work.",
        ),
    ] = 0.1
    backlog_tick_seconds: Annotated[
        float, Meta(ge=0.01, le=600, description="The same while a backlog is worked off, when throughput counts.")
    ] = 2.0
    allowed_lateness_hours: Annotated[
        int,
        Meta(
            ge=0,
            le=17568,
            description="Events older than the watermark by more than this are `late`: counted, dead letters, never "
            "applied. 1344 hours are 8 weeks.",
        ),
    ] = 1344
    max_ahead_seconds: Annotated[
        int,
        Meta(ge=0, le=31622400, description="Events further ahead of now than this are dead letters, `bad_time`."),
    ] = 3600
    syslog_zone: Annotated[
        str,
        Meta(min_length=1, description="IANA time zone of RFC 3164 lines, which carry none. Example: `Europe/Vienna`."),
    ] = "UTC"
    syslog_year: Annotated[
        int,
        Meta(
            ge=0,
            le=9999,
            description="Year of RFC 3164 lines, which carry none. 0: the latest year that puts the line not ahead "
            "of now.",
        ),
    ] = 0


class IngestSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How raw messages are taken in."""

    chunk_records: Annotated[
        int,
        Meta(
            ge=1,
            le=65535,
            description="Most records of one partition that are handled, and committed, at once.",
        ),
    ] = 10000
    max_value_bytes: Annotated[
        int, Meta(ge=256, le=52428800, description="A bigger raw message is a dead letter, `too_big`.")
    ] = 65536
    max_id_chars: Annotated[
        int, Meta(ge=8, le=4096, description="A longer id or alias makes its message a dead letter, `long_id`.")
    ] = 200
    unknown_product_events: Annotated[
        _Unknown,
        Meta(
            description="A product event by somebody the directory doesn't know: `park` waits for the directory, "
            "`create` makes a user of the org that the message names."
        ),
    ] = "park"
    unknown_syslog: Annotated[_Unknown, Meta(description="The same for syslog activities.")] = "create"
    unknown_chat: Annotated[_Unknown, Meta(description="The same for chat messages.")] = "create"
    unknown_transactions: Annotated[_Unknown, Meta(description="The same for orgs of transactions.")] = "park"
    max_created_per_org: Annotated[
        int,
        Meta(
            ge=1,
            le=1000000000,
            description="Users of one org that the directory doesn't know and that `create` may make; the events of "
            "further ones are dead letters, `too_many_users`.",
        ),
    ] = 50000
    max_created: Annotated[
        int,
        Meta(
            ge=1,
            le=1000000000,
            description="The same for all orgs of a partition together; orgs that the directory doesn't describe count "
            "too. A user takes 1 to 3 kilobytes of a worker's memory. Equal on all workers.",
        ),
    ] = 250000
    max_parked: Annotated[
        int,
        Meta(
            ge=1000,
            le=100000000,
            description="Events that wait for the directory, per partition; further ones are dead letters, "
            "`park_full`. At most 1,000 wait for one alias.",
        ),
    ] = 100000
    max_aliases: Annotated[
        int, Meta(ge=1, le=1000, description="A directory user with more aliases is a dead letter, `wrong_type`.")
    ] = 20
    currency: Annotated[
        str,
        Meta(
            pattern="^[A-Z]{3}$",
            description="ISO 4217 currency of the transactions; others are dead letters, `unknown_currency`.",
        ),
    ] = "USD"
    flood_ratio: Annotated[
        float,
        Meta(
            gt=0,
            le=1,
            description="The worker stops when more than this share of a window became dead letters: rather a loud "
            "stop than a topic drained after a bad deploy. 1 never stops it.",
        ),
    ] = 0.5
    flood_window_events: Annotated[
        int, Meta(ge=10, le=10000000, description="Messages of one partition in that window.")
    ] = 10000
    channels: Annotated[
        dict[str, str],
        Meta(
            description="Which org a chat channel or server, or a mailing list, belongs to, where messages don't say: "
            '`"#support" = "42"`. In the environment: `#support=42,#sales=7`.'
        ),
    ] = msgspec.field(default_factory=dict)
    teams: Annotated[
        dict[str, str],
        Meta(
            description="Which team's map the messages of a channel count in; a channel that is not here has a map of "
            'its own: `"#help-eu" = "Support"`. Holds for messages that come from then on.'
        ),
    ] = msgspec.field(default_factory=dict)


class ModelSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The scoring model."""

    file: Annotated[
        str,
        Meta(description="Path of the model's TOML file, from the working directory; empty: the shipped health.toml."),
    ] = ""
    shadow: Annotated[
        str,
        Meta(
            description="Path of a second model of the same measures that is computed beside, with cut points of its "
            "own, and shown apart (Redis `shadow:…`, `orgpulse_shadow_*`, `orgpulse model compare`); for all workers "
            "alike. It never alerts. Costs about as much memory and time for scoring again. Empty: none."
        ),
    ] = ""


class CalibrationSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How the decile cut points follow the population."""

    every_seconds: Annotated[
        float, Meta(ge=1, le=604800, description="How often new cut points are made from all active users.")
    ] = 3600.0
    min_population: Annotated[
        int,
        Meta(ge=1, le=100000000, description="With fewer active users the shipped cut points are used; scores say so."),
    ] = 30


class LatencySettings(msgspec.Struct, frozen=True, kw_only=True):
    """Reply latency by hour of week."""

    quantile: Annotated[
        float, Meta(gt=0, le=1, description="Which quantile of reply latencies a cell shows; 0.8 is p80.")
    ] = 0.8
    min_count: Annotated[
        int, Meta(ge=1, le=1000000, description="Cells with fewer replies are shown as no data, never as a number.")
    ] = 1
    rolling_months: Annotated[
        int, Meta(ge=1, le=1200, description="Calendar months that the rolling map covers, the running one included.")
    ] = 3
    target_minutes: Annotated[
        float,
        Meta(
            gt=0,
            le=5_256_000,
            description="How soon a message should be answered: maps count how many were. 240 are 4 hours.",
        ),
    ] = 240
    keep_months: Annotated[
        int,
        Meta(
            ge=2,
            le=1200,
            description="Calendar months that are kept to the quarter of an hour, the running one included; older ones "
            "are forgotten, but for those that `rolling_months` needs.",
        ),
    ] = 37
    max_lines: Annotated[
        int,
        Meta(
            ge=1,
            le=10_000,
            description="Channels, teams and measures of one org that have a map of their own; messages of further "
            "channels share one, `(other)`.",
        ),
    ] = 64
    reply_horizon_days: Annotated[
        int, Meta(ge=1, le=3660, description="A message that got no reply in this time counts as never answered.")
    ] = 731
    max_open_messages: Annotated[
        int,
        Meta(
            ge=100,
            le=100000000,
            description="Messages remembered per partition so that replies find them; above it the oldest are let go, "
            "and counted.",
        ),
    ] = 250000


class ChatSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Chat activity: who is online, and messages by ten minutes."""

    window_days: Annotated[
        int,
        Meta(
            ge=1,
            le=31,
            description="How far back windows, totals and messages per person reach: so many whole days, and the "
            "running hour.",
        ),
    ] = 7
    max_people: Annotated[
        int, Meta(ge=1, le=1000, description="People shown per org, who wrote most first; the others are counted.")
    ] = 50
    max_messages: Annotated[
        int,
        Meta(
            ge=1000,
            le=100000000,
            description="Messages remembered per partition (24 bytes each); above it the oldest windows are let go, "
            "and `since` says so.",
        ),
    ] = 2000000
    max_samples: Annotated[
        int,
        Meta(
            ge=1000,
            le=100000000,
            description="Samples of who is online remembered per partition, one for each server and ten minutes; "
            "above it the same.",
        ),
    ] = 500000
    zones: Annotated[
        dict[str, str],
        Meta(
            description="IANA time zone in which a chat server's activity is shown, where it is not its org's: by org, "
            'or by a channel or server that `ingest.channels` names: `"42" = "America/New_York"`.'
        ),
    ] = msgspec.field(default_factory=dict)


class DedupeSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Recognising an event that a producer sent twice."""

    max_ids: Annotated[
        int,
        Meta(
            ge=1000,
            le=1000000000,
            description="Event ids remembered per partition; above it the oldest are let go, and counted.",
        ),
    ] = 4000000


class CheckpointSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How far a restart has to replay."""

    every_seconds: Annotated[
        float,
        Meta(ge=1, le=86400, description="A shard writes a checkpoint of its state at least this often."),
    ] = 300.0
    every_rows: Annotated[
        int, Meta(ge=1000, le=1000000000, description="It also writes one after this many activities.")
    ] = 2000000
