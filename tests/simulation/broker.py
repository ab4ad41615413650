"""A Kafka that fits on a page: logs, transactions, committed offsets, epochs.

Owns what is durable in the simulation. Invariant: readers see committed records only, in the order of their
offsets, and none behind the first record of a transaction that is still open (the last stable offset).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from faust.types import TP

from streams.transactions import Outgoing

OPEN, COMMITTED, ABORTED = "open", "committed", "aborted"


class FencedError(RuntimeError):
    """Somebody else has started a producer with this transactional id since."""


class Record(NamedTuple):
    """What a reader gets; `timestamp` is in ms."""

    offset: int
    key: bytes | None
    value: bytes | None
    timestamp: int


@dataclass(slots=True, eq=False)
class Transaction:
    """What was sent between begin and end; `first` is its first offset in each partition it wrote to."""

    state: str = OPEN
    first: dict[TP, int] = field(default_factory=dict)
    offsets: dict[TP, int] = field(default_factory=dict)


class Entry(NamedTuple):
    """One place of a log: a record, or (None) the marker that ends a transaction there."""

    record: Record | None
    transaction: Transaction | None


class Producer(NamedTuple):
    """The right to write under one transactional id, until the epoch moves on."""

    id: str
    epoch: int


class Broker:
    """Topics, partitions, transactional ids and the offsets of one group."""

    fences = True  # the mutations switch this off

    def __init__(self) -> None:
        self._logs: dict[TP, list[Entry]] = {}
        self._epochs: dict[str, int] = {}
        self._running: dict[str, Transaction] = {}
        self._held: dict[TP, list[Transaction]] = {}
        self._committed: dict[TP, int] = {}
        self.now_ms = 0

    def init(self, id_: str) -> Producer:
        """Return the one producer that may write as *id_* now; the former one's transaction is aborted."""
        if id_ in self._running:
            self._end(id_, ABORTED)
        self._epochs[id_] = self._epochs.get(id_, 0) + 1
        return Producer(id_, self._epochs[id_])

    def begin(self, producer: Producer) -> None:
        """Open a transaction."""
        self._check(producer)
        if self.fences:
            assert producer.id not in self._running, "a producer has one transaction at a time"
        elif producer.id in self._running:
            self._end(producer.id, ABORTED)
        self._running[producer.id] = Transaction()

    def send(self, producer: Producer, records: Sequence[Outgoing]) -> None:
        """Append *records* inside the open transaction."""
        running = self._of(producer)
        for record in records:
            tp = TP(record.topic, record.partition)
            offset = self._append(tp, record.key, record.value, running)
            if tp not in running.first:
                running.first[tp] = offset
                self._held.setdefault(tp, []).append(running)

    def send_offset(self, producer: Producer, tp: TP, next_offset: int) -> None:
        """Add the group's offset of *tp* to the open transaction."""
        self._of(producer).offsets[tp] = next_offset

    def commit(self, producer: Producer) -> None:
        """Make everything that was sent since `begin` visible, at once."""
        self._of(producer)
        self._end(producer.id, COMMITTED)

    def time_out(self) -> int:
        """Abort every open transaction, as the broker does when one takes too long; return how many there were."""
        ids = list(self._running)
        for id_ in ids:
            self._end(id_, ABORTED)
            self._epochs[id_] += self.fences
        return len(ids)

    def put(self, topic: str, partition: int, key: bytes | None, value: bytes | None) -> int:
        """Append a record outside of transactions; return its offset."""
        return self._append(TP(topic, partition), key, value, None)

    def put_offset(self, tp: TP, next_offset: int) -> None:
        """Commit an offset outside of transactions: only what is broken on purpose does that."""
        self._committed[tp] = next_offset

    def committed(self, tp: TP) -> int:
        """Return the group's offset of *tp*."""
        return self._committed.get(tp, 0)

    def end(self, tp: TP) -> int:
        """Return the last stable offset: where readers of committed records have to wait."""
        held = [t.first[tp] for t in self._held.get(tp, ()) if t.state == OPEN]
        return min(held, default=len(self._logs.get(tp, ())))

    def read(self, tp: TP, start: int, most: int = 1_000_000) -> tuple[list[Record], int]:
        """Return up to *most* committed records of *tp* from *start* on, and the offset to read next."""
        log, end, found, at = self._logs.get(tp, []), self.end(tp), list[Record](), start
        while at < end and len(found) < most:
            record, transaction = log[at]
            if record is not None and (transaction is None or transaction.state == COMMITTED):
                found.append(record)
            at += 1
        return found, at

    def read_dirty(self, tp: TP, start: int) -> tuple[list[Record], int]:
        """Return everything that was ever sent: what readers would see who do not ask for committed records."""
        log = self._logs.get(tp, [])
        return [entry.record for entry in log[start:] if entry.record is not None], len(log)

    def dump(self, begin: str) -> dict[TP, list[Record | None]]:
        """Return every place of all topics that *begin* so, markers as None."""
        return {tp: [entry.record for entry in log] for tp, log in self._logs.items() if tp.topic.startswith(begin)}

    def offsets(self, begin: str) -> dict[TP, int]:
        """Return the committed offsets of these topics."""
        return {tp: offset for tp, offset in self._committed.items() if tp.topic.startswith(begin)}

    def _append(self, tp: TP, key: bytes | None, value: bytes | None, transaction: Transaction | None) -> int:
        log = self._logs.setdefault(tp, [])
        log.append(Entry(Record(len(log), key, value, self.now_ms), transaction))
        return len(log) - 1

    def _check(self, producer: Producer) -> None:
        if self.fences and self._epochs.get(producer.id) != producer.epoch:
            raise FencedError(producer.id)

    def _of(self, producer: Producer) -> Transaction:
        self._check(producer)
        return self._running[producer.id] if self.fences else self._running.setdefault(producer.id, Transaction())

    def _end(self, id_: str, state: str) -> None:
        """End a transaction with a marker in every partition it wrote to."""
        transaction = self._running.pop(id_)
        transaction.state = state
        for tp in transaction.first:
            self._held[tp].remove(transaction)
            self._logs[tp].append(Entry(None, transaction))
        if state == COMMITTED:
            self._committed.update(transaction.offsets)
