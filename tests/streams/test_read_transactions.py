"""Transactions: exact cents, one activity for each status."""

from __future__ import annotations

import orjson
import pytest

from streams.read_transactions import transaction_reader
from streams.reading import Reading, Rejected
from tests.state.worlds import at

read = transaction_reader("USD", 40)
TIME = at("2024-03-04T10:00")


def transaction(**fields: object) -> Reading:
    right = {"transaction_id": 5, "org_id": 7, "amount": "12.50", "status": "A", "time": TIME}
    return read(orjson.dumps(right | fields))


def test_an_approved_transaction_is_the_orgs() -> None:
    assert transaction() == Reading("7", "", "transaction", TIME, 1250, f"t5\nA\n{TIME}", "t5")


def test_any_other_status_takes_it_back() -> None:
    for status in ("D", "voided", "pending", "AA"):
        found = transaction(status=status, time=TIME + 1)
        assert (found.measure, found.ref) == ("transaction_other", transaction().ref)
        assert found.id != transaction().id


def test_status_and_currency_are_read_in_any_case() -> None:
    assert transaction(status="a", currency="usd").measure == "transaction"


def test_a_refund_is_negative() -> None:
    assert transaction(amount=-3).amount == -300


def test_numbers_are_as_exact_as_text() -> None:
    assert transaction(amount=0.1).amount == transaction(amount="0.10").amount == 10
    assert transaction(amount=1234567.89).amount == 123_456_789


def test_no_two_transactions_share_an_id_whatever_is_in_theirs() -> None:
    assert transaction(transaction_id="1/A", status="X").id != transaction(transaction_id="1", status="A/X").id


def test_a_million_of_the_largest_amounts_have_a_sum() -> None:
    assert transaction(amount="92233720368.54").amount * 1_000_000 < 2**63
    with pytest.raises(Rejected, match="bad_amount"):
        transaction(amount="92233720368.55")
