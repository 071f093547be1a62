"""Prices of hours by the policy's rules, each with the rules that made it."""

import pytest

from agents.node.market_prices import best_other
from agents.node.pace import Pace
from agents.node.price_rules import PriceRule
from agents.node.pricing import Market, quote, sold_percent

TICK = 10_000
HOUR_S = 3600
START_S = 1_795_363_200  # 2026-11-22 16:00 UTC


def rule(**fields) -> PriceRule:
    return PriceRule.model_validate({"floor": "10.00"} | fields)


def asked(ahead_h: int = 100, market: Market | None = None, **fields) -> tuple[int, tuple[str, ...]]:
    quoted = quote(START_S, START_S - ahead_h * HOUR_S, rule(**fields), TICK, market or Market())
    return quoted.micros, quoted.why


@pytest.mark.parametrize(
    "fields, ahead_h, market, micros, why",
    [
        ({}, 100, Market(), 10_000_000, ("floor",)),
        ({"floor": "10.001"}, 100, Market(), 10_010_000, ("floor",)),
        ({"ask": "15.00"}, 100, Market(), 15_000_000, ("ask",)),
        ({"ask": "15.00", "ceiling": "12.00"}, 100, Market(), 12_000_000, ("ask", "stops at the ceiling")),
        ({"index": {"percent": -5}}, 100, Market(20_000_000), 19_000_000, ("index 20.00 -5 %",)),
        ({"index": {"percent": 0}}, 100, Market(), 10_000_000, ("floor",)),
        ({"index": {"percent": 0}}, 100, Market(8_000_000), 10_000_000, ("index 8.00 +0 %", "stops at the floor")),
        (
            {"ask": "15.00", "undercut": {}},
            100,
            Market(best_other={START_S: 14_000_000}),
            13_990_000,
            ("ask", "undercut 14.00"),
        ),
        ({"ask": "15.00", "undercut": {}}, 100, Market(best_other={START_S: 15_010_000}), 15_000_000, ("ask",)),
        (
            {"ask": "15.00", "undercut": {}},
            100,
            Market(best_other={START_S: 15_000_000}),
            14_990_000,
            ("ask", "undercut 15.00"),
        ),
        ({"ask": "15.00", "undercut": {}}, 100, Market(best_other={START_S + 1: 9}), 15_000_000, ("ask",)),
        (
            {"ask": "15.00", "undercut": {"ticks": 5}},
            100,
            Market(best_other={START_S: 10_020_000}),
            10_000_000,
            ("ask", "undercut 10.02", "stops at the floor"),
        ),
        ({"ask": "16.00", "decay": {}}, 25, Market(), 16_000_000, ("ask",)),
        (
            {"ask": "16.00", "decay": {"from_hours": 24, "to_hours": 0}},
            12,
            Market(),
            13_000_000,
            ("ask", "decay 3 of 6 steps"),
        ),
        ({"ask": "16.00", "decay": {}}, 1, Market(), 10_000_000, ("ask", "decay 6 of 6 steps")),
        ({"ask": "20.00", "occupancy": {}}, 100, Market(sold_percent=70), 20_000_000, ("ask",)),
        ({"ask": "20.00", "occupancy": {}}, 100, Market(sold_percent=79), 20_000_000, ("ask",)),
        (
            {"ask": "20.00", "occupancy": {}},
            100,
            Market(sold_percent=100),
            21_200_000,
            ("ask", "occupancy +6 % (100 % sold)"),
        ),
        (
            {"ask": "20.00", "occupancy": {}},
            100,
            Market(sold_percent=0),
            17_200_000,
            ("ask", "occupancy -14 % (0 % sold)"),
        ),
        (
            {"ask": "20.00", "occupancy": {"step_percent": 50}},
            100,
            Market(sold_percent=0),
            16_000_000,
            ("ask", "occupancy -20 % (0 % sold)"),
        ),
    ],
)
def test_each_rule_moves_the_price_as_it_says_and_is_named(fields, ahead_h, market, micros, why):
    assert asked(ahead_h, market, **fields) == (micros, why)


def test_curves_count_the_hours_of_the_day_in_their_time_zone():
    curve = [f"{hour + 1}.00" for hour in range(24)]
    fields = {"floor": None, "floor_curve": curve}
    assert asked(**fields) == (17_000_000, ("floor",))
    assert asked(time_zone="Asia/Shanghai", **fields) == (1_000_000, ("floor",))
    assert asked(time_zone="America/New_York", **fields) == (12_000_000, ("floor",))


def test_the_share_of_the_coming_hours_that_is_sold_counts_each_gpu_once():
    starts = range(0, 4 * HOUR_S, HOUR_S)
    assert sold_percent({0: 8, HOUR_S: 4, 9 * HOUR_S: 8}, starts, 8) == 37
    assert sold_percent({0: 100}, starts, 8) == 25
    assert sold_percent({}, range(0, 0, HOUR_S), 8) is None


def test_an_account_does_not_undercut_itself():
    assert best_other({10: 8, 11: 4}, {10: 8}) == 11
    assert best_other({10: 9, 11: 4}, {10: 8}) == 10
    assert best_other({10: 8}, {10: 8}) is None


def test_a_budget_of_reprices_holds_over_any_span_and_for_each_product():
    pace = Pace()
    spent = [pace.allows("a", 2, 60, at_s) for at_s in (0, 30, 59, 60, 61, 90)]
    assert spent == [True, True, False, True, False, True]
    assert pace.allows("b", 2, 60, 61)
