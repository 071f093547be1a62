"""Which capacity is offered and which is withdrawn, period by period."""

from agents.node.posting import (
    Ask,
    Offer,
    Plan,
    Reprice,
    Terms,
    Wanted,
    make_plan,
    open_periods,
    price_text,
    without_small_tail,
)

TERMS = Terms("H100SXM80.CNE.F", period_s=3600, horizon_periods=336, gate_lead_s=600, tick_micros=10_000)
STARTS = range(7200, 18_000, 3600)
PRICE = 12_840_000


def wanted(gpus: int, micros: int = PRICE, lot: int = 1) -> Wanted:
    return Wanted(gpus // lot * lot, micros, PRICE, gpus)


def plan(gpus: int, *standing: Ask, sold: dict[int, int] | None = None, lot: int = 1) -> Plan:
    wishes = {start_s: wanted(gpus - (sold or {}).get(start_s, 0), lot=lot) for start_s in STARTS}
    return make_plan(wishes, 3600, standing, lot)


def offer(from_s: int, to_s: int, gpus: int) -> Offer:
    return Offer(from_s, to_s, gpus, dict.fromkeys(range(from_s, to_s, 3600), PRICE))


def ask(order_id: int, start_s: int, gpus: int, price_micros: int = 12_840_000) -> Ask:
    return Ask(order_id, start_s, gpus, price_micros)


def test_an_empty_book_gets_one_order_over_all_periods():
    assert plan(8) == Plan(offer=(offer(7200, 18_000, 8),))


def test_what_stands_as_wanted_is_left_alone():
    assert plan(8, ask(1, 7200, 8), ask(1, 10_800, 8), ask(1, 14_400, 8)) == Plan()


def test_a_new_period_gets_an_order_of_its_own():
    assert plan(8, ask(1, 7200, 8), ask(1, 10_800, 8)) == Plan(offer=(offer(14_400, 18_000, 8),))


def test_sold_gpus_are_not_offered_again():
    standing = (ask(1, 7200, 8), ask(1, 10_800, 5), ask(1, 14_400, 8))
    assert plan(8, *standing, sold={10_800: 3}) == Plan()
    assert plan(8, sold={10_800: 3}) == Plan(
        offer=(offer(7200, 10_800, 8), offer(10_800, 14_400, 5), offer(14_400, 18_000, 8))
    )


def test_a_period_that_was_pulled_is_topped_up():
    assert plan(8, ask(1, 7200, 8), ask(1, 14_400, 8)) == Plan(offer=(offer(10_800, 14_400, 8),))


def test_an_order_that_offers_too_much_is_withdrawn_and_its_periods_wait_for_the_next_look():
    standing = (ask(1, 7200, 8), ask(1, 10_800, 8), ask(1, 14_400, 8))
    assert plan(7, *standing) == Plan(withdraw=(1,))
    assert plan(0, *standing) == Plan(withdraw=(1,))
    assert plan(7) == Plan(offer=(offer(7200, 18_000, 7),))


def test_only_the_orders_at_another_price_are_repriced_and_what_they_lack_is_topped_up_at_once():
    standing = (ask(1, 7200, 8), ask(2, 10_800, 8, 13_000_000), ask(3, 14_400, 8))
    assert plan(8, *standing) == Plan(reprice=(Reprice(2, {10_800: PRICE}),))
    short = (ask(1, 7200, 8), ask(2, 10_800, 6, 13_000_000), ask(3, 14_400, 8))
    assert plan(8, *short) == Plan(reprice=(Reprice(2, {10_800: PRICE}),), offer=(offer(10_800, 14_400, 2),))


def test_an_order_that_offers_too_much_at_another_price_is_withdrawn():
    assert plan(7, ask(1, 7200, 8, 13_000_000)) == Plan(withdraw=(1,), offer=(offer(10_800, 18_000, 7),))


def test_an_order_whose_periods_are_all_past_the_gate_is_left_to_expire():
    assert plan(8, ask(1, 3600, 8, 1)) == Plan(offer=(offer(7200, 18_000, 8),))


def test_a_whole_node_is_offered_in_eights_or_not_at_all():
    assert plan(8, lot=8) == Plan(offer=(offer(7200, 18_000, 8),))
    assert plan(7, lot=8) == Plan()
    assert plan(8, sold={7200: 8}, lot=8) == Plan(offer=(offer(10_800, 18_000, 8),))


def test_open_periods_end_before_the_gate_the_policy_and_the_listing_horizon():
    assert open_periods(TERMS, now_s=6598, periods_ahead=3, margin_s=1) == range(7200, 18_000, 3600)
    assert open_periods(TERMS, now_s=6599, periods_ahead=3, margin_s=1) == range(10_800, 21_600, 3600)
    short = Terms("P", period_s=3600, horizon_periods=3, gate_lead_s=600, tick_micros=1)
    assert list(open_periods(short, now_s=0, periods_ahead=100, margin_s=1)) == [3600]


def test_what_stands_below_the_floor_is_repriced_first_and_what_is_near_enough_not_at_all():
    standing = (ask(1, 7200, 8, PRICE + 20_000), ask(2, 10_800, 8, PRICE + 10_000), ask(3, 14_400, 8, PRICE - 10_000))
    wishes = dict.fromkeys(STARTS, wanted(8))
    assert make_plan(wishes, 3600, standing, 1, least_micros=20_000) == Plan(
        reprice=(Reprice(3, {14_400: PRICE}, is_urgent=True), Reprice(1, {7200: PRICE}))
    )


def test_an_order_has_one_price_for_each_hour_of_the_day_and_a_second_day_at_others_gets_its_own():
    prices = {start_s: PRICE + 10_000 * (start_s // 3600) for start_s in range(0, 30 * 3600, 3600)}
    wishes = {start_s: wanted(8, micros) for start_s, micros in prices.items()}
    assert [(each.from_s, each.to_s) for each in make_plan(wishes, 3600, (), 1).offer] == [
        (0, 86_400),
        (86_400, 108_000),
    ]


def test_an_order_over_more_than_a_day_is_repriced_once_to_the_higher_of_two_prices_of_an_hour():
    standing = (ask(1, 7200, 8), ask(1, 7200 + 86_400, 8))
    wishes = {7200: wanted(8, PRICE + 10_000), 7200 + 86_400: wanted(8, PRICE)}
    assert len(make_plan(wishes, 3600, standing, 1).reprice) == 1
    repriced = tuple(ask(1, each.start_s, 8, PRICE + 10_000) for each in standing)
    assert make_plan(wishes, 3600, repriced, 1) == Plan()


def test_the_single_gpus_of_a_split_node_stand_beside_the_whole_one_and_go_with_it():
    def twin(gpus: int) -> Ask:
        return Ask(1, 7200, gpus, PRICE, twin=True)

    assert make_plan({7200: wanted(8, lot=8)}, 3600, (ask(1, 7200, 8), twin(8)), 8) == Plan()
    assert make_plan({7200: wanted(7, lot=8)}, 3600, (twin(7),), 8) == Plan()
    assert make_plan({7200: wanted(6, lot=8)}, 3600, (twin(7),), 8) == Plan(withdraw=(1,))


def test_prices_are_written_exactly():
    assert [price_text(micros) for micros in (12_840_000, 1, 3_000_000)] == ["12.840000", "0.000001", "3.000000"]


def test_new_periods_at_the_far_end_wait_until_there_are_enough_for_one_order():
    assert without_small_tail(STARTS, (), 2) == STARTS
    assert without_small_tail(STARTS, (ask(1, 7200, 8),), 2) == STARTS
    assert without_small_tail(STARTS, (ask(1, 10_800, 8),), 2) == range(7200, 14_400, 3600)
    assert without_small_tail(STARTS, (ask(1, 10_800, 8),), 1) == STARTS
    assert without_small_tail(STARTS, (ask(1, 14_400, 8),), 2) == STARTS
