"""Which capacity is offered and which is withdrawn, period by period."""

import pytest

from agents.node.policy import PriceRule
from agents.node.posting import (
    Ask,
    Offer,
    Plan,
    Terms,
    make_plan,
    open_periods,
    price_at,
    price_text,
    without_small_tail,
)

TERMS = Terms("H100SXM80.CNE.F", period_s=3600, horizon_periods=336, gate_lead_s=600, tick_micros=10_000)
STARTS = range(7200, 18_000, 3600)
PRICES = dict.fromkeys(STARTS, 12_840_000)


def plan(gpus: int, *standing: Ask, sold: dict[int, int] | None = None, lot: int = 1) -> Plan:
    return make_plan(STARTS, gpus, sold or {}, standing, PRICES, lot)


def ask(order_id: int, start_s: int, gpus: int, price_micros: int = 12_840_000) -> Ask:
    return Ask(order_id, start_s, gpus, price_micros)


def test_an_empty_book_gets_one_order_over_all_periods():
    assert plan(8) == Plan(offer=(Offer(7200, 18_000, 8),))


def test_what_stands_as_wanted_is_left_alone():
    assert plan(8, ask(1, 7200, 8), ask(1, 10_800, 8), ask(1, 14_400, 8)) == Plan()


def test_a_new_period_gets_an_order_of_its_own():
    assert plan(8, ask(1, 7200, 8), ask(1, 10_800, 8)) == Plan(offer=(Offer(14_400, 18_000, 8),))


def test_sold_gpus_are_not_offered_again():
    standing = (ask(1, 7200, 8), ask(1, 10_800, 5), ask(1, 14_400, 8))
    assert plan(8, *standing, sold={10_800: 3}) == Plan()
    assert plan(8, sold={10_800: 3}) == Plan(
        offer=(Offer(7200, 10_800, 8), Offer(10_800, 14_400, 5), Offer(14_400, 18_000, 8))
    )


def test_a_period_that_was_pulled_is_topped_up():
    assert plan(8, ask(1, 7200, 8), ask(1, 14_400, 8)) == Plan(offer=(Offer(10_800, 14_400, 8),))


def test_an_order_that_offers_too_much_is_withdrawn_and_its_periods_wait_for_the_next_look():
    standing = (ask(1, 7200, 8), ask(1, 10_800, 8), ask(1, 14_400, 8))
    assert plan(7, *standing) == Plan(withdraw=(1,))
    assert plan(0, *standing) == Plan(withdraw=(1,))
    assert plan(7) == Plan(offer=(Offer(7200, 18_000, 7),))


def test_only_the_orders_at_another_price_are_repriced_and_what_they_lack_is_topped_up_at_once():
    standing = (ask(1, 7200, 8), ask(2, 10_800, 8, 13_000_000), ask(3, 14_400, 8))
    assert plan(8, *standing) == Plan(reprice=(2,))
    short = (ask(1, 7200, 8), ask(2, 10_800, 6, 13_000_000), ask(3, 14_400, 8))
    assert plan(8, *short) == Plan(reprice=(2,), offer=(Offer(10_800, 14_400, 2),))


def test_an_order_that_offers_too_much_at_another_price_is_withdrawn():
    assert plan(7, ask(1, 7200, 8, 13_000_000)) == Plan(withdraw=(1,), offer=(Offer(10_800, 18_000, 7),))


def test_an_order_whose_periods_are_all_past_the_gate_is_left_to_expire():
    assert plan(8, ask(1, 3600, 8, 1)) == Plan(offer=(Offer(7200, 18_000, 8),))


def test_a_whole_node_is_offered_in_eights_or_not_at_all():
    assert plan(8, lot=8) == Plan(offer=(Offer(7200, 18_000, 8),))
    assert plan(7, lot=8) == Plan()
    assert plan(8, sold={7200: 8}, lot=8) == Plan(offer=(Offer(10_800, 18_000, 8),))


def test_open_periods_end_before_the_gate_the_policy_and_the_listing_horizon():
    assert open_periods(TERMS, now_s=6598, periods_ahead=3, margin_s=1) == range(7200, 18_000, 3600)
    assert open_periods(TERMS, now_s=6599, periods_ahead=3, margin_s=1) == range(10_800, 21_600, 3600)
    short = Terms("P", period_s=3600, horizon_periods=3, gate_lead_s=600, tick_micros=1)
    assert list(open_periods(short, now_s=0, periods_ahead=100, margin_s=1)) == [3600]


@pytest.mark.parametrize(
    "floor, tick_micros, micros",
    [("12.84", 10_000, 12_840_000), ("12.841", 10_000, 12_850_000), ("2", 1000, 2_000_000)],
)
def test_a_floor_is_rounded_up_to_the_tick(floor, tick_micros, micros):
    assert price_at(7200, PriceRule(floor=floor), tick_micros) == micros


def test_a_floor_curve_goes_by_the_hour_of_the_day():
    curve = PriceRule(floor_curve=tuple(str(hour) for hour in range(1, 25)))
    assert [price_at(start_s, curve, 1) for start_s in (0, 3599, 3600, 86_399, 86_400)] == [
        1_000_000,
        1_000_000,
        2_000_000,
        24_000_000,
        1_000_000,
    ]


def test_prices_are_written_exactly():
    assert [price_text(micros) for micros in (12_840_000, 1, 3_000_000)] == ["12.840000", "0.000001", "3.000000"]


def test_new_periods_at_the_far_end_wait_until_there_are_enough_for_one_order():
    assert without_small_tail(STARTS, (), 2) == STARTS
    assert without_small_tail(STARTS, (ask(1, 7200, 8),), 2) == STARTS
    assert without_small_tail(STARTS, (ask(1, 10_800, 8),), 2) == range(7200, 14_400, 3600)
    assert without_small_tail(STARTS, (ask(1, 10_800, 8),), 1) == STARTS
    assert without_small_tail(STARTS, (ask(1, 14_400, 8),), 2) == STARTS
