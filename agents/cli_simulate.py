"""Owns `orgpulse simulate`: plays the made-up company base into Kafka, history first and then live.

Invariant: topics advance together, in the order of time, and every message is acknowledged before the command ends.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import click

from agents.cli_errors import ToldError
from agents.simulate import Base, Message, directory, history, live, make_base
from streams.clock import Clock, WallClock
from streams.sender import Sender, SendError
from streams.settings import Settings

_SAY_EVERY = 50_000
_LIVE_STEP_SECONDS = 0.1

Say = Callable[[str], None]


def play(sender: Sender, prefix: str, messages: Iterable[Message], say: Say = lambda text: None) -> int:
    """Send *messages* and wait for Kafka; returns how many.

    Raises:
        SendError: If Kafka did not take them all.
    """
    send, count = sender.send, 0
    topics: dict[str, str] = {}
    with _rare_collections():
        for count, (topic, key, value) in enumerate(messages, start=1):
            send(topics.setdefault(topic, prefix + topic), key, value)
            if count % _SAY_EVERY == 0:
                say(f"{count:,} messages sent")
    sender.flush()
    return count


def play_live(
    sender: Sender, prefix: str, base: Base, clock: Clock, rate: float, seconds: float, say: Say = lambda text: None
) -> int:
    """Send *rate* messages a second, stamped with the clock's time, for *seconds* (0: until interrupted).

    A step that comes late (a slow broker) is made up for in number but not in time: its messages say when they were
    sent.

    Raises:
        SendError: If Kafka did not take them all.
    """
    begin = time.monotonic()
    sent, steps = 0, 0
    while True:
        steps += 1
        passed = time.monotonic() - begin
        if seconds and passed >= seconds:
            break
        due = int(passed * rate) - sent
        for topic, key, value in live(base, clock.now(), due, _LIVE_STEP_SECONDS) if due > 0 else ():
            sender.send(prefix + topic, key, value)
        sent += max(due, 0)
        sender.poll()
        if steps % 100 == 0:
            say(f"{sent:,} live messages sent")
        time.sleep(max(0.0, begin + steps * _LIVE_STEP_SECONDS - time.monotonic()))
    sender.flush()
    return sent


@contextmanager
def _rare_collections() -> Iterator[None]:
    """Let the collector run rarely: the sender makes several objects for each record that die without its help."""
    usual = gc.get_threshold()
    gc.set_threshold(200_000, 20, 100)
    try:
        yield
    finally:
        gc.set_threshold(*usual)


def parse_end(text: str | None, clock: Clock) -> float:
    """Return the end of the history in epoch seconds; now where none is given, UTC where it has no zone.

    Raises:
        click.BadParameter: If it is no ISO 8601 time.

    >>> from streams.clock import FixedClock
    >>> parse_end("1970-01-02", FixedClock(0.0))
    86400.0
    """
    if text is None:
        return clock.now()
    try:
        end = datetime.fromisoformat(text)
    except ValueError as error:
        raise click.BadParameter(f"{text!r} is no ISO 8601 time such as 2026-01-31T12:00:00Z") from error
    return (end if end.tzinfo else end.replace(tzinfo=UTC)).timestamp()


@click.command("simulate")
@click.option("--orgs", type=click.IntRange(min=3), default=240, show_default=True)
@click.option("--users", type=click.IntRange(min=1), default=3200, show_default=True)
@click.option("--weeks", type=click.IntRange(1, 520), default=5, show_default=True, help="Length of the history.")
@click.option("--seed", type=click.IntRange(min=0), default=7, show_default=True, help="Same seed, same bytes.")
@click.option("--end", help="End of the history, ISO 8601; now if not given.")
@click.option("--live-rate", type=click.FloatRange(min=0.1), default=200.0, show_default=True, help="Messages/second.")
@click.option("--live-seconds", type=click.FloatRange(min=0), default=0.0, show_default=True, help="0: until Ctrl-C.")
@click.option("--history-only", is_flag=True, help="Stop after the history.")
@click.pass_obj
def simulate(
    settings: Settings, orgs: int, users: int, weeks: int, seed: int, end: str | None, live_rate: float,
    live_seconds: float, history_only: bool,
) -> None:  # fmt: skip
    """Play a made-up company base: directory, weeks of history, then live events.

    One org, northwind, visibly stops using the product. A sprinkle of defects is part of the play: duplicates, late
    and bad messages, people whom the directory learns of later.
    """
    clock = WallClock()
    end_seconds = parse_end(end, clock)
    prefix = settings.kafka.prefix
    try:
        base = make_base(seed, orgs, users)
        with Sender(settings.kafka, client_id="orgpulse-simulate") as sender:
            known = play(sender, prefix, directory(base), _say)
            _say(f"directory: {known:,} entries for {orgs:,} orgs and {users:,} users")
            begin = time.monotonic()
            count = play(sender, prefix, history(base, end_seconds, weeks), _say)
            _say(f"history: {count:,} messages over {weeks} weeks in {time.monotonic() - begin:.1f} s")
            if not history_only:
                _say(f"live: {live_rate:g} messages a second; Ctrl-C ends it")
                _say(f"live: {_until_interrupted(sender, prefix, base, clock, live_rate, live_seconds):,} messages")
    except (SendError, ValueError) as error:
        raise ToldError(str(error)) from error


def _until_interrupted(sender: Sender, prefix: str, base: Base, clock: Clock, rate: float, seconds: float) -> int:
    """Play live; Ctrl-C is the ordinary end of it."""
    before = sender.sent
    try:
        play_live(sender, prefix, base, clock, rate, seconds, _say)
    except KeyboardInterrupt:
        sender.flush()
    return sender.sent - before


def _say(text: str) -> None:
    click.echo(text, err=True)
