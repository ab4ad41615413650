"""Owns how columns or dotted paths of a foreign row become fields of a message: `--map` and what mapping files say.

Invariant: amounts are computed exactly, in decimal, or not at all; a float never touches them.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Context, Decimal, DecimalException, Inexact, InvalidOperation
from typing import Any
from zoneinfo import ZoneInfo

from agents.importers.source import InputError

# 60 digits hold any product of prices and pieces; where they do not, Inexact is an error and not a rounding.
_LONGEST_EXPONENT = 1_000
_EXACT = Context(prec=60, traps=[InvalidOperation, Inexact])


@dataclass(frozen=True, slots=True)
class Rule:
    """One `--map`: `target` gets a constant, one column, or the product of several factors.

    A mapping file can also say what a value is called here (`values`) and how a time is written (`time_format`, of
    strptime; `zone` for times without one).
    """

    target: str
    constant: str | None
    factors: tuple[str, ...]
    values: tuple[tuple[str, str], ...] = ()
    time_format: str = ""
    zone: str = ""

    def columns(self) -> list[str]:
        """Return the columns that the rule reads (factors that are numbers are none)."""
        return [factor for factor in self.factors if len(self.factors) == 1 or _number(factor) is None]


def _number(text: str) -> Decimal | None:
    try:
        number = Decimal(text)
    except DecimalException:
        return None
    return number if number.is_finite() else None


def parse_rules(texts: Sequence[str], fields: Collection[str]) -> tuple[Rule, ...]:
    """Parse `FIELD=COLUMN`, `FIELD=A*B` and `FIELD:=VALUE`; *fields* are the names a message knows.

    Raises:
        InputError: If a rule has no `=`, or names a field that the message does not have.

    >>> parse_rules(["amount=Quantity*UnitPrice", "status:=A"], {"amount", "status"})[0].factors
    ('Quantity', 'UnitPrice')
    """
    rules = []
    for text in texts:
        target, sign, origin = text.partition("=")
        constant = target.endswith(":")
        target = target.removesuffix(":").strip()
        if not sign or not target or not (origin or constant):
            raise InputError(f"--map {text}: write FIELD=COLUMN, FIELD=COLUMN*COLUMN or FIELD:=VALUE")
        if target not in fields:
            raise InputError(f"--map {text}: there is no field {target!r}{_nearest(target, fields)}")
        if constant:
            rules.append(Rule(target, origin, ()))
            continue
        factors = tuple(factor.strip() for factor in origin.split("*"))
        if "" in factors or (target != "amount" and len(factors) > 1):
            raise InputError(f"--map {text}: a product needs two columns, and only an amount can be one")
        rules.append(Rule(target, None, factors))
    return tuple(rules)


def check_columns(rules: Sequence[Rule], columns: Collection[str], name: str) -> None:
    """Raise `InputError` where a rule names a column that the file *name* does not have."""
    for rule in rules:
        for column in rule.columns():
            if column not in columns and column.split(".")[0] not in columns:
                raise InputError(f"{name}: there is no column {column!r}{_nearest(column, columns)}")


def _nearest(name: str, names: Collection[str]) -> str:
    near = difflib.get_close_matches(name, list(names), n=1, cutoff=0.5)
    return f"; did you mean {near[0]!r}?" if near else f"; there are {', '.join(sorted(names))}"


def look_up(row: Mapping[str, Any], path: str) -> Any:
    """Return the value at a column name or dotted path (`properties.channel`), `None` where there is none.

    >>> look_up({"properties": {"channel": "#en"}}, "properties.channel")
    '#en'
    """
    if path in row:
        return row[path]
    found: Any = row
    for part in path.split("."):
        if not isinstance(found, Mapping):
            return None
        found = found.get(part)
    return found


def product(row: Mapping[str, Any], factors: Sequence[str]) -> str | None:
    """Return the exact product of columns and numbers as decimal text, `None` where one is no number.

    >>> product({"Quantity": "3", "UnitPrice": "0.10"}, ("Quantity", "UnitPrice"))
    '0.30'
    """
    result = Decimal(1)
    try:
        for factor in factors:
            number = _number(factor)
            if number is None:
                number = _number(str(look_up(row, factor)))
            if number is None:
                return None
            result = _EXACT.multiply(result, number)
    except DecimalException:
        return None
    return decimal_text(result)


def decimal_text(number: Decimal) -> str:
    """Return an exact number as text, written out unless that would fill the memory.

    >>> decimal_text(Decimal("1E+3")), decimal_text(Decimal("1E+999999999"))
    ('1000', '1E+999999999')
    """
    _, digits, exponent = number.as_tuple()
    written_out = isinstance(exponent, int) and abs(exponent) <= _LONGEST_EXPONENT and len(digits) <= _LONGEST_EXPONENT
    return format(number, "f") if written_out else str(number)


def apply_rules(rules: Sequence[Rule], row: Mapping[str, Any]) -> tuple[dict[str, Any], str | None]:
    """Return the mapped fields of one row and what is wrong with it (the last thing found), if anything.

    A product that can't be computed is given as the raw factors joined with `*`: no number, so that the system's own
    check calls it a bad amount and keeps the evidence.
    """
    fields: dict[str, Any] = {}
    problem = None
    for rule in rules:
        value: Any
        if rule.constant is not None:
            value = rule.constant
        elif len(rule.factors) == 1:
            value = look_up(row, rule.factors[0])
        else:
            value = product(row, rule.factors)
            if value is None:
                value = "*".join(str(look_up(row, column)) for column in rule.columns())
                problem = "bad_amount"
        if value is None or value == "":
            problem = problem or f"no_{rule.target}"
            continue
        if rule.values:
            value = dict(rule.values).get(str(value), value)
        if rule.time_format or rule.zone:
            value, oddity = _timed(rule, value)
            problem = problem or oddity
        fields[rule.target] = value
    return fields, problem


def _timed(rule: Rule, value: Any) -> tuple[Any, str | None]:
    """Return a time written in the rule's way as ISO 8601 with a zone; one that is not stays, and is said.

    >>> _timed(Rule("time", None, ("t",), time_format="%m/%d/%Y %H:%M", zone="Europe/London"), "7/1/2011 8:26")
    ('2011-07-01T08:26:00+01:00', None)
    """
    if not isinstance(value, str):
        return value, None
    try:
        text = value.strip()
        time = datetime.strptime(text, rule.time_format) if rule.time_format else datetime.fromisoformat(text)  # noqa: DTZ007 - the zone is put in below
    except ValueError:
        return value, "bad_time"
    return (time if time.tzinfo else time.replace(tzinfo=ZoneInfo(rule.zone or "UTC"))).isoformat(), None
