"""Walks the whole structure of a set of books and says where two parts of it disagree."""

from libc.stdint cimport uint32_t, uint64_t

from benchmarks.harness.book cimport BookSet, find_order
from matching_engine.pools.book cimport Books, Level, Order, Side, next_level
from matching_engine.pools.id_table cimport tag_of
from matching_engine.pools.memory cimport NIL
from matching_engine.pools.price_tree cimport Page, first_level


class BrokenBooks(AssertionError):
    """Two parts of a book's structure disagree."""


def require(holds, str message):
    if not holds:
        raise BrokenBooks(message)


cdef check_level(Books* books, uint32_t index):
    """The FIFO of a level is linked both ways, and its sums are those of its orders."""
    cdef Level* level = &books.levels[index]
    cdef uint32_t slot = level.head
    cdef uint32_t before = NIL
    cdef Order* order
    quantity = orders = 0
    while slot != NIL:
        order = &books.orders[slot]
        require(order.prev == before and order.level == index, f"order {order.id} is linked wrongly")
        require(order.quantity > 0, f"order {order.id} rests with nothing left")
        require(find_order(books, order.id) == slot, f"order {order.id} is not found by its id")
        quantity += order.quantity
        orders += 1
        before = slot
        slot = order.next
    require(level.tail == before, f"level {index} does not end at its tail")
    require((level.orders, level.quantity) == (orders, quantity), f"level {index} counts wrongly")
    require(orders > 0, f"level {index} is empty")


cdef check_side(Books* books, uint32_t side_index):
    """The levels of a side ascend from the best, and their number and orders are the side's; gives both."""
    cdef Side* side = &books.sides[side_index]
    cdef uint32_t index = side.best
    require(index == first_level(&books.tree, side.root), f"side {side_index} does not begin at its first level")
    require(index == NIL or side.best_key == books.levels[index].key, f"side {side_index} has a stale best price")
    levels = orders = 0
    before = None
    while index != NIL:
        key = books.levels[index].key
        require(before is None or before < key, f"the levels of side {side_index} do not ascend")
        require(books.levels[index].side == side_index, f"level {index} names another side")
        check_level(books, index)
        levels += 1
        orders += books.levels[index].orders
        before = key
        index = next_level(books, index)
    require((side.levels, side.orders) == (levels, orders), f"side {side_index} counts wrongly")
    return levels, orders


cdef check_page(Books* books, uint32_t index):
    """A page holds keys of its own span only, and forks if it is not a lowest one; gives pages and levels below."""
    cdef Page* page = &books.tree.pages[index]
    cdef uint64_t span = (<uint64_t>1 << page.shift)
    cdef uint64_t least
    cdef Page* below
    pages, levels, used = 1, 0, 0
    for slot in range(64):
        if not page.taken >> slot & 1:
            continue
        used += 1
        least = page.base | (<uint64_t>slot << page.shift)
        if page.shift == 0:
            require(books.levels[page.slots[slot]].key == least, f"page {index} holds a level of another key")
            levels += 1
        else:
            below = &books.tree.pages[page.slots[slot]]
            require(below.base & ~(span - 1) == least, f"page {index} holds a page of another span")
            below_pages, below_levels = check_page(books, page.slots[slot])
            pages += below_pages
            levels += below_levels
    require(used > (page.shift != 0), f"page {index} is empty or does not fork")
    return pages, levels


cdef check_ids(Books* books):
    """Every id is reachable from its home, and there are as many as orders."""
    cdef uint32_t tag
    cdef uint32_t hole
    used = 0
    for at in range(<uint64_t>books.ids.mask + 1):
        if books.ids.entries[at].slot == NIL:
            continue
        used += 1
        tag = books.ids.entries[at].tag
        require(tag == tag_of(books.orders[books.ids.entries[at].slot].id), f"entry {at} has another id's tag")
        hole = tag >> books.ids.shift
        while hole != at:
            require(books.ids.entries[hole].slot != NIL, f"entry {at} is cut off from its home")
            hole = (hole + 1) & books.ids.mask
    require(used == books.ids.count, "the id table counts wrongly")


cdef check_pools(Books* books, orders, levels, pages):
    """What is not in use stands in a free list, once."""
    cdef uint32_t slot = books.orders_free
    cdef uint32_t index = books.levels_free
    cdef uint32_t page = books.tree.free
    free_orders, free_levels, free_pages = set(), set(), set()
    while slot != NIL and slot not in free_orders:
        free_orders.add(slot)
        slot = books.orders[slot].next
    while index != NIL and index not in free_levels:
        free_levels.add(index)
        index = books.levels[index].head
    while page != NIL and page not in free_pages:
        free_pages.add(page)
        page = books.tree.pages[page].next_free
    require(len(free_orders) + orders == books.orders_used, "an order slot is lost or in use twice")
    require(len(free_levels) + levels == books.levels_used, "a level is lost or in use twice")
    require(len(free_pages) + pages == books.tree.used, "a page is lost or in use twice")


def check_books(BookSet owner not None):
    cdef Books* books = &owner.books
    orders = levels = pages = 0
    for side in range(books.sides_used):
        if books.sides[side & ~1].levels == NIL:
            continue
        side_levels, side_orders = check_side(books, side)
        tree_pages, tree_levels = check_page(books, books.sides[side].root) if side_levels else (0, 0)
        require(tree_levels == side_levels, f"the price tree of side {side} has other levels than its list")
        orders += side_orders
        levels += side_levels
        pages += tree_pages
    require(orders == len(owner), "there are other orders than ids")
    check_ids(books)
    check_pools(books, orders, levels, pages)
