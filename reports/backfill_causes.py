"""Says why weeks of a backfill differ from published ones, as far as the logs, letters and directories of both tell.

    counts differ  ──► which events counted on one side only? ──► late, refused, for somebody else, deleted, not there
    scores differ  ──► other counts (own, or of the org: shares), members, model, cut points, a week that is carried

Owns the causes. Invariant: each stands on something that was seen: an event, a letter, an entry of the directory, a
fingerprint, cut points. What the events found do not add up to stays unexplained, and says by how much.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

from reports.backfill_rows import HERE, THERE, Compared, RowDifference
from reports.backfill_side import (
    CUT_POINTS,
    DELETED,
    DIRECTORY,
    FORGOTTEN,
    LATE_EVENTS,
    MEANINGS,
    MISSING_HERE,
    MISSING_THERE,
    MODEL,
    PROVISIONAL,
    REFUSED,
    UNEXPLAINED,
    ZONE,
    Explained,
    Side,
    events_by_week,
)
from state.activity import Member, Org
from state.carry import CARRY_WEEKS
from state.trace import ACCEPTED, LATE, Event, Key
from state.week import iso_time, week_end_ms, week_label, week_number, week_of

_COUNTED = {
    "activities", "active_users", "transactions_count", "transactions_cents", "replies", "reply_latency_seconds_sum",
    "counts", "sums",
}  # fmt: skip
_SCORED = {"score", "score_licensed", "score_median", "contributions", "attributes", "calibration"}
_ONE_POINT = 0.011  # rounding may give a basis point to another attribute


class Explain:
    """Finds the causes of the differences between two sides."""

    def __init__(self, here: Side, there: Side, told_ms: Mapping[str, int], model_words: Sequence[str] = ()) -> None:
        """Take what both sides tell; *told_ms* is when each published row was told, *model_words* how models differ."""
        self._sides = {HERE: here, THERE: there}
        self._told_ms, self._model_words = told_ms, list(model_words)
        self._by_week = {side: events_by_week(found) for side, found in self._sides.items()}
        self._measured = {event.measure for side in self._sides.values() for event in side.events.values()}
        self.found = Explained()

    def explain(self, compared: Compared) -> Explained:
        """Fill the causes of every difference; return the sums."""
        by_place: dict[tuple[str, str], list[RowDifference]] = defaultdict(list)
        for each in compared.differences:
            by_place[each.org, each.week].append(each)
        counted: set[Key] = set()
        for rows in by_place.values():
            for row in rows:
                self._counts(row, counted)
        for rows in by_place.values():
            self._follow(rows)
            for row in rows:
                self._scores(row, rows)
        for row in compared.differences:
            self._carried(row, by_place)
        for rows in by_place.values():  # what a user's score is made of by now is the org's, too
            self._follow(rows)
        order = list(MEANINGS)
        for row in compared.differences:
            if not row.causes:
                _note(row, UNEXPLAINED, f"differs in {', '.join(row.fields)}, and nothing that was looked at says why")
            row.causes.sort(key=order.index)
            self.found.rows.update(row.causes)
        return self.found

    # --- counts

    def _counts(self, row: RowDifference, counted: set[Key]) -> None:
        """Note why other events counted in the week of *row*."""
        if "state" in row.fields and row.here is not None and row.there is not None:
            mine, other = row.fields["state"]
            _note(row, PROVISIONAL, f"{mine} here, {other} there")
        if not _COUNTED & row.fields.keys():
            return
        place = (row.org, row.user, row.week)
        ours, theirs = (self._by_week[side].get(place, {}) for side in (HERE, THERE))
        explained: Counter[str] = Counter()
        causes: dict[str, list[str]] = defaultdict(list)
        for key in [*(ours.keys() - theirs.keys()), *(theirs.keys() - ours.keys())]:
            side = HERE if key in ours else THERE
            event = ours[key] if side == HERE else theirs[key]
            cause, text = self._why_not(key, event, THERE if side == HERE else HERE)
            explained[event.measure] += 1 if side == HERE else -1
            causes[cause].append(f"{_named(event)}: {text}")
            if key not in counted:
                counted.add(key)
                self.found.events[cause] += 1
                if cause in (MISSING_HERE, MISSING_THERE):
                    self.found.days[cause, event.source, _day(event.time_ms)] += 1
        for cause, texts in causes.items():
            more = f" and {len(texts) - 1} more" if len(texts) > 1 else ""
            _note(row, cause, f"{texts[0]}{more}")
        self._remainder(row, explained)

    def _why_not(self, key: Key, event: Event, side: str) -> tuple[str, str]:
        """Return why an event that the other side counted was not counted in that week on *side*, and the evidence."""
        looked, other = self._sides[side], self._sides[HERE if side == THERE else THERE]
        known = looked.events.get(key)
        if (gone := self._gone(event if side == HERE else known)) is not None:
            return DELETED, f"{gone} is in the directory no more"
        if known is not None and known.outcome == LATE:
            return LATE_EVENTS, f"came too late {side}"
        if key in looked.letters:
            reason = looked.letters[key]
            late = reason == "too_late"
            return (LATE_EVENTS if late else REFUSED), f"a dead letter {side}, {reason}"
        if known is not None and known.outcome == ACCEPTED:
            if (known.org, known.user) != (event.org, event.user):
                return DIRECTORY, f"counted for {known.user or 'the org'} of {known.org} {side}"
            return ZONE, f"counted in another week {side}: {looked.zone(event.org)}, not {other.zone(event.org)}"
        if key in looked.waiting:
            return DIRECTORY, f"waits for the directory {side}"
        if event.org in looked.corrected or event.org in other.corrected:
            return DIRECTORY, "who is who was corrected (`orgpulse identity`)"
        if event.time_ms < looked.known_from_ms:
            return FORGOTTEN, f"the log {side} tells of no event before {_day(looked.known_from_ms)} for certain"
        return (MISSING_HERE if side == HERE else MISSING_THERE), f"no such message {side}"

    def _gone(self, published: Event | None) -> str | None:
        """Return whose event it was when it was published, if the directory of the backfill knows them no more."""
        if published is None or not published.user or published.user in self._sides[HERE].users:
            return None
        told = self._sides[THERE].members.get((published.org, published.user), ())
        return published.user if any(not member.gone for _, member in told) else None

    def _remainder(self, row: RowDifference, explained: Counter[str]) -> None:
        """See whether the events found add up to what differs."""
        mine, other = ((side or {}).get("counts") or {} for side in (row.here, row.there))
        for measure in mine.keys() | other.keys():
            left = mine.get(measure, 0) - other.get(measure, 0) - explained[measure]
            # Which replies a message gets, and what a transaction's last status is, is more than a sum of events.
            if left and not (explained and (measure not in self._measured or measure.startswith("transaction"))):
                cause = self._forgotten_or_not(row)
                _note(row, cause, f"{measure} differs by {left:+d} more than the events found")

    def _forgotten_or_not(self, row: RowDifference) -> str:
        """Return what it is when the logs don't tell enough of a week."""
        from_ms = max(side.known_from_ms for side in self._sides.values())
        before = bool(from_ms) and row.week <= week_label(week_of(from_ms, "UTC"))
        return FORGOTTEN if before else UNEXPLAINED

    def _follow(self, rows: Iterable[RowDifference]) -> None:
        """Let an org's row have the causes of its users' rows."""
        rows = list(rows)
        for head in (row for row in rows if not row.user):
            for row in rows:
                for cause in row.causes if row.user else ():
                    if cause not in head.causes and (cause != UNEXPLAINED or not head.causes):
                        _note(head, cause, f"by {row.user}")

    # --- scores

    def _scores(self, row: RowDifference, rows: Sequence[RowDifference]) -> None:
        """Note why the same counts are worth something else."""
        if not _SCORED & row.fields.keys():
            return
        self._membership(row)
        here, there = self._sides[HERE], self._sides[THERE]
        if week_end_ms(week_number(row.week), "UTC") <= there.former_model_until_ms:
            _note(row, MODEL, f"closed by an earlier model, which was changed on {_day(there.former_model_until_ms)}")
        elif here.model is not None and there.model is not None and here.model.digest != there.model.digest:
            words = "; ".join(self._model_words[:4])
            _note(row, MODEL, f"fingerprint {here.model.digest[:12]} here, {there.model.digest[:12]} there: {words}")
        self._cut_points(row)
        if row.user and not row.causes:
            # What an org does is in its users' scores: their share of it.
            for head in (each for each in rows if not each.user):
                for cause in head.causes:
                    _note(
                        row, cause, f"by what else was counted in {row.org}: a user's share of the org is another one"
                    )

    def _membership(self, row: RowDifference) -> None:
        """Note what the directory says otherwise by now than when the row was told."""
        here, there = self._sides[HERE], self._sides[THERE]
        told_ms = self._told_ms.get(row.key)  # None = no row was: then it is as of now
        places = {place for place in here.members.keys() | there.members.keys() if place[0] == row.org}
        for place in sorted(places if not row.user else places & {(row.org, row.user)}):
            now, then = _last(here.members.get(place, ())), _last(there.members.get(place, ()), told_ms)
            if now is not None and then is not None and (text := _changed(then, now)):
                _note(row, DIRECTORY, f"{place[1]}: {text}")
            elif now is None and then is not None and not then.gone and place[1] not in here.users:
                _note(row, DELETED, f"{place[1]} is in the directory no more")
            elif now is not None and then is None and not now.gone and there.members.get(place):
                _note(row, DIRECTORY, f"{place[1]} came into the directory after the row was told")
        mine, other = _last_org(here.orgs.get(row.org, ())), _last_org(there.orgs.get(row.org, ()), told_ms)
        if mine is not None and other is not None and mine.timezone != other.timezone:
            _note(row, ZONE, f"weeks of {mine.timezone or 'UTC'} here, of {other.timezone or 'UTC'} there")
        if mine is not None and other is not None and mine.group_type != other.group_type:
            _note(row, DIRECTORY, f"group type {mine.group_type} here, {other.group_type} there")

    def _cut_points(self, row: RowDifference) -> None:
        """Note other cut points, if they can have made the difference."""
        if row.here is None or row.there is None or row.here["calibration"] is None or row.there["calibration"] is None:
            return
        mine, other = row.here["calibration"], row.there["calibration"]
        ours, theirs = self._sides[HERE].cuts.get(mine), self._sides[THERE].cuts.get(other)
        if ours is None or theirs is None:
            if mine != other:
                side = HERE if ours is None else THERE
                number = mine if ours is None else other
                _note(row, CUT_POINTS, f"generation {mine} here, {other} there; {number} is known no more {side}")
            return
        names = ours.cuts.keys() | theirs.cuts.keys()
        others = {name for name in names if ours.cuts.get(name) != theirs.cuts.get(name)}
        if ours.groups != theirs.groups:
            others |= names
        if not others:
            if mine != other and row.fields.keys() == {"calibration"}:
                _note(row, CUT_POINTS, f"generation {mine} here, {other} there, of equal cut points")
            return
        moved = _moved(row)
        if moved & others or row.fields.keys() <= {"calibration", "contributions"} or (not moved and mine != other):
            named = sorted(moved & others) or sorted(others)
            more = f" and {len(named) - 3} more" if len(named) > 3 else ""
            _note(row, CUT_POINTS, f"generation {mine} here, {other} there; other for {', '.join(named[:3])}{more}")

    def _carried(self, row: RowDifference, by_place: Mapping[tuple[str, str], Sequence[RowDifference]]) -> None:
        """Note that an earlier week, which differs, is carried."""
        model = self._sides[HERE].model
        carries = model is not None and any(a.missing == "carry" for a in model.attributes)
        if row.causes or not carries or not _SCORED & row.fields.keys():
            return
        week = week_number(row.week)
        for number in range(week - 1, week - 1 - CARRY_WEEKS, -1):
            for other in by_place.get((row.org, week_label(number)), ()):
                if other.user == row.user:
                    for cause in other.causes:
                        _note(row, cause, f"carried from {other.week}")


