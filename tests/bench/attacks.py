"""What somebody hostile sends, each with the settings that bound it.

Owns the attacks of `python -m tests.bench.abuse` and of tests/faults/test_abuse.py. Invariant: an attack is made of its
size alone, so that a run can be repeated; every one is as many messages as it says.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import orjson

from streams.settings import Settings
from tests.bench.abuse_house import Attack, Sendable, names_in
from tests.bench.bombs import bomb, headed, many

_MB = 1 << 20


def _now_ms() -> int:
    return int(time.time() * 1000)


def _sent(settings: Settings, topic: str, n: int, **fields: object) -> Sendable:
    """Return message number *n* of an attack, of *fields*, without a key."""
    return settings.kafka.prefix + topic, n, None, orjson.dumps(fields)


def _syslog(settings: Settings, n: int, id_: str, org: str, user: str, action: str = "update") -> Sendable:
    created = _now_ms() // 1000
    return _sent(settings, "syslog-activities", n, id=id_, org=org, userid=user, created=created, action=action)


def labels(settings: Settings, size: int) -> Iterator[Sendable]:
    """Yield events whose every text is another one: org, user, event name, action, channel, team, kind of sample."""
    product, chat, now = "product-events", "chat-messages", _now_ms()
    for n in range(size):
        user, org = f"lu{n}", f"lo{n}"
        match n % 3:
            case 0:
                yield _syslog(settings, n, f"l{n}", org, user, f"a{n}")
            case 1:
                said = {"message_id": f"l{n}", "author": user, "time": now, "channel": f"lc{n}", "org_id": "lall"}
                yield _sent(settings, chat, n, **said)
            case _:
                done = {"event_id": f"l{n}", "name": f"ln{n}", "distinct_id": user, "time": now, "org_id": org}
                yield _sent(settings, product, n, **done)


def ids(settings: Settings, size: int) -> Iterator[Sendable]:
    """Yield events of one org with an id, a user, an alias, a message or a parent that nobody has heard of, each."""
    product, chat, now = "product-events", "chat-messages", _now_ms()
    for n in range(size):
        match n % 4:
            case 0:
                yield _syslog(settings, n, f"i{n}", "ids", f"iu{n}")
            case 1:
                said = {"message_id": f"i{n}", "author": "iu0", "time": now, "channel": "c", "org_id": "idchat"}
                yield _sent(settings, chat, n, **said, in_reply_to=f"nobody{n}")
            case 2:
                yield _sent(settings, product, n, event_id=f"i{n}", name="Search", distinct_id=f"stranger{n}", time=now)
            case _:
                sample = {"server": f"is{n}", "time": now // 1000, "online": 1, "org_id": "idchat"}
                yield _sent(settings, chat, n, type="presence", **sample)


def orgs(settings: Settings, size: int) -> Iterator[Sendable]:
    """Yield events each of which is of another org."""
    for n in range(size):
        yield _syslog(settings, n, "x", f"org{n}", "u")


def directory(settings: Settings, size: int) -> Iterator[Sendable]:
    """Yield entries of the directory, each of another org or of a user of another org."""
    prefix = settings.kafka.prefix
    for n in range(size):
        if n % 2:
            entry = {"user_id": f"du{n}", "org_id": f"do{n}", "email": f"u{n}@d.example"}
            yield prefix + "users", n // 2, b"du%d" % n, orjson.dumps(entry)
        else:
            yield prefix + "orgs", n // 2, b"do%d" % n, orjson.dumps({"org_id": f"do{n}", "name": f"Org {n}"})


def hot(settings: Settings, size: int) -> Iterator[Sendable]:
    """Yield the events of one org, of five hundred people; it is in the twins' own partition."""
    (org,) = names_in(0, settings.kafka.partitions, "hot", 1)
    for n in range(size):
        yield _syslog(settings, n, f"h{n}", org, f"hu{n % 500}")


def huge(settings: Settings, size: int) -> Iterator[Sendable]:
    """Yield messages that are as large, as deep, as long or as odd as can be sent."""
    topic, now, most = settings.kafka.prefix + "product-events", _now_ms(), settings.ingest.max_value_bytes

    def event(**more: object) -> bytes:
        return orjson.dumps({"name": "Search", "distinct_id": "quiet", "time": now, "event_id": "x"} | more)

    bare = len(event(properties=""))
    digits = b"9" * 400
    odd = [
        event(properties="x" * (most - bare)),  # just as large as is taken
        event(properties="x" * (most - bare + 1)),
        event(properties="x" * 400_000),
        event(name="N" * 60_000),
        event(distinct_id="D" * 60_000),
        event(org_id="O" * 60_000),
        b'{"name":"Search","properties":' + b"[" * 30_000 + b"]" * 30_000 + b"}",
        b'{"name":"Search","properties":' + b'{"a":' * 10_000 + b"1" + b"}" * 10_000 + b"}",
        event().replace(str(now).encode(), b"1e308"),
        event().replace(str(now).encode(), digits),
        event().replace(str(now).encode(), b"-" + digits),
        event(quantity=0).replace(b'"quantity":0', b'"quantity":' + digits),
        event(distinct_id=0).replace(b'"distinct_id":0', b'"distinct_id":' + digits),
        b"{" + b",".join(b'"k%d":%d' % (n, n) for n in range(5_000)) + b"}",
        b'{"name":"Search",' + b'"time":1,' * 6_000 + b'"distinct_id":"quiet"}',
        event(distinct_id="a\u202eb"), event(distinct_id="\ufeff"), event(distinct_id="a\u0000b"),
        event(distinct_id="e\u0301" * 100), event(distinct_id="\U0001f468\u200d\U0001f469" * 50),
        b'{"name":"Search","distinct_id":"\\ud800","time":%d}' % now,
        b"\xff\xfe" + "{}".encode("utf-16-le"), b"\xef\xbb\xbf{}", b"", b"\x00" * 60_000, b"NaN", b"Infinity", b'"',
    ]  # fmt: skip
    for n in range(size):
        key = b"k" * 500_000 if n % 97 == 0 else None
        yield topic, n, key, odd[n % len(odd)]


