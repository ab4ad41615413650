"""What hypothesis may do to a world, in any order: messages, steps, crashes, sleep, rebalances, Redis away.

Owns the rules. Invariant: every run ends at rest with all promises of proof.py checked, and so does every `rest`
on the way.
"""

from __future__ import annotations

from collections import Counter
from typing import ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from tests.simulation.ground import HOUR_MS, LATENESS_HOURS, PARTITIONS
from tests.simulation.messages import (
    KINDS,
    LATER,
    MOST_MESSAGES,
    PEOPLE,
    TALKS,
    TIMED,
    Talk,
    event,
    from_2099,
    garbage,
    timed,
    too_late,
)
from tests.simulation.proof import differences
from tests.simulation.worker import COMMIT_STEPS, Stop
from tests.simulation.world import World

WORKERS = 3
_OLDEST_HOURS, _SLOWEST_HOURS = 5 * 24, 51
_partitions = st.integers(0, PARTITIONS - 1)
_workers = st.integers(0, WORKERS - 1)
_some = st.integers(1, 4)
_hours = st.integers(0, _OLDEST_HOURS)
TALKED = st.integers(_SLOWEST_HOURS, _OLDEST_HOURS)
_any = st.integers(0, 16)
_steps = st.sampled_from((*COMMIT_STEPS, "offset", "end", "publish"))  # after something was sent it is worth more
_who = st.sampled_from(sorted(PEOPLE))
_acts = st.lists(st.tuples(st.sampled_from(sorted(KINDS)), _who, _hours), min_size=1, max_size=5)


