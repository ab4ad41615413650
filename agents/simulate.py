"""Owns the simulated history and the live stream after it: what is sent, in which order, with which defects.

Invariant: pure. The same base and end give the same bytes in the same order; time and chance come in as arguments.
Sizes and tails follow the published analyses of a payments platform (users per org, weekly volume, weeks per user).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from agents.simulate_base import Base, Floats, Ints, Message, directory, generator, make_base, user_message
from agents.simulate_chat import Talk, chat_messages, colleagues, draw_talk, presence_messages, presence_times
from agents.simulate_defects import bad_message
from agents.simulate_events import Encode, event_messages
from agents.simulate_rhythm import WEEK_SECONDS, Rhythm, make_rhythm, reply_latency_seconds
from agents.simulate_service import service_messages
from agents.simulate_syslog import syslog_messages
from agents.simulate_trade import draw_trade, transaction_messages

__all__ = ["Base", "Message", "directory", "history", "history_in_parts", "live", "make_base"]

# Messages per user and week (transactions: per org and week); 3,200 users and 240 orgs make about 55,000 a week.
EVENTS_PER_USER, SYSLOG_PER_USER, TALKS_PER_USER, TRADES_PER_ORG = 10.3, 3.4, 0.85, 20.0
SERVICE_PER_USER = 0.3
BAD_SHARE, LATE_SHARE, DUPLICATE_SHARE, TOO_LATE_SHARE = 0.001, 0.005, 0.003, 0.00003
_DAY_SECONDS = 86_400.0
_NEW_ADDRESS_DAYS, _LEARNED_DAYS = 6.0, 1.5  # before the end: new addresses appear, the directory learns them
# What a live message is, and out of how many.
_LIVE_SHARES = {"event": 0.66, "syslog": 0.2, "chat": 0.08, "trade": 0.06}


# By the number of their stream in `history`.
_BAD_TOPICS = {0: "product-events", 1: "syslog-activities", 2: "chat-messages", 4: "transactions"}


@dataclass(frozen=True)
class _Stream:
    """Messages that can be made one by one: number *numbers[i]* is sent at *sent[i]*."""

    sent: Floats
    numbers: Ints
    encode: Encode


def history(base: Base, end: float, weeks: int = 5) -> Iterator[Message]:
    """Yield *weeks* rolling weeks of messages of all topics in the order of sending, up to *end* (epoch seconds).

    Raises:
        ValueError: If *weeks* is below 1.
    """
    (whole,) = history_in_parts(base, end, weeks, ())
    return whole


def history_in_parts(base: Base, end: float, weeks: int, cuts: Sequence[float]) -> list[Iterator[Message]]:
    """Return the same history in parts: up to the first of *cuts* (epoch seconds, ascending), up to the second, …

    Raises:
        ValueError: If *weeks* is below 1.
    """
    if weeks < 1:
        raise ValueError(f"{weeks} weeks: needs at least 1")
    rhythm = make_rhythm(base, end, weeks)
    ids = f"{int(end):x}-"
    streams = [
        _events(rhythm, ids),
        _syslog(rhythm),
        _chat(rhythm, ids),
        _presence(rhythm),
        _trade(rhythm, ids),
        _learned(rhythm),
        _service(rhythm, ids),
    ]
    streams += [_bad(rhythm, topic, len(streams[index].sent)) for index, topic in enumerate(_BAD_TOPICS)]
    return _merged(streams, end, cuts)


def _merged(streams: list[_Stream], end: float, cuts: Sequence[float]) -> list[Iterator[Message]]:
    """Return the messages of all streams by time of sending, cut; what would be sent after *end* is not."""
    sent = np.concatenate([stream.sent for stream in streams])
    source = np.repeat(np.arange(len(streams)), [len(stream.sent) for stream in streams])
    numbers = np.concatenate([stream.numbers for stream in streams])
    order = np.argsort(sent, kind="stable")
    order = order[sent[order] <= end]
    encoders = [stream.encode for stream in streams]
    parts = np.split(order, np.searchsorted(sent[order], np.asarray(cuts)))

    def encoded(part: Ints) -> Iterator[Message]:
        for which, number in zip(source[part].tolist(), numbers[part].tolist(), strict=True):
            yield encoders[which](number)

    return [encoded(part) for part in parts]


def _repeated(rng: np.random.Generator, sent: Floats) -> tuple[Floats, Ints]:
    """Return times and numbers with a few messages sent twice, the second time minutes later."""
    numbers = np.arange(len(sent))
    again = numbers[rng.random(len(sent)) < DUPLICATE_SHARE]
    return np.concatenate([sent, sent[again] + rng.exponential(600.0, len(again))]), np.concatenate([numbers, again])


def _activity(rhythm: Rhythm, rng: np.random.Generator, weights: Floats, per_user: float) -> tuple[Ints, Floats]:
    """Return (user, time) of about *per_user* happenings per user and week."""
    base = rhythm.base
    seen = rng.random((len(base.users), rhythm.weeks)) < base.presence[:, None]
    total = per_user * len(base.users) * rhythm.weeks
    users, week = rhythm.draw_weeks(rng, total, weights[:, None] * seen, base.org_of)
    return users, rhythm.draw_times(rng, base.org_of[users], week)


def _events(rhythm: Rhythm, ids: str) -> _Stream:
    rng = generator(rhythm.base.seed, 10)
    users, sent = _activity(rhythm, rng, rhythm.base.weight, EVENTS_PER_USER)
    chance = rng.random(len(sent))
    times = np.where(chance < LATE_SHARE, sent - rng.uniform(3600.0, 3 * _DAY_SECONDS, len(sent)), sent)
    times = np.where(chance > 1 - TOO_LATE_SHARE, sent - 400 * _DAY_SECONDS, times)
    alias_from = rhythm.end - _NEW_ADDRESS_DAYS * _DAY_SECONDS
    return _Stream(*_repeated(rng, sent), event_messages(rhythm.base, rng, users, times, ids, alias_from))


def _syslog(rhythm: Rhythm) -> _Stream:
    rng = generator(rhythm.base.seed, 11)
    users, times = _activity(rhythm, rng, rhythm.base.weight, SYSLOG_PER_USER)
    return _Stream(*_repeated(rng, times), syslog_messages(rhythm.base, rng, users, times, int(rhythm.end) * 2_000_000))


def _chat(rhythm: Rhythm, ids: str) -> _Stream:
    base, rng = rhythm.base, generator(rhythm.base.seed, 12)
    talkative = np.sqrt(base.weight) * (rng.random(len(base.users)) < 0.6) * np.array([not u.bot for u in base.users])
    users, times = _activity(rhythm, rng, talkative, TALKS_PER_USER)
    talk = draw_talk(rhythm, rng, users, times)
    return _Stream(*_repeated(rng, talk.times), chat_messages(base, rng, talk, ids))


def _presence(rhythm: Rhythm) -> _Stream:
    times = presence_times(rhythm)
    rng = generator(rhythm.base.seed, 13)
    return _Stream(times, np.arange(len(times)), presence_messages(rhythm, rng, times))


def _trade(rhythm: Rhythm, ids: str) -> _Stream:
    base, rng = rhythm.base, generator(rhythm.base.seed, 14)
    orgs = np.arange(len(base.orgs))
    total = TRADES_PER_ORG * len(orgs) * rhythm.weeks
    who, week = rhythm.draw_weeks(rng, total, np.repeat(base.org_trade[:, None], rhythm.weeks, axis=1), orgs)
    trade = draw_trade(base, rng, who, rhythm.draw_times(rng, who, week))
    changed = np.flatnonzero(~np.isnan(trade.changed_at))
    sent = np.concatenate([trade.times, trade.changed_at[changed]])
    numbers = np.concatenate([np.arange(len(who)), changed + len(who)])
    return _Stream(sent, numbers, transaction_messages(base, rng, trade, ids))


def _service(rhythm: Rhythm, ids: str) -> _Stream:
    base, rng = rhythm.base, generator(rhythm.base.seed, 15)
    users, times = _activity(rhythm, rng, base.weight, SERVICE_PER_USER)
    hours = rhythm.local_hour_of_week(base.org_of[users], times)
    return _Stream(*_repeated(rng, times), service_messages(base, rng, users, hours, times, ids))


def _learned(rhythm: Rhythm) -> _Stream:
    """Return the directory's news: most new addresses become known, the others stay unknown."""
    base = rhythm.base
    news = [user for user in base.users if user.later_email]
    news = [user for number, user in enumerate(news) if number % 3 != 2]
    time = rhythm.end - _LEARNED_DAYS * _DAY_SECONDS
    sent = np.asarray(time + 60.0 * np.arange(len(news)), dtype=np.float64)

    def encode(i: int) -> Message:
        return user_message(base, news[i], (news[i].later_email or "",))

    return _Stream(sent, np.arange(len(news)), encode)


