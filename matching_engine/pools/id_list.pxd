"""Ids of resting orders in a list to which they are only added: nobody has to say when an order is gone."""

from libc.stdint cimport uint32_t, uint64_t

from matching_engine.pools.id_pages cimport IdPages, find_id
from matching_engine.pools.memory cimport NIL, grow, prefetch, release

cdef struct IdList:
    uint64_t* ids             # in the order in which they were added, among them such as do not rest any more
    uint32_t used, capacity


cdef inline void keep_living(IdList* own, const IdPages* orders) noexcept nogil:
    """Drop the ids of orders that do not rest any more."""
    cdef uint32_t place
    cdef uint32_t kept = 0
    for place in range(own.used):
        if find_id(orders, own.ids[place]) != NIL:
            own.ids[kept] = own.ids[place]
            kept += 1
    own.used = kept


cdef inline void add_id(IdList* own, const IdPages* orders, uint64_t order_id) noexcept nogil:
    """Note an order that comes to rest. A full list drops its dead, and grows where they were few, so that an order is
    looked at twice on average.
    """
    if own.used == own.capacity:
        keep_living(own, orders)
        if 2 * own.used >= own.capacity:
            grow(<void**>&own.ids, &own.capacity, sizeof(uint64_t))
    own.ids[own.used] = order_id
    own.used += 1


cdef inline void prefetch_end(const IdList* own) noexcept nogil:
    """Begin to load where the next id will stand."""
    if own.used < own.capacity:
        prefetch(&own.ids[own.used])


cdef inline void free_list(IdList* own) noexcept nogil:
    release(own.ids, own.capacity, sizeof(uint64_t))
