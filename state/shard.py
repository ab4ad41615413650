"""The state machine of one partition: `effects = shard.apply(record, offset)`.

Owns everything that is known of the orgs of one partition of `activities`.
Invariant: its state and effects are a function of the records applied, in
order; there is no clock, no randomness and no I/O. Time moves on with events
and with ticks; where a week ends between two records, it is closed at its end.

    Rows, Bundle ──► late? ──► seen? ──► fold ──► rolling week, calendar weeks, replies
    Tick ──► time moves on ──► evaluate ──► effects
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from state.activity import Bundle, Calibration, Correction, Forget, Member, Note, Org, Record, Rows, Tick, rows_of
from state.alerts import Alerts
from state.arrays import SchemaError, decode, encode
from state.carry import CARRY_WEEKS, Carry
from state.chat import Chat
from state.closed_week import users_of
from state.closing import Closing
from state.dedupe import Dedupe
from state.effects import Effect, Gone, LatencyMap, LatencyMonth, WeekRow
from state.fold import Folder
from state.forgetting import forget, without_forgotten
from state.health import Matrix, Model
from state.history import History
from state.kinds import single_measures
from state.latency import Latency
from state.limits import Limits
from state.packing import Columns, joined
from state.periods import month_name, months_up_to
from state.reception import Reception
from state.replies import Replies
from state.ring import RollingWeek, Slots
from state.scoreboard import Scoreboard
from state.shadow import Shadow
from state.steps import Steps, Work
from state.subjects import Subjects
from state.telling import latency_map, shadow_summary, summary
from state.trend import WEEKS
from state.week import HOUR_MS, WEEK_HOURS, month_of, week_end_ms, week_of
from state.week_rows import final_rows, provisional_rows, restated_rows

SCHEMA = 3
"""Version of the checkpoint's shape."""
READABLE_BY = 3
"""The oldest version that can read what this one writes: one that only adds segments can be taken back."""
OLDEST_READ = 3
"""The oldest version that this one reads; an older one needs a rebuild."""

# How often what changes with nearly every tick is said when ticks do not say it themselves.
_MAPS_EVERY_TICKS = 120
_ORGS_EVERY_TICKS = 4


