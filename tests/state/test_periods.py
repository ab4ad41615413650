"""Months, quarters, years and ranges of them against pandas."""

from __future__ import annotations

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from state.periods import MAX_MONTHS, PeriodError, month_name, months_of, period_name
from state.week import month_start_ms
from tests.state.worlds import examples

YEARS = st.integers(1900, 2999)


def names_by_pandas(first: pd.Period, last: pd.Period) -> list[str]:
    return [str(p) for p in pd.period_range(first, last, freq="M")]


@examples(200)
@given(YEARS, st.integers(1, 4), st.integers(1, 12))
def test_years_quarters_and_months_hold_the_months_that_pandas_says(year: int, quarter: int, month: int) -> None:
    whole, part = pd.Period(str(year), freq="Y"), pd.Period(f"{year}Q{quarter}", freq="Q")
    for text, period in ((str(year), whole), (f"{year}-Q{quarter}", part), (f"{year}q{quarter}", part)):
        expected = names_by_pandas(period.asfreq("M", "start"), period.asfreq("M", "end"))
        assert [month_name(m) for m in months_of(text)] == expected
    assert [month_name(m) for m in months_of(f" {year}-{month:02d} ")] == [f"{year}-{month:02d}"]


@examples(200)
@given(st.integers(1900 * 12, 2999 * 12 + 11), st.integers(1, MAX_MONTHS))
def test_a_name_leads_back_to_its_period(first: int, size: int) -> None:
    months = range(first, min(first + size, 3000 * 12))
    assert months_of(period_name(months)) == months
    assert months_of(f"{month_name(months[0])}/{month_name(months[-1])}") == months


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("2025", "2025"), ("2025-01/2025-12", "2025"), ("2025-Q1/2025-Q4", "2025"), ("2025Q2", "2025-Q2"),
        ("2025-q2", "2025-Q2"), ("2025-04/2025-06", "2025-Q2"), ("2025-05/2025-07", "2025-05/2025-07"),
        ("2024/2025", "2024-01/2025-12"), ("2025-11/2025-11", "2025-11"), ("2024-12/2025-Q1", "2024-12/2025-03"),
    ],
)  # fmt: skip
def test_a_period_has_one_name_however_it_was_written(text: str, name: str) -> None:
    assert period_name(months_of(text)) == name


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "/", "2025/", "/2025", "25", "02025", "2025-13", "2025-00", "2025-Q0", "2025-Q5", "2025-1", "2025-W03",
        "2025-01-01", "2025/2024", "2025-02/2025-01", "2000/2100", "0000", "0001", "1899", "3000", "9999", "-2025",
        "2025-Q", "twenty", "٢٠٢٥", "２０２５", "2025-०१", "2025\n/2026", "2024/2025/2026",
    ],
)  # fmt: skip
def test_what_is_no_period_is_told_as_such(text: str) -> None:
    with pytest.raises(PeriodError, match=r"is no period|before it begins"):
        months_of(text)


def test_a_century_is_the_longest_period() -> None:
    assert len(months_of("2000/2099")) == MAX_MONTHS


@pytest.mark.parametrize("text", ["1900", "2999"])
@pytest.mark.parametrize("zone", ["UTC", "Pacific/Kiritimati", "Pacific/Niue"])
def test_the_outermost_periods_still_begin_and_end_somewhere(text: str, zone: str) -> None:
    months = months_of(text)
    assert month_start_ms(months.start, zone) < month_start_ms(months.stop, zone)
