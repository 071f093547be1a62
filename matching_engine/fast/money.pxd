"""Amounts of money, rounded as `rules/money.py` has it, and what moves them between available and held."""

cimport cython
from libc.stdint cimport int64_t, uint32_t

from matching_engine.records.accounts cimport Balance
from matching_engine.records.events cimport Money
from matching_engine.records.exchange cimport Contract, Exchange

cdef extern from *:
    ctypedef long long wide "__int128"

cdef enum:
    AMOUNT_MAX_MICROS = 4_000_000_000_000_000_000


cdef inline int64_t unit_micros(const Contract* contract, int64_t price) noexcept nogil:
    """What one GPU costs for one period, rounded up."""
    return (price * contract.period_s + 3599) // 3600


cdef inline int64_t fee_micros(int64_t unit, int64_t bps) noexcept nogil:
    return (unit * bps + 9999) // 10_000


cdef inline int64_t bid_unit(const Contract* contract, int64_t price) noexcept nogil:
    """What a bid holds per GPU: the cost and the dearer of the two fees."""
    cdef int64_t unit = unit_micros(contract, price)
    return unit + fee_micros(unit, max(contract.maker_fee_bps, contract.taker_fee_bps))


@cython.overflowcheck(False)
cdef inline int64_t ask_unit(const Contract* contract, int level, int64_t price) noexcept nogil:
    """What an ask holds per GPU, on the dearer of its price and the last index."""
    cdef wide bond = <wide>contract.bond_permille[level] * max(price, contract.last_index) * contract.period_s
    if bond <= AMOUNT_MAX_MICROS:           # a division of 64 bits costs a tenth of one of 128
        return (<int64_t>bond + 3_599_999) // 3_600_000
    return <int64_t>((bond + 3_599_999) // 3_600_000)


@cython.overflowcheck(False)
cdef inline wide hold_of(int64_t qty, int64_t unit) noexcept nogil:
    """What an order holds, which may be more than any balance."""
    return <wide>qty * unit


cdef inline bint post(Exchange* exchange, uint32_t slot, int64_t available, int64_t held, Money* after) noexcept nogil:
    """Move money of a balance, and say how it stands; False where it would be below zero, which no rule allows."""
    cdef Balance* balance = &exchange.accounts.balances[slot]
    balance.available += available
    balance.held += held
    after.available = balance.available
    after.held = balance.held
    return balance.available >= 0 and balance.held >= 0
