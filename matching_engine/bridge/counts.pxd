"""How many GPUs of a node each period has promised or sold, by delivery start: the dictionaries that the rules know."""

from libc.stdint cimport uint32_t

from matching_engine.bridge.core cimport Core


cdef class Counts:
    cdef Core core
    cdef uint32_t node
    cdef bint sold
    cdef dict all(self)
