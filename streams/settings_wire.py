"""Owns the settings of the surroundings (Kafka, Redis, process, pages, metrics, log): default, limits, meaning.

Invariant: every key has a default that works on one machine, a unit at the end of its name where it has
one, and a description; docs/settings.md and orgpulse.example.toml are made from here.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

_TOPIC_TEXT = r"^[A-Za-z0-9._-]*$"
_NAME_TEXT = r"^[A-Za-z0-9._-]+$"

_Password = Annotated[
    str,
    Meta(
        max_length=4096,
        description="Its password, from the environment only; `password_file` is better.",
        extra={"secret": True, "environment_only": True},
    ),
]
_PasswordFile = Annotated[str, Meta(description="File that holds the password alone. Let nobody else read it.")]
_CaFile = Annotated[
    str, Meta(description="File of the authorities (PEM) that certify the server; empty: the system's.")
]
_CertificateFile = Annotated[
    str, Meta(description="File of this client's certificate chain (PEM), where the server wants one.")
]
_KeyFile = Annotated[str, Meta(description="File of its private key (PEM, not locked); empty: it is in the former.")]


class KafkaSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The Kafka cluster, the names on it, and how patient orgpulse is with it."""

    brokers: Annotated[
        str,
        Meta(min_length=1, description="Where to find the cluster: `host:port`, several separated by commas."),
    ] = "127.0.0.1:9092"
    security: Annotated[
        Literal["plaintext", "ssl", "sasl_ssl", "sasl_plaintext"],
        Meta(
            description="How one gets in: `ssl` is TLS (with `certificate_file` for both sides), `sasl_ssl` "
            "TLS with a login; `sasl_plaintext`, a login on an open line, is for one machine. docs/security-wire.md "
            "sets it up."
        ),
    ] = "plaintext"
    sasl_mechanism: Annotated[
        Literal["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"],
        Meta(description="How a login is proved; `PLAIN` shows the password to the broker, so it wants `sasl_ssl`."),
    ] = "SCRAM-SHA-512"
    username: Annotated[str, Meta(max_length=500, description="Who logs in, where `security` asks for that.")] = ""
    password: _Password = ""
    password_file: _PasswordFile = ""
    ca_file: _CaFile = ""
    certificate_file: _CertificateFile = ""
    key_file: _KeyFile = ""
    prefix: Annotated[
        str,
        Meta(
            pattern=_TOPIC_TEXT,
            max_length=100,
            description="Put in front of every topic name, so that several installations share a cluster. "
            "Table changelogs begin with `application` instead: change both.",
        ),
    ] = ""
    application: Annotated[
        str,
        Meta(
            pattern=_NAME_TEXT,
            max_length=100,
            description="Consumer group, and first part of the names of changelogs and transactional ids. "
            "Changing it starts from nothing.",
        ),
    ] = "orgpulse"
    partitions: Annotated[
        int,
        Meta(
            ge=1,
            le=1024,
            description="Partitions of every topic, so also the most workers that can share the work. "
            "Fixed once the topics exist: orgs live in the partition that their id hashes to.",
        ),
    ] = 4
    replication: Annotated[
        int, Meta(ge=1, le=15, description="Copies of every partition. Use 3 on a real cluster; needs as many brokers.")
    ] = 1
    session_timeout_seconds: Annotated[
        float,
        Meta(
            ge=1,
            le=1800,
            description="After this long without a heartbeat a worker's partitions go to the others. "
            "Brokers refuse less than their `group.min.session.timeout.ms` (6 s as shipped).",
        ),
    ] = 10.0
    max_message_bytes: Annotated[
        int,
        Meta(ge=393216, le=104857600, description="Largest record batch: `max.message.bytes` of every topic."),
    ] = 1048576
    max_unpacked_bytes: Annotated[
        int,
        Meta(
            ge=1048576,
            le=1073741824,
            description="To how many bytes a record batch may unpack. One that is compressed and would become more is "
            "skipped: one dead letter, `batch_too_big`, names its offsets. Brokers limit batches as they are sent, "
            "compressed, so they don't do this. A worker may need 30 times as many bytes for each such batch, and "
            "holds up to five of each partition at once.",
        ),
    ] = 8388608
    request_timeout_seconds: Annotated[
        float,
        Meta(gt=0, le=3600, description="How long one request to a broker may take. Not below the session timeout."),
    ] = 60.0
    commit_seconds: Annotated[
        float,
        Meta(
            ge=0,
            le=10,
            description="How far apart the commits of one partition begin at least, unless much waits. Smaller: "
            "fresher scores; each commit costs the brokers some milliseconds of processor time.",
        ),
    ] = 0.1
    transaction_timeout_seconds: Annotated[
        float,
        Meta(
            ge=1,
            le=900,
            description="After this long the broker ends the open transaction of a dead worker; until then its "
            "readers wait. The broker's `transaction.max.timeout.ms` (15 minutes as shipped) is the upper limit.",
        ),
    ] = 10.0


class RedisSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Where scores and latency are shown."""

    url: Annotated[
        str,
        Meta(
            pattern=r"^(redis|rediss|unix)://.+$",
            description="Redis or Valkey, 6.2 or newer: `redis://[user:password@]host:port/db`, `rediss://` with "
            "TLS, or `unix:///path`. Hold the password in `password_file`, or the whole URL in a file that "
            "`ORGPULSE_REDIS_URL_FILE` names.",
            extra={"secret": True},
        ),
    ] = "redis://127.0.0.1:6379/0"
    username: Annotated[str, Meta(max_length=500, description="Who logs in, where the URL does not say it.")] = ""
    password: _Password = ""
    password_file: _PasswordFile = ""
    ca_file: _CaFile = ""
    certificate_file: _CertificateFile = ""
    key_file: _KeyFile = ""
    prefix: Annotated[
        str, Meta(pattern=r"^[^\s{}]*$", max_length=100, description="Put in front of every Redis key.")
    ] = "orgpulse:v1:"
    ttl_hours: Annotated[
        int,
        Meta(
            ge=1,
            le=8784,
            description="Values that nobody renews for this long disappear. Longer than the rolling week (168 hours).",
        ),
    ] = 192
    max_pending_writes: Annotated[
        int,
        Meta(
            ge=1000,
            le=50000000,
            description="Writes that wait in memory while Redis is away; above it the oldest value of a subject "
            "gives way to its newest, and the worker is not ready.",
        ),
    ] = 500000
    batch: Annotated[int, Meta(ge=1, le=10000, description="Writes sent to Redis in one pipeline.")] = 500
    timeout_seconds: Annotated[
        float, Meta(ge=0.1, le=600, description="A reply that takes longer counts as Redis being away.")
    ] = 5.0


class WorkerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """One worker process."""

    name: Annotated[
        str,
        Meta(pattern=_NAME_TEXT, max_length=100, description="This worker's name in logs and in the group. Unique."),
    ] = "worker-1"
    tenant: Annotated[
        str,
        Meta(
            pattern=r"^[a-z0-9-]*$",
            max_length=32,
            description="Whose process this is; set by `--tenant` and ORGPULSE_TENANT, and never by hand.",
            extra={"environment_only": True, "remedy": "Say it with `orgpulse --tenant NAME …`, or ORGPULSE_TENANT."},
        ),
    ] = ""
    generation: Annotated[
        int,
        Meta(
            ge=0,
            le=9999,
            description="Generation of the state: part of the names of its topics and first part of every fence in "
            "Redis. The topic `control` says which one is live; only a higher number here counts more.",
        ),
    ] = 0
    aside: Annotated[
        Literal["no", "directory", "everything"],
        Meta(
            description="For the workers of `orgpulse rebuild`: compute beside the live generation and tell nobody; "
            "the directory alone at first, so that whose everything is, and where, is known before it is read."
        ),
    ] = "no"
    static_membership: Annotated[
        bool,
        Meta(
            description="Join the group under `name` for good: a restart within the session timeout moves no "
            "partitions, but a worker that does not come back is missed only after that timeout."
        ),
    ] = False
    restart: Annotated[
        bool,
        Meta(
            description="After a failure that may pass (Kafka away for long, fenced, an unexpected error) the process "
            "begins anew by itself, with fresh memory. Turn it off where an orchestrator restarts it; what an operator "
            "has to resolve always ends the process."
        ),
    ] = True
    longest_pause_seconds: Annotated[
        float,
        Meta(
            ge=1,
            le=3600,
            description="Longest pause before beginning anew. The first is a second, each further one twice as long, "
            "until the worker has run for a minute.",
        ),
    ] = 30.0
    standby_replicas: Annotated[
        int,
        Meta(
            ge=0,
            le=3,
            description="How many other workers keep a warm copy of each partition's tables: a partition of a worker "
            "that died is then back sooner, for as much more memory and network. Equal on all workers.",
        ),
    ] = 0


class MetricsSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How many orgs Prometheus sees; users are never labels."""

    org_limit: Annotated[
        int,
        Meta(
            ge=0,
            le=10000,
            description="Without a list: so many orgs, the most active ones, get their own series; the rest are "
            '`org="other"`.',
        ),
    ] = 50
    orgs: Annotated[
        tuple[str, ...],
        Meta(
            max_length=10000,
            description="Only these org ids get their own series; empty: the most active. In the environment "
            "separated by commas.",
        ),
    ] = ()
    series_limit: Annotated[
        int,
        Meta(
            ge=1000,
            le=10000000,
            description="Series of one worker that Prometheus takes: the `sample_limit` of its configuration. Nothing "
            "is left out here; an alert tells before it is reached.",
        ),
    ] = 100000


class LogSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The log, on standard error."""

    level: Annotated[
        Literal["debug", "info", "warning", "error"], Meta(description="Lines below this level are left out.")
    ] = "info"
    format: Annotated[
        Literal["json", "console"], Meta(description="`json`: one object a line, for machines. `console`: for people.")
    ] = "json"
