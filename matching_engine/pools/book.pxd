"""Order books over shared pools, all of it without the GIL and inlined where it is cimported.

A book is two sides, at 2 * book for bids and 2 * book + 1 for asks. A side keeps its levels under keys that
ascend from its best price outwards, so that both sides run through the same code.
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport free
from libc.string cimport memset

from matching_engine.pools.id_table cimport IdTable, reserve_id, resize_ids
from matching_engine.pools.memory cimport NIL, expect, grow, release
from matching_engine.pools.price_tree cimport (
    Page, PageTree, drop_key, first_level, level_after, place_key, reserve_pages,
)

cdef enum:
    BID = 0
    ASK = 1

cdef struct Order:
    uint64_t id
    int64_t quantity          # what is left
    uint32_t level
    uint32_t next             # in order of arrival, NIL at the end; also the list of free slots
    uint32_t prev
    uint32_t owner            # the account, as the number that the caller gave it

cdef struct Level:
    uint64_t key
    int64_t quantity          # of all its orders
    uint32_t head             # the oldest order; also the list of free slots
    uint32_t tail
    uint32_t orders
    uint32_t side

cdef struct Side:
    uint64_t best_key
    uint32_t best             # a level, or NIL
    uint32_t root             # of the price tree; in a closed book the list of free books
    uint32_t levels
    uint32_t orders

cdef struct Books:
    Order* orders
    Level* levels
    Side* sides
    PageTree tree
    IdTable ids
    uint32_t orders_used, orders_capacity, orders_free
    uint32_t levels_used, levels_capacity, levels_free
    uint32_t sides_used, sides_capacity, sides_free


cdef inline void start_books(Books* books) noexcept nogil:
    """Empty pools."""
    memset(books, 0, sizeof(Books))
    books.orders_free = books.levels_free = books.sides_free = books.tree.free = NIL
    resize_ids(&books.ids, 4)


cdef inline void free_books(Books* books) noexcept nogil:
    release(books.orders, books.orders_capacity, sizeof(Order))
    release(books.levels, books.levels_capacity, sizeof(Level))
    release(books.sides, books.sides_capacity, sizeof(Side))
    release(books.tree.pages, books.tree.capacity, sizeof(Page))
    free(books.ids.entries)


cdef inline uint32_t open_sides(Books* books) noexcept nogil:
    """A new book's bids; its asks are the side behind them."""
    cdef uint32_t first = books.sides_free
    cdef uint32_t side
    if first != NIL:
        books.sides_free = books.sides[first].root
    else:
        if books.sides_used == books.sides_capacity:
            grow(<void**>&books.sides, &books.sides_capacity, sizeof(Side))
        first = books.sides_used
        books.sides_used += 2
    memset(&books.sides[first], 0, 2 * sizeof(Side))
    for side in range(first, first + 2):
        books.sides[side].best = books.sides[side].root = NIL
    return first


cdef inline void close_sides(Books* books, uint32_t first) noexcept nogil:
    """An empty book's sides go back to the pool."""
    books.sides[first].levels = NIL
    books.sides[first].root = books.sides_free
    books.sides_free = first


cdef inline uint64_t price_key(uint32_t side, int64_t price) noexcept nogil:
    """Asks ascend with the price, bids descend; the sign bit is flipped to compare unsigned."""
    return <uint64_t>price ^ (<uint64_t>0x7FFFFFFFFFFFFFFF + (side & 1))


cdef inline int64_t price_of(uint32_t side, uint64_t key) noexcept nogil:
    return <int64_t>(key ^ (<uint64_t>0x7FFFFFFFFFFFFFFF + (side & 1)))


cdef inline void reserve(Books* books) noexcept nogil:
    """Room for one order more in every pool."""
    if books.orders_used == books.orders_capacity:
        grow(<void**>&books.orders, &books.orders_capacity, sizeof(Order))
    if books.levels_used == books.levels_capacity:
        grow(<void**>&books.levels, &books.levels_capacity, sizeof(Level))
    reserve_pages(&books.tree)
    reserve_id(&books.ids)


