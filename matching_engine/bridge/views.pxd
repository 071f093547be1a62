"""Views: the exchange's records under the names that the reference's rules give them."""

from libc.stdint cimport int64_t, uint32_t

from matching_engine.bridge.core cimport Core
from matching_engine.records.exchange cimport Block


cdef class Order:
    cdef Core core
    cdef uint32_t slot                     # NIL once the order is out of its book
    cdef object gone                       # what it was then, as the reference's record

    cdef int detach(self) except -1


cdef class Orders:
    cdef Core core
    cdef Order at(self, uint32_t slot)


cdef class Position:
    cdef Core core
    cdef uint32_t slot
    cdef object gone

    cdef int detach(self) except -1


cdef class Positions:
    cdef Core core
    cdef Position at(self, uint32_t slot)
    cdef uint32_t find(self, position_id) except? 0xFFFFFFFF


cdef class ContractPositions:
    cdef Core core
    cdef uint32_t contract
    cdef list ids(self)


cdef class Counts:
    cdef Core core
    cdef uint32_t node
    cdef bint sold
    cdef dict all(self)


cdef class AccountBindings:
    cdef Core core
    cdef uint32_t account


cdef class Bindings:
    cdef Core core
    cdef AccountBindings of(self, uint32_t account)


cdef object plain_block(Core core, const Block* block)
cdef uint32_t put_order(Core core, object order, uint32_t contract) except 0xFFFFFFFF
