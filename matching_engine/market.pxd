"""The market of the compiled engine: the reference's, with its books, money and events in C."""

from libc.stdint cimport int64_t, uint32_t

from matching_engine.book cimport BookSet
from matching_engine.event_tape cimport EventTape
from matching_engine.records cimport Balance, ContractBook, NodeDesk, Order


cdef class CompiledMarket:
    cdef public object state, accounts
    cdef public int64_t offset
    cdef public dict books                 # contract to ContractBook
    cdef public dict node_orders, capacity_orders, gpu_nodes
    cdef public list expiries
    cdef dict orders, blocks, balances, bindings, positions
    cdef dict nodes                        # name to NodeDesk
    cdef BookSet book_set
    cdef EventTape tape
    cdef list closed_books
    cdef int64_t version                   # of everything that ContractBook and NodeDesk copy
    cdef dict expiring                     # gate to the list that its ContractBooks share
    cdef list gates                        # a heap of its keys
    cdef int64_t deadline_ms               # when something is due next
    cdef int64_t shard, ruleset, seq, now, last_order_id, last_trade_id, last_position_id

    cdef ContractBook book_of(self, str contract)
    cdef ContractBook open_book(self, str contract)
    cdef int refresh(self, ContractBook book) except -1
    cdef int read_rules(self, ContractBook book) except -1
    cdef NodeDesk desk_of(self, str node)
    cdef Order best_order(self, ContractBook book, bint asks)
    cdef int put_into_book(self, Order order, ContractBook book) except -1
    cdef int take_out(self, Order order) except -1
    cdef Balance find_balance(self, str account, str asset)
    cdef Balance open_balance(self, str account, str asset)
    cdef int touch_book(self, ContractBook book) except -1
    cdef int keep_until_gate(self, ContractBook book, str account, str client_order_id) except -1
    cdef int store(self) except -1
    cdef int load(self) except -1
    cdef int pass_time(self, int64_t ts_ms, bint is_tick) except -1
    cdef int seal(self, list events) except -1
