"""Measures how time and memory grow: with events, with users, and with weeks; and says by which exponent.

Each size has a process of its own, in which a shard folds a week (or several) of activities and evaluates it: records
are unpacked, deduplicated, folded, scored and spelled as effects, as in a worker. Seconds are processor time; memory is
what the process's resident memory grew by, and the size of the shard's checkpoint, which no allocator rounds. The
exponent is the slope of a line through the logarithms: 1 is linear. Along weeks nothing may grow that is older than the
horizon of late events (eight weeks) and the weeks that are carried.

Goal: exponents of at most 1.1, and a state that is as large after a year as after half of one.

    python -m tests.bench.growth --plot growth.svg
    python -m tests.bench.growth --large          (up to 10,000,000 events; minutes)
"""

from __future__ import annotations

import argparse
import gc
import json
import math
import multiprocessing
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from agents.wiring import limits_of
from state.shard import Shard
from state.week import HOUR_MS, WEEK_HOURS
from streams.model_file import load_model
from streams.settings import Settings
from tests.bench.filled import fill_shard, subjects_of
from tests.bench.memory import resident_bytes

GOAL_EXPONENT = 1.1
EVENTS, LARGE_EVENTS = (10_000, 100_000, 1_000_000), 10_000_000
USERS = (1_000, 10_000, 100_000, 1_000_000)
EVENTS_OF_USER, USERS_OF_EVENTS = 4, 1_000
WEEKS, WEEKS_USERS = (13, 26, 52), 1_000
_START_HOUR = 480_000
_EVENTS_COLOR, _USERS_COLOR = "#0072B2", "#D55E00"  # told apart by people of every colour vision (Okabe and Ito)


@dataclass(frozen=True)
class Size:
    """A shard that was filled, and what that took."""

    users: int
    events: int
    weeks: int
    seconds: float
    resident_bytes: int
    checkpoint_bytes: int


def measure(users: int, events_of_user: int, weeks: int = 1) -> Size:
    """Fill a shard with *weeks* weeks of *users* users, *events_of_user* activities of each a week."""
    settings = Settings()
    names = [name for part in subjects_of(settings, users) for name in part]
    shard = Shard(0, load_model(""), limits_of(settings))
    gc.collect()
    before, began = resident_bytes(), time.process_time()
    for week in range(weeks):
        end_ms = (_START_HOUR + week * WEEK_HOURS) * HOUR_MS
        fill_shard(shard, names, events_of_user, end_ms, seed=week)
    seconds = time.process_time() - began
    gc.collect()
    resident = resident_bytes() - before
    stored = sum(len(raw) for raw in shard.checkpoint().values())
    assert sum(outcome[0] for outcome in shard.reception.outcomes.values()) == users * events_of_user * weeks
    return Size(users, users * events_of_user * weeks, weeks, seconds, resident, stored)


def exponent(sizes: Sequence[float], values: Sequence[float]) -> float:
    """Return the slope of a line through the logarithms, by least squares.

    >>> round(exponent([1, 10, 100], [3, 30, 300]), 6), round(exponent([1, 10, 100], [1, 100, 10_000]), 6)
    (1.0, 2.0)
    """
    return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])


def steepest(sizes: Sequence[float], values: Sequence[float]) -> float:
    """Return the steepest slope between two neighbours: what a line over all of them would hide.

    >>> round(steepest([1, 10, 100], [1, 10, 1000]), 6)
    2.0
    """
    pairs = list(zip(sizes, values, strict=True))
    return max(math.log(after / before) / math.log(b / a) for (a, before), (b, after) in pairwise(pairs))


def _measure_warm(*arguments: int) -> Size:
    measure(200, 2)  # what is loaded and made once counts for no size
    return measure(*arguments)


