"""Money at the edge: exact decimal strings, and amounts that are rounded up in the holder's favour."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.money import BadDecimal, cost_micros, format_micros, parse_micros


@given(st.integers(min_value=-(10**18), max_value=10**18))
def test_every_amount_survives_its_decimal_string(micros):
    assert parse_micros(format_micros(micros)) == micros


@pytest.mark.parametrize("text", ["0.0000001", "1e400", "nan", "inf", "", "12,5", "0x10"])
def test_what_is_no_plain_decimal_with_six_decimals_is_refused(text):
    with pytest.raises(BadDecimal):
        parse_micros(text)


def test_amounts_are_written_with_at_least_two_decimals_and_no_more_than_needed():
    assert [format_micros(n) for n in (12_840_000, 1, -5, 0)] == ["12.84", "0.000001", "-0.000005", "0.00"]


@given(st.integers(1, 10**12), st.integers(1, 86_400))
def test_a_period_costs_its_share_of_the_hour_rounded_up(price_micros, period_s):
    exact_times_3600 = price_micros * period_s
    cost = cost_micros(price_micros, period_s)
    assert cost * 3_600 >= exact_times_3600 > (cost - 1) * 3_600
