"""Owns the report on the quality of data before it is sent.

Each message is read by the very reader that the workers use, so what is called bad here is what would end in the dead
letters there. Invariant: memory is bounded (`Duplicates`, `Days`, and the most common names), however many rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import msgspec

from agents.importers.days import Days
from agents.importers.duplicates import Duplicates
from agents.importers.source import Row
from state.identity import Directory
from streams.reading import Reader, Reading, Rejected
from streams.sender import partition_of_key

LEFT_OUT = frozenset(
    {"bot_message", "system_message", "direct_message", "deleted_message", "group_call", "names_one_alias"}
)
"""Rows that are meant to be left out: no fault of the data."""
_MOST_NAMES = 100_000
_MOST_KINDS = 50
_fields = msgspec.json.Decoder(dict[str, Any], float_hook=Decimal)


class Finding(msgspec.Struct):
    """One kind of row: how many, and where the first one stands."""

    count: int
    first: str


class Report(msgspec.Struct, kw_only=True):
    """What was found; shares are of the rows that are meant to be sent (`considered`)."""

    topic: str
    inputs: list[str]
    rows: int = 0
    left_out: dict[str, Finding] = {}
    considered: int = 0
    held_back: dict[str, Finding] = {}
    rejected: dict[str, Finding] = {}
    """What the workers would refuse, by their reasons; `in_the_future` and `too_late` are `bad_time` and `too_late`."""
    notes: dict[str, Finding] = {}
    """Odd, but sent and used."""
    bad_share: float = 0.0
    filled: dict[str, int] = {}
    missing_fields: list[str] = []
    first_day: str = ""
    last_day: str = ""
    days: dict[str, int] = {}
    days_spark: str = ""
    empty_days: int = 0
    gaps: list[tuple[str, str, int]] = []
    duplicates: int = 0
    duplicates_share: float = 0.0
    duplicates_watched: float = 1.0
    duplicates_first: str = ""
    directory: str = ""
    """Against which directory names were looked up, or why against none."""
    people_rows: int = 0
    unresolved_rows: int | None = None
    unresolved_share: float | None = None
    unresolved_names: dict[str, int] = {}
    currencies: dict[str, int] = {}
    statuses: dict[str, int] = {}
    approved: dict[str, str] = {}
    failures: list[str] = []


class Quality:
    """Looks at every row of an import.

    Args:
        topic: Its short name, as in the contract.
        read: The workers' reader of it.
        fields: What a message knows; *needed* of them must be there.
        now_ms: The present; later than *ahead_ms* behind it is the future.
        lateness_ms: What is so much older than the newest of its partition is too late.
        partitions: How many the topic has.
        directory: Who there is; `None`: not known.
        parks: Whether rows of an org that the directory does not know have to wait for it.
    """

    def __init__(
        self, topic: str, read: Reader, fields: Sequence[str], needed: Sequence[str], *, now_ms: int, ahead_ms: int,
        lateness_ms: int, partitions: int, directory: Directory | None, parks: bool,
    ) -> None:  # fmt: skip
        self._topic, self._read, self._needed = topic, read, needed
        self._latest_ms, self._lateness_ms = now_ms + ahead_ms, lateness_ms
        self._partitions, self._directory, self._parks = partitions, directory, parks
        self._rows = 0
        self._kinds: dict[str, dict[str, Finding]] = {"left_out": {}, "held_back": {}, "rejected": {}, "notes": {}}
        self._filled = Counter(dict.fromkeys(fields, 0))
        self._messages = 0
        self._duplicates, self._days = Duplicates(), Days()
        self._newest: dict[int, int] = {}
        self._people = self._unresolved = 0
        self._names: Counter[str] = Counter()
        self._currencies: Counter[str] = Counter()
        self._statuses: Counter[str] = Counter()
        self._approved: dict[str, Decimal] = {}

    def note(self, row: Row, place: str) -> None:
        """Take in one row."""
        self._rows += 1
        if row.value is None:
            problem = row.problem or "held_back"
            self._find("left_out" if problem in LEFT_OUT else "held_back", problem, place)
            return
        try:
            found = self._read(row.value)
        except Rejected as error:
            self._find("rejected", error.reason, place)
            self._note_fields(row.value, good=False)
            return
        if row.problem is not None:
            self._find("notes", row.problem, place)
        self._note_fields(row.value, good=True)
        self._note_time(row, found, place)
        if found.id and found.apart != "edit":
            self._duplicates.note(found.id, place)
        self._note_person(found)

    def _find(self, what: str, reason: str, place: str) -> None:
        known = self._kinds[what].setdefault(reason, Finding(0, place))
        known.count += 1

    def _note_fields(self, value: bytes, *, good: bool) -> None:
        try:
            message = _fields.decode(value)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ArithmeticError):
            return
        self._messages += 1
        for name in message:
            if name in self._filled:
                self._filled[name] += 1
        if self._topic == "transactions":
            self._note_money(message, good=good)

    def _note_money(self, message: dict[str, Any], *, good: bool) -> None:
        currency, status = str(message.get("currency", "–"))[:20], str(message.get("status", "–"))[:20]
        for known, name in ((self._currencies, currency), (self._statuses, status)):
            known[name if name in known or len(known) < _MOST_KINDS else "(other)"] += 1
        if good and status.upper() == "A" and (currency in self._approved or len(self._approved) < _MOST_KINDS):
            try:
                amount = Decimal(str(message.get("amount")))
                if amount.is_finite() and amount.adjusted() < 30:
                    self._approved[currency] = self._approved.get(currency, Decimal(0)) + amount
            except ArithmeticError:
                return

    def _note_time(self, row: Row, found: Reading, place: str) -> None:
        if found.time_ms > self._latest_ms:
            self._find("rejected", "in_the_future", place)
            return
        self._days.note(found.time_ms)
        if row.key is None:
            return
        partition = partition_of_key(row.key, self._partitions)
        newest = self._newest.get(partition, 0)
        if found.time_ms < newest - self._lateness_ms:
            self._find("rejected", "too_late", place)
        elif found.time_ms > newest:
            self._newest[partition] = found.time_ms

    def _note_person(self, found: Reading) -> None:
        """Look up whose activity it is, or whose org where it is an org's own."""
        if self._directory is None or found.apart or found.link or not (found.who or self._parks):
            return
        self._people += 1
        if found.who:
            known, name = self._directory.find(found.who) is not None, found.who
        else:
            known, name = found.org in self._directory.orgs, found.org
        if not known:
            self._unresolved += 1
            if name in self._names or len(self._names) < _MOST_NAMES:
                self._names[name[:100]] += 1

    def report(self, inputs: Sequence[str], directory: str) -> Report:
        """Return what was found in *inputs*; *directory* says against what names were looked up."""
        left = sum(found.count for found in self._kinds["left_out"].values())
        bad = sum(found.count for what in ("held_back", "rejected") for found in self._kinds[what].values())
        considered = self._rows - left
        days, gaps = self._days.counts(), self._days.gaps()
        known = self._directory is not None
        return Report(
            topic=self._topic, inputs=list(inputs), rows=self._rows, considered=considered,
            left_out=self._kinds["left_out"], held_back=self._kinds["held_back"], rejected=self._kinds["rejected"],
            notes=self._kinds["notes"],
            bad_share=_share(bad, considered),
            filled=dict(self._filled),
            missing_fields=[name for name in self._needed if self._messages and not self._filled[name]],
            first_day=next(iter(days), ""), last_day=next(reversed(days), ""), days=days,
            days_spark=self._days.spark(), empty_days=sum(n for _, _, n in gaps), gaps=gaps,
            duplicates=self._duplicates.count, duplicates_share=_share(self._duplicates.count, considered),
            duplicates_watched=self._duplicates.watched, duplicates_first=self._duplicates.first,
            directory=directory, people_rows=self._people,
            unresolved_rows=self._unresolved if known else None,
            unresolved_share=_share(self._unresolved, self._people) if known else None,
            unresolved_names=dict(self._names.most_common(10)),
            currencies=dict(self._currencies.most_common()), statuses=dict(self._statuses.most_common()),
            approved={name: format(total, "f") for name, total in sorted(self._approved.items())},
        )  # fmt: skip


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