cdef inline uint32_t best_order(const Books* books, uint32_t side) noexcept nogil:
    """The oldest order at the best price of a side, or NIL."""
    cdef uint32_t best = books.sides[side].best
    return NIL if best == NIL else books.levels[best].head


cdef inline uint32_t open_level(Books* books, uint32_t side_index, uint64_t key) noexcept nogil:
    cdef uint32_t index = books.levels_free
    if index != NIL:
        books.levels_free = books.levels[index].head
    else:
        expect(books.levels_used < books.levels_capacity)
        index = books.levels_used
        books.levels_used += 1
    cdef Level* level = &books.levels[index]
    level.key = key
    level.quantity = 0
    level.head = NIL
    level.tail = NIL
    level.orders = 0
    level.side = side_index
    cdef Side* side = &books.sides[side_index]
    side.levels += 1
    if side.best == NIL or key < side.best_key:
        side.best = index
        side.best_key = key
    return index


cdef inline void close_level(Books* books, uint32_t index) noexcept nogil:
    cdef Level* level = &books.levels[index]
    cdef Side* side = &books.sides[level.side]
    drop_key(&books.tree, &side.root, level.key)
    side.levels -= 1
    if side.best == index:
        side.best = first_level(&books.tree, side.root)
        if side.best != NIL:
            side.best_key = books.levels[side.best].key
    level.head = books.levels_free
    books.levels_free = index


cdef inline uint32_t link_order(
    Books* books, uint32_t side_index, int64_t price, int64_t quantity, uint64_t order_id, uint32_t owner
) noexcept nogil:
    """Put an order behind all others of its price and give its slot; its id is the caller's to find again. The caller
    has called `reserve`.
    """
    cdef Side* side = &books.sides[side_index]
    cdef uint64_t key = price_key(side_index, price)
    cdef uint32_t* link = place_key(&books.tree, &side.root, key)
    if link[0] == NIL:
        link[0] = open_level(books, side_index, key)
    cdef uint32_t slot = books.orders_free
    if slot != NIL:
        books.orders_free = books.orders[slot].next
    else:
        expect(books.orders_used < books.orders_capacity)
        slot = books.orders_used
        books.orders_used += 1
    cdef Level* level = &books.levels[link[0]]
    cdef Order* order = &books.orders[slot]
    order.id = order_id
    order.quantity = quantity
    order.level = link[0]
    order.next = NIL
    order.prev = level.tail
    order.owner = owner
    if level.tail == NIL:
        level.head = slot
    else:
        books.orders[level.tail].next = slot
    level.tail = slot
    level.orders += 1
    level.quantity += quantity
    side.orders += 1
    return slot


cdef inline void unlink_order(Books* books, uint32_t slot) noexcept nogil:
    """Take an order, whose id is not in the table, out of its level; its slot is free afterwards."""
    cdef Order* order = &books.orders[slot]
    cdef Level* level = &books.levels[order.level]
    if order.prev == NIL:
        level.head = order.next
    else:
        books.orders[order.prev].next = order.next
    if order.next == NIL:
        level.tail = order.prev
    else:
        books.orders[order.next].prev = order.prev
    level.orders -= 1
    level.quantity -= order.quantity
    books.sides[level.side].orders -= 1
    if level.orders == 0:
        close_level(books, order.level)
    order.next = books.orders_free
    books.orders_free = slot


cdef inline uint32_t next_level(const Books* books, uint32_t level) noexcept nogil:
    """The level behind this one on its side, or NIL."""
    cdef const Level* here = &books.levels[level]
    return level_after(&books.tree, books.sides[here.side].root, here.key)


cdef inline uint32_t next_order(const Books* books, uint32_t slot) noexcept nogil:
    """The order next in priority on the same side, or NIL."""
    cdef const Order* order = &books.orders[slot]
    if order.next != NIL:
        return order.next
    cdef uint32_t level = next_level(books, order.level)
    return NIL if level == NIL else books.levels[level].head
