"""Views of the positions: the structs of each under the names that the rules give its fields."""

from libc.stdint cimport uint32_t

from matching_engine.bridge.core cimport Core


cdef class PositionView:
    cdef Core core
    cdef uint32_t slot                     # NIL once the position is over
    cdef object gone                       # what it was then, as the plain record

    cdef object extras(self)
    cdef object own_extras(self)
    cdef int detach(self) except -1


cdef class Positions:
    cdef Core core
    cdef PositionView at(self, uint32_t slot)
    cdef uint32_t find(self, position_id) except? 0xFFFFFFFF


cdef class ContractPositions:
    cdef Core core
    cdef uint32_t contract
    cdef list ids(self)
