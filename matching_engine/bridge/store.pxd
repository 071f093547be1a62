"""The store of the compiled engine: what the rules read and change, on the exchange's structs."""

from libc.stdint cimport int64_t, uint32_t

from matching_engine.bridge.core cimport Core
from matching_engine.bridge.counts cimport Counts
from matching_engine.bridge.orders cimport Orders
from matching_engine.codec.event_tape cimport EventTape
from matching_engine.pools.id_list cimport IdList
from matching_engine.records.commands cimport PeriodRange


cdef class StructStore:
    cdef Core core
    cdef EventTape tape
    cdef Orders resting_orders
    cdef readonly object state, terms, balances, capacity_orders, block_records
    cdef public dict blocks_to_come        # of a snapshot, whose money is not there yet
    cdef list closed_books                 # numbers of the contracts whose gate is closing
    cdef dict account_nodes                # the numbers of each account's nodes

    cdef uint32_t open_contract(self, str name) except 0xFFFFFFFF
    cdef uint32_t find_contract(self, str name) except? 0xFFFFFFFF
    cdef int read_contract(self, uint32_t number) except -1
    cdef bint find_hours(self, str name, int64_t from_s, int64_t to_s, int64_t latest_s, int64_t periods) except -1
    cdef int read_hours(self, const PeriodRange* period_range) except -1
    cdef uint32_t find_node(self, str name) except? 0xFFFFFFFF
    cdef int read_node(self, uint32_t number, object node) except -1
    cdef int unlink_order(self, object order) except -1
    cdef Counts move_counts(self, uint32_t number, dict plain, bint sold)
    cdef set living(self, IdList* own)
    cdef list oldest_first(self, set ids)
    cdef uint32_t best_slot(self, str contract, str side) except? 0xFFFFFFFF
    cdef uint32_t gate_of(self, object block) except 0xFFFFFFFF
    cdef int sync_rules(self) except -1
    cdef int begin_rules(self) except -1
    cdef int end_rules(self) except -1
    cdef int close_books(self) except -1
