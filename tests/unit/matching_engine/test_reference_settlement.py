"""The settlement function against the worked cases, its bounds, and what must hold for any position."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matching_engine.settlement import BadMeterValues, Settlement, settle

HOUR = {"q": 8, "T": 3600, "P": 2_000_000, "I": 2_400_000, "r": 1000, "hi": 990, "lo": 800}
HOUR |= {"bond": 8_000_000, "fee_bps": 100}

CASES = {
    "all delivered": (
        {"E": 0, "D": 28_800, "U": 28_800},
        Settlement(16_000_000, 0, 160_000, -16_000_000, 15_840_000, 160_000),
    ),
    "one GPU lost 12 min": (
        {"E": 0, "D": 28_080, "U": 28_080},
        Settlement(15_600_000, 111_578, 156_000, -15_488_422, 15_332_422, 156_000),
    ),
    "node lost 10 min": (
        {"E": 0, "D": 24_000, "U": 24_000},
        Settlement(13_333_333, 2_732_163, 133_333, -10_601_170, 10_467_837, 133_333),
    ),
    "total failure": ({"E": 0, "D": 0, "U": 0}, Settlement(0, 8_000_000, 0, 8_000_000, -8_000_000, 0)),
    "whole hour excused": ({"E": 28_800, "D": 0, "U": 0}, Settlement(0, 0, 0, 0, 0, 0)),
}


@pytest.mark.parametrize(("meter", "outcome"), CASES.values(), ids=CASES)
def test_the_worked_cases_come_out_to_the_micro_unit(meter: dict, outcome: Settlement):
    assert settle(**HOUR, **meter) == outcome


@pytest.mark.parametrize(
    "meter",
    [
        {"E": 0, "D": 28_801, "U": 0},
        {"E": 1, "D": 28_800, "U": 0},
        {"E": 28_801, "D": 0, "U": 0},
        {"E": 0, "D": 10, "U": 11},
        {"E": 0, "D": -1, "U": -1},
        {"E": -1, "D": 0, "U": 0},
    ],
)
def test_meter_values_that_cannot_be_are_refused(meter: dict):
    with pytest.raises(BadMeterValues):
        settle(**HOUR, **meter)


@given(st.data())
def test_the_parties_amounts_sum_to_zero_and_stay_within_escrow_and_bond(data: st.DataObject):
    number = lambda low, high: data.draw(st.integers(low, high))  # noqa: E731
    q, T, P = number(1, 64), number(1, 86_400), number(1, 10**12)
    E = number(0, q * T)
    D = number(0, q * T - E)
    lo = number(0, 999)
    bond = number(0, 10**15)
    terms = {"r": number(0, 1000), "hi": number(lo + 1, 1000), "lo": lo, "fee_bps": number(0, 10_000)}
    outcome = settle(q=q, T=T, P=P, I=number(1, 10**12), E=E, bond=bond, D=D, U=number(0, D), **terms)
    escrow = q * -(-P * T // 3600)
    assert outcome.buyer + outcome.operator + outcome.venue == 0
    assert 0 <= outcome.gross <= escrow and 0 <= outcome.ld <= bond
    assert outcome.ld == 0 or terms["hi"] * (q * T - E) > D * 1000
