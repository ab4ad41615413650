"""Writes a storage network's exports of the published size, seeded: python -m tests.reports.storage_base DIR [SHARE].

The shape is that of 2021-04: 16,436 projects, 1,013,364 bandwidth rows over fourteen months, 3,048 projects with
traffic, heavy tails. Among the rows are what real exports hold: ids in other case, rows twice in a region and across
regions, rows after the cut-off, unknown projects, damaged cells, nodes never contacted.
"""

from __future__ import annotations

import gzip
import io
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

SEED = 20_210_501
REGIONS = ("ap", "eu", "us")
SHARES = (0.15, 0.35, 0.5)
PROJECTS, USERS, BUSY, ROWS, TALLIES, NODES = 16_436, 9_200, 3_048, 1_013_364, 310_000, 12_000
START, END = pd.Timestamp("2020-03-01", tz="UTC"), pd.Timestamp("2021-05-09", tz="UTC")
NEVER = ("1970-01-01 00:00:00+00", "2070-01-01 00:00:00+00", "0001-01-01 00:00:00+00", "", "2069-12-31 19:00:00-05")


def write_base(folder: Path, share: float = 1.0, seed: int = SEED) -> None:
    """Write the exports into *folder*, *share* of their published size."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    users = _ids(rng, max(int(USERS * share), 8))
    projects = _projects(rng, users, max(int(PROJECTS * share), 12))
    newer = projects.sample(frac=0.01, random_state=rng).assign(usage_limit="7e9", created_at=_times(rng, 1, "us")[0])
    _write(folder, "projects", _spread(rng, pd.concat([projects, newer])))
    listed = pd.DataFrame({
        "id": users, "email_hash": _hashes(rng, len(users)), "password_hash": _hashes(rng, len(users)),
        "created_at": _times(rng, len(users), "s"),
    })[: max(int(len(users) * 0.98), 1)]  # fmt: skip
    _write(folder, "users", _spread(rng, listed))
    busy = projects["project_id"].to_numpy()[: max(int(BUSY * share), 6)]
    _write(folder, "bucket_bandwidth_rollups", _spread(rng, _bandwidth(rng, busy, max(int(ROWS * share * 0.985), 80))))
    _write(folder, "bucket_storage_tallies", _spread(rng, _tallies(rng, busy, max(int(TALLIES * share), 40))))
    nodes = _nodes(rng, max(int(NODES * share), 12))
    _write(folder, "nodes", _spread(rng, nodes))
    for name in ("payments", "receipts"):
        _write(folder, f"node_{name}", _spread(rng, _amounts(rng, nodes, name)))
    _write(folder, "payers", _spread(rng, pd.DataFrame({
        "wallet": rng.choice(nodes["wallet"].to_numpy(), len(nodes) // 2),
        "amount": rng.integers(0, 40_000_000, len(nodes) // 2),
    })))  # fmt: skip


def _projects(rng: np.random.Generator, users: Any, count: int) -> pd.DataFrame:
    owner = np.concatenate([users, rng.choice(users, max(count - len(users), 0))])[:count]
    limits = np.array(["50000000000", "25000000000", "50000000001", "150000000000", "5.0e12", ""])
    frame = pd.DataFrame({"created_at": _times(rng, count, "us"), "project_id": _ids(rng, count), "user_id": owner})
    frame["usage_limit"] = rng.choice(limits, count, p=[0.4, 0.1, 0.02, 0.33, 0.13, 0.02])
    frame["bandwidth_limit"] = rng.choice(limits, count)
    return frame.sample(frac=1, random_state=rng).reset_index(drop=True)


def _bandwidth(rng: np.random.Generator, busy: Any, count: int) -> pd.DataFrame:
    weights = 1 / np.arange(1, len(busy) + 1) ** 0.8
    known = rng.choice(busy, count, p=weights / weights.sum())
    strangers = _ids(rng, 5)
    project = np.where(rng.random(count) < 0.002, rng.choice(strangers, count), known)
    settled = np.floor(rng.pareto(0.6, count) * 20_000).clip(0, 2**42).astype(np.int64)
    settled[rng.random(count) < 0.02] = 0
    return pd.DataFrame({
        "interval_start": _times(rng, count, "h"),
        "action": rng.choice([1, 2, 3], count, p=[0.45, 0.5, 0.05]),
        "inline": np.where(rng.random(count) < 0.3, rng.integers(0, 4096, count), 0),
        "settled": settled,
        "project_id": project,
    })  # fmt: skip


def _tallies(rng: np.random.Generator, busy: Any, count: int) -> pd.DataFrame:
    return pd.DataFrame({
        "interval_start": _times(rng, count, "s"),
        "remote": np.floor(rng.pareto(0.5, count) * 1_000_000).clip(0, 2**52).astype(np.int64),
        "object_count": rng.integers(0, 500, count),
        "project_id": rng.choice(busy, count),
    })  # fmt: skip


def _nodes(rng: np.random.Generator, count: int) -> pd.DataFrame:
    contact = _times(rng, count, "us").astype(object)
    never = rng.random(count) < 0.12
    contact[never] = rng.choice(np.array(NEVER, object), int(never.sum()))
    wallets = np.array([f"0x{wallet}" for wallet in _ids(rng, max(count // 3, 2))], object)
    return pd.DataFrame({
        "id": _ids(rng, count), "wallet": rng.choice(wallets, count), "email_hash": _hashes(rng, count),
        "created_at": _times(rng, count, "s"),
        "vetted_at": np.where(rng.random(count) < 0.5, "", "2020-08-01 00:00:00+00"),
        "last_contact_success": contact, "last_contact_failure": "0001-01-01 00:00:00+00",
        "free_disk": rng.integers(0, 10**13, count), "piece_count": rng.integers(0, 10**7, count),
    })  # fmt: skip


def _amounts(rng: np.random.Generator, nodes: pd.DataFrame, name: str) -> pd.DataFrame:
    count = len(nodes) * 6
    ids = np.concatenate([rng.choice(nodes["id"].to_numpy(), count - 3), _ids(rng, 3)])
    frame = pd.DataFrame({
        "period": rng.choice(["2020-12", "2021-01", "2021-02", "2021-03", "2021-04", "2021-05"], count),
        "node_id": ids, "amount": rng.integers(0, 30_000_000, count),
    })  # fmt: skip
    if name == "receipts":
        frame["receipt"] = np.where(rng.random(count) < 0.1, "", "eth:0xab")
    return frame


def _ids(rng: np.random.Generator, count: int) -> Any:
    raw = rng.integers(0, 256, (count, 16), dtype=np.uint8).tobytes().hex()
    parts = [raw[at : at + 32] for at in range(0, len(raw), 32)]
    return np.array([f"{p[:8]}-{p[8:12]}-{p[12:16]}-{p[16:20]}-{p[20:]}" for p in parts], object)


def _hashes(rng: np.random.Generator, count: int) -> Any:
    return np.array([one.replace("-", "") for one in _ids(rng, count)], object)


def _times(rng: np.random.Generator, count: int, unit: str) -> Any:
    steps = {"h": 3_600_000_000, "s": 1_000_000, "us": 1}[unit]
    first, last = START.value // 1000 // steps, END.value // 1000 // steps
    moments = pd.to_datetime(rng.integers(first, last, count) * steps, unit="us", utc=True)
    distinct, codes = np.unique(moments.to_numpy(), return_inverse=True)
    pattern = "%Y-%m-%d %H:%M:%S.%f+00" if unit == "us" else "%Y-%m-%d %H:%M:%S+00:00"
    return np.array(pd.DatetimeIndex(distinct).strftime(pattern), object)[codes]


def _spread(rng: np.random.Generator, rows: pd.DataFrame) -> list[pd.DataFrame]:
    """Return the rows by region: some are twice, in their region or in another; ids of the second are in capitals."""
    where = rng.choice(len(REGIONS), len(rows), p=SHARES)
    found = []
    for number in range(len(REGIONS)):
        own = rows[where == number]
        guests = rows[(where != number) & (rng.random(len(rows)) < 0.005)]
        again = own.sample(frac=0.005, random_state=rng)
        found.append(pd.concat([own, guests, again]))
    for name in (name for name in rows if name in ("id", "project_id", "user_id", "node_id", "wallet")):
        found[1][name] = found[1][name].str.upper()
    return found


def _write(folder: Path, name: str, parts: list[pd.DataFrame]) -> None:
    """Write one file a region: gzip for the first, CRLF and a byte order mark for the second."""
    for region, part in zip(REGIONS, parts, strict=True):
        text = io.StringIO()
        part.to_csv(text, index=False, lineterminator="\r\n" if region == "eu" else "\n")
        if region == "us" and name == "bucket_bandwidth_rollups":
            text.write("2021-13-01 00:00:00,1,0,5,x\n2021-01-01 00:00:00,1,0,-5,x\n1,2\n")
        data = text.getvalue().encode("utf-8-sig" if region == "eu" else "utf-8")
        path = folder / f"{region}1_{name}.csv"
        if region == "ap":
            path = path.with_suffix(".csv.gz")
            data = gzip.compress(data, 1)
        path.write_bytes(data)


if __name__ == "__main__":
    write_base(Path(sys.argv[1]), float(sys.argv[2]) if len(sys.argv) > 2 else 1.0)
