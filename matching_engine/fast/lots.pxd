"""Which lots a block would take: of nodes that are free in all its hours the cheapest first, then the oldest.

Nodes stand in a heap under what their next lot costs, which at first is the sum of their entries in the hours' rows.
Whoever comes to the top is looked at, ask by ask. The lots are those of `rules/lots.py`, in the same order.
"""

cimport cython
from libc.stdint cimport int64_t, uint32_t

from matching_engine.fast.money cimport bid_unit, fee_micros, unit_micros, wide
from matching_engine.fast.node_rows cimport read_row
from matching_engine.pools.book cimport best_order
from matching_engine.pools.id_pages cimport find_id
from matching_engine.pools.memory cimport NIL, grow, release
from matching_engine.records.blocks cimport Block
from matching_engine.records.events cimport MAX_COST, NO_NODE, PRICE, SELF_TRADE, Why
from matching_engine.records.exchange cimport Contract, Exchange, contracts_from, price_at
from matching_engine.records.node_row cimport NO_ASK
from matching_engine.records.nodes cimport Node

cdef struct Offer:            # an ask of a node that was looked at
    int64_t price_micros, unit_micros
    uint32_t slot
    uint32_t behind           # the next one in the same hour, or NIL

cdef struct Hour:             # of a node that was looked at
    uint32_t first            # of its offers
    uint32_t at               # the one that the next lot is of
    uint32_t taken            # GPUs of that one

cdef struct Candidate:        # a node in the heap
    int64_t unit_micros       # what a GPU of its next lot costs, all hours together
    int64_t age               # of that lot's ask in the first hour
    uint32_t node
    uint32_t hours            # where they stand; NIL: it was not looked at yet
    uint32_t taken            # where it stands among those taken, or NIL

cdef struct Taken:            # what a block takes of a node
    uint32_t hours
    uint32_t gpus

cdef struct Lot:              # amounts per GPU, all hours together
    int64_t unit_micros, fee_micros, price_micros

cdef struct Start:            # a block from one of its starts on; amounts per GPU, all hours together
    int64_t first_s
    int64_t limit_micros, hold_unit_micros
    int64_t lot
    uint32_t product, periods, account, left
    int64_t max_cost_micros, spent_micros

cdef struct Choice:
    int64_t first_s           # from this start on
    int64_t cost_micros       # of all lots that fit
    int64_t trials            # of the block with nodes, at all its starts
    uint32_t gpus             # that fit
    bint executes             # they are as many as the block accepts
    Why why                   # it would take no more

cdef struct Search:           # memory that is used again and again
    Candidate* heap
    Hour* hours
    Offer* offers
    Taken* taken
    int64_t* sums             # by the node's number
    uint32_t* rested          # asks of the order in hand that rest, counted up over its periods
    uint32_t heap_used, hours_used, offers_used, taken_used
    uint32_t heap_capacity, hours_capacity, offers_capacity, taken_capacity, sums_capacity, rested_capacity


cdef inline void free_search(Search* search) noexcept nogil:
    release(search.heap, search.heap_capacity, sizeof(Candidate))
    release(search.hours, search.hours_capacity, sizeof(Hour))
    release(search.offers, search.offers_capacity, sizeof(Offer))
    release(search.taken, search.taken_capacity, sizeof(Taken))
    release(search.sums, search.sums_capacity, sizeof(int64_t))
    release(search.rested, search.rested_capacity, sizeof(uint32_t))


# -- the heap


cdef inline bint comes_before(const Candidate* one, const Candidate* other) noexcept nogil:
    return one.unit_micros < other.unit_micros or (one.unit_micros == other.unit_micros and one.age < other.age)


cdef inline void sift_down(Search* search, uint32_t place) noexcept nogil:
    """Let a node sink to where it belongs."""
    cdef Candidate moved = search.heap[place]
    cdef uint32_t child = 2 * place + 1
    while child < search.heap_used:
        if child + 1 < search.heap_used and comes_before(&search.heap[child + 1], &search.heap[child]):
            child += 1
        if not comes_before(&search.heap[child], &moved):
            break
        search.heap[place] = search.heap[child]
        place, child = child, 2 * child + 1
    search.heap[place] = moved


