"""Owns which step a sampled stack belongs to.

Invariant: a stack belongs to exactly one step: that of its innermost frame that a rule knows. Frames that serve
several steps (sums, JSON, the event loop) have no rule, so their caller decides.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

START, WAIT, LOOP, REST = "start", "waiting", "event loop", "the rest"
STEPS = ("fetch", "decode", "resolve", "pack", "commit", "fold", "evaluate", "spell", "Redis", LOOP, REST)
APART = (START, WAIT)
"""No part of the work: loading modules, and threads that wait (on a busy machine one just woken looks active)."""
_FRAME = re.compile(r"^(?P<name>.*) \((?P<file>[^()]*?)(?::\d+)?\)$")

_WHOLE = (
    ("<frozen importlib", START),  # modules that are being loaded
    ("streams/consumer_thread.py", "fetch"),
    ("mode/threads.py", "fetch"),  # Faust's thread has only the consumer
)
"""A frame in one of these files, anywhere in the stack, decides: (part of the file's path, step)."""

_INNERMOST = (
    ("selectors.py", "select", WAIT),
    ("threading.py", "wait", WAIT),
    ("mode/threads.py", "_start_thread", LOOP),
    ("streams/worker.py", "run_worker", LOOP),
    ("asyncio/runners.py", "run", LOOP),
    ("asyncio/base_events.py", "", LOOP),
    ("asyncio/events.py", "", LOOP),
)
"""The innermost frame decides: uvloop with its sockets has no frames of its own, only its caller's."""

_RULES = (
    ("streams/transport.py", "", "fetch"),
    ("aiokafka/consumer/", "", "fetch"),
    ("streams/read_", "", "decode"),
    ("streams/reading.py", "", "decode"),
    ("agents/ingest.py", "_read_all", "decode"),
    ("agents/ingest.py", "_resolve", "resolve"),
    ("agents/ingest.py", "", "pack"),
    ("agents/routing.py", "", "pack"),
    ("agents/ledger.py", "", "pack"),
    ("state/activity.py", "", "pack"),
    ("state/identity.py", "", "resolve"),
    ("state/membership.py", "", "resolve"),
    ("agents/directory.py", "", "resolve"),
    ("agents/members.py", "", "resolve"),
    ("agents/park.py", "", "resolve"),
    ("agents/mend.py", "", "resolve"),
    ("streams/transactions.py", "", "commit"),
    ("streams/chunks.py", "", "commit"),
    ("streams/redis_", "", "Redis"),
    ("redis/", "", "Redis"),
    ("aiokafka/", "", "commit"),  # outside of the consumer's thread only producers are left
    ("agents/documents.py", "", "spell"),
    ("agents/week_documents.py", "", "spell"),
    ("agents/alert_documents.py", "", "spell"),
    ("agents/chat_documents.py", "", "spell"),
    ("state/score_telling.py", "", "spell"),
    ("state/week_rows.py", "", "spell"),
    ("state/telling.py", "", "spell"),
    ("state/scoreboard.py", "", "evaluate"),
    ("state/scoring.py", "", "evaluate"),
    ("state/kinds.py", "", "evaluate"),
    ("state/peers.py", "", "evaluate"),
    ("state/carry.py", "", "evaluate"),
    ("state/group_scores.py", "", "evaluate"),
    ("state/closing.py", "", "evaluate"),
    ("state/closed_week.py", "", "evaluate"),
    ("state/alerts.py", "", "evaluate"),
    ("state/alert_rules.py", "", "evaluate"),
    ("state/change.py", "", "evaluate"),
    ("state/trend.py", "", "evaluate"),
    ("state/calibrate.py", "", "evaluate"),
    ("state/census.py", "", "evaluate"),
    ("agents/count_people.py", "", "evaluate"),
    ("agents/tick.py", "", "evaluate"),
    ("state/fold.py", "", "fold"),
    ("state/ring.py", "", "fold"),
    ("state/history.py", "", "fold"),
    ("state/dedupe.py", "", "fold"),
    ("state/receipts.py", "", "fold"),
    ("state/replies.py", "", "fold"),
    ("state/waits.py", "", "fold"),
    ("state/conversation.py", "", "fold"),
    ("state/lines.py", "", "fold"),
    ("state/hour_lines.py", "", "fold"),
    ("state/week_hours.py", "", "fold"),
    ("state/active_hours.py", "", "fold"),
    ("state/chat", "", "fold"),
    ("state/amounts.py", "", "fold"),
    ("state/latency.py", "", "fold"),
    ("state/inflow.py", "", "fold"),
    ("state/shard.py", "_take_tick", "evaluate"),
    ("state/shard.py", "", "fold"),
    ("agents/fold.py", "", "fold"),
    ("agents/checkpoints.py", "", "fold"),
    ("tests/bench/small_job.py", "listcomp", "decode"),
    ("tests/bench/small_job.py", "fold", "fold"),
    ("tests/bench/small_job.py", "committed", "fold"),
)
"""(part of the file's path, part of the function's name, step): the first that fits a frame holds."""


@dataclass(slots=True)
class Profile:
    """Samples by step, and within a step by the function in which the step was entered last."""

    steps: Counter[str] = field(default_factory=Counter)
    functions: dict[str, Counter[str]] = field(default_factory=dict)

    @property
    def samples(self) -> int:
        """All samples of work: not of the start, not of waiting."""
        return sum(count for step, count in self.steps.items() if step not in APART)

    def add(self, other: Profile) -> None:
        """Add the samples of another worker."""
        self.steps.update(other.steps)
        for step, counts in other.functions.items():
            self.functions.setdefault(step, Counter()).update(counts)


def step_of(stack: list[str]) -> tuple[str, str]:
    """Return the step of *stack* (frames `name (file:line)`, outermost first) and the function that decided.

    >>> step_of(["run (/x/streams/chunks.py:9)", "read (/x/streams/read_chat.py:63)", "loads (/x/json.py:1)"])
    ('decode', 'read (streams/read_chat.py)')
    >>> step_of(["run (/x/asyncio/runners.py:1)"])
    ('event loop', 'run (asyncio/runners.py)')
    """
    frames = [_parts(frame) for frame in stack]
    name, file = frames[-1]
    for part, called, step in _INNERMOST:
        if file.endswith(part) and called in name:
            return step, _short(name, file)
    for name, file in frames:
        for part, step in _WHOLE:
            if part in file:
                name, file = next(((n, f) for n, f in reversed(frames) if f), (name, file))
                return step, _short(name, file)
    for name, file in reversed(frames):
        for part, called, step in _RULES:
            if f"/{part}" in file and called in name:
                return step, _short(name, file)
    return REST, _short(*_innermost_own(frames))


def _innermost_own(frames: list[tuple[str, str]]) -> tuple[str, str]:
    """Return the innermost frame outside of installed packages: what a rule should name."""
    return next(((n, f) for n, f in reversed(frames) if f and "/lib/python" not in f), frames[-1])


def read_stacks(lines: Iterable[str]) -> Profile:
    """Add up stacks in py-spy's raw form: frames by semicolons, a blank, how often it was seen.

    Raises:
        ValueError: If a line has another form.
    """
    found = Profile()
    for line in lines:
        text, _, count = line.rstrip("\n").rpartition(" ")
        if not count.isdigit():
            raise ValueError(f"not a sampled stack: {line[:80]!r}")
        step, function = step_of(text.split(";")) if text else (REST, "(no Python frame)")
        found.steps[step] += int(count)
        found.functions.setdefault(step, Counter())[function] += int(count)
    return found


def _parts(frame: str) -> tuple[str, str]:
    found = _FRAME.match(frame)
    return (found["name"], found["file"]) if found else (frame, "")


def _short(name: str, file: str) -> str:
    """Return a function with the last two parts of its file's path: the same on every machine."""
    return f"{name} ({'/'.join(file.split('/')[-2:])})" if file else name
