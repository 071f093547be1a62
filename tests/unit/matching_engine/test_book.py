"""One order book: matching, cancelling, moving, and what it refuses."""

import pytest

from benchmarks.harness.audit import check_books
from benchmarks.harness.book import (
    BadQuantity,
    BookNotEmpty,
    BookSet,
    DuplicateOrder,
    Fill,
    OrderBook,
    PriceLevel,
    RestingOrder,
    UnknownBook,
    UnknownOrder,
)

BID, ASK = 0, 1
INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1


def test_an_order_that_does_not_cross_rests():
    book = OrderBook()
    assert book.add(1, BID, 100, 5) == []
    assert book.add(2, ASK, 101, 7) == []
    assert book.orders(BID) == [RestingOrder(1, 100, 5, 0)]
    assert book.orders(ASK) == [RestingOrder(2, 101, 7, 0)]
    assert (book.best(BID), book.best(ASK)) == (PriceLevel(100, 5, 1), PriceLevel(101, 7, 1))


def test_an_empty_book_has_no_best_price_and_no_depth():
    book = OrderBook()
    assert (book.best(BID), book.best(ASK), book.depth(BID), book.orders(ASK)) == (None, None, [], [])


def test_depth_lists_the_best_levels_first_and_no_more_than_asked_for():
    book = OrderBook()
    for order_id, price in enumerate([100, 102, 101, 102, 5]):
        book.add(order_id, BID, price, 10)
    assert book.depth(BID) == [
        PriceLevel(102, 20, 2),
        PriceLevel(101, 10, 1),
        PriceLevel(100, 10, 1),
        PriceLevel(5, 10, 1),
    ]
    assert book.depth(BID, 2) == [PriceLevel(102, 20, 2), PriceLevel(101, 10, 1)]
    assert book.depth(BID, 0) == []


def test_reducing_an_order_keeps_its_place_and_with_nothing_left_it_leaves():
    books = BookSet(1)
    for order_id in (1, 2):
        books.rest(0, ASK, 50, 10, order_id, handle=order_id + 70)
    books.reduce(1, 4)
    assert books.orders(0, ASK) == [RestingOrder(1, 50, 6, 71), RestingOrder(2, 50, 10, 72)]
    books.reduce(1, 6)
    assert books.orders(0, ASK) == [RestingOrder(2, 50, 10, 72)]
    assert 1 not in books and 2 in books and len(books) == 1
    check_books(books)


@pytest.mark.parametrize("price", [INT64_MIN, -1, 0, 1, INT64_MAX])
def test_any_64_bit_price_rests_and_trades(price):
    book = OrderBook()
    book.add(1, ASK, price, 3)
    assert book.best(ASK) == PriceLevel(price, 3, 1)
    assert book.add(2, BID, price, 4) == [Fill(1, price, 3)]
    assert book.orders(BID) == [RestingOrder(2, price, 1, 0)]
    check_books(book.owner)


def test_prices_at_both_ends_of_the_range_live_in_one_book():
    book = OrderBook()
    prices = [INT64_MIN, -(2**40), -64, -63, 0, 63, 64, 4095, 4096, 2**40, INT64_MAX]
    for order_id, price in enumerate(prices):
        book.add(order_id, ASK, price, 1)
    assert [level.price for level in book.depth(ASK)] == prices
    check_books(book.owner)
    assert book.add(99, BID, INT64_MAX, 20) == [Fill(i, price, 1) for i, price in enumerate(prices)]
    assert book.best(ASK) is None
    check_books(book.owner)


def test_order_ids_take_all_64_bits():
    book = OrderBook()
    for order_id in (0, 2**63, 2**64 - 1):
        book.add(order_id, BID, 10, 1)
    assert [order.order_id for order in book.orders(BID)] == [0, 2**63, 2**64 - 1]
    assert [book.cancel(order_id) for order_id in (2**63, 0, 2**64 - 1)] == [1, 1, 1]


