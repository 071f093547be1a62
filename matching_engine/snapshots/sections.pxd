"""The records of a snapshot's packed sections, to the byte as `rules/sections.py` has them."""

from libc.stdint cimport int64_t, uint8_t, uint32_t

from matching_engine.records.bindings cimport DIGEST_BYTES

cdef packed struct PackedBalance:
    uint32_t account, asset
    int64_t available, held

cdef packed struct PackedPeriod:
    uint32_t node
    int64_t start_s
    uint32_t committed, sold

cdef packed struct PackedGate:
    int64_t until_ms, bindings

cdef packed struct PackedBinding:          # the client's id follows
    uint32_t account
    int64_t offset, order_id
    uint8_t[DIGEST_BYTES] digest
    uint8_t size

cdef packed struct PackedPosition:
    int64_t id
    uint32_t contract, buyer, operator, node, qty
    int64_t price_micros, escrow_micros, bond_micros, bond_left_micros, fee_micros

cdef packed struct PackedLine:             # the ids of its positions follow
    uint32_t contract
    int64_t positions

cdef packed struct PackedOrder:            # the client's id follows
    int64_t id, parent_id
    uint32_t account, contract, node
    int64_t price_micros, hold_unit_micros, hold_micros
    uint32_t qty, left
    uint8_t sells, kind, tif, post_only, size
