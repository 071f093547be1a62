"""What compiled commands cause, as packed records of different sizes one behind another.

Numbers stand for names, `client` for where a client's order id stands among the bindings. Balances are as they stand
after the event.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t

from matching_engine.pools.memory cimport reallocate

cdef enum EventType:
    ACCEPTED = 1
    TRADED = 2
    CANCELED = 3
    CANCEL_DONE = 4
    REJECTED = 5
    DUPLICATE = 6
    CAPACITY_ACCEPTED = 7
    BLOCK_ACCEPTED = 8
    NARROWED = 9
    BOUNDED = 10

cdef enum Stop:
    FILLED = 0
    NO_LIQUIDITY = 1
    PRICE = 2
    SELF_TRADE = 3
    MAX_COST = 4
    NO_NODE = 5               # that is free in all hours
    POST_ONLY = 6

cdef enum:
    ROOM_FOR_ONE = 512        # bytes: more than what one order causes beside its trades

cdef struct Event:
    uint32_t type
    uint32_t size             # to the event behind it

cdef struct Money:
    int64_t available, held

cdef struct Why:              # an order did not fill
    int64_t best_price_micros # 0: none
    uint32_t missing          # GPUs
    uint32_t stop             # FILLED where nobody asks

cdef struct Accepted:
    Event event
    int64_t order_id, parent_id            # no parent: 0
    int64_t price_micros, max_cost_micros
    int64_t hold_micros
    Money balance
    uint32_t account, contract, node, client, currency
    uint32_t qty
    uint8_t sells, kind, tif, post_only

cdef struct Traded:
    Event event
    int64_t trade_id, position_id
    int64_t block_id          # 0: none
    int64_t maker_order_id, taker_order_id
    int64_t price_micros, escrow_micros, bond_micros, fee_micros
    int64_t released_micros   # of the buyer's hold, beyond the fee and the escrow where positive
    Money buyer_balance, venue_balance
    uint32_t buyer, seller, contract, node, currency
    uint32_t qty, maker_left, taker_left
    uint8_t taker_sells

cdef struct Canceled:
    Event event
    int64_t order_id
    int64_t price_micros
    int64_t released_micros
    Money balance
    Why why
    const char* reason
    uint32_t account, contract, client, currency
    uint32_t left
    uint8_t sells, kind

cdef struct CancelDone:
    Event event
    uint32_t account
    uint32_t canceled

cdef struct Rejected:
    Event event
    int64_t order_id          # 0: none
    const char* code
    Why why

cdef struct Duplicate:
    Event event
    int64_t order_id          # 0: none
    int64_t first_offset
    uint32_t account

cdef struct CapacityAccepted:
    Event event
    int64_t order_id
    int64_t expires_ms        # 0: at its gates

cdef struct BlockAccepted:
    Event event
    int64_t order_id
    int64_t hold_micros
    Money balance
    uint32_t currency

cdef struct Narrowed:         # a flex has its start
    Event event
    int64_t order_id
    int64_t first_s
    int64_t released_micros
    Money balance
    uint32_t account, client, product, currency

cdef struct Bounded:          # blocks are to be tried another time
    Event event
    int64_t trials, trials_max
    uint32_t product, waiting

cdef struct EventBuffer:
    char* bytes
    size_t used, capacity
    size_t count              # of all events ever


cdef inline void reserve_events(EventBuffer* buffer) noexcept nogil:
    """Room for an order's events but its trades; each trade makes its own."""
    cdef size_t wanted
    if buffer.capacity - buffer.used >= ROOM_FOR_ONE + sizeof(Traded):
        return
    wanted = 2 * buffer.capacity + 16 * ROOM_FOR_ONE
    buffer.bytes = <char*>reallocate(buffer.bytes, wanted)
    buffer.capacity = wanted


cdef inline void* add_event(EventBuffer* buffer, EventType type, uint32_t size) noexcept nogil:
    """The place of a new event. The caller has reserved room."""
    cdef Event* event = <Event*>(buffer.bytes + buffer.used)
    event.type = type
    event.size = size
    buffer.used += size
    buffer.count += 1
    return event
