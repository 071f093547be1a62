"""Blocks in the compiled engine: the ordinary ones are decided in C, the others are left to Python, and both
engines say the same of each.
"""

from collections.abc import Callable

import pytest

from schemas.orders import CancelOrder, MassCancel, PlaceBlock, PlaceOrder, PostCapacity, ReplaceOrder, Resell
from schemas.venue import SetAccountLimits, SetProductState
from tests.fixtures.side_by_side import SideBySide
from tests.scenarios.venue import PRODUCT, contract_of, hour_start_s, limit_order

WHOLE = "H100SXM80X8.CNE.F"
NODES = {
    "n1": ("op", 8, 2_000_000),
    "n2": ("op", 8, 1_900_000),
    "n3": ("other", 4, 1_900_000),
    "n4": ("other", 8, 2_500_000),
}


def block(number: int = 1, **changes: object) -> PlaceBlock:
    """A bid of alice's for two GPUs from three to six o'clock at 2.20."""
    terms = {
        "command_id": f"b-{number}",
        "account": "alice",
        "client_order_id": f"block-{number}",
        "product": PRODUCT,
        "start_s": hour_start_s(3),
        "periods": 3,
        "qty": 2,
        "min_qty": 1,
        "limit_price_micros": 2_200_000,
        "max_cost_micros": None,
        "tif": "GTG",
        "stp": "cancel_newest",
    }
    return PlaceBlock(**terms | changes)


def ask(number: int, node: str, hour: int, price_micros: int, **changes: object) -> PlaceOrder:
    """A single GPU of a node in an hour."""
    terms = {
        "command_id": f"a-{number}",
        "account": NODES[node][0],
        "client_order_id": f"ask-{number}",
        "contract": contract_of(hour),
        "side": "sell",
        "qty": 1,
        "price_micros": price_micros,
        "node": node,
    }
    return limit_order(number, **terms | changes)


def capacity(node: str, account: str, gpus: int, price_micros: int, product: str = PRODUCT) -> PostCapacity:
    return PostCapacity(
        command_id=f"c-{node}",
        account=account,
        client_order_id=f"capacity-{node}",
        product=product,
        node=node,
        gpus=gpus,
        from_s=hour_start_s(1),
        to_s=hour_start_s(12),
        floor_price_micros=price_micros,
        floor_curve_micros=None,
    )


@pytest.fixture
def venue() -> SideBySide:
    """Four nodes offer their GPUs in eleven hours, one of them four of its eight; and one whole node does."""
    both = SideBySide()
    for product in (PRODUCT, WHOLE):
        both.define(product, taker_fee_bps=20, maker_fee_bps=7)
    for account in ("op", "other", "alice", "bob"):
        both.credit(account, 10**11)
    both.credit("poor", 20_000_000)
    for name, (account, gpus, price_micros) in NODES.items():
        both.node(name, account, 8)
        both.send(capacity(name, account, gpus, price_micros))
    both.node("n8", "op", 16, "H100SXM80X8.CNE")
    both.send(capacity("n8", "op", 16, 9_000_000, WHOLE))
    return both


def test_a_block_trades_with_the_cheapest_and_of_these_the_oldest(venue: SideBySide):
    assert venue.in_c(block(1))
    assert b'"node":"n2"' in venue.fast.events[-1]
    assert [b'"type":"trade"' in event for event in venue.fast.events[-4:]] == [False, True, True, True]


# What is left of it after a trade costs more, at its limit, than 64 bits hold; what it may cost at all bounds its hold.
DEAR = {"start_s": hour_start_s(2), "periods": 10, "limit_price_micros": 10**12, "max_cost_micros": 60_000_000}
ORDINARY = {
    "on several nodes": {"qty": 14},
    "more than there is": {"qty": 40, "limit_price_micros": 9_000_000},
    "more than there is at once": {"qty": 40, "limit_price_micros": 9_000_000, "tif": "IOC"},
    "a limit that nobody meets": {"limit_price_micros": 1_000_000},
    "a limit that nobody meets at once": {"limit_price_micros": 1_000_000, "tif": "IOC"},
    "a limit at the price": {"limit_price_micros": 1_900_000},
    "fewer than it accepts": {"qty": 40, "min_qty": 30, "tif": "IOC"},
    "as many as it accepts": {"qty": 40, "min_qty": 20, "tif": "IOC"},
    "all": {"qty": 20, "tif": "FOK"},
    "not all": {"qty": 21, "tif": "FOK"},
    "a bound on the cost": {"qty": 4, "max_cost_micros": 15_000_000},
    "a bound on the cost at once": {"qty": 4, "max_cost_micros": 15_000_000, "tif": "IOC"},
    "a bound beyond the limit": {"qty": 4, "max_cost_micros": 10**12, "limit_price_micros": 9_000_000},
    "an operator who passes over his own": {"account": "op", "qty": 10, "tif": "IOC"},
    "one hour": {"periods": 1, "qty": 9},
    "hours with and without asks": {"start_s": hour_start_s(10), "periods": 4, "tif": "IOC"},
    "hours without asks": {"start_s": hour_start_s(14), "periods": 2, "tif": "IOC"},
    "whole nodes": {"product": WHOLE, "qty": 16, "min_qty": 8, "limit_price_micros": 9_000_000},
    "a limit a tick below the price": {"product": WHOLE, "qty": 8, "min_qty": 8, "limit_price_micros": 8_990_000},
    "half a node": {"product": WHOLE, "qty": 12, "min_qty": 8},
    "half a node at least": {"product": WHOLE, "qty": 16, "min_qty": 4},
    "off the tick": {"limit_price_micros": 2_200_001},
    "more at least than at most": {"qty": 2, "min_qty": 3},
    "money that is not there": {"account": "poor", "qty": 4},
    "an account without money": {"account": "nobody"},
    "more money than there can be": {"qty": 1_000_000, "limit_price_micros": 10**12, "periods": 20},
    "more at its limit than a number holds, bound": DEAR | {"qty": 1_000_000},
    "more at its limit than a number holds, bound, at once": DEAR | {"qty": 1_000_000, "tif": "IOC"},
}