class Thresholds(msgspec.Struct, kw_only=True):
    """What is still good enough; `None` = not asked."""

    bad_share: float | None = None
    unresolved_share: float | None = None
    duplicates_share: float | None = None
    empty_days: int | None = None

    def failures(self, found: Report) -> list[str]:
        """Return in one sentence each what is worse than allowed."""
        failed = []
        for name, limit, share in (
            ("bad rows", self.bad_share, found.bad_share),
            ("rows of nobody in the directory", self.unresolved_share, found.unresolved_share),
            ("rows with an id that came before", self.duplicates_share, found.duplicates_share),
        ):
            if limit is None:
                continue
            if share is None:
                failed.append(f"{name}: not known, since {found.directory}")
            elif share > limit:
                failed.append(f"{name}: {percent(share)}, at most {percent(limit)} are allowed")
        if self.empty_days is not None and found.empty_days > self.empty_days:
            failed.append(f"days without a row: {found.empty_days}, at most {self.empty_days} are allowed")
        asked = any(limit is not None for limit in (self.bad_share, self.unresolved_share, self.duplicates_share))
        if asked and not found.considered:
            failed.append("there is not one row to send")
        return failed


def percent(share: float) -> str:
    """Return a share in percent, never rounded to a 0 or 100 that it is not.

    >>> percent(0.0000001), percent(0.125), percent(0.99999)
    ('0.00001 %', '12.5 %', '99.999 %')
    """
    value = share * 100
    for digits in range(1, 9):
        text = f"{value:.{digits}f}"
        if float(text) not in (0.0, 100.0) or value in (0.0, 100.0):
            break
    return f"{text.rstrip('0').rstrip('.')} %"
