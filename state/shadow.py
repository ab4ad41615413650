"""A second model on the same weeks: its own board, cut points and generation, beside the live one.

Owns what a shard computes for a model that is not live. Invariant: nothing here reaches the live board, its bands,
alerts or calibration; the rolling week, the subjects and the time of first activity are the live ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from state.activity import Calibration
from state.effects import OrgScore, UserScore
from state.health import Model
from state.ring import RollingWeek
from state.scoreboard import Scoreboard
from state.subjects import Subjects

Segments = dict[str, Any]
_PIECE = 256


class Shadow:
    """The board of a model that is not live."""

    def __init__(self, model: Model, week: RollingWeek, subjects: Subjects, live: Scoreboard) -> None:
        self.model, self.id = model, model.digest
        self.board = Scoreboard(model, week, subjects)
        self._live, self._subjects = live, subjects

    def note(self) -> None:
        """Take over whose live score may be out of date; before the live board is evaluated."""
        self._follow()
        n = len(self._subjects)
        self.board.dirty[:n] |= self._live.dirty[:n]

    def evaluate(self) -> None:
        """Bring the scores of those noted up to date."""
        self.board.evaluate()

    def forget(self, slot: int) -> None:
        """Let *slot* never have been scored."""
        self._follow()
        self.board.forget(slot)

    def learn(self, record: Calibration) -> None:
        """Take over cut points that are newer and of this model."""
        if record.model == self.id:
            self.board.learn(record)

    def take_stale(self, window_end_ms: int) -> list[UserScore | OrgScore]:
        """Return the documents that are out of date, and count them as said."""
        self._follow()
        return list(self.board.take_stale(window_end_ms))

    def pieces(self, window_end_ms: int) -> Iterator[list[UserScore | OrgScore]]:
        """Yield every current document, some at a time."""
        self._follow()
        yield from self.board.pieces(_PIECE, lambda: window_end_ms)

    def difference(self) -> tuple[float, int]:
        """Return the mean of shadow − live score (basis points) over users with a band in both, and how many differ."""
        self._follow()
        n = len(self._subjects)
        both = (self.board.band[:n] >= 0) & (self._live.band[:n] >= 0) & (self._live.coverage[:n] > 0)
        moved = self.board.score[:n][both].astype(np.int64) - self._live.score[:n][both]
        changed = int((self.board.band[:n][both] != self._live.band[:n][both]).sum())
        return (float(moved.mean()) if len(moved) else 0.0), changed

    def _follow(self) -> None:
        """Make room for every subject, and look at the live times of first activity."""
        self.board.grow()
        self.board.since = self._live.since

    def segments(self) -> Segments:
        """Return the content for a checkpoint."""
        self._follow()
        return self.board.segments() | {"model": self.id}

    def restore(self, segments: Segments) -> None:
        """Take over what `segments` returned if it is of this model; else begin anew with everybody."""
        self._follow()
        if segments.get("model") == self.id:
            self.board.restore(segments)
        else:
            self.board.touch_all()
        self._follow()
