"""Order id to order slot: open addressing with linear probes, deletion by shifting back, growth by doubling.

An entry keeps 32 bits of the id's hash instead of the id, so eight entries share a cache line; the order
itself, which the caller reads in any case, has the whole id.
"""

cimport cython
from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport free
from libc.string cimport memset

from matching_engine.pools.memory cimport NIL, allocate_large, expect, out_of_memory, prefetch

cdef struct IdEntry:
    uint32_t tag              # the hash; its top bits are the entry's home
    uint32_t slot             # NIL in a free entry

cdef struct IdTable:
    IdEntry* entries
    uint32_t mask             # capacity - 1
    uint32_t shift            # home of a tag = tag >> shift
    uint32_t count


@cython.overflowcheck(False)
cdef inline uint32_t tag_of(uint64_t order_id) noexcept nogil:
    """Fibonacci hashing: the top half of the product with 2^64 / golden ratio."""
    return <uint32_t>((order_id * <uint64_t>0x9E3779B97F4A7C15) >> 32)


cdef inline void resize_ids(IdTable* table, int bits) noexcept nogil:
    """Move all entries to a table of 2^bits; they arrive nearly in order, because tags sort by home."""
    cdef IdEntry* old = table.entries
    cdef size_t old_capacity = 0 if old == NULL else <size_t>table.mask + 1
    cdef size_t capacity = (<size_t>1) << bits
    cdef IdEntry* entries = <IdEntry*>allocate_large(capacity * sizeof(IdEntry))
    cdef size_t i
    cdef uint32_t at
    memset(entries, 0xFF, capacity * sizeof(IdEntry))
    table.entries = entries
    table.mask = <uint32_t>(capacity - 1)
    table.shift = 32 - bits
    for i in range(old_capacity):
        if old[i].slot != NIL:
            at = old[i].tag >> table.shift
            while entries[at].slot != NIL:
                at = (at + 1) & table.mask
            entries[at] = old[i]
    free(old)


cdef inline void reserve_id(IdTable* table) noexcept nogil:
    """Room for one id more, with the table at most half full."""
    if 2 * <uint64_t>table.count <= table.mask:
        return
    if table.shift <= 1:
        out_of_memory(2 * (<size_t>table.mask + 1) * sizeof(IdEntry))
    resize_ids(table, 33 - table.shift)


cdef inline void put_id(IdTable* table, uint64_t order_id, uint32_t slot) noexcept nogil:
    """Enter an id that is not in the table. The caller has reserved room."""
    cdef uint32_t tag = tag_of(order_id)
    cdef uint32_t at = tag >> table.shift
    expect(table.count < table.mask)
    while table.entries[at].slot != NIL:
        at = (at + 1) & table.mask
    table.entries[at].tag = tag
    table.entries[at].slot = slot
    table.count += 1


cdef inline void prefetch_id(const IdTable* table, uint64_t order_id) noexcept nogil:
    """Begin to load the home of an id."""
    prefetch(&table.entries[tag_of(order_id) >> table.shift])


cdef inline uint32_t likely_slot(const IdTable* table, uint64_t order_id) noexcept nogil:
    """What stands at the home of an id: mostly its slot, else another's, or NIL."""
    return table.entries[tag_of(order_id) >> table.shift].slot


@cython.overflowcheck(False)
cdef inline void drop_entry(IdTable* table, uint32_t hole) noexcept nogil:
    """Empty an entry and pull back those behind it that would now be cut off from their home."""
    cdef uint32_t at = hole
    cdef uint32_t home
    while True:
        at = (at + 1) & table.mask
        if table.entries[at].slot == NIL:
            break
        home = table.entries[at].tag >> table.shift
        if ((at - home) & table.mask) >= ((at - hole) & table.mask):
            table.entries[hole] = table.entries[at]
            hole = at
    table.entries[hole].slot = NIL
    table.count -= 1


cdef inline void drop_id(IdTable* table, uint64_t order_id, uint32_t slot) noexcept nogil:
    """Take out the entry of an order that is in the table."""
    cdef uint32_t at = tag_of(order_id) >> table.shift
    while table.entries[at].slot != slot:
        expect(table.entries[at].slot != NIL)
        at = (at + 1) & table.mask
    drop_entry(table, at)
