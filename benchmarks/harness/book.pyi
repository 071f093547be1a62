"""Order books with price-time priority: `BookSet`, many books over shared pools, and `OrderBook`, one alone.

Prices are whole ticks (any int64), quantities whole lots (1 … 2^63 - 1), order ids unsigned 64-bit numbers that are
unique among resting orders of one set; an id is free again once its order has left. Side 0 is the bid, 1 the ask.
Adding, cancelling, reducing and finding an order, and the best price, cost the same however deep the book is.
"""

from typing import NamedTuple

class Fill(NamedTuple):
    """One trade of a taker: at the maker's price."""

    maker_id: int
    price: int
    quantity: int

class PriceLevel(NamedTuple):
    """All orders of one side at one price."""

    price: int
    quantity: int
    orders: int

class RestingOrder(NamedTuple):
    """An order in a book; `quantity` is what is left, `handle` the caller's own 32-bit number."""

    order_id: int
    price: int
    quantity: int
    handle: int

class BookError(ValueError):
    """A book refuses what was asked of it."""

class DuplicateOrder(BookError):
    """An order with this id rests already."""

class UnknownOrder(BookError):
    """No order with this id rests."""

class UnknownBook(BookError):
    """There is no open book with this number, or no such side."""

class BookNotEmpty(BookError):
    """A book with resting orders cannot be closed."""

class BadQuantity(BookError):
    """A quantity is positive, and not more than what is left."""

class BookSet:
    """Many books that share one pool of orders, levels and pages and one table of ids; an empty book takes 48 bytes.

    `benchmarks/harness/stream.pyx` cimports the functions of `book.pxd` on `BookSet.books` instead of these methods.
    """

    def __init__(self, books: int = 0) -> None:
        """A set with this many empty books, numbered from 0."""

    def open_book(self) -> int:
        """Open an empty book and give its number, which may be that of a closed one."""

    def close_book(self, book: int) -> None:
        """Give an empty book's number back."""

    def rest(self, book: int, side: int, price: int, quantity: int, order_id: int, handle: int = 0) -> None:
        """Put an order behind all others of its price, without matching."""

    def cancel(self, order_id: int) -> int:
        """Take an order out, and give the quantity that was left."""

    def reduce(self, order_id: int, quantity: int) -> None:
        """Take quantity off an order, which keeps its place; with nothing left it leaves the book."""

    def best(self, book: int, side: int) -> PriceLevel | None:
        """The best level of a side."""

    def depth(self, book: int, side: int, levels: int = ...) -> list[PriceLevel]:
        """The levels of a side, best first, at most this many."""

    def orders(self, book: int, side: int) -> list[RestingOrder]:
        """The orders of a side in priority order."""

    def memory_bytes(self) -> int:
        """Bytes of the pools in use and of the whole id table."""

    def __contains__(self, order_id: int) -> bool: ...
    def __len__(self) -> int:
        """Resting orders of all books."""

class OrderBook:
    """One book that matches, alone or as a new book of a set."""

    owner: BookSet
    number: int

    def __init__(self, owner: BookSet | None = None) -> None: ...
    def add(self, order_id: int, side: int, price: int, quantity: int, immediate: bool = False) -> list[Fill]:
        """Match a limit order and rest what is left of it, or drop that where it is immediate-or-cancel."""

    def cancel(self, order_id: int) -> int:
        """Take an order of this book out, and give the quantity that was left."""

    def move(self, order_id: int, price: int, quantity: int) -> list[Fill]:
        """Take an order out and add it again with another price and quantity, behind the others; it may trade."""

    def best(self, side: int) -> PriceLevel | None:
        """The best level of a side."""

    def depth(self, side: int, levels: int = ...) -> list[PriceLevel]:
        """The levels of a side, best first, at most this many."""

    def orders(self, side: int) -> list[RestingOrder]:
        """The orders of a side in priority order."""
