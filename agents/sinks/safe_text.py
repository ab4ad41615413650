"""Makes texts and JSON fit for PostgreSQL, which holds no NUL, no half characters and no endless numbers.

Owns what is replaced: such a character becomes U+FFFD, a number beyond what JSON readers can hold becomes text.
Invariant: what comes out is always stored as it is; whether something was replaced is said.
"""

from __future__ import annotations

import json
import re
from typing import Any

import orjson

from streams.reading import Rejected

_UNFIT = re.compile("[\x00\ud800-\udfff]")
# An escaped NUL, any half of a pair (whole pairs too), a number with a long exponent or very many digits.
_SUSPECT = re.compile(rb"\\u0000|\\u[dD][89a-fA-F]|[0-9][eE][+-]?[0-9]{3}|[0-9]{200}")
_LONGEST_NUMBER_CHARS = 300
_LARGEST_EXPONENT = 260
LONGEST_NAME_CHARS = 500
"""Names that are indexed (job types, group types) are cut here: a row of an index holds 2,704 bytes at most."""


def fit_text(text: str) -> str:
    """Return *text* with U+FFFD for what PostgreSQL can't hold.

    >>> fit_text("a\\x00b") == "a\\ufffdb"
    True
    """
    return _UNFIT.sub("\ufffd", text) if "\x00" in text or not text.isprintable() else text


def fit_json(raw: bytes) -> tuple[str, bool]:
    """Return JSON that `jsonb` takes, and whether something in it was replaced.

    Raises:
        Rejected: not_json or too_deep.

    >>> fit_json(b'{"a":1.50}'), fit_json(b'{"a":"\\\\u0000","b":1e999}')[1]
    (('{"a":1.50}', False), True)
    """
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        raw, mended = raw.decode("utf-8", "replace").encode(), True
        text = raw.decode()
    else:
        mended = False
    if not _SUSPECT.search(raw):
        return text, mended
    changed: list[bool] = []
    try:
        found = json.loads(raw, parse_int=lambda n: _number(n, changed), parse_float=lambda n: _number(n, changed))
        done = orjson.dumps(_cleaned(found, changed), option=orjson.OPT_NON_STR_KEYS).decode()
    except RecursionError:
        raise Rejected("too_deep", "nested deeper than can be stored") from None
    except orjson.JSONEncodeError:
        raise Rejected("too_deep", "nested deeper than 250 levels, with something to mend in it") from None
    except ValueError as error:
        raise Rejected("not_json", str(error)) from None
    return done, mended or bool(changed)


def _number(text: str, changed: list[bool]) -> Any:
    """Return a number as it was written, or as text when it is too long or too large to be one for readers."""
    exponent = text.lower().partition("e")[2] or "0"
    if len(text) <= _LONGEST_NUMBER_CHARS and abs(int(exponent)) <= _LARGEST_EXPONENT:
        return orjson.Fragment(text.encode())
    changed.append(True)
    return text


def _cleaned(value: Any, changed: list[bool]) -> Any:
    """Return *value* with texts that can be stored, keys too."""
    if type(value) is str:
        fit = _UNFIT.sub("\ufffd", value)
        if fit != value:
            changed.append(True)
        return fit
    if type(value) is list:
        return [_cleaned(item, changed) for item in value]
    if type(value) is dict:
        return {_cleaned(name, changed): _cleaned(item, changed) for name, item in value.items()}
    return value
