"""A whole installation that can be crashed at every step: broker, Redis, clock, workers, and who owns what.

Owns what may happen to it, in which every method is one event. Invariant: a fault is counted in `happened` only
when it came true, so that a test can say that there was one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from reports.recount import Raw
from state.activity import Tick, encode_record
from streams.clock import FixedClock
from tests.simulation.broker import Broker, FencedError
from tests.simulation.fake_redis import FakeRedis
from tests.simulation.ground import HOUR_MS, LONGEST_DAYS, NAMES, PARTITIONS, SOURCES, START_MS
from tests.simulation.messages import ORGS, PEOPLE, Message, Sent, org, person
from tests.simulation.worker import CENSUS, UNITS, AsleepError, CrashedError, Stop, Worker

_MOST_ROUNDS = 200
_ALL = 1_000_000


class World:
    """An installation with *workers* workers, its directory known, nothing read yet."""

    def __init__(self, workers: int) -> None:
        self.broker, self.redis, self.clock = Broker(), FakeRedis(), FixedClock(START_MS / 1000)
        self.happened = Counter[str]()
        self.raw: list[Raw] = []
        self.sent: list[Sent] = []
        self.learnt: set[str] = set()
        self._round = 0
        self._assignment: dict[int, Worker | None] = dict.fromkeys(UNITS)
        self.broker.now_ms = START_MS
        self.workers: list[Worker] = []
        for name in ORGS:
            self.put(NAMES.orgs, 0, org(name), name)
        for user in PEOPLE:
            self.put(NAMES.users, 0, person(user), user)
        self.workers = [Worker(self.broker, self.redis, self.clock) for _ in range(workers)]
        self.rebalance(0)
        self._work_through(())  # orgs have their zone before anybody does something

    @property
    def now_ms(self) -> int:
        """The present."""
        return round(self.clock.now() * 1000)

    def without_faults(self) -> World:
        """Return another world, at rest at the same moment: it got the same messages, and has one worker."""
        plain = World(1)
        for topic, partition, _, key, value, stamp in self.raw[len(plain.raw) :]:
            plain.broker.now_ms = stamp
            plain.put(topic, partition, value, (key or b"").decode())
        plain.clock.set(self.clock.now())
        plain.broker.now_ms = self.now_ms
        plain.rest()
        return plain

    def put(self, topic: str, partition: int, value: bytes | None, key: str = "") -> int:
        """Append a raw record; return its offset."""
        offset = self.broker.put(topic, partition, key.encode() or None, value)
        self.raw.append((topic, partition, offset, key.encode() or None, value, self.broker.now_ms))
        return offset

    def send(self, message: Message, partition: int) -> None:
        """Append a message of a source."""
        self.sent.append(Sent(message, partition, self.put(message.topic, partition, message.value)))

    def learn(self, user: str, org_name: str) -> None:
        """Let the directory learn somebody, and their org if it is new."""
        if org_name not in ORGS and org_name not in self.learnt:
            self.put(NAMES.orgs, 1, org(org_name), org_name)
        self.put(NAMES.users, 1, person(user), user)
        self.learnt |= {user, org_name}

    def pass_time(self, hours: int) -> None:
        """Move the clock, within the limit of a run."""
        last_ms = START_MS + LONGEST_DAYS * 24 * HOUR_MS
        self.clock.set(min(self.now_ms + hours * HOUR_MS, last_ms) / 1000)
        self.broker.now_ms = self.now_ms

    def tick(self, partition: int, *, wall: bool, new_round: bool) -> None:
        """Write a tick, as whoever believes to own *partition* does."""
        self._round += new_round
        tick = encode_record(Tick(self.now_ms if wall else 0, self._round))
        self.broker.put(NAMES.activities, partition, None, tick)

    def work(self, number: int, choice: int, most: int, *, commit: bool = True, stop: Stop | None = None) -> None:
        """Let the worker *number*, or the next that can, handle one chunk and commit it, up to *stop*."""
        able = [w for w in (*self.workers[number:], *self.workers[:number]) if not w.asleep and w.readable()]
        if not able:
            return
        worker, readable = able[0], able[0].readable()
        tp = readable[choice % len(readable)]

        def act() -> None:
            worker.handle(tp, most)
            if commit:
                worker.commit(tp, stop)

        self._let(worker, act, stop)

    def wake(self, number: int) -> None:
        """Let a sleeping worker go on with what it was about to do."""
        worker = self.workers[number % len(self.workers)]
        if worker.asleep:
            self.happened["woken"] += 1
            self._let(worker, worker.wake)

    def crash(self, number: int) -> None:
        """Kill a worker, awake or asleep, with all its memory; another starts in its place and owns nothing yet."""
        self.happened["crash"] += 1
        self._replace(self.workers[number % len(self.workers)])

    def rebalance(self, choice: int, stop: Stop | None = None, crash_after: int | None = None) -> None:
        """Let all that are awake give up everything and take over what *choice* gives them.

        *stop* interrupts a last checkpoint, *crash_after* a restore: whoever is hit owns nothing afterwards.
        """
        for worker in [w for w in self.workers if not w.asleep]:
            self._let(worker, lambda w=worker: w.release(stop), stop)
        members = [w for w in self.workers if not w.asleep]
        given: dict[int, list[int]] = {}
        for number, unit in enumerate(UNITS):
            given.setdefault(choice // 3**number % max(1, len(members)), []).append(unit)
        self._assignment = dict.fromkeys(UNITS)
        for number, worker in enumerate(members):
            units = given.get(number, [])
            if units and self._let(worker, lambda w=worker, u=units: w.take_over(u, crash_after)):
                self._assignment |= dict.fromkeys(units, worker)
            elif units:
                self.happened["crash in restore"] += 1
        self.happened["rebalance"] += 1

    def publish(self, number: int, most: int) -> None:
        """Let a worker write to Redis."""
        worker = self.workers[number % len(self.workers)]
        if not worker.asleep and worker.sink.busy and not worker.sink.step(most):
            self.happened["redis was away"] += 1

    def rest(self) -> None:
        """End all faults, let everything be handled, told and written."""
        self.redis.away = False
        for number in range(len(self.workers)):
            self.wake(number)
        self.broker.time_out()
        if not self._settled():
            self.rebalance(1)
        for worker in self.workers:
            worker.follow()
        self._work_through(SOURCES)
        for rounds in range(_MOST_ROUNDS):
            before = self._calibrations()
            for partition in range(PARTITIONS):
                self.tick(partition, wall=True, new_round=partition == 0)
            self._work_through((NAMES.activities, NAMES.summaries))
            if rounds and self._calibrations() == before:
                break
        else:
            raise AssertionError("cut points never come to rest")
        self._publish_all()

    def _publish_all(self) -> None:
        """Let everything be written, by owners first: what others still hold back is older."""
        while any(worker.sink.busy for worker in self.workers):
            for worker in sorted(self.workers, key=lambda w: not w.units):
                worker.sink.step(_ALL)

    def _settled(self) -> bool:
        """Say whether every unit has an owner who lives, and nobody else believes to own it."""
        return all([w for w in self.workers if unit in w.units] == [owner] for unit, owner in self._assignment.items())

    def _calibrations(self) -> int:
        owner = self._assignment[CENSUS]
        assert owner is not None
        return owner.people.census.calibration.generation

    def _work_through(self, first: tuple[str, ...]) -> None:
        """Let all workers handle everything, those of the topics *first* before the others."""
        for _ in range(_MOST_ROUNDS):
            found = False
            for worker in self.workers:
                readable = sorted(worker.readable(), key=lambda tp: tp.topic not in first)
                for tp in readable:
                    worker.handle(tp, _ALL)
                    worker.commit(tp)
                    found = True
            if not found:
                return
        raise AssertionError("the workers never come to an end")

    def _let(self, worker: Worker, act: Callable[[], None], stop: Stop | None = None) -> bool:
        """Let *worker* do something; say whether it came through. A dead one is replaced."""
        try:
            act()
        except AsleepError:
            self.happened[f"asleep before {stop.step}" if stop else "asleep"] += 1
            return False
        except (CrashedError, FencedError) as error:
            fenced = isinstance(error, FencedError)
            self.happened["fenced" if fenced else f"crash before {stop.step}" if stop else "crash"] += 1
            self._replace(worker)
            return False
        return True

    def _replace(self, dead: Worker) -> None:
        self.workers[self.workers.index(dead)] = Worker(self.broker, self.redis, self.clock)
