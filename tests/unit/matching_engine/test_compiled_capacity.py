"""Capacity orders in the compiled engine: the ordinary ones are decided in C, the others are left to Python, and
both engines say the same of each.
"""

from collections.abc import Callable

import pytest

from schemas.orders import (
    CancelOrder,
    PostCapacity,
    RepriceCapacity,
    SetProtection,
    WithdrawCapacity,
)
from schemas.venue import NodeDown, SetAccountLimits, SetProductState, Tick
from tests.fixtures.side_by_side import SideBySide
from tests.scenarios.venue import PRODUCT, contract_of, hour_start_s, limit_order

SINGLE, WHOLE = PRODUCT, "H100SXM80X8.CNE.F"
TICK_MICROS = 10_000
CURVE = tuple(TICK_MICROS * (100 + hour) for hour in range(24))


def capacity(number: int = 1, **changes: object) -> PostCapacity:
    """Eight GPUs of `n1` from three to six o'clock at 2.00."""
    terms = {
        "command_id": f"c-{number}",
        "account": "op",
        "client_order_id": f"id-{number}",
        "product": SINGLE,
        "node": "n1",
        "gpus": 8,
        "from_s": hour_start_s(3),
        "to_s": hour_start_s(6),
        "floor_price_micros": 2_000_000,
        "floor_curve_micros": None,
    }
    return PostCapacity(**terms | changes)


@pytest.fixture
def venue() -> SideBySide:
    """Two products with all of whose first hours somebody has traded, so that they are remembered."""
    both = SideBySide()
    for product in (SINGLE, WHOLE):
        both.define(product, taker_fee_bps=20, maker_fee_bps=7)
    for account in ("op", "alice", "poor"):
        both.credit(account, 10**12 if account != "poor" else 10_000_000)
    for name, account, gpus in (("n1", "op", 16), ("n2", "op", 16), ("n3", "poor", 8), ("n5", "alice", 8)):
        both.node(name, account, gpus)
    both.node("n4", "op", 16, "H100SXM80X8.CNE")
    window = {"from_s": hour_start_s(1), "to_s": hour_start_s(12), "floor_price_micros": 9_000_000}
    both.send(capacity(80, node="n2", gpus=1, **window))
    both.send(capacity(81, product=WHOLE, node="n4", **window))
    return both


ORDINARY = {
    "one price": {},
    "a curve": {"floor_price_micros": None, "floor_curve_micros": CURVE},
    "one hour": {"to_s": hour_start_s(4)},
    "an end of its own": {"ttl_s": 60},
    "whole nodes": {"product": WHOLE, "node": "n4"},
    "the last GPU": {"gpus": 16},
    "off the tick": {"floor_price_micros": 2_000_001},
    "a curve off the tick at an hour outside the window": {
        "floor_price_micros": None,
        "floor_curve_micros": (*CURVE[:23], 2_000_001),
    },
    "half a node": {"product": WHOLE, "node": "n4", "gpus": 4},
    "half a node off the tick": {"product": WHOLE, "node": "n4", "gpus": 4, "floor_price_micros": 1},
    "somebody else's node": {"node": "n3"},
    "a node of another grade": {"node": "n4"},
    "a GPU too many": {"gpus": 17},
    "a GPU too many in a later hour": {"node": "n2", "gpus": 16, "from_s": hour_start_s(11), "to_s": hour_start_s(13)},
    "money for one hour only": {"account": "poor", "node": "n3"},
    "more money than there can be": {"floor_price_micros": 10**12, "gpus": 16, "to_s": hour_start_s(9)},
}


@pytest.mark.parametrize("changes", ORDINARY.values(), ids=ORDINARY)
def test_ordinary_capacity_is_taken_or_refused_in_c(venue: SideBySide, changes: dict):
    hours = {"from_s": hour_start_s(12), "to_s": hour_start_s(13), "floor_price_micros": 9_000_000}
    venue.send(capacity(82, node="n1", gpus=1, **hours))
    assert venue.in_c(capacity(1, **changes))


ODD = {
    "a split node": {"product": WHOLE, "node": "n4", "split": True},
    "an empty window": {"to_s": hour_start_s(3)},
    "a window backwards": {"to_s": hour_start_s(2)},
    "a cut hour": {"to_s": hour_start_s(5) + 60},
    "a start between two hours": {"from_s": hour_start_s(3) + 60, "to_s": hour_start_s(4) + 60},
    "an hour in which nobody has traded": {"to_s": hour_start_s(14)},
    "an hour that is not listed": {"to_s": hour_start_s(40)},
    "an hour behind its gate": {"from_s": hour_start_s(0)},
    "an hour long ago": {"from_s": hour_start_s(-1000)},
    "an unknown product": {"product": "H20SXM96.CNN.F"},
    "an unknown node": {"node": "n9"},
    "no price": {"floor_price_micros": None},
    "two prices": {"floor_curve_micros": CURVE},
    "the venue itself": {"account": "venue"},
}


@pytest.mark.parametrize("changes", ODD.values(), ids=ODD)
def test_capacity_out_of_the_ordinary_is_left_to_the_reference(venue: SideBySide, changes: dict):
    assert not venue.in_c(capacity(1, **changes))
    assert venue.in_c(capacity(2))


