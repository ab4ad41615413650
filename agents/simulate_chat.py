"""Owns simulated chat: messages, replies that take as long as the hour of the week suggests, presence samples.

Invariant: a reply's parent is an earlier message of the same org, except for the few defects that the contract names
(self-replies, clocks that are wrong, parents that nobody knows).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from agents.simulate_base import INTERNAL_ORG, Base, Floats, Ints, Message
from agents.simulate_events import Encode
from agents.simulate_rhythm import Rhythm, hour_weights, iso_times, reply_latency_seconds

PRESENCE_SECONDS = 600.0
_CHANNELS = ("general", "help", "dev")
_FIRST_ANSWERS, _FURTHER_ANSWERS = 0.9, 0.4  # answers per message, per answer
_SELF_ANSWERS = 0.3  # how many of the answers that fall on the asker are kept


@dataclass(frozen=True)
class Talk:
    """Chat messages as columns: who, when, and which message (by number, -1 for none) they answer."""

    users: Ints
    times: Floats
    parents: Ints


def draw_talk(rhythm: Rhythm, rng: np.random.Generator, users: Ints, times: Floats) -> Talk:
    """Return the messages that *users* open at *times* together with two rounds of answers before the end."""
    talk = Talk(users, times, np.full(len(users), -1))
    newest = np.arange(len(users))
    for answers in (_FIRST_ANSWERS, _FURTHER_ANSWERS):
        parents = np.repeat(newest, rng.poisson(answers, len(newest)))
        talk, newest = _answered(rhythm, rng, talk, parents)
    return talk


def _answered(rhythm: Rhythm, rng: np.random.Generator, talk: Talk, parents: Ints) -> tuple[Talk, Ints]:
    """Return *talk* with one answer to each of *parents*, and the numbers of the answers."""
    base = rhythm.base
    asked, orgs = talk.times[parents], base.org_of[talk.users[parents]]
    times = asked + reply_latency_seconds(rng, rhythm.local_hour_of_week(orgs, asked))
    times = np.where(rng.random(len(parents)) < 0.002, asked - 30.0, times)  # a clock that is wrong
    users = colleagues(base, rng, talk.users[parents])
    wanted = (users != talk.users[parents]) | (rng.random(len(parents)) < _SELF_ANSWERS)
    kept = (times < rhythm.end) & (times >= rhythm.start) & wanted
    numbers = np.arange(len(talk.users), len(talk.users) + int(kept.sum()))
    times = np.floor(times * 1000.0) / 1000.0
    return (
        Talk(
            np.concatenate([talk.users, users[kept]]),
            np.concatenate([talk.times, times[kept]]),
            np.concatenate([talk.parents, parents[kept]]),
        ),
        numbers,
    )


def colleagues(base: Base, rng: np.random.Generator, users: Ints) -> Ints:
    """Return somebody of the same org for each of *users* (themselves where the draw falls on them)."""
    orgs = base.org_of[users]
    first = np.searchsorted(base.org_of, orgs, side="left")
    size = np.searchsorted(base.org_of, orgs, side="right") - first
    return np.asarray(first + np.floor(rng.random(len(users)) * size).astype(np.int64), dtype=np.int64)


def chat_messages(base: Base, rng: np.random.Generator, talk: Talk, ids: str) -> Encode:
    """Return what makes chat message *i*; *ids* is the prefix of message ids."""
    count = len(talk.users)
    alias, unknown_parent = rng.random(count).tolist(), rng.random(count).tolist()
    channel = (np.arange(count) % 3).tolist()
    for number, parent in enumerate(talk.parents.tolist()):
        if parent >= 0:
            channel[number] = channel[parent]
    iso, who, parents = iso_times(talk.times), talk.users.tolist(), talk.parents.tolist()

    def encode(i: int) -> Message:
        user = base.users[who[i]]
        org = base.orgs[user.org].id
        room = f"{org}-{_CHANNELS[channel[i]]}"
        parent = "" if parents[i] < 0 else f',"in_reply_to":"{ids}{parents[i]:x}"'
        if parent and unknown_parent[i] < 0.005:
            parent = f',"in_reply_to":"{ids}gone{i:x}"'
        server = f',"server":"{org}"' if org == INTERNAL_ORG else ""
        author = user.email if alias[i] < 0.3 else user.username
        text = (
            f'{{"message_id":"{ids}{i:x}","author":"{author}","time":"{iso[i]}","channel":"{room}"{parent},'
            f'"org_id":"{org}"{server}}}'
        )
        return Message("chat-messages", room.encode(), text.encode())

    return encode


def presence_times(rhythm: Rhythm) -> Floats:
    """Return when the operator's own server counts who is online: every ten minutes."""
    first = np.ceil(rhythm.start / PRESENCE_SECONDS) * PRESENCE_SECONDS
    return np.arange(first, rhythm.end, PRESENCE_SECONDS)


def presence_messages(rhythm: Rhythm, rng: np.random.Generator, times: Floats) -> Encode:
    """Return what makes presence sample *i* of the operator's own server."""
    org = next(number for number, org in enumerate(rhythm.base.orgs) if org.id == INTERNAL_ORG)
    hours = rhythm.local_hour_of_week(np.full(len(times), org), times)
    online = rng.poisson(3.0 + 90.0 * hour_weights(1.0)[hours]).tolist()
    iso, key = iso_times(times), INTERNAL_ORG.encode()

    def encode(i: int) -> Message:
        text = f'{{"type":"presence","server":"{INTERNAL_ORG}","time":"{iso[i]}","online":{online[i]}}}'
        return Message("chat-messages", key, text.encode())

    return encode