def _note(row: RowDifference, cause: str, why: str) -> None:
    if cause not in row.causes:
        row.causes.append(cause)
        row.why.append(f"{cause}: {why}")


def _last(told: Sequence[tuple[int, Member]], until_ms: int | None = None) -> Member | None:
    """Return what was told last, up to *until_ms* (None = ever)."""
    some = [member for stamp, member in told if until_ms is None or stamp <= until_ms]
    return some[-1] if some else None


def _last_org(told: Sequence[tuple[int, Org]], until_ms: int | None = None) -> Org | None:
    some = [org for stamp, org in told if until_ms is None or stamp <= until_ms]
    return some[-1] if some else None


def _changed(then: Member, now: Member) -> str:
    """Return what a member's entry says otherwise, empty = nothing that a score depends on."""
    found = []
    if then.licensed != now.licensed:
        found.append("has a licence now" if now.licensed else "has no licence now")
    if then.gone != now.gone:
        found.append("is no member now" if now.gone else "is a member now")
    if (then.since_ms, then.until_ms) != (now.since_ms, now.until_ms):
        found.append("is a member from or until another time")
    if then.job_type != now.job_type:
        found.append(f"job type {now.job_type or 'none'}, not {then.job_type or 'none'}")
    return ", ".join(found)


def _moved(row: RowDifference) -> set[str]:
    """Return the attributes whose contributions differ by more than rounding."""
    mine, other = row.fields.get("contributions", ({}, {}))
    mine, other = mine or {}, other or {}
    names = mine.keys() | other.keys()
    return {name for name in names if abs(float(mine.get(name, 0)) - float(other.get(name, 0))) > _ONE_POINT}


def _named(event: Event) -> str:
    return f"{event.measure} at {iso_time(event.time_ms)} ({event.source})"


def _day(time_ms: int) -> str:
    return iso_time(time_ms)[:10]