class Shard:
    """One partition of `activities`, folded."""

    def __init__(self, partition: int, model: Model, limits: Limits, shadow: Model | None = None) -> None:
        self.partition, self.model, self._limits = partition, model, limits
        # What is said of a moment looks back so far at most.
        self._quiet_ms = (max(limits.allowed_lateness_hours, WEEKS * WEEK_HOURS) + 2 * WEEK_HOURS) * HOUR_MS
        self.position = 0
        """Offset of the next record to apply."""
        self.watermark_ms = 0
        self.subjects = Subjects()
        measures, models = model.catalogue.measures, [model] if shadow is None else [model, shadow]
        single = sorted({m for each in models for m in single_measures(each)})
        carried = [CARRY_WEEKS * any(a.missing == "carry" for a in each.attributes) for each in models]
        self.week = RollingWeek(measures, single)
        summed, active = np.array([[m.summed, not m.passive] for m in measures]).T
        self.history = History(summed, active, single, kept=max(carried), spread=carried[0])
        self.dedupe = Dedupe(limits.allowed_lateness_hours, limits.max_ids)
        self.latency = Latency(limits.max_lines)
        self.replies = Replies(limits.reply_horizon_hours * HOUR_MS, limits.max_open_messages)
        self.chat = Chat(self.subjects, model.catalogue, limits)
        self.board = Scoreboard(model, self.week, self.subjects)
        self.shadow = None if shadow is None else Shadow(shadow, self.week, self.subjects, self.board)
        self.folder = Folder(model.catalogue, self.subjects, self.week, self.history, self.latency, self.replies)
        carry = Carry(model, self.history, self._last_closed)
        self.board.carried = carry.fill
        if self.shadow is not None:
            self.shadow.board.carried = Carry(self.shadow.model, self.history, self._last_closed).fill
        self.closing = Closing(model, self.subjects, self.history, self.board, carry)
        self.board.past = self._past
        self.alerts = Alerts(model, self.board, self.subjects)
        self.board.alert_since = self.alerts.open_since
        self.reception = Reception(model.catalogue, self.subjects, self.dedupe, self.alerts.inflow, limits)
        self.said: list[Effect] = []
        """What is told at the next tick."""
        self._restless_maps: set[str] = set()  # orgs whose map changes for another reason than what came
        self.closed_until: dict[str, int] = {}
        """Zone → first week that is not closed yet."""
        self._round, self._ticks, self._scored_hour = 0, 0, -1
        self._population_changed = False

    def apply(self, record: Record, offset: int) -> list[Effect] | None:
        """Apply the record at *offset*; return effects after a tick, None otherwise."""
        return Work(self.steps(record, offset)).finish()

    def steps(self, record: Record, offset: int) -> Steps[list[Effect] | None]:
        """Do as `apply`, pausing after each part of a week that was closed: a record may bring years.

        In between the shard is in no state that anybody may be told of.
        """
        self.position = offset + 1
        match record:
            case Rows() | Bundle():
                yield from self._take_rows(rows_of(record))
            case Tick():
                return (yield from self._take_tick(record))
            case Calibration() if record.model:
                if self.shadow is not None:
                    self.shadow.learn(record)
            case Calibration() if record.since_ms:
                self.closing.pin(record)
            case Calibration():
                self.board.learn(record)
            case Correction():
                yield from self._take_correction(record)
            case Forget():
                found = forget(self, record)  # which takes things out of `said` first
                self.said += found
            case Note():
                number = self.subjects.org_number(record.org)
                self.grow()
                self.said += self.alerts.note(record, number)
            case Member():
                slot = self.subjects.learn_member(record)
                self.grow()
                self._turn_memberships()
                self.board.dirty[slot] = True
                self.board.touch_org(int(self.subjects.org_of[slot]))
                self.chat.touch(int(self.subjects.org_of[slot]))
            case Org():
                number = self.subjects.org_number(record.org)
                former, group = self._zone(record.org), int(self.subjects.group_of[number])
                self.subjects.learn_org(record)
                self.grow()
                self.board.touch_org(number)
                self.chat.touch(number)
                if self._zone(record.org) != former:  # another zone has other closed weeks, and other hours
                    self.board.stale[self.subjects.members_of(np.array([number]))[0]] = True
                    self.latency.zone_changed(record.org)
                if self.subjects.group_of[number] != group:  # another group may have other cut points
                    self.board.dirty[self.subjects.members_of(np.array([number]))[0]] = True
        # New rows are seen to above; members, orgs and cut points change what a summary tells as well.
        self._population_changed |= not isinstance(record, Rows | Bundle)
        return None

    def documents(self) -> Iterator[Effect]:
        """Yield every current document, to fill an empty store."""
        for piece in self.pieces():
            yield from piece

    def pieces(self, size: int = 256) -> Iterator[list[Effect]]:
        """Yield every current document, *size* at a time, each piece as of when it is asked for."""
        for piece in self.board.pieces(size, lambda: self.watermark_ms):
            yield list(piece)
        episodes = self.alerts.documents()
        for at in range(0, len(episodes), size):
            yield list(episodes[at : at + size])
        maps = self.latency.orgs()
        for at in range(0, len(maps), size):
            yield [self.map_of(org) for org in maps[at : at + size] if self.latency.has(org)]
        for org in maps:
            yield [self._month(org, month) for month in self.latency.months(org)]
        yield from map(list, self.chat.pieces(lambda: self.watermark_ms))

    def are_over(self, week: int) -> NDArray[np.bool_]:
        """Return for which orgs, by number, *week* is closed."""
        over = np.array([self.closed_until.get(zone, week) > week for zone in self.subjects.zone_names], bool)
        return over[self.subjects.zone_of[: len(self.subjects.orgs)]]

    def has_latency(self, org: str, month: int | None = None) -> bool:
        """Say whether there is a document of an org's latency, or of one month (UTC) of it."""
        return self.latency.has(org, month)

    def has_document(self, org: str, user: str = "") -> bool:
        """Say whether there is a document of a user, or of an org (no *user*)."""
        slot = self.subjects.find(org, user)
        return slot is not None and (not user or bool(self.board.have_documents()[slot]))

    def checkpoint(self) -> dict[str, bytes]:
        """Return the whole state as named segments; equal states give equal bytes."""
        parts: dict[str, Any] = {
            "subjects": self.subjects,
            "ring": self.week,
            "history": self.history,
            "dedupe": self.dedupe,
            "latency": self.latency,
            "replies": self.replies,
            "board": self.board,
            "fold": self.folder,
            "alerts": self.alerts,
            "closing": self.closing,
            "chat": self.chat,
        }
        if self.shadow is not None:
            parts["shadow"] = self.shadow
        found = {f"{part}:{name}": encode(v) for part, o in parts.items() for name, v in o.segments().items()}
        found["meta"] = encode([SCHEMA, self.position, self._meta()])
        return found

    def restore(self, found: dict[str, bytes]) -> None:
        """Take over a checkpoint.

        Raises:
            SchemaError: If it is of another schema or other measures.
        """
        schema, position, meta = decode(found["meta"])
        if schema < OLDEST_READ or meta.get("readable_by", schema) > SCHEMA:
            raise SchemaError(f"checkpoint of schema {schema}, this version reads {OLDEST_READ} to {SCHEMA}")
        if meta["measures"] != self.model.catalogue.names:
            raise SchemaError("the measures of the health model changed; run `orgpulse rebuild`")
        parts: dict[str, dict[str, Any]] = {}
        for name, raw in found.items():
            part, _, segment = name.partition(":")
            if segment:
                parts.setdefault(part, {})[segment] = decode(raw)
        self.subjects.restore(parts["subjects"])
        self.grow()
        self.week.restore(parts["ring"], len(self.subjects))
        self.history.restore(parts.get("history", {}))
        self.dedupe.restore(parts["dedupe"])
        self.latency.restore(parts.get("latency", {}))
        self.replies.restore(parts["replies"])
        self.folder.restore(parts["fold"])
        self.alerts.restore(parts.get("alerts", {}))
        other_model = self.board.restore(parts["board"])
        if self.shadow is not None:
            self.shadow.restore(parts.get("shadow", {}))
        self.position, self.watermark_ms = position, meta["watermark"]
        self.reception.restore(meta)
        self.chat.restore(parts.get("chat", {}), self.watermark_ms)
        self.closed_until, self._restless_maps = meta["closed"], set(meta["maps"])
        same_model = self.closing.restore(parts["closing"], self.watermark_ms)
        self._round, self._ticks, self._scored_hour, self._population_changed = meta["ticks"]
        self._population_changed |= other_model
        self.said = msgspec.msgpack.decode(meta["said"], type=list[Effect])
        for row in [] if same_model else self.said:
            if isinstance(row, WeekRow):
                row.attributes = None  # they go by the order of the other model's

    def _meta(self) -> dict[str, Any]:
        return {
            "readable_by": READABLE_BY,
            "measures": self.model.catalogue.names,
            "watermark": self.watermark_ms,
            **self.reception.segments(),
            "closed": self.closed_until,
            "maps": sorted(self._restless_maps),
            "ticks": [self._round, self._ticks, self._scored_hour, self._population_changed],
            "said": msgspec.msgpack.encode(self.said),
        }

    def grow(self) -> None:
        """Make room for every subject there is."""
        self.week.grow(len(self.subjects))
        self.board.grow()

    def _take_rows(self, bundle: Sequence[Rows]) -> Steps[None]:
        """Fold packed chunks as one: each row is accepted, a duplicate, or late."""
        placed, said = self.reception.take(bundle)
        self.said += said
        self.grow()
        if placed:
            self._population_changed = True
            yield from self._fold_until(joined(placed))

    def _take_correction(self, record: Correction) -> Steps[None]:
        """Count what turned out to be otherwise than it was counted."""
        slots = self.subjects.slots(record.subjects)
        self.grow()
        record = without_forgotten(record, slots, self.subjects.forgotten)
        ids = np.array([id_ for id_, _ in record.ids], np.uint64)
        self.dedupe.learn(ids, np.array([time_ms for _, time_ms in record.ids], np.int64))
        oldest_ms, newest_ms = record.span_ms
        if newest_ms > self.watermark_ms:  # they come from a partition that is ahead
            self._begin(oldest_ms)
            yield from self._advance(newest_ms)
        touched, hours = self.folder.correct(record, self.dedupe.floor_ms)
        self.chat.correct(record, slots)
        self.board.touch(touched, hours)
        for place, hour in record.since:
            slot = int(slots[place])
            if self.board.begin(slot, hour, record.known_from_ms // HOUR_MS):
                self.said.append(Gone(record.org, self.subjects.user(slot)))

    def _fold_until(self, columns: Columns) -> Steps[None]:
        """Fold rows, closing each week that ends on the way before the rows after its end."""
        self._begin(int(columns.time_ms.min()))
        newest = int(columns.time_ms.max())
        while len(columns.at):
            yield from self._skip_quiet_weeks(int(columns.time_ms.min()))
            if (end := self._next_close()) > newest:
                break
            before = columns.time_ms < end
            yield from self._fold(columns.take(before))
            yield from self._advance(end)
            columns = columns.take(~before)
        yield from self._fold(columns)

    def _fold(self, columns: Columns) -> Steps[None]:
        if not len(columns.at):
            return
        yield from self._advance(int(columns.time_ms.max()))
        self.chat.take(columns)
        slots, hours = self.folder.fold(columns, self.dedupe.floor_ms)
        self.board.touch(slots, hours)

    def _begin(self, time_ms: int) -> None:
        """Let time begin, if nothing happened yet."""
        if not self.watermark_ms:
            self._set_time(time_ms)
            self.closing.begin(self.watermark_ms)

    def _next_close(self) -> int:
        """Return when the next week ends in any zone in use (ms)."""
        # A zone that fell out of use is forgotten: back in use, it begins with the running week again.
        self.closed_until = {zone: self._open_week(zone) for zone in sorted(self.subjects.zones())}
        return min(week_end_ms(week, zone) for zone, week in self.closed_until.items())

    def _open_week(self, zone: str) -> int:
        """Return the zone's first week that is not closed; a new zone begins with the running one."""
        return self.closed_until.setdefault(zone, week_of(self.watermark_ms, zone))

    def _advance(self, time_ms: int) -> Steps[None]:
        """Move the watermark on to *time_ms*, closing every week that ends until then, but for long silences."""
        yield from self._skip_quiet_weeks(time_ms)
        yield from self._close_until(time_ms)

    def _skip_quiet_weeks(self, time_ms: int) -> Steps[None]:
        """Leave out the middle of a long silence before *time_ms*; one old event must not cost a thousand weeks.

        What is left out is neither within reach of late events nor do scores change in
        it: the rolling week has long been empty.
        """
        if self.watermark_ms and time_ms - self.watermark_ms > 2 * self._quiet_ms:
            yield from self._close_until(self.watermark_ms + self._quiet_ms)
            self.closed_until = {
                zone: max(week, week_of(time_ms - self._quiet_ms, zone)) for zone, week in self.closed_until.items()
            }
            self._set_time(time_ms - self._quiet_ms)

    def _close_until(self, time_ms: int) -> Steps[None]:
        while self.watermark_ms and (end := self._next_close()) <= time_ms:
            self._set_time(end)
            yield from self._close_weeks(end)
        self._set_time(time_ms)

    def _set_time(self, time_ms: int) -> None:
        self.watermark_ms = max(self.watermark_ms, time_ms)
        if self.watermark_ms // HOUR_MS > self.week.hour:
            self.history.squeeze_before(week_of(self.watermark_ms, "UTC") - 1)
        touched = self.week.advance(self.watermark_ms // HOUR_MS)
        self._turn_memberships()
        if len(touched):
            self.board.dirty[touched] = True
            self._population_changed = True
        self.dedupe.advance(self.watermark_ms)
        self.replies.advance(self.watermark_ms)
        self.chat.advance(self.watermark_ms)
        self.folder.advance(self.dedupe.floor_ms)
        if self.subjects.guards:
            self.subjects.guards.advance(self.watermark_ms)

    def _turn_memberships(self) -> None:
        """Let memberships begin and end with time."""
        for slot in self.subjects.turn(self.watermark_ms):
            self.board.dirty[slot] = self._population_changed = True
            self.board.touch_org(int(self.subjects.org_of[slot]))

    def _close_weeks(self, end: int) -> Steps[None]:
        """Close the weeks that end at *end*: final rows, and scores become the former ones."""
        for zone in sorted(self.subjects.zones()):
            week = self._open_week(zone)
            if week_end_ms(week, zone) > end:
                continue
            self.board.touch_all()
            self.board.evaluate()
            orgs = np.array([i for i, entry in enumerate(self.subjects.orgs) if entry.zone == zone], np.int64)
            self.closed_until[zone] = week + 1
            for closed in self.closing.close(week, zone, orgs):
                self.said += final_rows(self, closed)
                yield
            self.board.dirty[users_of(self.subjects, orgs)] = True  # other weeks are carried from now on
        running, oldest = week_of(self.watermark_ms, "UTC"), week_of(self.dedupe.floor_ms, "UTC") - 1
        for forgotten in [week for week in self.history.dirty_weeks() if week < oldest]:
            self.said += restated_rows(self, forgotten)
        self.history.drop_before(oldest, running - WEEKS - 1)
        self.closing.forget_before(oldest)

    def _take_tick(self, tick: Tick) -> Steps[list[Effect]]:
        """Evaluate, and return everything that there is to say."""
        if tick.time_ms and self.watermark_ms:  # before the first event there is nothing that could age
            yield from self._advance(tick.time_ms)
        self._ticks += 1
        new_round = tick.round != self._round
        orgs = self._ticks % _ORGS_EVERY_TICKS == 0 if tick.orgs is None else tick.orgs
        maps = self._ticks % _MAPS_EVERY_TICKS == 0 if tick.maps is None else tick.maps
        self._round = tick.round
        new_hour = self.week.hour != self._scored_hour
        if new_hour:
            self._pass_hours()
        elif new_round:
            self.board.touch_all()  # shares of the org change with what others do
        if self.shadow is not None:
            self.shadow.note()
        self.board.evaluate(orgs=new_hour or new_round or orgs)
        if self.shadow is not None and (new_hour or new_round or maps):
            self.shadow.evaluate()
        said, self.said = self.said, []
        for week in self.history.dirty_weeks():
            # A backlog brings late data all the time, and each restatement costs all of an org's users.
            said += restated_rows(self, week) if new_round or not tick.catching_up else []
            said += provisional_rows(self, week) if new_round else []
        if self.watermark_ms:  # judged by the restated figures
            said += self.alerts.evaluate(self.watermark_ms, catching_up=tick.catching_up)
        said += self.board.take_stale(self.watermark_ms)
        if new_round or maps:
            said += self._latencies()
            said += self.chat.due(self.watermark_ms)
        if new_round and self._population_changed:
            self._population_changed = False
            said.append(summary(self, tick.round))
            if self.shadow is not None:
                said.append(shadow_summary(self, self.shadow, tick.round))
        return said

    def _pass_hours(self) -> None:
        """Note what new hours change: recency and its like, whose week is the first, which months the maps cover."""
        former, self._scored_hour = self._scored_hour, self.week.hour
        self.board.touch_all()
        self.board.age(former, self.week.hour)
        self._population_changed |= bool(len(self.subjects) or self.subjects.orgs)
        if month_of(former * HOUR_MS, "UTC") != month_of(self.week.hour * HOUR_MS, "UTC"):
            self.latency.drop_before(month_of(self.watermark_ms, "UTC") - self._limits.keep_months + 1)
            self._restless_maps |= set(self.latency.orgs())

    def _latencies(self) -> list[Effect]:
        """Return the maps that changed, and the months that something came to."""
        untold, restless = self.latency.take_untold(), self._restless_maps
        self._restless_maps = set()
        maps: list[Effect] = [self.map_of(org) for org in sorted(restless | untold.keys()) if self.latency.has(org)]
        return maps + [self._month(org, month) for org, months in untold.items() for month in months]

    def map_of(self, org: str) -> LatencyMap:
        """Return an org's map of latency by the hour of the week as it is now (see `has_latency`)."""
        limits = self._limits
        return latency_map(self.latency, org, self._zone(org), self.months(), limits.quantile, limits.target_ms)

    def _month(self, org: str, month: int) -> LatencyMonth:
        return LatencyMonth(org, month_name(month), self.latency.month(org, month))

    def months(self) -> range:
        """Return the calendar months of the rolling period, the running one included (UTC)."""
        return months_up_to(month_of(self.watermark_ms, "UTC"), self._limits.rolling_months)

    def _past(self, slots: Slots) -> tuple[Matrix, Matrix]:
        """Return the closing scores of the last weeks of *slots*, shape (n, WEEKS), and their trends."""
        return self.closing.pasts.of(slots, self._last_closed(slots))

    def _last_closed(self, slots: Slots) -> Matrix:
        """Return the last closed week of each of *slots*, shape (n,)."""
        zones = self.subjects.zone_names
        last = np.array([self.closed_until.get(z, week_of(self.watermark_ms, z)) - 1 for z in zones], np.int64)
        return last[self.subjects.zone_of[self.subjects.org_of[slots]]]

    def _zone(self, org: str) -> str:
        return self.subjects.orgs[self.subjects.org_number(org)].zone
