"""A 64-way trie over price keys: bit masks find the best level and the next one, whatever the range of prices.

A page stands for 64 equal spans of keys; on the lowest pages a span is one key and its slot holds a level.
Spans without a fork are skipped, so the depth is the number of forks on the way (at most 11), and a set of
keys always has the same shape. No price range is assumed, and nothing is ever scanned or moved.
"""

from libc.stdint cimport uint32_t, uint64_t

from matching_engine.pools.memory cimport NIL, expect, grow, leading_zeros, trailing_zeros

cdef struct Page:
    uint64_t taken            # bit i: slots[i] is in use
    uint64_t base             # the smallest key a slot here can stand for
    uint32_t shift            # the slot of a key is (key ^ base) >> shift; 0 on the lowest pages
    uint32_t next_free
    uint32_t[64] slots        # pages, or levels on the lowest pages

cdef struct PageTree:
    Page* pages
    uint32_t used
    uint32_t capacity
    uint32_t free


cdef inline void reserve_pages(PageTree* tree) noexcept nogil:
    """Room for the two pages that one new key can need."""
    if tree.used + 2 > tree.capacity:
        grow(<void**>&tree.pages, &tree.capacity, sizeof(Page))


cdef inline uint32_t reserve_page(PageTree* tree, uint64_t base, uint32_t shift) noexcept nogil:
    cdef uint32_t index = tree.free
    if index != NIL:
        tree.free = tree.pages[index].next_free
    else:
        expect(tree.used < tree.capacity)
        index = tree.used
        tree.used += 1
    cdef Page* page = &tree.pages[index]
    page.taken = 0
    page.base = base
    page.shift = shift
    return index


cdef inline void release_page(PageTree* tree, uint32_t index) noexcept nogil:
    tree.pages[index].next_free = tree.free
    tree.free = index


cdef inline Page* fork_page(PageTree* tree, uint32_t* link, uint64_t key) noexcept nogil:
    """Put a page above the linked one, wide enough to hold the key as well."""
    cdef uint32_t below = link[0]
    cdef uint64_t below_base = tree.pages[below].base
    cdef uint32_t shift = (63 - leading_zeros(key ^ below_base)) // 6 * 6
    link[0] = reserve_page(tree, (key >> shift >> 6) << 6 << shift, shift)
    cdef Page* page = &tree.pages[link[0]]
    cdef uint64_t slot = (below_base ^ page.base) >> shift
    page.taken = (<uint64_t>1) << slot
    page.slots[slot] = below
    return page


cdef inline uint32_t* place_key(PageTree* tree, uint32_t* root, uint64_t key) noexcept nogil:
    """The slot of a key's level; a new slot holds NIL. The caller has reserved pages."""
    cdef uint32_t* link = root
    cdef Page* page
    cdef uint64_t slot
    cdef uint64_t bit
    while True:
        if link[0] == NIL:
            link[0] = reserve_page(tree, key & ~(<uint64_t>63), 0)
        page = &tree.pages[link[0]]
        slot = (key ^ page.base) >> page.shift
        if slot > 63:
            page = fork_page(tree, link, key)
            slot = (key ^ page.base) >> page.shift
        bit = (<uint64_t>1) << slot
        link = &page.slots[slot]
        if not page.taken & bit:
            page.taken |= bit
            link[0] = NIL
        if page.shift == 0:
            return link


cdef inline void drop_key(PageTree* tree, uint32_t* root, uint64_t key) noexcept nogil:
    """Take a key out; pages left empty, or without a fork, go back to the pool."""
    cdef uint32_t* link = root
    cdef uint32_t* above = NULL
    cdef Page* page = &tree.pages[link[0]]
    while page.shift != 0:
        above = link
        link = &page.slots[(key ^ page.base) >> page.shift]
        page = &tree.pages[link[0]]
    expect((key ^ page.base) <= 63 and page.taken >> (key & 63) & 1)
    page.taken ^= (<uint64_t>1) << (key & 63)
    if page.taken != 0:
        return
    release_page(tree, link[0])
    if above == NULL:
        root[0] = NIL
        return
    cdef uint32_t parent = above[0]
    page = &tree.pages[parent]
    page.taken ^= (<uint64_t>1) << ((key ^ page.base) >> page.shift)
    if page.taken & (page.taken - 1) == 0:
        above[0] = page.slots[trailing_zeros(page.taken)]
        release_page(tree, parent)


cdef inline uint32_t first_below(const PageTree* tree, uint32_t index) noexcept nogil:
    """The level of the smallest key below a page."""
    cdef const Page* page = &tree.pages[index]
    while page.shift != 0:
        page = &tree.pages[page.slots[trailing_zeros(page.taken)]]
    return page.slots[trailing_zeros(page.taken)]


cdef inline uint32_t first_level(const PageTree* tree, uint32_t root) noexcept nogil:
    """The level of the smallest key, or NIL."""
    return NIL if root == NIL else first_below(tree, root)


cdef inline uint32_t level_after(const PageTree* tree, uint32_t root, uint64_t key) noexcept nogil:
    """The level of the next key after one that is in the tree, or NIL."""
    cdef const Page* page = &tree.pages[root]
    cdef const Page* turn = NULL
    cdef uint64_t later
    cdef uint64_t turn_later = 0
    cdef uint64_t slot
    while True:
        slot = (key ^ page.base) >> page.shift
        later = page.taken >> slot >> 1 << slot << 1
        if later != 0:
            turn = page
            turn_later = later
        if page.shift == 0:
            break
        page = &tree.pages[page.slots[slot]]
    if turn == NULL:
        return NIL
    slot = trailing_zeros(turn_later)
    return turn.slots[slot] if turn.shift == 0 else first_below(tree, turn.slots[slot])
