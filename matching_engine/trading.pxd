"""How an order meets its book, and how what is left of one is cancelled: the rules of reference.matching, in C."""

from libc.stdint cimport int64_t

from matching_engine.market cimport CompiledMarket
from matching_engine.records cimport Balance, ContractBook, Order

cdef enum Stop:
    FILLED = 0
    NO_LIQUIDITY = 1
    PRICE = 2
    SELF_TRADE = 3
    MAX_COST = 4

cdef int64_t unit_micros(ContractBook book, int64_t price) noexcept
cdef int64_t fee_micros(int64_t unit, int64_t bps) noexcept
cdef bint crosses(Order taker, Order maker) noexcept
cdef Stop match(CompiledMarket market, ContractBook book, Order taker) except *
cdef int cancel(CompiledMarket market, ContractBook book, Order order, const char* reason, Stop stop) except -1
cdef char* post(char* at, CompiledMarket market, Order order, str asset, int64_t available, int64_t held) except NULL
cdef int change_count(dict counts, object start_s, int64_t gpus) except -1