@pytest.mark.parametrize("changes", ORDINARY.values(), ids=ORDINARY)
def test_an_ordinary_block_is_taken_or_refused_in_c(venue: SideBySide, changes: dict):
    assert venue.in_c(block(1, **changes))
    assert venue.in_c(block(2, account="bob", tif="IOC", qty=7, limit_price_micros=9_000_000))


ODD = {
    "a flex that ends before it begins": {"latest_s": hour_start_s(2)},
    "a flex with a start between two hours": {"latest_s": hour_start_s(4) + 60},
    "vouchers": {"use_vouchers": True, "tif": "IOC"},
    "another self-trade instruction": {"stp": "cancel_oldest"},
    "hours that are not listed": {"start_s": hour_start_s(23), "periods": 3},
    "an hour behind its gate": {"start_s": hour_start_s(0)},
    "a start between two hours": {"start_s": hour_start_s(3) + 60},
    "an unknown product": {"product": "H20SXM96.CNN.F"},
    "the venue itself": {"account": "venue"},
}


@pytest.mark.parametrize("changes", ODD.values(), ids=ODD)
def test_a_block_out_of_the_ordinary_is_left_to_the_reference(venue: SideBySide, changes: dict):
    assert not venue.in_c(block(1, **changes))
    assert venue.in_c(block(2, tif="IOC"))


OCCASIONS: dict[str, Callable[[SideBySide], object]] = {
    "the account has limits": lambda venue: venue.batch(
        "admin", SetAccountLimits(account="alice", max_open_orders=100)
    ),
    "the product is in auction": lambda venue: venue.batch(
        "admin", SetProductState(product=PRODUCT, state="AUCTION", reason="test")
    ),
    "an iceberg is among the asks": lambda venue: (
        venue.send(CancelOrder(command_id="c-9", account="other", order_id=None, client_order_id="capacity-n4")),
        venue.send(ask(1, "n4", 4, 9_990_000, qty=8, display_qty=1)),
    ),
}


@pytest.mark.parametrize("occasion", OCCASIONS.values(), ids=OCCASIONS)
def test_a_block_is_left_to_the_reference_where_the_venue_is_out_of_the_ordinary(venue: SideBySide, occasion: Callable):
    occasion(venue)
    assert not venue.in_c(block(1))


def test_positions_that_are_resold_are_left_to_the_reference(venue: SideBySide):
    venue.in_c(block(1))
    venue.send(
        Resell(
            command_id="c-9",
            account="alice",
            client_order_id="resale-1",
            product=PRODUCT,
            position_id=None,
            block_id=None,
            from_s=hour_start_s(3),
            to_s=hour_start_s(6),
            qty=1,
            price_micros=1_500_000,
        )
    )
    assert not venue.in_c(block(2, account="bob"))
    assert venue.in_c(block(3, account="bob", start_s=hour_start_s(6)))


def test_asks_of_one_node_in_one_hour_are_taken_in_the_order_of_their_price_and_age(venue: SideBySide):
    prices = ((3, 1_800_000), (4, 1_950_000), (4, 1_700_000), (4, 1_950_000), (5, 1_900_000))
    for number, (hour, price_micros) in enumerate(prices):
        venue.send(ask(number, "n3", hour, price_micros))
    for number in range(6):
        assert venue.in_c(block(number, qty=1 + number, tif="IOC"))


