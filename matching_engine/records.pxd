"""The records that orders touch, as C fields under the names that the reference gives them."""

from libc.stdint cimport int64_t, uint8_t, uint32_t

from matching_engine.command_text cimport TimeInForce

cdef enum Kind:
    LIMIT = 0
    MARKET = 1
    CAPACITY = 2


cdef class Balance:
    cdef public int64_t available, held


cdef class Binding:
    cdef uint8_t[32] digest
    cdef readonly int64_t offset, until_ms
    cdef readonly object order_id


cdef class Position:
    cdef public int64_t id, qty, price_micros, escrow_micros, bond_micros, bond_left_micros, revision
    cdef public str contract, buyer, operator, node
    cdef public object block_id
    cdef public list gpus
    cdef public tuple paid


cdef class ContractBook:
    """A contract with an open gate: its book, and its rules as they stood at a version of the venue's."""

    cdef readonly str name
    cdef readonly int64_t start_s
    cdef object start_key                  # start_s as a key of a node's counts
    cdef uint32_t bids, asks               # sides of the book
    cdef uint32_t number
    cdef int64_t icebergs                  # how many rest in it
    cdef int64_t version
    cdef bint trading
    cdef object known                      # the reference's Contract, once there is one
    cdef list positions
    cdef int64_t last_trade                # price of the last trade, 0: none
    cdef str currency, grade, hub
    cdef int64_t tick, lot, period_s, maker_fee_bps, taker_fee_bps, gate_ms, last_index
    cdef int64_t[4] bond_permille
    cdef list expiring                     # account and client id of bindings that end at the gate


cdef class Order:
    cdef public int64_t id, qty, left, hold_unit_micros, hold_micros
    cdef public str account, client_order_id, contract, node
    cdef public object parent_id
    cdef public object conditions          # the reference's, of an order that has any
    cdef public bint post_only
    cdef int64_t price, max_cost           # 0: none
    cdef bint sells
    cdef Kind what
    cdef TimeInForce until
    cdef Balance balance                   # of the account in the contract's currency, once there is one
    cdef ContractBook book                 # in which it rests


cdef class NodeDesk:
    """A node's facts as they stood at a version, and its counts."""

    cdef int64_t version, until_ms, rentable
    cdef bint alive
    cdef int level
    cdef str account, grade, hub
    cdef dict committed, sold
