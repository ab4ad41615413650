"""Attacks a real worker in every way that messages can, and prints what bounded each and what a quiet org saw of it.

    python -m tests.bench.abuse                          all attacks, some minutes
    python -m tests.bench.abuse --only bombs clock       these
    python -m tests.bench.abuse --size 200000 --json -   larger, as JSON to standard output

Each attack is sent as fast as Kafka takes it; limits are set low enough (`LIMITS`) to be reached. Memory is the
worker's resident memory; the slope is what stays of it, per million messages. Latency is from an event of the quiet
org being sent to its change in Redis, as a ratio to the same before any attack; both run on one machine, so the
attacker's, the broker's and the worker's processor time are in it. What is compared of the quiet org: see
`tests.bench.abuse_house`.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.bench.abuse_house import CHANGES, House, Row
from tests.bench.attacks import ATTACKS
from tests.bench.ground import ground

LIMITS: dict[str, Any] = {
    "ingest.max_created_per_org": 2_000, "ingest.max_created": 4_000, "ingest.max_parked": 2_000,
    "latency.max_open_messages": 3_000, "metrics.org_limit": 50,
    "chat.max_messages": 4_000, "chat.max_samples": 3_000,
}  # fmt: skip
SIZES = {"bombs": 1, "huge": 1_500}
"""Of those that are not as large as `--size`: rounds of bombs, and what costs more by the message."""


def main() -> None:
    """Attack and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--brokers", help="a running Kafka (host:port) instead of an own one")
    parser.add_argument("--redis", help="the URL of a running Redis instead of an own one")
    parser.add_argument("--only", nargs="+", choices=[attack.name for attack in ATTACKS], help="these attacks alone")
    parser.add_argument("--size", type=int, default=20_000, help="messages of an attack (20000)")
    parser.add_argument("--json", help="write the figures to this file as well; - is standard output, without a table")
    wanted = parser.parse_args()
    chosen = [attack for attack in ATTACKS if not wanted.only or attack.name in wanted.only]
    with ground(wanted.brokers, wanted.redis, {**CHANGES, **LIMITS}) as place:
        house = House(place, len(chosen) + 1)
        house.begin()
        rows = [house.baseline]
        for attack in chosen:
            print(f"{attack.name} …", file=sys.stderr, flush=True)
            rows.append(house.attacked(attack, SIZES.get(attack.name, wanted.size)))
    found = [row for row in rows if row is not None]
    if wanted.json:
        text = json.dumps([dataclasses.asdict(row) | {"slope_mb": row.slope_mb} for row in found], indent=2)
        print(text) if wanted.json == "-" else Path(wanted.json).write_text(text + "\n", encoding="utf-8")
    if wanted.json != "-":
        Console(width=200).print(drawn(found))


def drawn(rows: list[Row]) -> Table:
    """Return the table; the first row is that without an attack."""
    table = Table(show_lines=True)
    for name in ("attack", "sent", "became", "limits", "memory MB\nbefore, most, after", "MB per\nmillion", "series",
                 "keys in Redis", "quiet org", "p50, p99 (s)\nratio"):  # fmt: skip
        table.add_column(name)
    for row in rows:
        became = {**row.outcomes, **{f"dead: {reason}": number for reason, number in row.dead.items()}}
        ratio = f"{row.p50 / rows[0].p50:.1f} ×, {row.p99 / rows[0].p99:.1f} ×"
        table.add_row(
            row.attack,
            f"{row.sent:,}\n{row.sent_bytes / 2**20:,.1f} MB\n{row.seconds:.0f} s",
            "\n".join(f"{name} {number:,}" for name, number in sorted(became.items())),
            "\n".join(f"{name} = {value:,}" for name, value in row.limits.items()),
            f"{row.before_mb:.0f}, {row.most_mb:.0f}, {row.after_mb:.0f}",
            f"{row.slope_mb:,.0f}" if row.sent >= 1000 else "",
            f"{row.series[0]} → {row.series[1]}\n{row.scrape_seconds * 1000:.0f} ms",
            f"{row.redis_keys[0]:,} → {row.redis_keys[1]:,}",
            "equal" if row.quiet_equal else "DIFFERS",
            f"{row.p50:.2f}, {row.p99:.2f}\n{ratio}",
        )
    return table


if __name__ == "__main__":
    main()