class Simulation(RuleBasedStateMachine):
    """One run."""

    recounted: ClassVar[bool] = False
    happened: ClassVar[Counter[str]] = Counter()
    """What came true, over all runs."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World(WORKERS)
        self.number = 0

    @rule(acts=_acts, partition=_partitions)
    def messages(self, acts: list[tuple[str, str, int]], partition: int) -> None:
        """Send messages of the last days, in any order of their times."""
        for kind, who, hours in acts:
            self._send(kind, who, hours, partition)

    @rule(
        who=st.sampled_from(sorted(LATER)), kind=st.sampled_from(["event", "event", "trade"]), partition=_partitions,
        hours=_hours, read=st.booleans(),
    )  # fmt: skip
    def message_of_a_stranger(self, who: str, kind: str, partition: int, hours: int, read: bool) -> None:
        """Send a message that waits for the directory, unless that is faster; *read* makes sure that it is not."""
        self._send(kind, who, hours, partition)
        if read:
            self.work_on(0, 8)

    @rule(talks=st.lists(st.sampled_from(sorted(TALKS)), min_size=2, max_size=4), partition=_partitions, hours=TALKED)
    def conversation(self, talks: list[str], partition: int, hours: int) -> None:
        """Have people talk in a way that is easily counted wrongly."""
        for name in talks:
            talk = Talk(self.number + 1, self.world.now_ms - hours * HOUR_MS)
            self.number += MOST_MESSAGES
            for message in TALKS[name](talk):
                self.world.send(message, partition)
            self.happened[f"talk {name}"] += 1

    @rule(who=_who, hours=_hours, number=st.integers(1, TIMED), partition=_partitions)
    def timed(self, who: str, hours: int, number: int, partition: int) -> None:
        """Send events that count by the hour of the week."""
        for _ in range(number):
            self.number += 1
            self.world.send(timed(self.number, who, self.world.now_ms - hours * HOUR_MS), partition)

    @rule(which=st.integers(0, 30), partition=_partitions)
    def again(self, which: int, partition: int) -> None:
        """Send a message once more, to whatever partition."""
        if self.world.sent:
            sent = self.world.sent[-1 - which % len(self.world.sent)]
            # What is too late beside its own partition's newest event need not be so in another one.
            stays = sent.message.stays or sent.message.reason == "too_late"
            self.world.send(sent.message, sent.partition if stays else partition)
            self.happened["duplicate"] += 1

    @rule(partition=_partitions, which=st.integers(0, 5))
    def useless(self, partition: int, which: int) -> None:
        """Send what no reader accepts, or one event from far ahead, or one far behind a newer one of its partition."""
        self.number += 1
        if which == 4:
            self.world.send(from_2099(self.number), partition)
        elif which == 5:
            self._send("event", "bob", 0, partition)
            self.world.send(too_late(self.number, self.world.now_ms, LATENESS_HOURS), partition)
        else:
            self.world.send(garbage(which), partition)

    @rule(who=st.sampled_from(sorted(LATER)))
    def learn(self, who: str) -> None:
        """Let the directory learn a stranger, or say the same once more."""
        self.world.learn(who, LATER[who])

    @rule(number=_workers, choice=_any, most=_some, commit=st.booleans(), follow=st.booleans())
    def work(self, number: int, choice: int, most: int, commit: bool, follow: bool) -> None:
        """Let a worker handle a chunk and, or not yet, commit it."""
        if follow:
            self.world.workers[number].follow()
        self.world.work(number, choice, most, commit=commit)

    @rule(number=_workers, chunks=st.integers(2, 12))
    def work_on(self, number: int, chunks: int) -> None:
        """Let workers handle several chunks."""
        for choice in range(chunks):
            self.world.work(number, choice, 3)

    @rule(number=_workers, choice=_any, most=_some, step=_steps)
    def crash_within_a_commit(self, number: int, choice: int, most: int, step: str) -> None:
        """Let a worker crash before a certain step of a commit."""
        self.world.work(number, choice, most, stop=Stop(step))

    @rule(number=_workers, choice=_any, most=_some, step=_steps)
    def sleep_within_a_commit(self, number: int, choice: int, most: int, step: str) -> None:
        """Let a worker fall asleep before a certain step of a commit."""
        self.world.work(number, choice, most, stop=Stop(step, asleep=True))

    @rule(number=_workers, waking=st.booleans())
    def wake_or_kill(self, number: int, waking: bool) -> None:
        """Wake a worker, if it sleeps, or kill it."""
        if waking:
            self.world.wake(number)
        else:
            self.world.crash(number)

    @rule(choice=st.integers(0, 26), stop=st.none() | st.builds(Stop, _steps, st.booleans()),
          crash_after=st.none() | st.integers(0, 6), late=st.booleans())  # fmt: skip
    def rebalance(self, choice: int, stop: Stop | None, crash_after: int | None, late: bool) -> None:
        """Deal the partitions out anew, to all that are awake; if *late*, open transactions have timed out."""
        if late:
            self.happened["timed out"] += self.world.broker.time_out()
        self.world.rebalance(choice, stop, crash_after)

    @rule(
        partition=_partitions, wall=st.booleans(), new_round=st.booleans(), hours=st.sampled_from([0, 0, 1, 9, 30]),
        read=st.booleans(),
    )  # fmt: skip
    def tick(self, partition: int, wall: bool, new_round: bool, hours: int, read: bool) -> None:
        """Let time pass and tick a partition; *read* has it handled at once, so that it has something to tell."""
        self.world.pass_time(hours)
        self.world.tick(partition, wall=wall, new_round=new_round)
        if read:
            self.work_on(0, 8)

    @rule(number=_workers, most=st.sampled_from([1, 8, 1000]))
    def publish(self, number: int, most: int) -> None:
        """Let a worker write to Redis."""
        self.world.publish(number, most)

    @rule(what=st.sampled_from(["goes", "returns", "is replaced"]))
    def redis(self, what: str) -> None:
        """Take Redis away, bring it back, or put an empty one in its place."""
        if what == "is replaced":
            self.world.redis.replace()
            self.happened["redis replaced"] += 1
        else:
            self.world.redis.away = what == "goes"
            self.world.publish(0, 8)

    @precondition(lambda self: self.number > 9)
    @rule()
    def rest(self) -> None:
        """Come to rest in the middle of the run."""
        self._check(recounted=False)

    def teardown(self) -> None:
        """Come to rest, and hold everything against what must be."""
        self._check(recounted=self.recounted)
        self.happened.update(self.world.happened)
        self.happened["runs"] += 1

    def _check(self, *, recounted: bool) -> None:
        self.world.rest()
        wrong = differences(self.world, recounted=recounted)
        assert not wrong, "\n".join(wrong)

    def _send(self, kind: str, who: str, hours: int, partition: int) -> None:
        self.number += 1
        made = event if who in LATER and kind == "event" else KINDS[kind]
        self.world.send(made(self.number, who, self.world.now_ms - hours * HOUR_MS), partition)
