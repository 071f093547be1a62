"""The whole exchange as C structs: books, orders, money, bindings, nodes and positions, without Python objects.

What is here is what ordinary orders need. Whatever is special about a record is kept as a Python object by its view
(`bridge/orders.pyx`); what would meet a special order is left to the rules in Python.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memset

from matching_engine.pools.book cimport Books, Side, link_order, price_of, reserve, unlink_order
from matching_engine.pools.id_list cimport IdList, add_id
from matching_engine.pools.id_pages cimport IdPages, drop_id, put_id
from matching_engine.pools.memory cimport NIL, grow
from matching_engine.pools.names cimport Names
from matching_engine.records.accounts cimport Accounts, own_orders
from matching_engine.records.bindings cimport Bindings, find_binding
from matching_engine.records.blocks cimport Block, Blocks, link_block, note_block, unlink_block
from matching_engine.records.commands cimport Command, PeriodRange
from matching_engine.records.hours cimport Product
from matching_engine.records.node_row cimport NodeRow, forget_ask
from matching_engine.records.nodes cimport Nodes
from matching_engine.records.positions cimport PositionList, Positions

cdef enum Kind:
    LIMIT = 0
    MARKET = 1
    CAPACITY = 2
    BLOCK = 3                 # which stands in no book

cdef enum TimeInForce:
    GTG = 0
    IOC = 1
    FOK = 2

cdef enum Outcome:            # of a command
    DONE = 0
    SPECIAL = 1                  # out of the ordinary: the rules in Python decide, nothing has changed
    STALE_CONTRACT = 2        # its rules have to be read anew first
    STALE_NODE = 3
    STALE_HOURS = 4           # those of some of its contracts
    NEGATIVE_BALANCE = 5      # which no rule allows: the engine is broken

cdef enum Special:             # of a resting order
    ORDINARY = 0
    SPECIAL_FIELDS = 1                  # its view keeps fields that have no place here, and that takers do not ask for
    SPECIAL_TRADING = 2               # it does not trade as other orders do

cdef struct Detail:           # of a resting order, at the same slot as its place in the book: one cache line
    int64_t price_micros, hold_micros, hold_unit_micros
    int64_t rank              # its place in time: its id, or the number that it got later
    uint32_t behind           # how far its id is behind its parent's, given by the same record; 0: no parent
    uint32_t qty              # as accepted; what is left stands in the book
    uint32_t contract
    uint32_t node             # NIL for a bid
    uint32_t client           # where the client's id stands among the bindings, or NIL
    uint32_t balance
    uint32_t count            # of its node in the contract's period
    uint8_t kind
    uint8_t tif
    uint8_t post_only
    uint8_t special              # a Special

cdef struct Contract:
    int64_t version           # of the venue's rules that these were read at; -1: never read
    int64_t start_s, period_s, gate_ms
    int64_t tick, lot
    int64_t maker_fee_bps, taker_fee_bps
    int64_t last_index, last_trade       # prices, 0: none
    int64_t[4] bond_permille
    int64_t trials_max        # of blocks with nodes, when an ask comes
    uint32_t currency, grade, hub
    uint32_t product
    uint32_t waiting          # how many blocks wait that may come to need this period
    uint32_t bids             # a side of the book; asks are the one behind it. NIL without a book
    uint32_t gate             # of its bindings
    uint32_t[2] special_count       # how many of its resting bids are, and of its asks
    PositionList positions
    NodeRow nodes             # what each node's cheapest ask costs
    uint8_t trading           # whether ordinary orders may be placed
    uint8_t known             # whether the state remembers it

cdef struct Posted:           # a capacity order that the rules in Python have not heard of yet
    int64_t id                # its asks have the ids behind it
    int64_t expires_ms        # 0: at its gates
    uint32_t asks

cdef struct Exchange:
    Books books
    Detail* details
    IdPages orders
    Accounts accounts
    Bindings bindings
    Nodes nodes
    Positions positions
    Names labels              # of grades and hubs
    Names contract_names      # a name's number is the contract's place
    Contract* contracts
    Names product_names       # a name's number is the product's place
    Product* products
    Posted* posted
    Blocks blocks             # that wait for capacity
    uint32_t details_capacity, contracts_capacity, products_capacity
    uint32_t posted_used, posted_capacity
    uint32_t special_asks     # how many resting asks are special, of all contracts
    uint64_t cached_bytes     # of what commands lead to; what is more is loaded ahead
    int64_t version           # of everything that contracts and nodes copy from the rules
    int64_t deadline_ms       # when something is due next
    int64_t now_ms
    int64_t offset            # of the record in hand
    int64_t next_offset
    int64_t last_order_id, last_trade_id, last_position_id
    uint8_t* limited          # by the account's number: its orders are for the rules in Python to decide
    uint32_t limited_capacity
    bint is_open              # genesis was read


cdef inline const uint32_t* contracts_from(const Exchange* exchange, uint32_t product, int64_t first_s) noexcept nogil:
    """The numbers of a product's contracts from a start on that was looked up before, in the order of time."""
    cdef const Product* known = &exchange.products[product]
    return known.contracts + (first_s - known.first_s) // known.period_s


