"""Blocks: bids for the same GPUs over consecutive periods. Those that wait stand in a pool, a product's by their ids."""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from matching_engine.pools.id_pages cimport IdPages, drop_id, free_ids, put_id
from matching_engine.pools.memory cimport NIL, grow, release
from matching_engine.records.hours cimport Product

cdef struct Block:
    int64_t id
    int64_t first_s, latest_s # where it may begin; the same but for a flex
    int64_t limit_price_micros, max_cost_micros        # no bound: 0
    int64_t hold_unit_micros, hold_micros, spent_micros
    uint32_t product, periods
    uint32_t qty, min_qty, left
    uint32_t account, client, currency
    uint32_t balance          # in the currency
    uint32_t next, prev       # of the same product; next also of the free ones
    uint8_t tif
    uint8_t waits             # stands in the pool
    uint8_t pending           # is to be tried

cdef struct Noted:            # ids that the rules in Python are yet to hear of
    uint64_t* ids
    uint32_t used, capacity

cdef struct Blocks:
    Block* pool
    IdPages ids
    uint32_t used, capacity, free
    uint32_t pending          # how many are
    bint tried                # some product's were, of which the rules in Python have not heard
    Noted new, gone


cdef inline void note_block(Noted* noted, int64_t id) noexcept nogil:
    """Keep an id for the rules."""
    if noted.used == noted.capacity:
        grow(<void**>&noted.ids, &noted.capacity, sizeof(uint64_t))
    noted.ids[noted.used] = <uint64_t>id
    noted.used += 1


cdef inline uint32_t link_block(Blocks* blocks, Product* product, const Block* block) noexcept nogil:
    """A copy of a block in its place among its product's, which is the last one but after a load; its slot."""
    cdef uint32_t slot = blocks.free
    cdef uint32_t before = product.last_block
    cdef Block* kept
    if slot == NIL:
        if blocks.used == blocks.capacity:
            grow(<void**>&blocks.pool, &blocks.capacity, sizeof(Block))
        slot = blocks.used
        blocks.used += 1
    else:
        blocks.free = blocks.pool[slot].next
    while before != NIL and blocks.pool[before].id > block.id:
        before = blocks.pool[before].prev
    kept = &blocks.pool[slot]
    kept[0] = block[0]
    kept.waits, kept.pending = True, False
    kept.prev = before
    kept.next = product.first_block if before == NIL else blocks.pool[before].next
    if before == NIL:
        product.first_block = slot
    else:
        blocks.pool[before].next = slot
    if kept.next == NIL:
        product.last_block = slot
    else:
        blocks.pool[kept.next].prev = slot
    put_id(&blocks.ids, <uint64_t>kept.id, slot)
    return slot


cdef inline void set_pending(Blocks* blocks, Product* product, Block* block, bint pending) noexcept nogil:
    """Whether a block is to be tried."""
    if block.pending != pending:
        block.pending = pending
        if pending:
            product.pending += 1
            blocks.pending += 1
        else:
            product.pending -= 1
            blocks.pending -= 1


cdef inline void unlink_block(Blocks* blocks, Product* product, uint32_t slot) noexcept nogil:
    """Free the place of a block that is over."""
    cdef Block* block = &blocks.pool[slot]
    set_pending(blocks, product, block, False)
    if block.prev == NIL:
        product.first_block = block.next
    else:
        blocks.pool[block.prev].next = block.next
    if block.next == NIL:
        product.last_block = block.prev
    else:
        blocks.pool[block.next].prev = block.prev
    drop_id(&blocks.ids, <uint64_t>block.id)
    block.waits = False
    block.next = blocks.free
    blocks.free = slot


cdef inline void free_blocks(Blocks* blocks) noexcept nogil:
    release(blocks.pool, blocks.capacity, sizeof(Block))
    release(blocks.new.ids, blocks.new.capacity, sizeof(uint64_t))
    release(blocks.gone.ids, blocks.gone.capacity, sizeof(uint64_t))
    free_ids(&blocks.ids)