def clock(settings: Settings, size: int) -> Iterator[Sendable]:
    """Yield events of any time: too old, too new, as far ahead as is let, each a bit further, and what is no time."""
    topic, ahead_ms = settings.kafka.prefix + "syslog-activities", settings.time.max_ahead_seconds * 1000
    later = ahead_ms - 120_000  # the sender's clock and the worker's may differ
    odd = [
        b"0", b"-1", b"-62135596800", b"1", b"253402300799", b"253402300800", b"1e308", b"-1e308", b"1.5e9", b"NaN",
        b'"1970-01-01T00:00:00Z"', b'"9999-12-31T23:59:59Z"', b'"2016-12-31T23:59:60Z"', b'"2024-02-30T00:00:00Z"',
        b'"0001-01-01T00:00:00+14:00"', b'"2026-03-29T02:30:00"', b'"inf"', b"null", b"true", b"[]", b'""',
        b"%d" % (_now_ms() * 1000), b"%d" % (_now_ms() // 1000), b"%d" % (_now_ms() * 1_000_000),
    ]  # fmt: skip
    for n in range(size):
        match n % 4:
            case 0:
                moment = odd[n // 4 % len(odd)]
            case 1:
                moment = b"%d" % (_now_ms() + ahead_ms + 600_000)
            case 2:
                moment = b"%d" % (_now_ms() + later)
            case _:
                moment = b"%d" % (_now_ms() - (n * 7919 % 50) * 86_400_000)
        value = b'{"id":"c%d","org":"tock","userid":"tick%d","action":"update","created":%s}' % (n, n % 5, moment)
        yield topic, n, None, value


def _bombs(settings: Settings, size: int) -> list[tuple[str, int, bytes, int]]:
    """Return *size* rounds of batches in every codec, of up to a gigabyte each, for both partitions."""
    topic, found = settings.kafka.prefix + "product-events", list[tuple[str, int, bytes, int]]()
    for n in range(size):
        at = n % settings.kafka.partitions
        found += [
            (topic, at, bomb("zstd", 1 << 30), 1),
            (topic, at, bomb("gzip", 256 * _MB), 1),
            (topic, at, bomb("lz4", 200 * _MB), 1),
            (topic, at, bomb("snappy", 18 * _MB), 1),
            (topic, at, many("zstd", 1_000_000), 1_000_000),
            (topic, at, many("zstd", 100_000, b"{}"), 100_000),  # as many as may be
            (topic, at, headed("lz4", b"{}", 2_000_000), 1),
            (settings.kafka.prefix + "users", at, bomb("zstd", 64 * _MB), 1),
        ]
    return found


def _small_bombs(settings: Settings, size: int) -> list[tuple[str, int, bytes, int]]:
    """Return *size* rounds of bombs that take a moment to make."""
    topic = settings.kafka.prefix + "product-events"
    return [
        each
        for n in range(size)
        for each in (
            (topic, n % 2, bomb("zstd", 256 * _MB), 1),
            (topic, n % 2, bomb("gzip", 32 * _MB), 1),
            (topic, n % 2, bomb("lz4", 64 * _MB), 1),
            (topic, n % 2, bomb("snappy", 12 * _MB), 1),
            (settings.kafka.prefix + "users", n % 2, bomb("zstd", 64 * _MB), 1),
        )
    ]


BATCH = ("kafka.max_unpacked_bytes",)
ATTACKS = (  # in an order in which each finds room for what it does
    Attack("hot org", ("ingest.max_created_per_org", "ingest.chunk_records", "time.backlog_tick_seconds"), hot),
    Attack("clock", ("time.max_ahead_seconds", "time.allowed_lateness_hours"), clock),
    Attack(
        "ids",
        (
            "ingest.max_created_per_org", "ingest.max_parked", "latency.max_open_messages", "dedupe.max_ids",
            "chat.max_samples", "chat.max_people",
        ),
        ids,
    ),
    Attack("labels", ("metrics.org_limit", "latency.max_lines", "ingest.max_created", "ingest.max_parked"), labels),
    Attack("orgs", ("ingest.max_created", "metrics.org_limit"), orgs),
    Attack("huge", ("ingest.max_value_bytes", "ingest.max_id_chars", "kafka.max_message_bytes"), huge),
    Attack("bombs", BATCH, batches=_bombs),
    Attack("directory", (), directory),
)  # fmt: skip
SMALL_BOMBS = Attack("bombs", BATCH, batches=_small_bombs)
