"""What readers of `changes` see of one subject leads from band to band, whatever was lost or told again on the way."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from streams.fenced_write import Write
from streams.pending_writes import PendingWrites
from tests.simulation.fake_redis import FakeRedis

BANDS = ("at_risk", "watch", "healthy")


class Subject:
    """A subject whose band changes tick by tick, and the worker that tells Redis of it."""

    def __init__(self) -> None:
        self.redis = FakeRedis()
        self.bands = [BANDS[0]]
        self.committed = 0  # the tick up to which live writes were put
        self.pending, self.untold = PendingWrites(100), False

    def _missed(self, band: str) -> dict[str, dict[str, str]]:
        return {former: {"from": former, "to": band} for former in BANDS if former != band}

    def tick(self, band: str) -> None:
        """Fold a tick; its effects wait for their commit."""
        self.bands.append(band)

    def same(self) -> None:
        """Fold a tick that changes no band."""
        self.bands.append(self.bands[-1])

    def commit(self) -> None:
        """Put the live write of the next tick."""
        if self.committed < len(self.bands) - 1:
            self.committed += 1
            former, band = self.bands[self.committed - 1 : self.committed + 1]
            change = {"from": former, "to": band} if former != band else None
            missed = self._missed(band) if self.untold else None
            self.pending.add(Write("u", {"band": band}, f"{self.committed:04d}", (), change, missed=missed))

    def tell(self) -> None:
        """Tell what the state shows now, committed or not; Redis was told everything then."""
        band = self.bands[-1]
        self.pending.add(
            Write("u", {"band": band}, f"{len(self.bands) - 1:04d}", (), None, missed=self._missed(band))
        )  # fmt: skip
        self.untold = False

    def send(self) -> None:
        """Let Redis have what waits."""
        self.redis.script(self.pending.take(100))

    def die(self) -> None:
        """Lose what waits; the next owner's log ends where commits did or further on."""
        self.pending, self.untold = PendingWrites(100), True


STEPS = st.lists(st.sampled_from([*BANDS, "same", "commit", "commit", "tell", "send", "die"]), min_size=8, max_size=40)


@settings(max_examples=1500)
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
    seen = [(entry["from"], entry["to"]) for _, entry in subject.redis.changes]
    assert all(before[1] == after[0] for before, after in pairwise(seen)), seen
    assert not seen or seen[-1][1] == subject.bands[-1]
