"""Commands as the engine takes them: packed, every name a number, nothing left to look up but ids."""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

cdef enum CommandType:
    PLACE = 1
    CANCEL = 2
    POST_CAPACITY = 3
    PLACE_BLOCK = 4

cdef enum:
    FLOORS_MAX = 24           # one for each hour of the day

cdef struct PeriodRange:       # what an order of many periods asks for beyond what others do
    int64_t first_s           # where its first period begins
    int64_t ttl_s             # 0: none
    int64_t latest_s          # a flex's last start, as given; 0: none
    int64_t[FLOORS_MAX] floors_micros
    uint32_t product, periods
    uint32_t later            # starts that a flex may take beyond its first
    uint32_t floors           # how many prices a capacity order has
    uint32_t min_qty          # of a block

cdef struct Command:
    uint8_t type
    uint8_t sells, at_market, tif, post_only
    uint8_t command_id_size, client_id_size       # no client id: 0
    uint32_t account
    uint32_t contract         # of the first period, where there are several
    uint32_t node             # NIL: none
    uint32_t qty
    uint32_t min_qty          # of an order of one contract; 0: none
    uint32_t events           # how many it caused; said by the engine
    int64_t price_micros, max_cost_micros, order_id     # 0: none
    int64_t ts_ms             # the broker's time; the engine puts the log's time here
    const char* command_id    # echoed in events
    const char* client_id
    const PeriodRange* period_range    # of an order of many periods
    uint64_t client_hash      # worked out by the engine
    uint8_t[32] digest        # of the body: the same client id must come with the same one
