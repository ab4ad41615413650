"""Owns the reading of transactions.

Invariant: amounts are exact integers of cents; what is finer than a cent, no
number, or in another currency is refused rather than rounded or mixed.
"""

from __future__ import annotations

from decimal import Decimal

import msgspec

from streams.reading import Reader, Reading, Rejected, checked_id, checked_org, decoded, time_ms_of

_CENT = Decimal("0.01")
_LARGEST_CENTS = (2**63 - 1) // 1_000_000  # a million of them still have a sum of 64 bits


class Transaction(msgspec.Struct, gc=False):
    """A transaction as it comes in."""

    transaction_id: str | int | None = None
    org_id: str | int | None = None
    amount: Decimal | None = None
    currency: str | None = None
    status: str | None = None
    time: int | float | str | None = None


_transaction = msgspec.json.Decoder(Transaction)


def transaction_reader(currency: str, max_id: int) -> Reader:
    """Return the reader of transactions in *currency* (ISO 4217)."""

    def read(value: bytes) -> Reading:
        found = decoded(_transaction, value)
        status = checked_id(found.status, "status", max_id).upper()
        time_ms = time_ms_of(found.time)
        id_ = checked_id(found.transaction_id, "transaction_id", max_id)
        if found.currency is not None and found.currency.upper() != currency:
            raise Rejected("unknown_currency", f"{found.currency[:10]!r}; this system counts {currency}")
        # A line break can be in neither the id nor the status, so no two transactions share an id.
        return Reading(
            checked_org(found.org_id, "org_id", max_id),
            "",
            "transaction" if status == "A" else "transaction_other",
            time_ms,
            cents_of(found.amount),
            f"t{id_}\n{status}\n{time_ms}",
            "t" + id_,
        )

    return read


def cents_of(amount: Decimal | None) -> int:
    """Return *amount* in cents.

    Raises:
        Rejected: missing_field or bad_amount.

    >>> cents_of(Decimal("-12.10"))
    -1210
    """
    if amount is None:
        raise Rejected("missing_field", "no `amount`")
    if not amount.is_finite() or amount.adjusted() > 18:
        raise Rejected("bad_amount", f"not an amount of money: {str(amount)[:40]}")
    rounded = amount.quantize(_CENT)
    if rounded != amount:  # compared as they are: a product would be rounded to 28 digits first
        raise Rejected("bad_amount", f"finer than a cent: {str(amount)[:40]}")
    cents = int(rounded * 100)
    if abs(cents) > _LARGEST_CENTS:
        raise Rejected("bad_amount", f"too large: {str(amount)[:40]}")
    return cents
