"""Owns values as databases and Parquet have them, as JSON has them.

Invariant: no digit and no instant is lost: decimals stay exact, times keep their zone or stay without one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import date, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

_DEEPEST = 60


def plain(value: Any, depth: int = 0) -> Any:
    """Return *value* as JSON can say it: not-a-number is nothing; bytes are text if they are UTF-8, else hexadecimal.

    >>> from datetime import datetime
    >>> plain({"at": datetime(2026, 1, 5, 10), "a": [b"x", float("nan")]})
    {'at': '2026-01-05T10:00:00', 'a': ['x', None]}
    """
    kind = type(value)
    if value is None or kind is str or kind is int or kind is bool:
        return value
    if kind is float:
        return value if math.isfinite(value) else None
    if isinstance(value, Decimal):
        return value if value.is_finite() else None
    if isinstance(value, date | time):
        return value.isoformat()
    if depth > _DEEPEST:
        return str(value)[:200]
    if isinstance(value, Mapping):
        return {str(name): plain(inner, depth + 1) for name, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(inner, depth + 1) for inner in value]
    return _odd_kind(value)


def _odd_kind(value: Any) -> Any:
    if isinstance(value, bytes | bytearray | memoryview):
        raw = bytes(value)
        try:
            return raw.decode()
        except UnicodeDecodeError:
            return raw.hex()
    if isinstance(value, timedelta):
        return Decimal(value // timedelta(microseconds=1)).scaleb(-6)
    if isinstance(value, UUID | int | str):
        return int(value) if isinstance(value, int) else str(value)
    return str(value)
