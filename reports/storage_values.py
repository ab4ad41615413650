"""Reads the cells of an export: text to ids, times, bytes, amounts.

Invariant: every cell gives a value, is empty, or is bad with a reason of `REASONS`; nothing is rounded and no id is
told from another by its case.

    id      lower case, without blanks around it              number  a whole number of up to 60 bits
    text    as it is                                          bytes   a whole number from 0 up
    time    ISO 8601, without a zone in UTC; microseconds     micros  a whole number of millionths
    month   2021-04, or a date in it                          units   a decimal, as the millionths it has
    action  1 or PUT, 2 or GET (see `storage_tables`)

All works on the distinct texts of a column, which are few but for amounts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from reports.storage_tables import ACTION, BYTES, DOWNLOAD, ID, MICROS, MONTH, NUMBER, OTHER, TEXT, TIME, UNITS, UPLOAD

LARGEST = (1 << 60) - 1
"""Bytes or millionths of one row beyond which the row is damaged: an exabyte."""
LONGEST_ID = 500
REASONS = {
    "empty": "a cell that must not be empty is",
    "bad_id": "an id holds a control character or is too long",
    "bad_time": "is no ISO 8601 time",
    "bad_number": "is no whole number",
    "negative": "is below zero",
    "too_large": "is beyond 2^60",
    "bad_month": "is no month",
    "bad_action": "is no action",
    "not_utf8": "is not UTF-8 text",
    "torn": "has another number of columns",
    "not_json": "is no JSON object with the fields of an event",
}
"""Why a row is left out."""

EMPTY_WORDS = ("", "\\N", "NULL", "null", "NaN", "nan", "None", "NaT")
"""What databases and data frames write for nothing."""

Mask = np.ndarray[Any, np.dtype[np.bool_]]
Parsed = tuple[Any, dict[str, Mask]]
"""Values (an Arrow array, null where empty or bad) and, by reason, which are bad."""

_ACTIONS = {"1": UPLOAD, "put": UPLOAD, "upload": UPLOAD, "2": DOWNLOAD, "get": DOWNLOAD, "download": DOWNLOAD}
_OTHER_ACTIONS = {"0", "3", "4", "5", "6", "get_audit", "get_repair", "put_repair", "delete", "put_graceful_exit"}
_CONTROL = r"[\x00-\x1f\x7f-\x{9f}\x{2028}-\x{202e}\x{2066}-\x{2069}]"


def parsed(texts: Any, holds: str, time_formats: Sequence[str] = ()) -> Parsed:
    """Return what the cells *texts* (an Arrow array of text) say; see `EMPTY_WORDS` for those that say nothing.

    >>> values, bad = parsed(pa.array(["50000000000.0", "x", None]), BYTES)
    >>> values.to_pylist(), bad["bad_number"].tolist()
    ([50000000000, None, None], [False, True, False])
    """
    trimmed = pc.utf8_trim_whitespace(texts)
    cells = pc.if_else(pc.is_in(trimmed, pa.array(EMPTY_WORDS)), pa.scalar(None, pa.string()), trimmed)
    if holds == TIME:
        return _times(cells, time_formats)
    return _READERS[holds](cells)


def _ids(cells: Any) -> Parsed:
    unfit = pc.or_(pc.match_substring_regex(cells, _CONTROL), pc.greater(pc.utf8_length(cells), LONGEST_ID))
    bad = _mask(unfit)
    return pc.utf8_lower(_without(cells, bad)), {"bad_id": bad}


def _texts(cells: Any) -> Parsed:
    return cells, {}


def _times(cells: Any, formats: Sequence[str]) -> Parsed:
    series = pd.Series(cells.to_pylist(), dtype="object")
    # Only what looks like a date: "now" and "5" are times to pandas, and to nobody else.
    dated = series.str.match(r"\d{4}-\d\d-\d\d", na=False).to_numpy(bool)
    found = pd.Series(pd.NaT, index=series.index, dtype="datetime64[us, UTC]")
    found[dated] = _iso(series[dated])
    for pattern in formats:
        left = (found.isna() & series.notna()).to_numpy()
        if left.any():
            again = pd.to_datetime(series[left], format=pattern, utc=True, errors="coerce")
            found[left] = again.astype("datetime64[us, UTC]")
    bad = (found.isna() & series.notna()).to_numpy()
    return pa.array(found, type=pa.timestamp("us", tz="UTC"), from_pandas=True), {"bad_time": bad}


def _iso(texts: pd.Series) -> pd.Series:
    """Return ISO 8601 texts as times; those that are none are NaT.

    The year 1 and the year 9999 are sentinels that exports hold; microseconds reach that far, nanoseconds do not.
    """
    return pd.to_datetime(texts, format="ISO8601", utc=True, errors="coerce").astype("datetime64[us, UTC]")


def _whole(cells: Any) -> tuple[Any, Mask, Mask]:
    """Return whole numbers as 64-bit integers, which cells are none, and which are too large.

    `1200.0` and `1.2e3` are whole numbers too: that is how spreadsheets and data frames write them.
    """
    plain = _mask(pc.match_substring_regex(cells, r"^[+-]?[0-9]{1,18}$"))
    signless = pc.utf8_ltrim(cells, "+")
    # Filled before NumPy sees them: with nulls among them integers become floats and lose their last digits.
    values = pc.fill_null(pc.cast(_without(signless, ~plain), pa.int64()), 0)
    numbers = values.to_numpy(zero_copy_only=False).copy()
    none, large = np.zeros(len(cells), bool), np.zeros(len(cells), bool)
    for at in np.flatnonzero(~plain & ~_mask(pc.is_null(cells))).tolist():
        number = _decimal(cells[at].as_py())
        if number is None:
            none[at] = True
        elif abs(number) > LARGEST:
            large[at] = True
        else:
            numbers[at] = number
    large |= np.abs(numbers) > LARGEST
    empty = _mask(pc.is_null(cells)) | none | large
    return pa.array(numbers, mask=empty), none, large


def _decimal(text: str, places: int = 0) -> int | None:
    """Return the whole number of 10^-*places* that *text* says, None where it says none."""
    try:
        number = Decimal(text).scaleb(places)
    except InvalidOperation:
        return None
    if not number.is_finite() or number.adjusted() > 40:
        return None if not number.is_finite() else (LARGEST + 1 if number > 0 else -LARGEST - 1)
    return int(number) if number == number.to_integral_value() else None


def _numbers(cells: Any) -> Parsed:
    values, none, large = _whole(cells)
    return values, {"bad_number": none, "too_large": large}


def _units(cells: Any) -> Parsed:
    """Return decimal amounts as millionths; what has more than six places is none."""
    found, none, large = [], np.zeros(len(cells), bool), np.zeros(len(cells), bool)
    for at, text in enumerate(cells.to_pylist()):
        value = None if text is None else _decimal(text, 6)
        none[at] = text is not None and value is None
        large[at] = value is not None and abs(value) > LARGEST
        found.append(None if large[at] else value)
    return pa.array(found, pa.int64()), {"bad_number": none, "too_large": large}


def _bytes(cells: Any) -> Parsed:
    values, none, large = _whole(cells)
    below = _mask(pc.less(values, 0))
    return _without(values, below), {"bad_number": none, "too_large": large, "negative": below}


def _months(cells: Any) -> Parsed:
    likely = pc.match_substring_regex(cells, r"^[0-9]{4}-(0[1-9]|1[0-2])(-[0-9]{2}([T ].*)?)?$")
    bad = ~_mask(likely) & ~_mask(pc.is_null(cells))
    return pc.utf8_slice_codeunits(_without(cells, bad), 0, 7), {"bad_month": bad}


def _actions(cells: Any) -> Parsed:
    words = [None if word is None else word.lower().removesuffix(".0") for word in cells.to_pylist()]
    found = [_ACTIONS.get(word, OTHER if word in _OTHER_ACTIONS else None) if word else None for word in words]
    bad = np.array([word is not None and value is None for word, value in zip(words, found, strict=True)], bool)
    return pa.array(found, pa.int8()), {"bad_action": bad}


_READERS: dict[str, Callable[[Any], Parsed]] = {
    ID: _ids, TEXT: _texts, NUMBER: _numbers, MICROS: _numbers, BYTES: _bytes, UNITS: _units, MONTH: _months,
    ACTION: _actions,
}  # fmt: skip


def _mask(flags: Any) -> Mask:
    found: Mask = pc.fill_null(flags, False).to_numpy(zero_copy_only=False).astype(bool)
    return found


def _without(values: Any, bad: Mask) -> Any:
    """Return *values* with nulls where they are *bad*."""
    return pc.if_else(pa.array(bad), pa.scalar(None, values.type), values) if bad.any() else values
