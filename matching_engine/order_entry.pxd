"""The way of an order and of a cancel through the compiled engine; what is out of the ordinary goes to the reference."""

from matching_engine.market cimport CompiledMarket

cdef bint place_order(CompiledMarket market, bytes record) except -1
cdef bint cancel_order(CompiledMarket market, bytes record) except -1
