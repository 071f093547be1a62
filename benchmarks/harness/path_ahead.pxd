"""Begins to load, step by step, what stands on a price's way through its side: for thousands of thin books, of which
no part is in the cache when a command comes for it. One large book does not need it: its sides and pages are.
"""

from libc.stdint cimport uint32_t, uint64_t

from matching_engine.pools.book cimport Books, Level, Order
from matching_engine.pools.id_table cimport IdTable, tag_of
from matching_engine.pools.memory cimport NIL, prefetch
from matching_engine.pools.price_tree cimport Page

cdef enum:
    CACHED_BYTES = 1_048_576  # of pages that mostly stay in the cache

cdef struct Place:            # of a price: known for a new order, and for a resting one once its level is loaded
    uint32_t side             # NIL: none
    uint64_t key


cdef inline bint are_thin(const Books* books) noexcept nogil:
    """Whether the price trees of all books are too large for the cache."""
    return books.tree.used * sizeof(Page) > CACHED_BYTES


cdef inline uint32_t tagged_slot(const IdTable* table, uint64_t order_id) noexcept nogil:
    """The slot of the first entry with an id's tag, which is hardly ever another's; NIL where there is none."""
    cdef uint32_t tag = tag_of(order_id)
    cdef uint32_t at = tag >> table.shift
    while table.entries[at].slot != NIL and table.entries[at].tag != tag:
        at = (at + 1) & table.mask
    return table.entries[at].slot


cdef inline void prefetch_around(const Books* books, uint64_t order_id) noexcept nogil:
    """The level of an order that is loaded, and its neighbours there."""
    cdef uint32_t slot = tagged_slot(&books.ids, order_id)
    cdef const Order* order
    if slot != NIL:
        order = &books.orders[slot]
        prefetch(&books.levels[order.level])
        if order.next != NIL:
            prefetch(&books.orders[order.next])
        if order.prev != NIL:
            prefetch(&books.orders[order.prev])


cdef inline Place place_of(const Books* books, uint64_t order_id) noexcept nogil:
    """Where an order rests whose level is loaded."""
    cdef uint32_t slot = tagged_slot(&books.ids, order_id)
    cdef const Level* level
    if slot == NIL:
        return Place(NIL, 0)
    level = &books.levels[books.orders[slot].level]
    return Place(level.side, level.key)


cdef inline void prefetch_side(const Books* books, Place place) noexcept nogil:
    if place.side != NIL:
        prefetch(&books.sides[place.side])


cdef inline const Page* root_of(const Books* books, Place place) noexcept nogil:
    """The first page of a side that is loaded, or NULL."""
    if place.side == NIL or books.sides[place.side].root == NIL:
        return NULL
    return &books.tree.pages[books.sides[place.side].root]


cdef inline const uint32_t* link_in(const Page* page, uint64_t key) noexcept nogil:
    """Where a page leads for a key, NULL where it does not."""
    cdef uint64_t slot
    if page == NULL:
        return NULL
    slot = (key ^ page.base) >> page.shift
    if slot > 63 or not page.taken >> slot & 1:
        return NULL
    return &page.slots[slot]


cdef inline void prefetch_root(const Books* books, Place place) noexcept nogil:
    cdef const Page* root = root_of(books, place)
    if root != NULL:
        prefetch(root)


cdef inline void prefetch_link(const Books* books, Place place) noexcept nogil:
    """Where the root leads."""
    cdef const uint32_t* link = link_in(root_of(books, place), place.key)
    if link != NULL:
        prefetch(link)


cdef inline void prefetch_leaf(const Books* books, Place place) noexcept nogil:
    """The page below the root; mostly it is a lowest one, on which a key's place is known."""
    cdef const Page* root = root_of(books, place)
    cdef const uint32_t* link = link_in(root, place.key)
    if link != NULL and root.shift != 0:
        prefetch(&books.tree.pages[link[0]])
        prefetch(&books.tree.pages[link[0]].slots[place.key & 63])


cdef inline void prefetch_level(const Books* books, Place place) noexcept nogil:
    cdef const Page* root = root_of(books, place)
    cdef const uint32_t* link = link_in(root, place.key)
    if link != NULL and root.shift != 0:
        root = &books.tree.pages[link[0]]
        link = link_in(root, place.key)
    if link != NULL and root.shift == 0:
        prefetch(&books.levels[link[0]])
