"""The way of a capacity order: an ask for every period of its window, each taken, matched and put to rest in its turn.

As with an order of one contract, it is done completely, or the answer is SPECIAL or STALE and nothing has changed.
"""

cimport cython
from libc.stdint cimport int64_t, uint32_t

from matching_engine.fast.cancels cimport reject
from matching_engine.fast.lots cimport Search
from matching_engine.fast.matching cimport Taker, meets_special
from matching_engine.fast.money cimport ask_unit, hold_of, wide
from matching_engine.fast.orders cimport accept, answer_again, bind_order, broken_backing, broken_funds, trade_and_rest
from matching_engine.fast.waiting_blocks cimport make_room, serve_window, serves_special
from matching_engine.pools.memory cimport NIL, grow
from matching_engine.records.accounts cimport RESERVED_ACCOUNTS, find_balance
from matching_engine.records.commands cimport Command, PeriodRange
from matching_engine.records.events cimport CAPACITY_ACCEPTED, CapacityAccepted, EventBuffer, add_event, reserve_events
from matching_engine.records.exchange cimport (
    CAPACITY, SPECIAL, DONE, STALE_HOURS, STALE_NODE, Contract, Exchange, Outcome, Posted, contracts_of,
    find_bound, is_limited,
)


cdef inline int64_t floor_of(const PeriodRange* period_range, const Contract* contract) noexcept nogil:
    """The floor price, or the curve's of the start's UTC hour."""
    return period_range.floors_micros[contract.start_s // 3600 % period_range.floors]


cdef inline Outcome readiness(const Exchange* exchange, const Command* command) noexcept nogil:
    """DONE where ordinary asks may be placed in every period; else what has to be read first, or SPECIAL: also where an
    ask would meet a special bid.
    """
    cdef const Contract* contract
    cdef const PeriodRange* window = command.period_range
    cdef int64_t period_s = exchange.products[window.product].period_s
    cdef int64_t ticks
    cdef uint32_t period
    if command.account < RESERVED_ACCOUNTS or is_limited(exchange, command.account):
        return SPECIAL
    if serves_special(exchange, window.product, window.first_s, window.first_s + window.periods * period_s):
        return SPECIAL
    if exchange.nodes.nodes[command.node].version != exchange.version:
        return STALE_NODE
    for period in range(command.period_range.periods):
        contract = &exchange.contracts[contracts_of(exchange, command.period_range)[period]]
        if contract.version != exchange.version:
            return STALE_HOURS
        if not contract.trading or not contract.known:
            return SPECIAL
        ticks = floor_of(command.period_range, contract) // contract.tick
        if meets_special(exchange, contract, command.account, True, ticks, command.qty):
            return SPECIAL
    return DONE


# -- the rules, in the order of those in Python; each gives the code of the first one broken, or NULL


cdef inline const char* broken_prices(const Exchange* exchange, const Command* command) noexcept nogil:
    """Whole lots in every period, and all prices on its tick."""
    cdef const PeriodRange* period_range = command.period_range
    cdef const Contract* contract
    cdef uint32_t period, place
    cdef int64_t tick = 0
    for period in range(period_range.periods):
        contract = &exchange.contracts[contracts_of(exchange, period_range)[period]]
        if contract.tick == tick:
            continue
        tick = contract.tick
        if command.qty % contract.lot:
            return b"off_lot"
        for place in range(period_range.floors):
            if period_range.floors_micros[place] % tick:
                return b"off_tick"
    return NULL


@cython.overflowcheck(False)
cdef inline const char* broken_rule(
    const Exchange* exchange, const Command* command, uint32_t balance
) noexcept nogil:
    cdef const Contract* contract
    cdef int level = exchange.nodes.nodes[command.node].level
    cdef Taker taker
    cdef const char* code = broken_prices(exchange, command)
    cdef uint32_t period
    cdef wide hold = 0
    for period in range(command.period_range.periods):
        if code != NULL:
            return code
        contract = &exchange.contracts[contracts_of(exchange, command.period_range)[period]]
        code = broken_backing(exchange, contract, command, &taker)
        hold += hold_of(command.qty, ask_unit(contract, level, floor_of(command.period_range, contract)))
    return broken_funds(exchange, balance, hold) if code == NULL else code


# -- the order


cdef inline void note_posted(Exchange* exchange, const Posted* posted) noexcept nogil:
    """Keeps a capacity order for the rules in Python."""
    if exchange.posted_used == exchange.posted_capacity:
        grow(<void**>&exchange.posted, &exchange.posted_capacity, sizeof(Posted))
    exchange.posted[exchange.posted_used] = posted[0]
    exchange.posted_used += 1


cdef inline void accept_capacity(
    Exchange* exchange, EventBuffer* events, const Command* command, int64_t* id
) noexcept nogil:
    """Gives the order its id and its end."""
    cdef CapacityAccepted* accepted = <CapacityAccepted*>add_event(events, CAPACITY_ACCEPTED, sizeof(CapacityAccepted))
    cdef Posted posted
    exchange.last_order_id += 1
    posted.id = id[0] = exchange.last_order_id
    posted.asks = command.period_range.periods
    posted.expires_ms = 0
    if command.period_range.ttl_s:
        posted.expires_ms = exchange.now_ms + command.period_range.ttl_s * 1000
        exchange.deadline_ms = min(exchange.deadline_ms, posted.expires_ms)
    accepted.order_id = posted.id
    accepted.expires_ms = posted.expires_ms
    note_posted(exchange, &posted)


cdef inline Outcome post_ask(
    Exchange* exchange, EventBuffer* events, const Command* ask, int64_t parent_id, uint32_t balance, bint* rests
) noexcept nogil:
    """Takes the ask of one period and sends it through its book."""
    cdef Contract* contract = &exchange.contracts[ask.contract]
    cdef Taker taker
    cdef Outcome outcome
    reserve_events(events)
    exchange.last_order_id += 1
    taker.id = exchange.last_order_id
    taker.parent_id = parent_id
    taker.price_micros = ask.price_micros
    taker.ticks = ask.price_micros // contract.tick
    taker.hold_unit_micros = ask_unit(contract, exchange.nodes.nodes[ask.node].level, ask.price_micros)
    taker.hold_micros = ask.qty * taker.hold_unit_micros
    taker.left = ask.qty
    taker.account = ask.account
    taker.contract = ask.contract
    taker.node = ask.node
    taker.balance = balance
    taker.count = taker.client = NIL
    taker.sells = True
    taker.kind = CAPACITY
    outcome = accept(exchange, events, contract, ask, &taker)
    return outcome if outcome != DONE else trade_and_rest(exchange, events, contract, ask, &taker, rests)


cdef inline Outcome post_asks(
    Exchange* exchange, EventBuffer* events, Search* search, const Command* command, int64_t parent_id, uint32_t balance
) noexcept nogil:
    cdef Command ask = command[0]
    cdef uint32_t period
    cdef bint rests = False
    cdef Outcome outcome = DONE
    make_room(search, command.period_range.periods)
    for period in range(command.period_range.periods):
        ask.contract = contracts_of(exchange, command.period_range)[period]
        ask.price_micros = floor_of(command.period_range, &exchange.contracts[ask.contract])
        outcome = post_ask(exchange, events, &ask, parent_id, balance, &rests)
        if outcome != DONE:
            return outcome
        search.rested[period + 1] = search.rested[period] + rests
    return serve_window(exchange, events, search, command.period_range, &exchange.contracts[ask.contract])


cdef inline Outcome post_capacity(
    Exchange* exchange, EventBuffer* events, Search* search, const Command* command
) noexcept nogil:
    """Takes an ask for every period of a window; what rests of them goes to the blocks that wait."""
    cdef const Contract* last
    cdef const char* code
    cdef uint32_t bound, balance
    cdef int64_t id = 0
    cdef Outcome outcome = readiness(exchange, command)
    if outcome != DONE:
        return outcome
    bound = find_bound(exchange, command)
    if bound != NIL:
        return answer_again(exchange, events, command, bound)
    last = &exchange.contracts[contracts_of(exchange, command.period_range)[command.period_range.periods - 1]]
    balance = find_balance(&exchange.accounts, command.account, last.currency)
    code = broken_rule(exchange, command, balance)
    if code != NULL:
        reject(events, code, 0)
    else:
        accept_capacity(exchange, events, command, &id)
        outcome = post_asks(exchange, events, search, command, id, balance)
    bind_order(exchange, last, command, id)
    return outcome
