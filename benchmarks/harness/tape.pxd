"""Trades in the order in which they happened, in a buffer that is used again for the next batch."""

from libc.stdint cimport int64_t, uint32_t, uint64_t

from matching_engine.pools.memory cimport grow, release, unlikely

cdef struct Trade:
    uint64_t maker_id
    uint64_t taker_id
    int64_t price
    int64_t quantity

cdef struct Tape:
    Trade* trades
    uint32_t used
    uint32_t capacity


cdef inline Trade* next_trade(Tape* tape) noexcept nogil:
    """The place of the next trade."""
    if unlikely(tape.used == tape.capacity, False):
        grow(<void**>&tape.trades, &tape.capacity, sizeof(Trade))
    tape.used += 1
    return &tape.trades[tape.used - 1]


cdef inline void free_tape(Tape* tape) noexcept nogil:
    release(tape.trades, tape.capacity, sizeof(Trade))
