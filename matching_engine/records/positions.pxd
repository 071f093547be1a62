"""Claims on delivery: one for every fill, in a pool, in the order of their ids within their contract."""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from matching_engine.pools.id_pages cimport IdPages, drop_id, free_ids, put_id
from matching_engine.pools.memory cimport NIL, grow, release

cdef struct Position:
    int64_t id
    int64_t price_micros, escrow_micros, bond_micros, bond_left_micros, fee_micros
    int64_t block_id          # 0: none
    uint32_t qty
    uint32_t contract, buyer, operator, node
    uint32_t next, prev       # of the same contract; next also of the free ones
    uint8_t special           # what it has beyond this is kept by its view
    uint8_t listed            # among its contract's
    uint8_t gone              # among its contract's only

cdef struct PositionList:
    uint32_t first, last, count

cdef struct Positions:
    Position* pool
    IdPages ids
    uint32_t used, capacity, free
    uint32_t gone             # how many are


cdef inline uint32_t add_position(Positions* positions, int64_t id) noexcept nogil:
    """A place for a new position."""
    cdef uint32_t slot = positions.free
    if slot == NIL:
        if positions.used == positions.capacity:
            grow(<void**>&positions.pool, &positions.capacity, sizeof(Position))
        slot = positions.used
    put_id(&positions.ids, <uint64_t>id, slot)
    if slot == positions.free:
        positions.free = positions.pool[slot].next
    else:
        positions.used += 1
    positions.pool[slot].id = id
    positions.pool[slot].special = positions.pool[slot].listed = positions.pool[slot].gone = False
    return slot


cdef inline void list_position(Positions* positions, PositionList* line, uint32_t slot) noexcept nogil:
    """Put a position at the end of its contract's."""
    cdef Position* position = &positions.pool[slot]
    position.next = NIL
    position.prev = line.last
    if line.last == NIL:
        line.first = slot
    else:
        positions.pool[line.last].next = slot
    line.last = slot
    line.count += 1
    position.listed = True


cdef inline void release_position(Positions* positions, uint32_t slot) noexcept nogil:
    """Free the place of a position that is gone and not among its contract's."""
    drop_id(&positions.ids, <uint64_t>positions.pool[slot].id)
    positions.pool[slot].next = positions.free
    positions.free = slot


cdef inline void unlist_position(Positions* positions, PositionList* line, uint32_t slot) noexcept nogil:
    """Take a position out of its contract's."""
    cdef Position* position = &positions.pool[slot]
    if position.prev == NIL:
        line.first = position.next
    else:
        positions.pool[position.prev].next = position.next
    if position.next == NIL:
        line.last = position.prev
    else:
        positions.pool[position.next].prev = position.prev
    line.count -= 1
    position.listed = False
    if position.gone:
        positions.gone -= 1
        release_position(positions, slot)


cdef inline void close_position(Positions* positions, uint32_t slot) noexcept nogil:
    """A position is over; where its contract still names it, it goes when that is over too."""
    cdef Position* position = &positions.pool[slot]
    position.gone = True
    positions.gone += 1
    if not position.listed:
        positions.gone -= 1
        release_position(positions, slot)


cdef inline void free_positions(Positions* positions) noexcept nogil:
    release(positions.pool, positions.capacity, sizeof(Position))
    free_ids(&positions.ids)
