"""What blocks look at: asks by node and hour, and resold ones; and the structs of those that wait."""

from libc.stdint cimport uint32_t

from matching_engine.bridge.core cimport Core
from matching_engine.bridge.orders cimport Orders


cdef class BlockRecords:
    cdef Core core
    cdef int sync_pending(self, state) except -1
    cdef list pending_of(self, uint32_t product)
    cdef int forget_pending(self) except -1


cdef list asks_by_hour(Orders orders, str node, contracts)
cdef list resale_asks(Orders orders, str contract)