def _alone(*arguments: int) -> Size:
    """Measure in a process of its own: memory that another size has used would count otherwise."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, context) as pool:
        return pool.submit(_measure_warm, *arguments).result()


def _line(of: str, found: list[Size], x: Callable[[Size], float]) -> dict[str, float]:
    """Print what grew along *of*, and return the exponents."""
    print(f"\nby {of:22}{'seconds':>10}{'µs an event':>13}{'resident MB':>13}{'checkpoint MB':>15}{'bytes a user':>14}")
    for each in found:
        print(
            f"{x(each):>25,.0f}{each.seconds:>10.2f}{each.seconds / each.events * 1e6:>13.2f}"
            f"{each.resident_bytes / 1e6:>13.1f}{each.checkpoint_bytes / 1e6:>15.1f}"
            f"{each.resident_bytes / each.users:>14,.0f}"
        )
    sizes = [x(each) for each in found]
    figures: dict[str, float] = {}
    for name in ("seconds", "resident_bytes", "checkpoint_bytes"):
        values = [max(1e-9, getattr(each, name)) for each in found]
        figures[name] = exponent(sizes, values)
        verdict = "linear or better" if figures[name] <= GOAL_EXPONENT else "worse than linear"
        step = steepest(sizes, values)
        print(f"  {name.replace('_', ' '):18} exponent {figures[name]:5.2f}, steepest step {step:5.2f}: {verdict}")
    return figures


def plot(path: Path, by_events: list[Size], by_users: list[Size]) -> None:
    """Draw time and memory over events and users on logarithmic axes, beside lines of exponent 1.

    Lines are told apart by marker, stroke and label too, not by colour alone.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.5), layout="constrained")
    panels: Any = figure.subplots(1, 2)
    drawn = (
        (panels[0], "processor seconds", lambda size: size.seconds),
        (panels[1], "resident memory, MB", lambda size: size.resident_bytes / 1e6),
    )
    for axes, label, y in drawn:
        rows = (
            ("by events, 1,000 users", by_events, lambda size: size.events, _EVENTS_COLOR, "o", "-"),
            ("by users, 4 events each", by_users, lambda size: size.users, _USERS_COLOR, "s", "--"),
        )
        for name, sizes, x, color, marker, stroke in rows:
            xs, ys = [x(size) for size in sizes], [y(size) for size in sizes]
            axes.plot(xs, ys, color=color, marker=marker, linestyle=stroke, label=name)
            axes.plot(xs, [ys[-1] * each / xs[-1] for each in xs], color="#777777", linewidth=0.8, linestyle=":")
        axes.set(xscale="log", yscale="log", xlabel="events, or users", ylabel=label)
        axes.grid(visible=True, which="major", linewidth=0.3)
        axes.legend(frameon=False)
    figure.suptitle("Growth of a shard (dotted: linear)")
    figure.savefig(path)


def main() -> None:
    """Measure, print, and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--large", action="store_true", help=f"also {LARGE_EVENTS:,} events")
    parser.add_argument("--most-users", type=int, default=USERS[-1])
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw into FILE: .svg, .png or .pdf")
    wanted = parser.parse_args()
    events = (*EVENTS, LARGE_EVENTS) if wanted.large else EVENTS
    by_events = [_alone(USERS_OF_EVENTS, count // USERS_OF_EVENTS) for count in events]
    by_users = [_alone(count, EVENTS_OF_USER) for count in USERS if count <= wanted.most_users]
    by_weeks = [_alone(WEEKS_USERS, 12, count) for count in WEEKS]
    found = {
        "events": _line("events", by_events, lambda size: size.events),
        "users": _line("users", by_users, lambda size: size.users),
        "weeks": _line("weeks", by_weeks, lambda size: size.weeks),
    }
    grown = by_weeks[-1].checkpoint_bytes / by_weeks[-2].checkpoint_bytes
    print(f"  state after {WEEKS[-1]} weeks: {grown:.2f} times that after {WEEKS[-2]}")
    if wanted.plot:
        plot(wanted.plot, by_events, by_users)
        print(f"drawn: {wanted.plot}")
    sizes = {"events": by_events, "users": by_users, "weeks": by_weeks}
    print(json.dumps({"exponents": found, "sizes": {k: [asdict(size) for size in v] for k, v in sizes.items()}}))


if __name__ == "__main__":
    main()
