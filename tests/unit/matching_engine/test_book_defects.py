"""The published defect classes of other engines, as far as they concern a bare book: one test each."""

import pytest

from benchmarks.harness.audit import check_books
from benchmarks.harness.book import Fill, OrderBook, PriceLevel, RestingOrder

BID, ASK = 0, 1


def book_of(*orders: tuple[int, int, int, int]) -> OrderBook:
    """A book with these orders (id, side, price, quantity) resting."""
    book = OrderBook()
    for order in orders:
        assert book.add(*order) == []
    return book


def test_a_trade_is_at_the_makers_price():
    book = book_of((1, ASK, 10, 5), (2, ASK, 12, 5))
    assert book.add(3, BID, 15, 10) == [Fill(1, 10, 5), Fill(2, 12, 5)]
    book = book_of((1, BID, 12, 5), (2, BID, 10, 5))
    assert book.add(3, ASK, 7, 10) == [Fill(1, 12, 5), Fill(2, 10, 5)]


def test_a_partial_fill_does_not_cost_the_maker_its_place():
    book = book_of((1, ASK, 10, 5), (2, ASK, 10, 5))
    assert book.add(3, BID, 10, 2) == [Fill(1, 10, 2)]
    assert book.orders(ASK) == [RestingOrder(1, 10, 3, 0), RestingOrder(2, 10, 5, 0)]
    assert book.add(4, BID, 10, 4) == [Fill(1, 10, 3), Fill(2, 10, 1)]


@pytest.mark.parametrize("cancelled", [1, 2, 3, 4])
def test_a_cancel_anywhere_in_a_level_leaves_its_neighbours(cancelled):
    book = book_of(*((order_id, BID, 10, order_id) for order_id in (1, 2, 3, 4)))
    assert book.cancel(cancelled) == cancelled
    left = [order_id for order_id in (1, 2, 3, 4) if order_id != cancelled]
    assert book.orders(BID) == [RestingOrder(order_id, 10, order_id, 0) for order_id in left]
    check_books(book.owner)
    assert book.add(9, ASK, 10, 10) == [Fill(order_id, 10, order_id) for order_id in left]


def test_the_best_price_follows_a_cancel():
    book = book_of((1, BID, 10, 1), (2, BID, 12, 1), (3, BID, 900_000, 1))
    book.cancel(3)
    assert book.best(BID) == PriceLevel(12, 1, 1)
    book.cancel(1)
    assert book.best(BID) == PriceLevel(12, 1, 1)
    book.cancel(2)
    assert book.best(BID) is None
    assert book.add(4, ASK, 5, 1) == []


def test_the_best_price_follows_a_better_order_after_a_sweep():
    book = book_of((1, ASK, 10, 1), (2, ASK, 11, 1))
    book.add(3, BID, 11, 2)
    assert book.best(ASK) is None
    book.add(4, ASK, 500, 1)
    book.add(5, ASK, 20, 1)
    assert book.best(ASK) == PriceLevel(20, 1, 1)


def test_a_filled_order_is_gone_with_its_id():
    book = book_of((1, ASK, 10, 5))
    book.add(2, BID, 10, 5)
    assert (1 in book.owner, 2 in book.owner, len(book.owner)) == (False, False, 0)
    assert book.add(1, ASK, 11, 4) == []
    assert book.orders(ASK) == [RestingOrder(1, 11, 4, 0)]


def test_a_move_that_crosses_trades_instead_of_resting_crossed():
    book = book_of((1, BID, 8, 5), (2, ASK, 10, 3))
    assert book.move(1, 10, 5) == [Fill(2, 10, 3)]
    assert (book.orders(BID), book.orders(ASK)) == ([RestingOrder(1, 10, 2, 0)], [])


def test_a_moved_order_waits_behind_the_others_of_its_new_price():
    book = book_of((1, ASK, 9, 5), (2, ASK, 10, 5), (3, ASK, 10, 5))
    assert book.move(1, 10, 4) == []
    assert book.move(2, 10, 5) == []
    assert [order.order_id for order in book.orders(ASK)] == [3, 1, 2]


def test_a_marketable_order_stops_at_its_own_limit():
    book = book_of((1, ASK, 10, 5), (2, ASK, 11, 5), (3, ASK, 12, 5))
    assert book.add(4, BID, 11, 20) == [Fill(1, 10, 5), Fill(2, 11, 5)]
    assert (book.best(BID), book.best(ASK)) == (PriceLevel(11, 10, 1), PriceLevel(12, 5, 1))


@pytest.mark.parametrize("side", [BID, ASK])
def test_what_an_immediate_order_does_not_fill_is_dropped(side):
    book = book_of((1, 1 - side, 10, 5))
    assert book.add(2, side, 10, 9, immediate=True) == [Fill(1, 10, 5)]
    assert book.add(3, side, 10, 9, immediate=True) == []
    assert (book.orders(BID), book.orders(ASK), len(book.owner)) == ([], [], 0)


def test_no_table_of_ids_or_prices_has_a_fixed_size():
    book = OrderBook()
    prices = [(i * 7_919) % 100_003 - 50_000 for i in range(20_000)]
    for i, price in enumerate(prices):
        book.add(i << 40, ASK, price << 30, 1)
    assert [order.price >> 30 for order in book.orders(ASK)] == sorted(prices)
    check_books(book.owner)
    for i in range(20_000):
        book.cancel(i << 40)
    assert (book.best(ASK), len(book.owner)) == (None, 0)
    check_books(book.owner)
