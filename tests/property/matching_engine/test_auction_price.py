"""The auction's price against every tick that there is, and what must hold of a whole day-ahead auction."""

import json
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from matching_engine.rules import Engine
from matching_engine.rules.auction_price import find_equilibrium
from schemas.venue import NEWEST_RULESET
from tests.engine.cast import HOUR_MS
from tests.engine.flavours import BlockAuctions
from tests.engine.random_log import Record
from tests.scenarios.venue import MIDNIGHT_MS, PRODUCT, contract_of

TICK = 10
LEVELS = st.lists(st.tuples(st.integers(1, 20).map(lambda tick: tick * TICK), st.integers(1, 9)), max_size=6)


@given(LEVELS, LEVELS, st.none() | st.integers(1, 220), st.integers(0, 6))
def test_no_tick_is_better_than_the_price_found(bids, asks, reference, at_any_price):
    def rank(price: int) -> tuple:
        demand = at_any_price + sum(qty for limit, qty in bids if limit >= price)
        supply = sum(qty for limit, qty in asks if limit <= price)
        distance = 0 if reference is None else abs(price - reference)
        return -min(demand, supply), abs(demand - supply), distance, price

    found = find_equilibrium(bids, asks, TICK, reference, at_any_price)
    limits = [price for price, _ in bids + asks]
    ranks = [rank(price) for price in range(min(limits), max(limits) + 1, TICK)] if limits else []
    if not ranks or min(ranks)[0] == 0:
        assert found is None
    else:
        volume, surplus, _, price = min(ranks)
        assert (found.price_micros, found.qty, found.surplus_qty) == (price, -volume, surplus)


class OneAuction(BlockAuctions):
    """An auction with blocks in it, whose rounds are enough."""

    rounds = (20,)


def auction_log(seed: int) -> list[Record]:
    """A venue whose first product holds an auction; the last record ends it."""
    log = OneAuction(seed, NEWEST_RULESET)
    log.hold_block_auction()
    *records, _ = log.take(0)
    return records


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32))
def test_a_day_ahead_auction_has_one_price_an_hour_and_harms_nobody(seed):
    *before, opening = auction_log(seed)
    engine = Engine()
    engine.apply(before)
    blocks = {each["id"]: each for each in engine.orders() if each["kind"] == "block" and each["product"] == PRODUCT}
    events = [json.loads(event) for event in engine.apply([opening])]
    prices = {each["contract"]: each["price_micros"] for each in events if each["type"] == "auction_uncrossed"}
    trades = [each for each in events if each["type"] == "trade"]
    assert all(each["price_micros"] == prices[each["contract"]] for each in trades)
    assert all(each["buyer"] != each["seller"] and each["taker_side"] is None for each in trades)
    for block_id, block in blocks.items():
        check_block(block, [each for each in trades if each["block_id"] == block_id], prices)
    for order in engine.orders():
        if order["contract"] in prices and order["kind"] != "block" and order["contract"].startswith(PRODUCT):
            check_left(order, prices[order["contract"]], events)


def check_block(block: dict, trades: list[dict], prices: dict[str, int]) -> None:
    """A block pays no more than its limit on average, and has the same GPUs of the same nodes in all its hours."""
    first = (block["start_s"] * 1000 - MIDNIGHT_MS) // HOUR_MS
    hours = [contract_of(hour, PRODUCT) for hour in range(first, first + block["periods"])]
    served = {hour: Counter() for hour in hours}
    for trade in trades:
        served[trade["contract"]][trade["node"]] += trade["qty"]
    assert all(nodes == served[hours[0]] for nodes in served.values())
    if trades:
        assert sum(prices[hour] for hour in hours) <= block["price_micros"] * block["periods"]


def check_left(order: dict, price: int, events: list[dict]) -> None:
    """What the price suits trades as far as the volume goes: it is left on the side of the surplus only."""
    results = [each for each in events if each["type"] == "auction_uncrossed"]
    result = next(each for each in results if each["contract"] == order["contract"])
    suited = order["price_micros"] > price if order["side"] == "buy" else order["price_micros"] < price
    assert not suited or result["surplus_side"] == order["side"]
