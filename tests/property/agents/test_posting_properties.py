"""Posting decisions, carried out against a book that anything may happen to, lead to what the policy wants."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from agents.node.posting import Ask, Plan, Wanted, make_plan

PERIOD_S = 60
STARTS = range(600, 600 + 6 * PERIOD_S, PERIOD_S)
PRICE, OTHER_PRICE = 10_000, 20_000

asks = st.builds(
    Ask,
    order_id=st.integers(1, 5),
    start_s=st.sampled_from(STARTS),
    gpus=st.integers(1, 8),
    price_micros=st.sampled_from([PRICE, OTHER_PRICE]),
)
sales = st.dictionaries(st.sampled_from(STARTS), st.integers(1, 8))


def planned(gpus: int, sold: dict[int, int], standing: list[Ask], lot: int) -> Plan:
    left = {start_s: max(gpus - sold.get(start_s, 0), 0) for start_s in STARTS}
    wanted = {start_s: Wanted(free // lot * lot, PRICE, PRICE, free) for start_s, free in left.items()}
    return make_plan(wanted, PERIOD_S, tuple(standing), lot)


def carry_out(standing: list[Ask], plan, first_id: int) -> list[Ask]:
    kept = [ask for ask in standing if ask.order_id not in plan.withdraw]
    repriced = {each.order_id for each in plan.reprice}
    kept = [replace(ask, price_micros=PRICE) if ask.order_id in repriced else ask for ask in kept]
    posted = [
        Ask(first_id + number, start_s, offer.gpus, PRICE)
        for number, offer in enumerate(plan.offer)
        for start_s in range(offer.from_s, offer.to_s, PERIOD_S)
    ]
    return kept + posted


def offered(standing: list[Ask], start_s: int) -> int:
    return sum(ask.gpus for ask in standing if ask.start_s == start_s)


@given(st.lists(asks, max_size=12), st.integers(0, 8), sales, st.sampled_from([1, 8]))
def test_two_looks_at_the_book_bring_it_to_what_is_wanted_and_a_third_changes_nothing(standing, gpus, sold, lot):
    for first_id in (100, 200):
        standing = carry_out(standing, planned(gpus, sold, standing, lot), first_id)
    wanted = {start_s: max(gpus - sold.get(start_s, 0), 0) // lot * lot for start_s in STARTS}
    reached = {start_s: offered(standing, start_s) for start_s in STARTS}
    for start_s in STARTS:
        # A remainder smaller than a lot cannot be topped up by whole lots.
        assert wanted[start_s] - lot < reached[start_s] <= wanted[start_s]
    assert {ask.price_micros for ask in standing} <= {PRICE}
    third = planned(gpus, sold, standing, lot)
    assert third == Plan()


@given(st.lists(asks, max_size=12), st.integers(0, 8), sales)
def test_no_step_ever_offers_more_than_there_is(standing, gpus, sold):
    plan = planned(gpus, sold, standing, 1)
    kept = [ask for ask in standing if ask.order_id not in plan.withdraw]
    for offer in plan.offer:
        for start_s in range(offer.from_s, offer.to_s, PERIOD_S):
            assert offer.gpus + offered(kept, start_s) + sold.get(start_s, 0) <= gpus
