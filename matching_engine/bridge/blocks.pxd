"""What blocks look at: asks by node and hour, and resold ones; and a block that waits, as the rules have it."""

from matching_engine.bridge.core cimport Core
from matching_engine.bridge.orders cimport Orders
from matching_engine.records.exchange cimport Block


cdef list asks_by_hour(Orders orders, str node, contracts)
cdef list resale_asks(Orders orders, str contract)
cdef object plain_block(Core core, const Block* block)
