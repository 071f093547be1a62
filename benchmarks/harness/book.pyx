"""Order books with price-time priority: `BookSet`, many books over shared pools, and `OrderBook`, one alone."""

from collections import namedtuple

from libc.stdint cimport int64_t, uint32_t, uint64_t

from benchmarks.harness.tape cimport free_tape
from matching_engine.pools.book cimport (
    ASK, BID, Books, Level, Order, Side, best_order, close_sides, free_books, next_level, next_order, open_sides,
    price_of, reserve, start_books,
)
from matching_engine.pools.id_table cimport IdEntry
from matching_engine.pools.memory cimport NIL
from matching_engine.pools.price_tree cimport Page

Fill = namedtuple("Fill", "maker_id price quantity")
PriceLevel = namedtuple("PriceLevel", "price quantity orders")
RestingOrder = namedtuple("RestingOrder", "order_id price quantity handle")


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


cdef class BookSet:
    def __cinit__(self, uint32_t books=0):
        start_books(&self.books)
        for _ in range(books):
            self.open_book()

    def __dealloc__(self):
        free_books(&self.books)

    def open_book(self):
        return open_sides(&self.books) >> 1

    def close_book(self, uint32_t book):
        cdef uint32_t first = self.side_index(book, BID)
        cdef Side* sides = &self.books.sides[first]
        if sides[BID].orders or sides[ASK].orders:
            raise BookNotEmpty(book)
        close_sides(&self.books, first)

    cdef uint32_t side_index(self, uint32_t book, uint32_t side) except? NIL:
        cdef uint64_t index = 2 * <uint64_t>book + side
        if side > ASK or index >= self.books.sides_used or self.books.sides[2 * book].levels == NIL:
            raise UnknownBook(book, side)
        return <uint32_t>index

    def rest(self, uint32_t book, uint32_t side, int64_t price, int64_t quantity, uint64_t order_id, uint32_t handle=0):
        cdef uint32_t index = self.side_index(book, side)
        if quantity <= 0:
            raise BadQuantity(quantity)
        if find_order(&self.books, order_id) != NIL:
            raise DuplicateOrder(order_id)
        reserve(&self.books)
        rest_order(&self.books, index, price, quantity, order_id, handle)

    def cancel(self, uint64_t order_id):
        cdef uint32_t slot = find_order(&self.books, order_id)
        if slot == NIL:
            raise UnknownOrder(order_id)
        cdef int64_t quantity = self.books.orders[slot].quantity
        remove_order(&self.books, slot)
        return quantity

    def reduce(self, uint64_t order_id, int64_t quantity):
        cdef uint32_t slot = find_order(&self.books, order_id)
        if slot == NIL:
            raise UnknownOrder(order_id)
        if not 0 < quantity <= self.books.orders[slot].quantity:
            raise BadQuantity(quantity)
        reduce_order(&self.books, slot, quantity)

    def best(self, uint32_t book, uint32_t side):
        return next(iter(self.depth(book, side, 1)), None)

    def depth(self, uint32_t book, uint32_t side, uint32_t levels=NIL):
        cdef uint32_t index = self.books.sides[self.side_index(book, side)].best
        cdef Level* level
        found = []
        while index != NIL and levels > 0:
            level = &self.books.levels[index]
            found.append(PriceLevel(price_of(side, level.key), level.quantity, level.orders))
            index = next_level(&self.books, index)
            levels -= 1
        return found

    def orders(self, uint32_t book, uint32_t side):
        cdef uint32_t slot = best_order(&self.books, self.side_index(book, side))
        cdef Order* order
        found = []
        while slot != NIL:
            order = &self.books.orders[slot]
            price = price_of(side, self.books.levels[order.level].key)
            found.append(RestingOrder(order.id, price, order.quantity, order.owner))
            slot = next_order(&self.books, slot)
        return found

    def memory_bytes(self):
        cdef Books* books = &self.books
        return (
            books.orders_used * sizeof(Order) + books.levels_used * sizeof(Level) + books.sides_used * sizeof(Side)
            + books.tree.used * sizeof(Page) + (<size_t>books.ids.mask + 1) * sizeof(IdEntry)
        )

    def __contains__(self, uint64_t order_id):
        return find_order(&self.books, order_id) != NIL

    def __len__(self):
        return self.books.ids.count


cdef class OrderBook:
    def __cinit__(self, BookSet owner=None):
        self.owner = BookSet() if owner is None else owner
        self.number = self.owner.open_book()

    def __dealloc__(self):
        free_tape(&self.tape)

    def add(self, uint64_t order_id, uint32_t side, int64_t price, int64_t quantity, bint immediate=False):
        cdef Books* books = &self.owner.books
        cdef uint32_t index = self.owner.side_index(self.number, side)
        cdef Trade* trade
        if quantity <= 0:
            raise BadQuantity(quantity)
        if find_order(books, order_id) != NIL:
            raise DuplicateOrder(order_id)
        self.tape.used = 0
        cdef int64_t left = take(books, &self.tape, index, price, quantity, order_id)
        reserve(books)
        if left > 0 and not immediate:
            rest_order(books, index, price, left, order_id, 0)
        fills = []
        for i in range(self.tape.used):
            trade = &self.tape.trades[i]
            fills.append(Fill(trade.maker_id, trade.price, trade.quantity))
        return fills

    cdef uint32_t find(self, uint64_t order_id) except? NIL:
        cdef Books* books = &self.owner.books
        cdef uint32_t slot = find_order(books, order_id)
        if slot == NIL or books.levels[books.orders[slot].level].side >> 1 != self.number:
            raise UnknownOrder(order_id)
        return slot

    def cancel(self, uint64_t order_id):
        self.find(order_id)
        return self.owner.cancel(order_id)

    def move(self, uint64_t order_id, int64_t price, int64_t quantity):
        cdef Books* books = &self.owner.books
        cdef uint32_t slot = self.find(order_id)
        if quantity <= 0:
            raise BadQuantity(quantity)
        cdef uint32_t side = books.levels[books.orders[slot].level].side & 1
        remove_order(books, slot)
        return self.add(order_id, side, price, quantity)

    def best(self, uint32_t side):
        return self.owner.best(self.number, side)

    def depth(self, uint32_t side, uint32_t levels=NIL):
        return self.owner.depth(self.number, side, levels)

    def orders(self, uint32_t side):
        return self.owner.orders(self.number, side)
