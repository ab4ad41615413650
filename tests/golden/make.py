"""Writes the golden state of this version: run once, when a version that changes `state.shard.SCHEMA` is released.

    python -m tests.golden.make

Invariant: what was released stays as it is; a file that is there already is not written again.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import msgspec

from agents.checkpoints import Checkpoints
from state.identity import UserRecord
from state.ledger import SourceLedger, dump_shares
from state.limits import Limits
from state.shard import SCHEMA, Shard
from streams.parked import Alias, Parked
from tests.agents.by_hand import Table
from tests.state.random_logs import LIMITS, MODEL, random_log

HERE = Path(__file__).parent
SEED, RECORDS = 4, 60


def golden_shard() -> Shard:
    """Return the shard whose checkpoint is kept."""
    shard = Shard(0, MODEL, Limits(**LIMITS))
    for offset, record in enumerate(random_log(SEED, RECORDS)):
        shard.apply(record, offset)
    return shard


def tables(shard: Shard) -> dict[str, dict[bytes, bytes]]:
    """Return the content of each table, as its changelog would give it."""
    table: Any = Table()
    keeper = Checkpoints(table, lambda: 0.0, 10.0, 1000, lambda _: None)
    table.recover(keeper.make(shard))
    waiting = Parked("ann@x.example", "", "search", 1_700_000_000_000, 5, "e1", "", "product-events", 1, 77)
    return {
        "shard": dict(table.items(0)),
        "ledger": {
            b"product-events": SourceLedger(10, 6, 2, 1, 1, 1_700_000_000_000, {0: 4, 3: 2}).dump(),
            b"shard": dump_shares({("product-events", 1): [5, 1, 0, 0, 0]}),
        },
        "members": {
            b"u:ann": msgspec.msgpack.encode(UserRecord("ann", "acme", ["ann", "a@x"], "analyst", True, False))
        },
        "park": {
            b"k:ann": msgspec.msgpack.encode(Alias("ann", "acme", "ann")),
            b"p:ann@x.example": msgspec.msgpack.encode([waiting]),
        },
    }


def documents(shard: Shard) -> list[Any]:
    """Return everything the shard says, in a form that JSON keeps."""
    return [msgspec.to_builtins(effect) for effect in shard.documents()]


def main() -> int:
    """Write what is not there yet; return the exit code."""
    state, said = HERE / f"state-{SCHEMA}.msgpack", HERE / f"said-{SCHEMA}.json"
    if state.exists():
        print(f"{state.name} is there already: what was released stays as it is", file=sys.stderr)
        return 1
    shard = golden_shard()
    state.write_bytes(msgspec.msgpack.encode(tables(shard)))
    said.write_bytes(msgspec.json.format(msgspec.json.encode(documents(shard)), indent=1))
    print(f"{state.name}: {state.stat().st_size} bytes; {said.name}: {said.stat().st_size} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
