"""The defect classes published of other matching engines, one test each, on both engines.

The same classes on the bare book: tests/unit/matching_engine/test_book_defects.py. Of the eleven published classes one
cannot occur: "stop cascades one message late"; this market has no stop orders.
"""

from typing import Any

import pytest

from schemas.orders import CancelOrder, PlaceOrder, ReplaceOrder
from tests.scenarios.engines import ENGINES
from tests.scenarios.venue import Venue, contract_of

CONTRACT = contract_of(13)
MICROS = 1_000_000


class Desk:
    """A venue with one contract, a trader for bids, an operator for asks, and prices in whole currency."""

    def __init__(self, engine: Any):
        self.venue = Venue(engine)
        self.venue.define()
        for account in ("alice", "bob", "op"):
            self.venue.credit(account, 10**17)
        self.venue.node("n1", "op", 5_000)

    def send(self, model: type, **fields: Any) -> list[dict]:
        return self.venue.send(model(command_id=f"c-{len(self.venue.records)}", **fields))

    def place(
        self, side: str, qty: int, price: int | None, account: str | None = None, node: str = "n1", **terms: Any
    ) -> list[tuple]:
        """Sends an order. Returns its trades: the maker's id, price, quantity."""
        account = account or ("alice" if side == "buy" else "op")
        usual = {"kind": "limit", "max_cost_micros": None, "tif": "GTG", "post_only": False, "stp": "cancel_newest"}
        said = self.send(
            PlaceOrder,
            account=account,
            client_order_id=f"id-{len(self.venue.records)}",
            contract=CONTRACT,
            side=side,
            qty=qty,
            price_micros=None if price is None else price * MICROS,
            node=node if side == "sell" else None,
            **usual | terms,
        )
        return trades(said)

    def replace(self, account: str, order_id: int, qty: int | None, price: int | None) -> list[tuple]:
        price_micros = None if price is None else price * MICROS
        named = {"order_id": order_id, "client_order_id": None, "replace_id": None, "expires_ms": None}
        return trades(self.send(ReplaceOrder, account=account, qty=qty, price_micros=price_micros, **named))

    def cancel(self, account: str, order_id: int) -> str:
        """Cancels an order. Returns the last event's type, or the code of a refusal."""
        said = self.send(CancelOrder, account=account, order_id=order_id, client_order_id=None)
        return said[-1].get("code") or said[-1]["type"]

    def book(self, side: str) -> list[tuple[int, int, int]]:
        """Id, price and quantity of what rests on a side, in the order in which it would trade."""
        resting = self.venue.engine.store.resting(CONTRACT, side)
        return [(order.id, order.price_micros // MICROS, order.left) for order in resting]


def trades(said: list[dict]) -> list[tuple]:
    return [(each["maker_order_id"], each["price_micros"] // MICROS, each["qty"]) for each in said if is_trade(each)]


def is_trade(event: dict) -> bool:
    return event["type"] == "trade"


@pytest.fixture(params=ENGINES)
def desk(request: pytest.FixtureRequest) -> Desk:
    return Desk(ENGINES[request.param]())


def test_a_trade_is_at_the_makers_price(desk: Desk):
    desk.place("sell", 5, 10)
    desk.place("sell", 5, 12)
    assert desk.place("buy", 10, 15) == [(1, 10, 5), (2, 12, 5)]
    desk.place("buy", 5, 12)
    desk.place("buy", 5, 10)
    assert desk.place("sell", 10, 7) == [(4, 12, 5), (5, 10, 5)]


def test_a_partial_fill_does_not_cost_the_maker_its_place(desk: Desk):
    desk.place("sell", 5, 10)
    desk.place("sell", 5, 10)
    assert desk.place("buy", 2, 10) == [(1, 10, 2)]
    assert desk.book("sell") == [(1, 10, 3), (2, 10, 5)]
    assert desk.place("buy", 4, 10) == [(1, 10, 3), (2, 10, 1)]


@pytest.mark.parametrize("cancelled", [1, 2, 3, 4])
def test_a_cancel_anywhere_in_a_level_leaves_its_neighbours(desk: Desk, cancelled: int):
    for qty in (1, 2, 3, 4):
        desk.place("buy", qty, 10)
    assert desk.cancel("alice", cancelled) == "cancel_done"
    left = [number for number in (1, 2, 3, 4) if number != cancelled]
    assert desk.book("buy") == [(number, 10, number) for number in left]
    assert desk.place("sell", 10, 10) == [(number, 10, number) for number in left]


def test_the_best_price_follows_a_cancel(desk: Desk):
    for price in (10, 12, 900):
        desk.place("buy", 1, price)
    desk.cancel("alice", 3)
    assert desk.book("buy") == [(2, 12, 1), (1, 10, 1)]
    desk.cancel("alice", 2)
    assert desk.place("sell", 1, 11) == []
    assert desk.place("sell", 1, 9) == [(1, 10, 1)]


def test_the_best_price_follows_a_sweep(desk: Desk):
    desk.place("sell", 1, 10)
    desk.place("sell", 1, 11)
    assert desk.place("buy", 2, 11) == [(1, 10, 1), (2, 11, 1)]
    desk.place("sell", 1, 500)
    desk.place("sell", 1, 20)
    assert desk.book("sell") == [(5, 20, 1), (4, 500, 1)]
    assert desk.place("buy", 1, 600) == [(5, 20, 1)]


def test_a_filled_order_is_gone_with_its_id(desk: Desk):
    desk.place("sell", 5, 10)
    desk.place("buy", 5, 10)
    assert (desk.book("buy"), desk.book("sell"), desk.venue.engine.orders()) == ([], [], [])
    assert (desk.cancel("op", 1), desk.cancel("alice", 2)) == ("order_closed", "order_closed")
    assert desk.cancel("op", 3) == "unknown_order"


def test_an_amend_that_crosses_trades_instead_of_resting_crossed(desk: Desk):
    desk.place("buy", 5, 8)
    desk.place("sell", 3, 10)
    assert desk.replace("alice", 1, None, 10) == [(2, 10, 3)]
    assert (desk.book("buy"), desk.book("sell")) == ([(1, 10, 2)], [])


def test_an_amended_order_waits_behind_the_others_unless_it_only_shrinks(desk: Desk):
    for price in (9, 10, 10):
        desk.place("sell", 5, price)
    desk.replace("op", 1, 4, 10)
    desk.replace("op", 2, 3, None)
    assert desk.book("sell") == [(2, 10, 3), (3, 10, 5), (1, 10, 4)]
    desk.replace("op", 2, 6, None)
    assert desk.book("sell") == [(3, 10, 5), (1, 10, 4), (2, 10, 6)]


def test_a_marketable_limit_stops_at_its_own_limit(desk: Desk):
    for price in (10, 11, 12):
        desk.place("sell", 5, price)
    assert desk.place("buy", 20, 11) == [(1, 10, 5), (2, 11, 5)]
    assert (desk.book("buy"), desk.book("sell")) == ([(4, 11, 10)], [(3, 12, 5)])


@pytest.mark.parametrize("side", ["buy", "sell"])
def test_an_ioc_remainder_never_rests(desk: Desk, side: str):
    desk.place("sell" if side == "buy" else "buy", 5, 10)
    assert desk.place(side, 9, 10, tif="IOC") == [(1, 10, 5)]
    assert desk.place(side, 9, 10, tif="IOC") == []
    assert (desk.book("buy"), desk.book("sell")) == ([], [])
    held = {account: held for account, _, _, held in desk.venue.engine.balances()}
    assert held["alice"] == 50 * MICROS


def test_a_market_remainder_never_rests(desk: Desk):
    desk.place("sell", 5, 10)
    assert desk.place("buy", 9, None, kind="market", max_cost_micros=1_000 * MICROS, tif="IOC") == [(1, 10, 5)]
    assert (desk.book("buy"), desk.book("sell")) == ([], [])


@pytest.mark.parametrize("price", [10, 11])
def test_a_self_cross_remainder_never_rests(desk: Desk, price: int):
    desk.venue.node("n2", "bob", 8)
    desk.place("sell", 2, 9, account="bob", node="n2")
    desk.place("sell", 2, 10)
    assert desk.place("buy", 5, price, account="op") == [(1, 9, 2)]
    assert (desk.book("buy"), desk.book("sell")) == ([], [(2, 10, 2)])


@pytest.mark.slow
def test_no_table_of_ids_or_prices_has_a_fixed_size(desk: Desk):
    prices = [1 + (place * 7_919) % 100_003 for place in range(1_900)]
    for price in prices:
        desk.place("sell", 1, price)
    assert [price for _, price, _ in desk.book("sell")] == sorted(prices)
    for order_id in range(1, 1_901):
        assert desk.cancel("op", order_id) == "cancel_done"
    assert (desk.book("sell"), desk.venue.engine.orders()) == ([], [])
    for _ in range(2_300):
        desk.place("sell", 1, 7)
    assert [order_id for order_id, _, _ in desk.book("sell")] == list(range(1_901, 4_201))
