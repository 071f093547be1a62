"""What orders have to know of a contract, copied from the rules' products into its struct."""

from libc.stdint cimport int64_t

from matching_engine.bridge.core cimport Core
from matching_engine.records.exchange cimport Contract


cdef int read_terms(Core core, Contract* contract, object product, int64_t start_s) except -1
cdef bint may_trade(state, product) except -1
cdef int read_trading(Contract* contract, object product, bint trades, int64_t version) except -1
