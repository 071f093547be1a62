"""Dense ascending ids to slots: a directory of pages of 256 ids each, without a hash.

A page whose ids are all dead is used again, and the directory forgets the pages before the oldest live one, so that
memory goes with what lives and not with what has ever lived. A page before the first one wraps around to a place that no
directory reaches.
"""

cimport cython
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memmove, memset

from matching_engine.pools.memory cimport NIL, expect, grow, out_of_memory, prefetch, release

cdef struct IdPage:
    uint32_t[256] slots       # NIL where an id is not alive
    uint32_t live
    uint32_t next_free

cdef struct IdPages:
    uint32_t* directory       # of the pages from `first` on, NIL where a page has no id alive
    IdPage* pages
    uint64_t first
    uint32_t known, directory_capacity
    uint32_t used, capacity, free
    uint32_t count


@cython.overflowcheck(False)
cdef inline uint32_t find_id(const IdPages* ids, uint64_t id) noexcept nogil:
    """The slot of an id, or NIL."""
    cdef uint64_t place = (id >> 8) - ids.first
    if place >= ids.known or ids.directory[place] == NIL:
        return NIL
    return ids.pages[ids.directory[place]].slots[id & 255]


@cython.overflowcheck(False)
cdef inline void prefetch_id(const IdPages* ids, uint64_t id) noexcept nogil:
    """Begin to load where the slot of an id stands."""
    cdef uint64_t place = (id >> 8) - ids.first
    if place < ids.known and ids.directory[place] != NIL:
        prefetch(&ids.pages[ids.directory[place]].slots[id & 255])


cdef inline void forget_oldest(IdPages* ids) noexcept nogil:
    """Drop the dead beginning of the directory."""
    cdef uint32_t dead = 0
    while dead < ids.known and ids.directory[dead] == NIL:
        dead += 1
    if dead == 0:             # nothing to move, and before the first page no directory either
        return
    ids.known -= dead
    ids.first += dead
    memmove(ids.directory, ids.directory + dead, ids.known * sizeof(uint32_t))


cdef inline void widen_directory(IdPages* ids, uint64_t before, uint64_t behind) noexcept nogil:
    """Room for dead pages before the first one and behind the last one."""
    cdef uint64_t known = before + ids.known + behind
    if known >= NIL:
        out_of_memory(known * sizeof(uint32_t))
    while ids.directory_capacity < known:
        grow(<void**>&ids.directory, &ids.directory_capacity, sizeof(uint32_t))
    memmove(ids.directory + before, ids.directory, ids.known * sizeof(uint32_t))
    memset(ids.directory, 0xFF, before * sizeof(uint32_t))
    memset(ids.directory + before + ids.known, 0xFF, behind * sizeof(uint32_t))
    ids.first -= before
    ids.known = <uint32_t>known


cdef inline void reach_page(IdPages* ids, uint64_t page) noexcept nogil:
    """Make the directory reach a page that it does not know."""
    if ids.known == ids.directory_capacity:
        forget_oldest(ids)
    if ids.known == 0:
        ids.first = page
    if page < ids.first:
        widen_directory(ids, ids.first - page, 0)
    else:
        widen_directory(ids, 0, page - ids.first - ids.known + 1)


cdef inline bint is_in_reach(const IdPages* ids, uint64_t id) noexcept nogil:
    """Whether a directory can know an id beside those it has; engines' ids are always, forged ones need not be."""
    cdef uint64_t page = id >> 8
    if ids.known == 0:
        return True
    return (ids.first - page if page < ids.first else page - ids.first) + ids.known < NIL


@cython.overflowcheck(False)
cdef inline void put_id(IdPages* ids, uint64_t id, uint32_t slot) noexcept nogil:
    """Enter an id that is not alive."""
    cdef uint64_t place = (id >> 8) - ids.first
    cdef uint32_t* link
    if place >= ids.known:
        reach_page(ids, id >> 8)
        place = (id >> 8) - ids.first
    link = &ids.directory[place]
    if link[0] == NIL:
        if ids.free != NIL:
            link[0] = ids.free
            ids.free = ids.pages[link[0]].next_free
        else:
            if ids.used == ids.capacity:
                grow(<void**>&ids.pages, &ids.capacity, sizeof(IdPage))
            link[0] = ids.used
            ids.used += 1
        memset(&ids.pages[link[0]].slots, 0xFF, 256 * sizeof(uint32_t))
        ids.pages[link[0]].live = 0
    ids.pages[link[0]].slots[id & 255] = slot
    ids.pages[link[0]].live += 1
    ids.count += 1


cdef inline void drop_id(IdPages* ids, uint64_t id) noexcept nogil:
    """Take out an id that is alive."""
    cdef uint32_t* link = &ids.directory[(id >> 8) - ids.first]
    cdef IdPage* page = &ids.pages[link[0]]
    expect(page.slots[id & 255] != NIL)
    page.slots[id & 255] = NIL
    page.live -= 1
    ids.count -= 1
    if page.live == 0:
        page.next_free = ids.free
        ids.free = link[0]
        link[0] = NIL


cdef inline void free_ids(IdPages* ids) noexcept nogil:
    release(ids.directory, ids.directory_capacity, sizeof(uint32_t))
    release(ids.pages, ids.capacity, sizeof(IdPage))