def test_an_ask_that_lost_its_place_comes_behind_those_of_its_price(venue: SideBySide):
    for number in (1, 2):
        venue.send(ask(number, "n3", 4, 1_500_000))
    venue.send(
        ReplaceOrder(
            command_id="c-9",
            account="other",
            order_id=None,
            client_order_id="ask-1",
            replace_id=None,
            qty=2,
            price_micros=None,
            expires_ms=None,
        )
    )
    for number in range(3):
        assert venue.in_c(block(number, qty=1, start_s=hour_start_s(4), periods=1))


def test_blocks_see_what_came_and_went_since_the_last_one(venue: SideBySide):
    assert venue.in_c(block(1, tif="IOC", limit_price_micros=1_000_000))
    for number, (node, hour) in enumerate((("n3", 3), ("n3", 4), ("n3", 5), ("n3", 4))):
        venue.in_c(ask(number, node, hour, 1_000_000))
    venue.in_c(CancelOrder(command_id="c-9", account="other", order_id=None, client_order_id="ask-1"))
    assert venue.in_c(block(2, tif="IOC", limit_price_micros=1_300_000))
    venue.in_c(CancelOrder(command_id="c-9", account="op", order_id=None, client_order_id="capacity-n2"))
    assert venue.in_c(block(3, tif="IOC", qty=9))
    venue.node("n9", "op", 8)
    venue.send(capacity("n9", "op", 8, 1_000_000))
    assert venue.in_c(block(4, tif="IOC", qty=9))


@pytest.mark.parametrize("restarts", [False, True])
def test_capacity_goes_in_c_to_blocks_that_wait(venue: SideBySide, restarts: bool):
    assert venue.in_c(block(1, qty=22))
    assert venue.in_c(block(2, qty=3, account="bob", limit_price_micros=1_800_000, max_cost_micros=10_000_000))
    if restarts:
        venue.restart()
    venue.node("n9", "other", 8)
    assert venue.in_c(capacity("n9", "other", 8, 1_000_000))
    assert venue.fast.engine.orders() == venue.plain.engine.orders()
    venue.in_c(MassCancel(command_id="c-9", account="bob", product=None, contract=None, side=None))


def test_a_repeat_and_another_body_are_answered_in_c_also_where_it_was_refused(venue: SideBySide):
    for number, changes in ((1, {}), (2, {"qty": 90, "tif": "FOK"})):
        venue.in_c(block(number, **changes))
        assert venue.in_c(block(number, **changes, command_id="c-again"))
        assert b'"type":"order_duplicate"' in venue.fast.events[-1]
    assert venue.in_c(block(1, qty=3))
    assert b'"code":"client_order_id_conflict"' in venue.fast.events[-1]


def test_changes_of_the_rules_are_read_anew(venue: SideBySide):
    venue.in_c(block(1, tif="IOC"))
    venue.define(PRODUCT, taker_fee_bps=50)
    assert venue.in_c(block(2, tif="IOC"))


def test_several_blocks_of_one_batch_wait_in_their_order(venue: SideBySide):
    first = len(venue.fast.records)
    records = [
        (first + place, venue.fast.now_ms, block(place, limit_price_micros=1_000_000).canonical()) for place in range(5)
    ]
    assert venue.fast.engine.apply(records) == venue.plain.engine.apply(records)
    for side in (venue.fast, venue.plain):
        side.records += records
    assert venue.in_c(ask(1, "n3", 4, 1_000_000))


def test_a_flex_takes_its_cheapest_start_in_c_and_may_wait(venue: SideBySide):
    assert venue.in_c(block(1, latest_s=hour_start_s(5), tif="IOC"))
    assert venue.in_c(block(2, latest_s=hour_start_s(5), qty=60))
    assert venue.in_c(block(3, latest_s=hour_start_s(4), limit_price_micros=1_000_000))
    venue.restart()
    venue.node("n9", "other", 8)
    assert venue.in_c(capacity("n9", "other", 8, 1_000_000))
    assert venue.fast.engine.orders() == venue.plain.engine.orders()


def test_a_block_that_waits_is_cancelled_in_c_by_its_owner_alone(venue: SideBySide):
    assert venue.in_c(block(1, limit_price_micros=1_000_000))
    named = {"command_id": "c-9", "order_id": None, "client_order_id": "block-1"}
    assert venue.in_c(CancelOrder(**named, account="other"))
    assert venue.in_c(CancelOrder(**named, account="alice"))
    assert b'"type":"cancel_done"' in venue.fast.events[-1]
    assert venue.fast.engine.orders() == venue.plain.engine.orders()


def test_an_ask_under_a_block_that_may_meet_an_iceberg_is_the_references(venue: SideBySide):
    assert venue.in_c(block(1, limit_price_micros=1_000_000))
    venue.send(CancelOrder(command_id="c-9", account="other", order_id=None, client_order_id="capacity-n4"))
    venue.send(ask(1, "n4", 4, 9_990_000, qty=8, display_qty=1))
    assert not venue.in_c(ask(2, "n3", 3, 9_000_000))