cdef inline void drop_top(Search* search) noexcept nogil:
    search.heap_used -= 1
    search.heap[0] = search.heap[search.heap_used]
    sift_down(search, 0)


# -- nodes by their rows


cdef inline void reserve_nodes(Search* search, uint32_t nodes) noexcept nogil:
    """For all nodes."""
    while search.sums_capacity < nodes:
        grow(<void**>&search.sums, &search.sums_capacity, sizeof(int64_t))
    while search.heap_capacity < nodes:
        grow(<void**>&search.heap, &search.heap_capacity, sizeof(Candidate))
    while search.taken_capacity < nodes:
        grow(<void**>&search.taken, &search.taken_capacity, sizeof(Taken))
    search.heap_used = search.hours_used = search.offers_used = search.taken_used = 0


cdef inline void add_row(int64_t* sums, const int64_t* units, uint32_t size) noexcept nogil:
    cdef uint32_t node
    for node in range(size):
        sums[node] = min(sums[node] + units[node], NO_ASK)


cdef inline void gather(Exchange* exchange, Search* search, const Start* block) noexcept nogil:
    """Put the nodes that are free in all hours into the heap."""
    cdef uint32_t nodes = exchange.nodes.names.count
    cdef const uint32_t* contracts = contracts_from(exchange, block.product, block.first_s)
    cdef const int64_t* ages
    cdef uint32_t period, node
    reserve_nodes(search, nodes)
    for node in range(nodes):
        search.sums[node] = 0
    for period in range(block.periods):
        read_row(exchange, contracts[period])
        add_row(search.sums, exchange.contracts[contracts[period]].nodes.units, nodes)
    ages = exchange.contracts[contracts[0]].nodes.ages
    for node in range(nodes):
        if search.sums[node] < NO_ASK:
            search.heap[search.heap_used] = Candidate(search.sums[node], ages[node], node, NIL, NIL)
            search.heap_used += 1
    for node in range(search.heap_used // 2, 0, -1):
        sift_down(search, node - 1)


cdef inline int64_t count_nodes(const Exchange* exchange, const Start* block) noexcept nogil:
    """How many nodes of others offer something in the first hour."""
    cdef const Contract* first = &exchange.contracts[contracts_from(exchange, block.product, block.first_s)[0]]
    cdef uint32_t node
    cdef int64_t count = 0
    for node in range(exchange.nodes.names.count):
        count += first.nodes.units[node] != NO_ASK and exchange.nodes.nodes[node].account != block.account
    return count


cdef inline bint has_asks(const Exchange* exchange, const Start* block) noexcept nogil:
    """Whether anybody offers something in the first hour."""
    cdef uint32_t first = contracts_from(exchange, block.product, block.first_s)[0]
    return best_order(&exchange.books, exchange.contracts[first].bids + 1) != NIL


# -- a node, ask by ask


cdef inline void put_offer(Exchange* exchange, Search* search, Hour* hour, uint32_t slot) noexcept nogil:
    """Put an ask where it stands among its node's of the hour, unless it was met before."""
    cdef const Contract* contract = &exchange.contracts[exchange.details[slot].contract]
    cdef int64_t price = price_at(exchange, slot)
    cdef int64_t rank = exchange.details[slot].rank
    cdef uint32_t* link = &hour.first
    cdef const Offer* other
    if search.offers_used == search.offers_capacity:
        grow(<void**>&search.offers, &search.offers_capacity, sizeof(Offer))
    while link[0] != NIL:
        other = &search.offers[link[0]]
        if other.slot == slot:
            return
        if price < other.price_micros:
            break
        if price == other.price_micros and rank < exchange.details[other.slot].rank:
            break
        link = &search.offers[link[0]].behind
    search.offers[search.offers_used] = Offer(price, unit_micros(contract, price), slot, link[0])
    link[0] = search.offers_used
    search.offers_used += 1


cdef inline bint next_ask(const Exchange* exchange, const Search* search, Hour* hour, int64_t lot) noexcept nogil:
    """Go on to an ask that has a lot left, from the one in hand on; whether there is one."""
    while hour.at != NIL and exchange.books.orders[search.offers[hour.at].slot].quantity - hour.taken < lot:
        hour.at = search.offers[hour.at].behind
        hour.taken = 0
    return hour.at != NIL


cdef inline bint collect_offers(Exchange* exchange, Search* search, const Start* block, Candidate* candidate) noexcept nogil:
    """Find a node's asks of all hours; whether there is a lot in each."""
    cdef const uint32_t* contracts = contracts_from(exchange, block.product, block.first_s)
    cdef int64_t period_s = exchange.products[block.product].period_s
    cdef const Node* facts = &exchange.nodes.nodes[candidate.node]
    cdef const Contract* contract
    cdef uint32_t place, slot
    cdef int64_t period
    cdef bint found = True
    while search.hours_capacity - search.hours_used < block.periods:
        grow(<void**>&search.hours, &search.hours_capacity, sizeof(Hour))
    candidate.hours = search.hours_used
    search.hours_used += block.periods
    for place in range(block.periods):
        search.hours[candidate.hours + place] = Hour(NIL, NIL, 0)
    for place in range(facts.asks.used):
        slot = find_id(&exchange.orders, facts.asks.ids[place])
        if slot == NIL:
            continue
        contract = &exchange.contracts[exchange.details[slot].contract]
        period = (contract.start_s - block.first_s) // period_s
        if period < 0 or period >= block.periods or contracts[period] != exchange.details[slot].contract:
            continue
        put_offer(exchange, search, &search.hours[candidate.hours + period], slot)
    for place in range(block.periods):
        search.hours[candidate.hours + place].at = search.hours[candidate.hours + place].first
        found = next_ask(exchange, search, &search.hours[candidate.hours + place], block.lot) and found
    return found


cdef inline Lot next_lot(const Exchange* exchange, const Search* search, const Start* block, uint32_t hours) noexcept nogil:
    """What the next lot of a node costs."""
    cdef const uint32_t* contracts = contracts_from(exchange, block.product, block.first_s)
    cdef Lot lot = Lot(0, 0, 0)
    cdef const Offer* offer
    cdef uint32_t period
    for period in range(block.periods):
        offer = &search.offers[search.hours[hours + period].at]
        lot.unit_micros += offer.unit_micros
        lot.fee_micros += fee_micros(offer.unit_micros, exchange.contracts[contracts[period]].taker_fee_bps)
        lot.price_micros += offer.price_micros
    return lot


cdef inline bint pass_lot(
    const Exchange* exchange, Search* search, const Start* block, uint32_t hours
) noexcept nogil:
    """Go on to a node's next lot; whether there is one in every hour."""
    cdef Hour* hour
    cdef uint32_t period
    cdef bint more = True
    for period in range(block.periods):
        hour = &search.hours[hours + period]
        hour.taken += <uint32_t>block.lot
        more = next_ask(exchange, search, hour, block.lot) and more
    return more


cdef inline void put_back(const Exchange* exchange, Search* search, const Start* block) noexcept nogil:
    """The node at the top has another next lot than before."""
    cdef Candidate* top = &search.heap[0]
    top.unit_micros = next_lot(exchange, search, block, top.hours).unit_micros
    top.age = exchange.details[search.offers[search.hours[top.hours].at].slot].rank
    sift_down(search, 0)


# -- choosing


cdef inline void reserve_lot(Search* search, uint32_t gpus) noexcept nogil:
    """Note a lot of the node at the top."""
    cdef Candidate* top = &search.heap[0]
    if top.taken == NIL:
        top.taken = search.taken_used
        search.taken_used += 1
        search.taken[top.taken] = Taken(top.hours, 0)
    search.taken[top.taken].gpus += gpus


cdef inline bint fits(const Start* block, const Lot* lot, Choice* choice) noexcept nogil:
    """Whether a lot keeps the limit on the average, the money held and the cost's bound; if not, why."""
    cdef int64_t cost = choice.cost_micros + block.lot * (lot.unit_micros + lot.fee_micros)
    if lot.unit_micros > block.limit_micros or lot.unit_micros + lot.fee_micros > block.hold_unit_micros:
        choice.why.stop = PRICE
        return False
    if block.max_cost_micros and block.spent_micros + cost > block.max_cost_micros:
        choice.why.stop = MAX_COST
        return False
    choice.cost_micros = cost
    return True


cdef inline Start start_from(const Exchange* exchange, const Block* block, int64_t first_s) noexcept nogil:
    """A block from one of its starts on."""
    cdef const uint32_t* contracts = contracts_from(exchange, block.product, first_s)
    cdef Start start
    cdef uint32_t period
    start.first_s, start.product, start.periods = first_s, block.product, block.periods
    start.account, start.left = block.account, block.left
    start.max_cost_micros, start.spent_micros = block.max_cost_micros, block.spent_micros
    start.lot = exchange.contracts[contracts[0]].lot
    start.limit_micros = start.hold_unit_micros = 0
    for period in range(block.periods):
        start.limit_micros += unit_micros(&exchange.contracts[contracts[period]], block.limit_price_micros)
        start.hold_unit_micros += bid_unit(&exchange.contracts[contracts[period]], block.limit_price_micros)
    return start


cdef inline void pick_lots(Exchange* exchange, Search* search, const Start* block, Choice* choice) noexcept nogil:
    """Pick lots, the cheapest first, as far as they fit."""
    cdef Candidate* top
    cdef Lot lot
    while search.heap_used and choice.gpus < block.left:
        top = &search.heap[0]
        if exchange.nodes.nodes[top.node].account == block.account:
            drop_top(search)
        elif top.hours == NIL:
            if collect_offers(exchange, search, block, top):
                put_back(exchange, search, block)
            else:
                drop_top(search)
        else:
            lot = next_lot(exchange, search, block, top.hours)
            if choice.why.best_price_micros == 0:
                choice.why.best_price_micros = (lot.price_micros + block.periods - 1) // block.periods
            if not fits(block, &lot, choice):
                break
            reserve_lot(search, <uint32_t>block.lot)
            choice.gpus += <uint32_t>block.lot
            if pass_lot(exchange, search, block, top.hours):
                put_back(exchange, search, block)
            else:
                drop_top(search)


cdef inline void choose_from(
    Exchange* exchange, Search* search, const Block* block, int64_t first_s, Choice* choice
) noexcept nogil:
    """Pick the lots that a block would take now from a start on."""
    cdef Start start = start_from(exchange, block, first_s)
    cdef int64_t nodes
    choice.first_s = first_s
    choice.cost_micros = choice.gpus = 0
    choice.why = Why(0, 0, NO_NODE)
    gather(exchange, search, &start)
    nodes = count_nodes(exchange, &start)
    choice.trials = max(nodes, 1)
    pick_lots(exchange, search, &start, choice)
    if nodes == 0 and has_asks(exchange, &start):
        choice.why.stop = SELF_TRADE
    choice.why.missing = block.left - choice.gpus
    choice.executes = choice.gpus != 0 and block.qty - block.left + choice.gpus >= block.min_qty


@cython.overflowcheck(False)
cdef inline bint is_better(const Choice* one, const Choice* other) noexcept nogil:
    """Whether a later start suits a block better: it executes cheaper on average, or comes nearer to executing."""
    if one.executes != other.executes:
        return one.executes
    if one.executes:
        return <wide>one.cost_micros * other.gpus < <wide>other.cost_micros * one.gpus
    if one.gpus != other.gpus:
        return one.gpus > other.gpus
    if one.why.best_price_micros == 0 or other.why.best_price_micros == 0:
        return one.why.best_price_micros != 0 and other.why.best_price_micros == 0
    return one.why.best_price_micros < other.why.best_price_micros


cdef inline void choose(Exchange* exchange, Search* search, const Block* block, Choice* choice) noexcept nogil:
    """Pick the lots that a block would take now; a flex starts where it is cheapest, of equal starts at the earliest."""
    cdef int64_t first_s = block.first_s
    cdef int64_t trials
    cdef Choice other
    choose_from(exchange, search, block, first_s, choice)
    if first_s == block.latest_s:
        return
    trials = choice.trials
    while first_s < block.latest_s:
        first_s += exchange.products[block.product].period_s
        choose_from(exchange, search, block, first_s, &other)
        trials += other.trials
        if is_better(&other, choice):
            choice[0] = other
    if choice.executes and choice.first_s != block.latest_s:   # the lots found last are another start's
        choose_from(exchange, search, block, choice.first_s, choice)
    choice.trials = trials
