"""How asks that came to rest go to the blocks that wait: those that reach their periods, oldest first, up to a bound."""

from libc.stdint cimport int64_t, uint32_t

from matching_engine.fast.block_fills cimport fill_block
from matching_engine.fast.lots cimport Choice, Search, choose
from matching_engine.pools.memory cimport NIL, grow
from matching_engine.records.blocks cimport Block, set_pending
from matching_engine.records.commands cimport PeriodRange
from matching_engine.records.events cimport BOUNDED, Bounded, EventBuffer, add_event, reserve_events
from matching_engine.records.exchange cimport DONE, Contract, Exchange, Outcome, contracts_from, end_block
from matching_engine.records.hours cimport Product


# -- which are served


cdef inline bint overlaps(const Exchange* exchange, const Block* block, int64_t first_s, int64_t end_s) noexcept nogil:
    """Whether a block may come to need a period of a window."""
    cdef int64_t end_of_block_s = block.latest_s + block.periods * exchange.products[block.product].period_s
    return block.first_s < end_s and first_s < end_of_block_s


cdef inline bint meets_special(const Exchange* exchange, const Block* block) noexcept nogil:
    """Whether a special ask rests in a period that a block may come to need."""
    cdef const uint32_t* contracts = contracts_from(exchange, block.product, block.first_s)
    cdef int64_t later = (block.latest_s - block.first_s) // exchange.products[block.product].period_s
    cdef int64_t period
    for period in range(block.periods + later):
        if exchange.contracts[contracts[period]].special_count[1]:
            return True
    return False


cdef inline bint serves_special(
    const Exchange* exchange, uint32_t number, int64_t first_s, int64_t end_s
) noexcept nogil:
    """Whether a block that asks in a window would go to may meet a special ask: then the reference serves it."""
    cdef const Block* block
    cdef uint32_t slot = exchange.products[number].first_block
    if exchange.special_asks == 0:
        return False
    while slot != NIL:
        block = &exchange.blocks.pool[slot]
        if (block.pending or overlaps(exchange, block, first_s, end_s)) and meets_special(exchange, block):
            return True
        slot = block.next
    return False


# -- serving them


cdef inline Outcome try_block(
    Exchange* exchange, EventBuffer* events, Search* search, uint32_t slot, int64_t* trials
) noexcept nogil:
    """Trades what a block can have now."""
    cdef Block* block = &exchange.blocks.pool[slot]
    cdef Choice choice
    cdef Outcome outcome = DONE
    set_pending(&exchange.blocks, &exchange.products[block.product], block, False)
    choose(exchange, search, block, &choice)
    trials[0] += choice.trials
    if choice.executes:
        outcome = fill_block(exchange, events, search, block, &choice)
        if outcome == DONE and block.left == 0:
            end_block(exchange, slot)
    return outcome


cdef inline Outcome go_on(
    Exchange* exchange, EventBuffer* events, Search* search, uint32_t number, int64_t trials_max
) noexcept nogil:
    """Tries pending blocks, oldest first, until the product's bound on trials is reached."""
    cdef Product* product = &exchange.products[number]
    cdef uint32_t slot = product.first_block
    cdef uint32_t following
    cdef int64_t trials = 0
    cdef Bounded* bounded
    cdef Outcome outcome = DONE
    product.tried = exchange.blocks.tried = True
    while product.pending and trials < trials_max and outcome == DONE:
        following = exchange.blocks.pool[slot].next
        if exchange.blocks.pool[slot].pending:
            outcome = try_block(exchange, events, search, slot, &trials)
        slot = following
    if outcome == DONE and product.pending:
        reserve_events(events)
        bounded = <Bounded*>add_event(events, BOUNDED, sizeof(Bounded))
        bounded.trials, bounded.trials_max = trials, trials_max
        bounded.product, bounded.waiting = number, product.pending
    return outcome


cdef inline Outcome serve_ask(
    Exchange* exchange, EventBuffer* events, Search* search, const Contract* contract
) noexcept nogil:
    """An ask came to rest in one period."""
    cdef Product* product = &exchange.products[contract.product]
    cdef Block* block
    cdef uint32_t slot = product.first_block
    if contract.waiting == 0 and product.pending == 0:
        return DONE
    while slot != NIL:
        block = &exchange.blocks.pool[slot]
        if overlaps(exchange, block, contract.start_s, contract.start_s + contract.period_s):
            set_pending(&exchange.blocks, product, block, True)
        slot = block.next
    return go_on(exchange, events, search, contract.product, contract.trials_max)


cdef inline void make_room(Search* search, uint32_t periods) noexcept nogil:
    """For a count of asks at the end of each period."""
    while search.rested_capacity <= periods:
        grow(<void**>&search.rested, &search.rested_capacity, sizeof(uint32_t))
    search.rested[0] = 0


cdef inline bint has_rested(
    const Exchange* exchange, const Search* search, const Block* block, int64_t first_s, uint32_t periods
) noexcept nogil:
    """Whether an ask of a window rests in a period that a block may come to need. `rested` counts them up."""
    cdef int64_t period_s = exchange.products[block.product].period_s
    cdef int64_t first = max(block.first_s - first_s, 0) // period_s
    cdef int64_t end = (block.latest_s - first_s) // period_s + block.periods
    end = min(end, <int64_t>periods)
    return first < end and search.rested[end] != search.rested[first]


cdef inline Outcome serve_window(
    Exchange* exchange, EventBuffer* events, Search* search, const PeriodRange* window, const Contract* last
) noexcept nogil:
    """Asks came to rest in some periods of a window, whose last one is named."""
    cdef Product* product = &exchange.products[window.product]
    cdef Block* block
    cdef uint32_t slot = product.first_block
    if search.rested[window.periods] == 0:
        return DONE
    while slot != NIL:
        block = &exchange.blocks.pool[slot]
        if has_rested(exchange, search, block, window.first_s, window.periods):
            set_pending(&exchange.blocks, product, block, True)
        slot = block.next
    return go_on(exchange, events, search, window.product, last.trials_max) if product.pending else DONE
