"""Views of the resting orders: the structs of each under the names that the rules give its fields."""

from libc.stdint cimport uint32_t

from matching_engine.bridge.core cimport Core


cdef class OrderView:
    cdef Core core
    cdef uint32_t slot                     # NIL once the order is out of its book
    cdef object gone                       # what it was then, as the plain record

    cdef object extras(self)
    cdef object own_extras(self)
    cdef object extras_that_takers_meet(self)
    cdef int detach(self) except -1


cdef class Orders:
    cdef Core core
    cdef OrderView at(self, uint32_t slot)


cdef uint32_t put_order(Core core, object order, uint32_t contract) except 0xFFFFFFFF
cdef uint32_t place_of_id(Core core, uint32_t gate, uint32_t account, str client_order_id) except? 0xFFFFFFFF
