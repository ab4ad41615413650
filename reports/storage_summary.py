"""What the users of a storage network are like, in two tables: by tier, and by quantiles.

Invariant: every user is in exactly one row of the table by tier; quantiles are values that users have.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from reports.storage_features import GB

QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 1.0)
NO_TIER = "none"


def by_tier(users: pa.Table, months: Sequence[str]) -> pd.DataFrame:
    """Return for each tier its users, projects, who uploads and downloads, and GB; nothing where not exported."""
    last = f"last_{len(months)}_months"
    tier = pc.fill_null(users.column("tier"), NO_TIER)
    rows = []
    for name in ("free", "paid", NO_TIER):
        own = users.filter(pc.equal(tier, name))
        if not own.num_rows:
            continue
        rows.append({
            "tier": name,
            "users": own.num_rows,
            "projects": _sum(own, "projects"),
            "users_with_uploads": _above(own, f"uploads_{last}"),
            "users_with_downloads": _above(own, f"downloads_{last}"),
            "uploaded_gb": _gigabytes(_sum(own, f"upload_bytes_{last}")),
            "downloaded_gb": _gigabytes(_sum(own, f"download_bytes_{last}")),
            "stored_gb": _gigabytes(_sum(own, "stored_bytes")),
        })  # fmt: skip
    return pd.DataFrame(rows)


def by_quantile(users: pa.Table, months: Sequence[str]) -> pd.DataFrame:
    """Return quantiles of what users have who have any: uploads, downloads, hours with them, GB."""
    last = f"last_{len(months)}_months"
    values = {
        "projects": users.column("projects"),
        "uploads": users.column(f"uploads_{last}"),
        "downloads": users.column(f"downloads_{last}"),
        "hours_with_uploads": pc.list_value_length(users.column("upload_hours")),
        "hours_with_downloads": pc.list_value_length(users.column("download_hours")),
        "uploaded_gb": pc.divide(pc.cast(users.column(f"upload_bytes_{last}"), pa.float64(), safe=False), GB),
        "downloaded_gb": pc.divide(pc.cast(users.column(f"download_bytes_{last}"), pa.float64(), safe=False), GB),
        "stored_gb": users.column("stored_gb"),
    }
    rows = []
    for name, column in values.items():
        some = column.filter(pc.fill_null(pc.greater(column, 0), False))
        if len(some):
            found = pc.quantile(some, list(QUANTILES), interpolation="higher").to_pylist()
            named = {("max" if q == 1 else f"p{q * 100:g}"): value for q, value in zip(QUANTILES, found, strict=True)}
            rows.append({"of_users_with_any": name, "users": len(some), **named})
    names = ["of_users_with_any", "users", *("max" if q == 1 else f"p{q * 100:g}" for q in QUANTILES)]
    return pd.DataFrame(rows, columns=names)


def _sum(users: pa.Table, name: str) -> int | None:
    """Return an exact sum; None = nothing is known."""
    values = [value for value in users.column(name).to_pylist() if value is not None]
    return sum(values) if values else None


def _above(users: pa.Table, name: str) -> int | None:
    column = users.column(name)
    return None if column.null_count == len(column) else int(pc.sum(pc.greater(column, 0)).as_py() or 0)


def _gigabytes(found: int | None) -> float | None:
    return None if found is None else found / GB
