"""A Redis like that of an installation: made-up orgs and users, spelled and written by the program's own code.

Invariant: the same seed and clock give the same keys and values.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import redis

from agents.alert_documents import AlertDocuments
from agents.chat_documents import ChatDocuments
from agents.documents import Documents
from agents.simulate_base import Base, make_base
from reports.sample_pictures import made_week
from reports.week_map import Label, map_of
from state.effects import Alert, CellFigures, ChatCounts, GroupScore, GroupTotal, LatencyMap, OrgScore, UserScore
from state.health import Model
from streams.fenced_write import SCRIPT, Write, pack
from streams.model_file import load_model
from tests.agents.by_hand import TOPICS

WEEK_MS = 7 * 86_400_000
_WRITES = 64


def band_of(score: int | None, model: Model) -> str:
    if score is None:
        return ""
    return "healthy" if score >= model.bands.healthy else "watch" if score >= model.bands.at_risk else "at_risk"


def put(url: str, prefix: str, writes: Iterable[Write]) -> int:
    """Write as the sink does, by its script; return how many."""
    client, many = redis.Redis.from_url(url), list(writes)
    with client.pipeline(transaction=False) as pipe:
        for at in range(0, len(many), _WRITES):
            keys, payload = pack([(write, ()) for write in many[at : at + _WRITES]], prefix)
            pipe.eval(SCRIPT, len(keys), *keys, payload, "86400", "3600", "100000")
        pipe.execute()
    client.close()
    return len(many)


@dataclass(frozen=True)
class Made:
    """A made-up installation at one moment (ms since the epoch)."""

    base: Base
    now_ms: int
    model: Model
    documents: Documents

    @property
    def end_ms(self) -> int:
        return self.now_ms // 3_600_000 * 3_600_000

    def writes(self, users_of: Sequence[int] | None = None) -> Iterator[Write]:
        """Yield everything; users only of the orgs whose numbers are given, None = of all."""
        wanted = range(len(self.base.orgs)) if users_of is None else users_of
        bands = {"healthy": 0, "watch": 0, "at_risk": 0}
        groups: dict[str, GroupTotal] = {}
        alerts = AlertDocuments(self.documents)
        for number in range(len(self.base.orgs)):
            said, alert = self.org(number)
            yield self.documents.org(said, 100 + number, 0)[1]
            if alert is not None:
                yield alerts.write(alert, 100 + number, 0)
            bands[said.band or "at_risk"] += said.active_users
            total = groups.setdefault(said.group_type or "none", GroupTotal())
            total.orgs += 1
            total.active_users += said.active_users
            total.active_points += (said.score_active or 0) * said.active_users
            total.licensed_users += said.licensed_users
            total.licensed_points += (said.score_licensed or 0) * said.licensed_users
        for number in wanted:
            yield from (self.documents.user(user, 50, 0)[1] for user in self.users(number))
        for number in range(min(3, len(self.base.orgs))):
            yield self.documents.latency(self.week(number), 9, 0)
        yield self.documents.latency(self.week(-1), 9, 0)
        yield ChatDocuments(self.documents, {}).write(self.chat(1), 9, 0)
        figures = {"orgs": len(self.base.orgs), "users_active": sum(bands.values()), **bands}
        yield self.documents.totals(figures, self.now_ms, 9, groups)

    def org(self, number: int) -> tuple[OrgScore, Alert | None]:
        """Return an org, and its alert if it has fallen."""
        org, chance = self.base.orgs[number], np.random.default_rng([self.base.seed, number])
        active = sum(user.org == number for user in self.base.users) if number < 3 else int(chance.integers(1, 60))
        fallen = number == self.base.slipping or chance.random() < 0.04
        idle = number > 3 and chance.random() < 0.02
        recent = self._weeks(chance, 22 if fallen else 0)
        score = None if idle else recent.pop()
        parts, changes = self._shares(chance, score or 0, recent[-1])
        own = sum(changes) - (score or 0) // 40
        split = [own, 17, sum(changes) - own - 17, 0]
        seats = active + int(chance.integers(0, 8))
        band = "at_risk" if score is None else band_of(score, self.model)
        group = org.group_type or ("SMB" if org.account_value_usd < 50_000 else "Enterprise")
        jobs = {"engineer": GroupScore(score, score, score, active // 2, seats // 2)} if score is not None else {}
        names = [user.id for user in self.base.users if user.org == number][:4]
        movers = [(name, int(by)) for name, by in zip(names, (212, 40, -390, -705), strict=False)]
        said = OrgScore(
            org=org.id, name=org.name.removesuffix(" Ü"), group_type=group, score_active=score,
            score_licensed=None if score is None else score * active // seats, score_median=score,
            previous=recent[-1], band=band, former_band=band, active_users=0 if idle else active, licensed_users=seats,
            activities=0 if idle else active * 61, transactions_count=int(chance.integers(0, 90)),
            transactions_cents=int(chance.integers(0, 9_000_000)), contributions=[0] * len(parts) if idle else parts,
            changes=None if idle else changes, window_end_ms=self.end_ms, calibration=41,
            alert_since_ms=self.end_ms - 5 * 3_600_000 if fallen and band == "at_risk" else 0,
            split=None if idle else split, recent=recent, trend=int((recent[-1] - recent[0]) / 7),
            movers=[] if idle else movers, by_job_type=jobs, peers="all",
        )  # fmt: skip
        if not said.alert_since_ms:
            return said, None
        since, seen_by = said.alert_since_ms, "kim" if number % 3 == 0 else ""
        named = f"score_drop/{org.id}/{since}"
        return said, Alert(
            org.id, said.name, "raised", "fall", named, since, 0, recent[-1], score or 0, seen_by, 0, None
        )  # fmt: skip

    def users(self, number: int) -> Iterator[UserScore]:
        """Yield the users of an org."""
        org = self.base.orgs[number]
        for user in self.base.users:
            if user.org != number:
                continue
            chance = np.random.default_rng([self.base.seed, number, *user.id.encode()])
            recent = self._weeks(chance, 22 if number == self.base.slipping else 4)
            score = recent.pop()
            parts, changes = self._shares(chance, score, recent[-1])
            band = band_of(score, self.model)
            yield UserScore(
                org.id, user.id, score, recent[-1], band, band, int(chance.integers(6000, 10_000)), parts, changes,
                self.end_ms, 41, False, [sum(changes), 0, 0, 0], recent, int((recent[-1] - recent[0]) / 7), "all",
            )  # fmt: skip

    def week(self, number: int) -> LatencyMap:
        """Return the map of an org; -1 = of all together."""
        grid = made_week(number + 2, 9_000 if number < 0 else 2_600)
        shown = map_of(grid, Label("x", min_count=1))
        cells: dict[int, CellFigures] = {}
        for hour in range(168):
            if shown.events[hour]:
                seconds = float(shown.seconds[hour])
                wait = None if np.isnan(seconds) else round(seconds * 1000)
                counts = int(shown.counts[hour]), int(shown.events[hour]), int(shown.answered[hour])
                cells[hour] = (wait, *counts, wait, counts[2] // 2)
        whole = (5_400_000, sum(c[1] for c in cells.values()), sum(c[2] for c in cells.values()),
                 sum(c[3] for c in cells.values()), 5_000_000, 99)  # fmt: skip
        org = "all" if number < 0 else self.base.orgs[number].id
        zone = "local" if number < 0 else self.base.orgs[number].timezone
        return LatencyMap(org, zone, "2026-09/2026-11", 0.8, cells, 3_600_000, [], ["2026-11"], whole)

    def chat(self, number: int) -> ChatCounts:
        """Return the chat of an org."""
        chance, last = np.random.default_rng(7), self.now_ms // 600_000
        windows: list[tuple[int, int, int | None]] = [
            (n, int(chance.poisson(6 + 5 * np.sin(n / 23))), int(40 + 25 * np.sin(n / 23)) if n % 5 else None)
            for n in range(last - 200, last + 1)
        ]
        windows = [window for window in windows if window[1] or window[2] is not None]
        people = [(user.id, user.display_name, 90 - at) for at, user in enumerate(self.base.users[:15])]
        since = self.now_ms - 14 * 86_400_000
        return ChatCounts(
            self.base.orgs[number].id, self.base.orgs[number].timezone, since, self.now_ms, 47, self.now_ms - 240_000,
            self.now_ms - 60_000, sum(each[1] for each in windows), windows, people, 9,
        )  # fmt: skip

    def _weeks(self, chance: np.random.Generator, fall_percent: int) -> list[int]:
        """Return eight closed weeks and now, in basis points."""
        level = int(np.clip(chance.normal(3300, 1300), 650, 8600))
        weeks = [int(np.clip(level + chance.normal(0, 180), 300, 9900)) for _ in range(9)]
        weeks[-1] = max(150, weeks[-1] - fall_percent * 100) if fall_percent < 22 else int(chance.integers(180, 680))
        weeks[-2] = max(150, weeks[-2] - fall_percent * 20)
        return weeks

    def _shares(self, chance: np.random.Generator, score: int, former: int) -> tuple[list[int], list[int]]:
        """Return contributions that add up to *score*, and changes that add up to the difference."""
        weights = np.array([each.weight for each in self.model.attributes], float)
        weights *= chance.uniform(0.05, 1.0, len(weights))
        parts = np.floor(weights / weights.sum() * score).astype(int)
        parts[0] += score - int(parts.sum())
        moves = np.zeros(len(parts), int)
        moved = chance.choice(len(parts), 6, replace=False)
        moves[moved] = (score - former) // 6
        moves[moved[0]] += score - former - int(moves.sum())
        return parts.tolist(), moves.tolist()


def make(now_ms: int, orgs: int = 60, users: int = 600, seed: int = 11) -> Made:
    """Return a made-up installation."""
    model = load_model("")
    return Made(make_base(seed, orgs, users), now_ms, model, Documents(model, TOPICS, 0, 5))