OCCASIONS: dict[str, Callable[[SideBySide], object]] = {
    "the account has limits": lambda venue: venue.batch("admin", SetAccountLimits(account="op", max_open_orders=100)),
    "a maker is protected": lambda venue: venue.send(
        SetProtection(command_id="c-91", account="alice", product=SINGLE, qty=5, window_ms=1000)
    ),
    "an iceberg would be met": lambda venue: venue.send(limit_order(91, qty=4, display_qty=1)),
    "the product is halted": lambda venue: venue.batch(
        "admin", SetProductState(product=SINGLE, state="HALTED", reason="test")
    ),
    "the product is in auction": lambda venue: venue.batch(
        "admin", SetProductState(product=SINGLE, state="AUCTION", reason="test")
    ),
}


@pytest.mark.parametrize("occasion", OCCASIONS.values(), ids=OCCASIONS)
def test_capacity_is_left_to_the_reference_where_the_venue_is_out_of_the_ordinary(
    venue: SideBySide, occasion: Callable
):
    occasion(venue)
    assert not venue.in_c(capacity(1))


def test_an_iceberg_that_asks_for_less_is_not_met(venue: SideBySide):
    venue.send(limit_order(91, qty=4, display_qty=1, price_micros=1_990_000))
    assert venue.in_c(capacity(1))


def test_asks_that_arrive_trade_with_the_bids_of_their_hours(venue: SideBySide):
    for number, changes in enumerate(
        (
            {},
            {"qty": 9},
            {"contract": contract_of(5), "price_micros": 2_000_000},
            {"contract": contract_of(3), "qty": 8},
        )
    ):
        venue.send(limit_order(10 + number, **changes))
    assert venue.in_c(capacity(1))
    trades = [event for event in venue.fast.events if b'"type":"trade"' in event]
    assert len(trades) == 4


def test_an_ask_that_meets_the_operators_own_bid_is_cancelled_and_the_other_hours_stand(venue: SideBySide):
    venue.send(limit_order(10, account="op"))
    assert venue.in_c(capacity(1))
    assert b'"reason":"stp"' in b"".join(venue.fast.events)


def test_a_node_that_fell_silent_sells_nothing(venue: SideBySide):
    venue.batch("delivery", NodeDown(node="n1", reason="gpu_lost"))
    assert venue.in_c(capacity(1))
    assert b'"code":"node_not_alive"' in venue.fast.events[-1]


def test_a_repeat_is_answered_in_c_also_where_it_was_refused(venue: SideBySide):
    for number, changes in ((1, {}), (2, {"gpus": 64})):
        venue.in_c(capacity(number, **changes))
        assert venue.in_c(capacity(number, **changes, command_id="c-again"))
        assert b'"type":"order_duplicate"' in venue.fast.events[-1]


def test_changes_of_the_rules_are_read_anew(venue: SideBySide):
    venue.in_c(capacity(1))
    venue.define(SINGLE, tick_micros=1_000, taker_fee_bps=5)
    assert venue.in_c(capacity(2, floor_price_micros=2_001_000))
    assert b'"code":"off_tick"' in venue.fast.events[-1]


FOLLOWING = {
    "cancelled": CancelOrder(command_id="c-9", account="op", order_id=None, client_order_id="id-1"),
    "withdrawn in part": WithdrawCapacity(
        command_id="c-9",
        account="op",
        order_id=None,
        client_order_id="id-1",
        from_s=hour_start_s(4),
        to_s=hour_start_s(5),
    ),
    "repriced": RepriceCapacity(
        command_id="c-9",
        account="op",
        order_id=None,
        client_order_id="id-1",
        floor_price_micros=3_000_000,
        floor_curve_micros=None,
    ),
}


@pytest.mark.parametrize("command", FOLLOWING.values(), ids=FOLLOWING)
@pytest.mark.parametrize("restarts", [False, True])
def test_the_reference_finds_the_asks_that_were_taken_in_c(venue: SideBySide, command: object, restarts: bool):
    venue.send(limit_order(10, qty=8))
    assert venue.in_c(capacity(1))
    if restarts:
        venue.restart()
    venue.in_c(command)
    assert b'"type":"order_rejected"' not in venue.fast.events[-1]
    venue.in_c(FOLLOWING["repriced"])
    venue.in_c(FOLLOWING["cancelled"])


@pytest.mark.parametrize("restarts", [False, True])
def test_asks_end_with_the_time_of_their_capacity_order(venue: SideBySide, restarts: bool):
    assert venue.in_c(capacity(1, ttl_s=60))
    if restarts:
        venue.restart()
    venue.pass_time(59_999)
    assert venue.in_c(limit_order(10, price_micros=TICK_MICROS))
    venue.pass_time(1)
    assert not venue.in_c(limit_order(11, price_micros=TICK_MICROS))
    assert sum(b'"type":"order_expired"' in event for event in venue.fast.events) == 3


def test_several_capacity_orders_of_one_batch_are_all_known_afterwards(venue: SideBySide):
    first = len(venue.fast.records)
    records = [(first + place, venue.fast.now_ms, capacity(place, gpus=1).canonical()) for place in range(5)]
    assert venue.fast.engine.apply(records) == venue.plain.engine.apply(records)
    for side in (venue.fast, venue.plain):
        side.records += records
    for place in range(5):
        venue.in_c(CancelOrder(command_id="c-9", account="op", order_id=None, client_order_id=f"id-{place}"))
        assert b'"canceled":3' in venue.fast.events[-1]
    venue.in_c(Tick())