def _bad(rhythm: Rhythm, index: int, count: int) -> _Stream:
    """Return a sprinkle of bad messages for the topic of stream *index*, which has *count* messages."""
    rng = generator(rhythm.base.seed, 20 + index)
    bad = rng.binomial(count, BAD_SHARE)
    sent = rhythm.start + rng.random(bad) * rhythm.weeks * WEEK_SECONDS
    return _Stream(sent, np.arange(bad), lambda number: bad_message(_BAD_TOPICS[index], number))


def live(base: Base, now: float, count: int = 100, seconds: float = 1.0) -> list[Message]:
    """Return *count* messages whose times lie in the *seconds* before *now* (parents of replies: up to hours before).

    The slipping org stays nearly silent. The same base, time and count give the same bytes.
    """
    stamp = int(now * 1000)
    rng = generator(base.seed, 30, stamp)
    shares = np.array(list(_LIVE_SHARES.values()))
    events, syslog, chat, trades = rng.multinomial(count, shares / shares.sum()).tolist()
    quiet = np.where(base.org_of == base.slipping, 0.02, 1.0)
    chances = base.weight * quiet / (base.weight * quiet).sum()
    ids = f"l{stamp:x}-"

    def times(number: int) -> Floats:
        return now - np.floor(rng.random(number) * seconds * 1000.0) / 1000.0

    def users(number: int) -> Ints:
        return rng.choice(len(chances), number, p=chances)

    orgs = rng.choice(len(base.orgs), trades, p=base.org_trade / base.org_trade.sum())
    talk = _live_talk(make_rhythm(base, now, 1), rng, users(chat), times(chat))
    encoders = (
        (events, event_messages(base, rng, users(events), times(events), ids)),
        (syslog, syslog_messages(base, rng, users(syslog), times(syslog), stamp * 2_000 + 1)),
        (chat, chat_messages(base, rng, talk, ids)),
        (trades, transaction_messages(base, rng, draw_trade(base, rng, orgs, times(trades)), ids)),
    )
    made = [encode(number) for total, encode in encoders for number in range(total)]
    return [made[number] for number in rng.permutation(len(made)).tolist()]


def _live_talk(rhythm: Rhythm, rng: np.random.Generator, users: Ints, times: Floats) -> Talk:
    """Return pairs of a message and its answer; the message is given a time in the past and arrives with the answer."""
    base, count = rhythm.base, len(users)
    answers = np.arange(1, count, 2)
    users, times, parents = users.copy(), times.copy(), np.full(count, -1)
    asking = answers - 1
    latency = reply_latency_seconds(rng, rhythm.local_hour_of_week(base.org_of[users[asking]], times[answers]))
    times[asking] = times[answers] - np.floor(np.minimum(latency, 3 * 3600.0) * 1000.0) / 1000.0
    users[answers] = colleagues(base, rng, users[asking])
    parents[answers] = asking
    return Talk(users, times, parents)
