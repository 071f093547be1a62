"""Bare books that match, for benches and tests, over the pools of the exchange.

The exchange itself matches in `matching_engine/fast/matching.pxd`, and finds its orders by pages of ids.
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t

from benchmarks.harness.tape cimport Tape, Trade, next_trade
from matching_engine.pools.book cimport (
    Books, Order, Side, best_order, price_key, link_order, price_of, unlink_order,
)
from matching_engine.pools.id_table cimport drop_entry, drop_id, put_id, tag_of
from matching_engine.pools.memory cimport NIL, expect


cdef inline uint32_t find_entry(const Books* books, uint64_t order_id) noexcept nogil:
    """Where the id table has an order, or NIL."""
    cdef uint32_t tag = tag_of(order_id)
    cdef uint32_t at = tag >> books.ids.shift
    cdef uint32_t slot
    while True:
        slot = books.ids.entries[at].slot
        if slot == NIL:
            return NIL
        if books.ids.entries[at].tag == tag and books.orders[slot].id == order_id:
            return at
        at = (at + 1) & books.ids.mask


cdef inline uint32_t find_order(const Books* books, uint64_t order_id) noexcept nogil:
    """The slot of an order, or NIL."""
    cdef uint32_t at = find_entry(books, order_id)
    return NIL if at == NIL else books.ids.entries[at].slot


cdef inline bint crosses(const Books* books, uint32_t side, int64_t price) noexcept nogil:
    """Whether an order of this side and price can trade with the best of the other side."""
    cdef const Side* other = &books.sides[side ^ 1]
    return other.best != NIL and other.best_key <= price_key(side ^ 1, price)


cdef inline uint32_t rest_order(
    Books* books, uint32_t side_index, int64_t price, int64_t quantity, uint64_t order_id, uint32_t handle
) noexcept nogil:
    """Link an order and enter its id."""
    cdef uint32_t slot = link_order(books, side_index, price, quantity, order_id, handle)
    put_id(&books.ids, order_id, slot)
    return slot


cdef inline void remove_order(Books* books, uint32_t slot) noexcept nogil:
    """Take a resting order out of the book."""
    drop_id(&books.ids, books.orders[slot].id, slot)
    unlink_order(books, slot)


cdef inline bint cancel_order(Books* books, uint64_t order_id) noexcept nogil:
    """Take an order out by its id; False where no such order rests."""
    cdef uint32_t at = find_entry(books, order_id)
    if at == NIL:
        return False
    cdef uint32_t slot = books.ids.entries[at].slot
    drop_entry(&books.ids, at)
    unlink_order(books, slot)
    return True


cdef inline void reduce_order(Books* books, uint32_t slot, int64_t quantity) noexcept nogil:
    """Take quantity off a resting order, which keeps its place; with nothing left it leaves the book."""
    cdef Order* order = &books.orders[slot]
    expect(0 <= quantity <= order.quantity)
    order.quantity -= quantity
    books.levels[order.level].quantity -= quantity
    if order.quantity == 0:
        remove_order(books, slot)


cdef inline int64_t take(
    Books* books, Tape* tape, uint32_t side, int64_t price, int64_t quantity, uint64_t taker_id
) noexcept nogil:
    """Trade against the other side, best price first, oldest first; what is left."""
    cdef Order* maker
    cdef Trade* trade
    cdef uint32_t slot
    while quantity > 0 and crosses(books, side, price):
        trade = next_trade(tape)
        slot = best_order(books, side ^ 1)
        maker = &books.orders[slot]
        trade.maker_id = maker.id
        trade.taker_id = taker_id
        trade.price = price_of(side ^ 1, books.sides[side ^ 1].best_key)
        trade.quantity = min(quantity, maker.quantity)
        quantity -= trade.quantity
        reduce_order(books, slot, trade.quantity)
    return quantity


cdef class BookSet:
    cdef Books books
    cdef uint32_t side_index(self, uint32_t book, uint32_t side) except? NIL


cdef class OrderBook:
    cdef readonly BookSet owner
    cdef readonly uint32_t number
    cdef Tape tape
    cdef uint32_t find(self, uint64_t order_id) except? NIL