def test_books_of_one_set_do_not_trade_with_each_other():
    books = BookSet()
    first, second = OrderBook(books), OrderBook(books)
    first.add(1, ASK, 10, 5)
    assert second.add(2, BID, 10, 5) == []
    assert (first.orders(ASK), second.orders(BID)) == ([RestingOrder(1, 10, 5, 0)], [RestingOrder(2, 10, 5, 0)])
    check_books(books)


def test_a_book_does_not_cancel_or_move_an_order_of_another_book():
    books = BookSet()
    first, second = OrderBook(books), OrderBook(books)
    first.add(1, ASK, 10, 5)
    with pytest.raises(UnknownOrder):
        second.cancel(1)
    with pytest.raises(UnknownOrder):
        second.move(1, 9, 5)
    assert first.orders(ASK) == [RestingOrder(1, 10, 5, 0)]


def test_a_resting_id_is_refused_and_changes_nothing():
    book = OrderBook()
    book.add(1, ASK, 10, 5)
    with pytest.raises(DuplicateOrder):
        book.add(1, BID, 10, 5)
    with pytest.raises(DuplicateOrder):
        book.owner.rest(book.number, BID, 9, 5, 1)
    assert (book.orders(ASK), book.orders(BID)) == ([RestingOrder(1, 10, 5, 0)], [])


def test_an_unknown_id_is_refused():
    book = OrderBook()
    for call in (lambda: book.cancel(1), lambda: book.move(1, 10, 1), lambda: book.owner.reduce(1, 1)):
        with pytest.raises(UnknownOrder):
            call()
    with pytest.raises(UnknownOrder):
        book.owner.cancel(1)


@pytest.mark.parametrize("quantity", [0, -1, INT64_MIN])
def test_a_quantity_that_is_not_positive_is_refused(quantity):
    book = OrderBook()
    book.add(1, BID, 10, 5)
    for call in (
        lambda: book.add(2, BID, 10, quantity),
        lambda: book.move(1, 10, quantity),
        lambda: book.owner.reduce(1, quantity),
        lambda: book.owner.rest(book.number, BID, 10, quantity, 2),
    ):
        with pytest.raises(BadQuantity):
            call()
    assert book.orders(BID) == [RestingOrder(1, 10, 5, 0)]


def test_more_than_is_left_is_not_taken_off():
    book = OrderBook()
    book.add(1, BID, 10, 5)
    with pytest.raises(BadQuantity):
        book.owner.reduce(1, 6)
    assert book.orders(BID) == [RestingOrder(1, 10, 5, 0)]


@pytest.mark.parametrize(("number", "side"), [(1, 0), (0, 2), (2**32 - 1, 1)])
def test_a_book_or_side_that_does_not_exist_is_refused(number, side):
    books = BookSet(1)
    for call in (lambda: books.best(number, side), lambda: books.rest(number, side, 1, 1, 1)):
        with pytest.raises(UnknownBook):
            call()


@pytest.mark.parametrize("price", [2**63, -(2**63) - 1])
def test_a_price_past_64_bits_is_refused(price):
    with pytest.raises(OverflowError):
        OrderBook().add(1, BID, price, 1)


def test_a_closed_book_is_gone_until_its_number_is_given_out_again():
    books = BookSet(3)
    books.close_book(1)
    with pytest.raises(UnknownBook):
        books.depth(1, ASK)
    check_books(books)
    assert [books.open_book(), books.open_book()] == [1, 3]
    assert books.depth(1, ASK) == []


def test_a_book_with_orders_is_not_closed():
    books = BookSet(1)
    books.rest(0, ASK, 10, 1, 1)
    with pytest.raises(BookNotEmpty):
        books.close_book(0)
    assert books.orders(0, ASK) == [RestingOrder(1, 10, 1, 0)]


def test_an_empty_book_takes_less_than_a_kilobyte():
    assert (BookSet(10_001).memory_bytes() - BookSet(1).memory_bytes()) / 10_000 <= 1_024
