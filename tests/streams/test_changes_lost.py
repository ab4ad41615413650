"""What readers of `changes` see of one subject leads from band to band, whatever was lost or told again on the way."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from streams.fenced_write import Missed, Queued, Write
from streams.pending_writes import PendingWrites
from tests.simulation.fake_redis import FakeRedis

BANDS = ("at_risk", "watch", "healthy")


def missed(band: str) -> Missed:
    return {former: {"from": former, "to": band} for former in BANDS if former != band}


class Subject:
    """A subject whose band changes tick by tick, and the workers that tell Redis of it, one after the other."""

    def __init__(self) -> None:
        self.redis = FakeRedis()
        self.bands = [BANDS[0]]
        self.folded = 0  # the tick that the owner's state stands at
        self.committed = 0  # the tick up to which live writes were put
        self.pending, self.untold = PendingWrites(100), False
        self.of_the_dead: list[Queued] = []  # on its way still

    def tick(self, band: str) -> None:
        """Let a tick come that changes the band."""
        self.bands.append(band)
        self.folded = len(self.bands) - 1

    def same(self) -> None:
        """Let a tick come that changes no band."""
        self.tick(self.bands[-1])

    def commit(self) -> None:
        """Put the live write of the next tick."""
        if self.committed < len(self.bands) - 1:
            self.committed += 1
            self.folded = max(self.folded, self.committed)
            former, band = self.bands[self.committed - 1 : self.committed + 1]
            change = {"from": former, "to": band} if former != band else None
            lacked = missed(band) if self.untold else None
            self.pending.add(Write("u", {"band": band}, f"{self.committed:04d}", (), change, missed=lacked))

    def tell(self) -> None:
        """Tell what the state shows now, committed or not; Redis was told everything then."""
        self.pending.add(self._again())

    def tell_at_once(self) -> None:
        """Do as `tell`, not after what waits but before it."""
        if "u" not in self.pending:
            self.redis.script([(self._again(), ())])

    def tell_unheard(self) -> None:
        """Do as `tell_at_once`, and hear nothing of it: it is told once more."""
        if "u" not in self.pending:
            self._unheard([(self._again(), ())])

    def send(self) -> None:
        """Let Redis have what waits."""
        self.redis.script(self.pending.take(100))

    def unheard(self) -> None:
        """Let Redis have what waits, and hear nothing of it: it is sent once more."""
        self._unheard(self.pending.take(100))

    def shed(self) -> None:
        """Drop what waits; everything is told again."""
        self.pending.shed()
        self.untold = True

    def flush(self) -> None:
        """Empty Redis; everything is told again."""
        self.redis.replace()
        self.untold = True

    def die(self) -> None:
        """Lose what waits, or have it reach Redis late; the next owner's state is what was committed."""
        self.of_the_dead += self.pending.take(100)
        self.pending, self.untold, self.folded = PendingWrites(100), True, self.committed

    def late(self) -> None:
        """Let Redis have what dead workers sent."""
        self.redis.script(self.of_the_dead)
        self.of_the_dead = []

    def _again(self) -> Write:
        band = self.bands[self.folded]
        self.untold = False
        return Write("u", {"band": band}, f"{self.folded:04d}", (), None, missed=missed(band))

    def _unheard(self, queued: list[Queued]) -> None:
        self.redis.script(queued)
        self.pending.give_back(queued)


TOLD = ("tell", "tell_at_once", "tell_unheard", "send", "unheard")
LOST = ("shed", "die", "late", "flush")
STEPS = st.lists(st.sampled_from([*BANDS, "same", "commit", "commit", *TOLD, *LOST]), min_size=8, max_size=40)


@settings(max_examples=3000)
@given(STEPS)
def test_every_entry_leads_from_where_the_one_before_led_to(steps: list[str]) -> None:
    subject = Subject()
    for step in steps:
        if step in BANDS:
            subject.tick(step)
        else:
            getattr(subject, step)()
    while subject.committed < len(subject.bands) - 1:
        subject.commit()
    subject.tell()
    subject.send()
    subject.late()
    seen = [(entry["from"], entry["to"]) for _, entry in subject.redis.changes]
    assert all(before[1] == after[0] for before, after in pairwise(seen)), seen
    assert not seen or seen[-1][1] == subject.bands[-1] == subject.redis.hashes["u"]["band"]
