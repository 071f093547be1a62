"""The exchange's structs as one object, and its names as Python's strings."""

from libc.stdint cimport int64_t, uint32_t

from matching_engine.pools.names cimport Names
from matching_engine.records.exchange cimport Exchange


cdef class Core:
    cdef Exchange exchange
    cdef dict special_orders                  # id to the extras that no struct has; also of orders that are dead
    cdef Py_ssize_t special_alive             # how many were alive when the dead were dropped last
    cdef dict special_positions               # slot to the extras that no struct has
    cdef dict gates                        # of bindings, by the time until which they are kept
    cdef list gate_times                   # a heap of them
    cdef dict order_views, position_views  # slot to the view that the record in hand uses

    cdef uint32_t number_of(self, Names* names, str text) except 0xFFFFFFFF
    cdef uint32_t account(self, str name) except 0xFFFFFFFF
    cdef uint32_t node(self, str name) except 0xFFFFFFFF
    cdef uint32_t contract(self, str name) except 0xFFFFFFFF
    cdef uint32_t product(self, str name) except 0xFFFFFFFF
    cdef uint32_t asset(self, str name) except 0xFFFFFFFF
    cdef uint32_t label(self, str name) except 0xFFFFFFFF
    cdef str contract_name(self, uint32_t number)
    cdef str node_name(self, uint32_t number)
    cdef uint32_t gate(self, int64_t until_ms) except 0xFFFFFFFF
    cdef int64_t next_gate_ms(self) except? -1
    cdef int close_gates(self, int64_t now_ms) except -1
    cdef int forget_views(self) except -1


cdef str text_of_name(const Names* names, uint32_t number)
cdef uint32_t number_or_nil(const Names* names, str text)
