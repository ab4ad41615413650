"""What a storage report on exports of the published size takes: python -m tests.bench.storage.

16,436 projects, about 1,013,364 bandwidth rows, 310,000 tallies, 12,000 nodes with payments and receipts, in three
regions. What it writes is compared, every column, with SQL over the same files.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

from tests.reports.storage_base import write_base
from tests.reports.storage_oracle import differences, oracle

WANTED_SECONDS, WANTED_KIB = 30, 1_572_864


def main() -> int:
    """Run it; 1 = something differs, or it took more than wanted."""
    with tempfile.TemporaryDirectory() as place:
        folder, out = Path(place) / "in", Path(place) / "out"
        write_base(folder)
        size = sum(file.stat().st_size for file in folder.iterdir())
        began = time.perf_counter()
        command = [sys.executable, "-m", "agents.cli", "report", "storage", str(folder), "--out", str(out)]
        subprocess.run([*command, "--before", "2021-05-01"], check=True, stdout=subprocess.DEVNULL)
        took = time.perf_counter() - began
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        db = oracle(folder, date(2021, 5, 1))
        names = {"users_o": "users", "nodes_o": "nodes", "wallets_o": "wallets"}
        unlike = {name: differences(db, name, out / f"storage-{file}.parquet") for name, file in names.items()}
    print(
        f"{size / 1e6:.0f} MB of exports: {took:.1f} s ({used.ru_utime + used.ru_stime:.1f} s of processor time), "
        f"{used.ru_maxrss / 1024:.0f} MiB; columns that differ from SQL: {sum(map(len, unlike.values()))}"
    )
    return int(any(unlike.values()) or took > WANTED_SECONDS or used.ru_maxrss > WANTED_KIB)


if __name__ == "__main__":
    sys.exit(main())
