"""Clients' order ids and what became of them, by account: the dictionaries that the rules know."""

from libc.stdint cimport uint32_t

from matching_engine.bridge.core cimport Core


cdef class AccountBindings:
    cdef Core core
    cdef uint32_t account


cdef class Bindings:
    cdef Core core
    cdef AccountBindings of(self, uint32_t account)


cdef uint32_t find_place(Core core, uint32_t account, str client_order_id) noexcept