cdef inline const uint32_t* contracts_of(const Exchange* exchange, const PeriodRange* period_range) noexcept nogil:
    """The contracts of all periods, which were looked up when the command was read."""
    return contracts_from(exchange, period_range.product, period_range.first_s)


cdef inline uint32_t find_bound(const Exchange* exchange, const Command* command) noexcept nogil:
    """Where the client's id that a command has was bound before, or NIL."""
    return find_binding(
        &exchange.bindings, command.account, command.client_id, command.client_id_size, command.client_hash
    )


cdef inline bint is_limited(const Exchange* exchange, uint32_t account) noexcept nogil:
    """Whether an account is held against limits of its own."""
    return account < exchange.limited_capacity and exchange.limited[account] != 0


cdef inline void limit(Exchange* exchange, uint32_t account, bint limited) noexcept nogil:
    """An account is held against limits of its own from now on, or not."""
    cdef uint32_t known
    while account >= exchange.limited_capacity:
        known = exchange.limited_capacity
        grow(<void**>&exchange.limited, &exchange.limited_capacity, sizeof(uint8_t))
        memset(&exchange.limited[known], 0, exchange.limited_capacity - known)
    exchange.limited[account] = limited


# -- blocks that wait


cdef inline void count_hours(Exchange* exchange, const Block* block, bint waits) noexcept nogil:
    """Note in every period that a block may come to need that it waits, or no longer."""
    cdef const uint32_t* contracts = contracts_from(exchange, block.product, block.first_s)
    cdef int64_t later = (block.latest_s - block.first_s) // exchange.products[block.product].period_s
    cdef int64_t period
    for period in range(block.periods + later):
        if waits:
            exchange.contracts[contracts[period]].waiting += 1
        else:
            exchange.contracts[contracts[period]].waiting -= 1


cdef inline uint32_t keep_block(Exchange* exchange, const Block* block) noexcept nogil:
    """A block waits from now on; its slot."""
    count_hours(exchange, block, True)
    return link_block(&exchange.blocks, &exchange.products[block.product], block)


cdef inline void drop_block(Exchange* exchange, uint32_t slot) noexcept nogil:
    """A block waits no more."""
    cdef Block* block = &exchange.blocks.pool[slot]
    count_hours(exchange, block, False)
    unlink_block(&exchange.blocks, &exchange.products[block.product], slot)


cdef inline void end_block(Exchange* exchange, uint32_t slot) noexcept nogil:
    """A block waits no more, which the rules in Python are to hear."""
    note_block(&exchange.blocks.gone, exchange.blocks.pool[slot].id)
    drop_block(exchange, slot)


cdef inline void reserve_order(Exchange* exchange) noexcept nogil:
    """Room for one resting order more."""
    reserve(&exchange.books)
    while exchange.details_capacity < exchange.books.orders_capacity:
        grow(<void**>&exchange.details, &exchange.details_capacity, sizeof(Detail))


cdef inline uint32_t rest(
    Exchange* exchange, uint32_t side, int64_t ticks, int64_t left, int64_t id, uint32_t account
) noexcept nogil:
    """Put an order into its book, whose prices are in ticks, so that they lie close; its slot, at which the caller fills
    in the detail.
    """
    cdef uint32_t slot
    reserve_order(exchange)
    slot = link_order(&exchange.books, side, ticks, left, <uint64_t>id, account)
    put_id(&exchange.orders, <uint64_t>id, slot)
    return slot


cdef inline int64_t price_at(const Exchange* exchange, uint32_t slot) noexcept nogil:
    """The price of a resting order."""
    return exchange.details[slot].price_micros


cdef inline void list_order(Exchange* exchange, uint64_t id, uint32_t account, uint32_t node) noexcept nogil:
    """Note an order that rests with whoever backs it: its node, or its account."""
    cdef IdList* own = own_orders(&exchange.accounts, account) if node == NIL else &exchange.nodes.nodes[node].asks
    add_id(own, &exchange.orders, id)


cdef inline uint32_t side_of(const Exchange* exchange, uint32_t slot) noexcept nogil:
    return exchange.books.levels[exchange.books.orders[slot].level].side


cdef inline void remove_order(Exchange* exchange, uint32_t slot) noexcept nogil:
    """Take a resting order out of its book; its slot is free afterwards."""
    cdef Detail* detail = &exchange.details[slot]
    cdef Contract* contract = &exchange.contracts[detail.contract]
    if detail.special == SPECIAL_TRADING:
        contract.special_count[side_of(exchange, slot) & 1] -= 1
        exchange.special_asks -= side_of(exchange, slot) & 1
    if detail.node != NIL and contract.nodes.valid:
        forget_ask(&contract.nodes, detail.node, (price_at(exchange, slot) * contract.period_s + 3599) // 3600)
    drop_id(&exchange.orders, exchange.books.orders[slot].id)
    unlink_order(&exchange.books, slot)


cdef inline int64_t best_ticks(const Exchange* exchange, uint32_t side) noexcept nogil:
    """The best price of a side, in ticks; 0 where nothing rests."""
    cdef const Side* best = &exchange.books.sides[side]
    return 0 if best.best == NIL else price_of(side, best.best_key)
