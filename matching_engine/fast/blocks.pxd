"""The way of a block: checked, its lots chosen, held for, traded, and what is left waits or is cancelled.

As with an order of one contract, it is done completely, or the answer is SPECIAL or STALE and nothing has changed.
"""

from libc.stdint cimport int64_t, uint32_t

from matching_engine.fast.block_fills cimport fill_block, hold_unit_from
from matching_engine.fast.cancels cimport begin_cancel, give_back, reject
from matching_engine.fast.lots cimport Choice, Search, choose
from matching_engine.fast.money cimport hold_of, post, wide
from matching_engine.fast.orders cimport answer_again, bind_order, broken_funds
from matching_engine.pools.memory cimport NIL
from matching_engine.records.accounts cimport RESERVED_ACCOUNTS, find_balance
from matching_engine.records.blocks cimport Block, note_block
from matching_engine.records.commands cimport Command, PeriodRange
from matching_engine.records.events cimport (
    BLOCK_ACCEPTED, BlockAccepted, EventBuffer, Rejected, Why, add_event, reserve_events,
)
from matching_engine.records.exchange cimport (
    SPECIAL, DONE, FOK, GTG, NEGATIVE_BALANCE, STALE_HOURS, Contract, Exchange, Outcome,
    contracts_of, find_bound, is_limited, keep_block,
)


cdef inline Outcome readiness(const Exchange* exchange, const Command* command) noexcept nogil:
    """DONE where ordinary orders may be placed in every period; else what has to be read first, or SPECIAL: also where
    special asks may be met.
    """
    cdef const uint32_t* contracts = contracts_of(exchange, command.period_range)
    cdef const Contract* contract
    cdef uint32_t period
    if command.account < RESERVED_ACCOUNTS or is_limited(exchange, command.account):
        return SPECIAL
    for period in range(command.period_range.periods + command.period_range.later):
        contract = &exchange.contracts[contracts[period]]
        if contract.version != exchange.version:
            return STALE_HOURS
        if not contract.trading or contract.special_count[1]:
            return SPECIAL
    return DONE


cdef inline const char* broken_terms(const Exchange* exchange, const Command* command) noexcept nogil:
    """The first rule that the block breaks, in the order of the rules in Python, or NULL."""
    cdef const PeriodRange* period_range = command.period_range
    cdef const uint32_t* contracts = contracts_of(exchange, period_range)
    cdef const Contract* contract
    cdef uint32_t period
    for period in range(period_range.periods + period_range.later):
        contract = &exchange.contracts[contracts[period]]
        if command.qty % contract.lot or period_range.min_qty % contract.lot:
            return b"off_lot"
        if command.price_micros % contract.tick:
            return b"off_tick"
    if period_range.min_qty > command.qty:
        return b"bad_quantity"
    return NULL


cdef inline void draft(const Exchange* exchange, const Command* command, Block* block) noexcept nogil:
    """Makes the block but for its hold."""
    cdef const PeriodRange* period_range = command.period_range
    cdef int64_t period_s = exchange.products[period_range.product].period_s
    cdef uint32_t later
    block.first_s, block.product, block.periods = period_range.first_s, period_range.product, period_range.periods
    block.latest_s = period_range.first_s + period_range.later * period_s
    block.account, block.tif = command.account, command.tif
    block.limit_price_micros, block.max_cost_micros = command.price_micros, command.max_cost_micros
    block.qty = block.left = command.qty
    block.min_qty = command.qty if command.tif == FOK else period_range.min_qty
    block.waits = block.pending = False
    block.hold_unit_micros = block.spent_micros = 0
    for later in range(period_range.later + 1):
        block.hold_unit_micros = max(
            block.hold_unit_micros, hold_unit_from(exchange, block, period_range.first_s + later * period_s)
        )
    block.currency = exchange.contracts[contracts_of(exchange, period_range)[0]].currency
    block.balance = find_balance(&exchange.accounts, command.account, block.currency)


cdef inline wide needed_hold(const Block* block) noexcept nogil:
    """Cost and fee at the limit in every hour, at most what it may cost."""
    cdef wide whole = hold_of(block.qty, block.hold_unit_micros)
    return min(whole, <wide>block.max_cost_micros) if block.max_cost_micros else whole


# -- what becomes of it


cdef inline Outcome refuse(
    Exchange* exchange, EventBuffer* events, const Command* command, const Contract* last, const char* code,
    const Why* why
) noexcept nogil:
    """Says no, and keeps that answer."""
    cdef Rejected* rejected
    bind_order(exchange, last, command, 0)
    rejected = reject(events, code, 0)
    if why != NULL:
        rejected.why = why[0]
    return DONE


cdef inline Outcome accept_block(
    Exchange* exchange, EventBuffer* events, const Command* command, const Contract* last, Block* block
) noexcept nogil:
    """Gives the block its id and holds its money."""
    cdef BlockAccepted* accepted = <BlockAccepted*>add_event(events, BLOCK_ACCEPTED, sizeof(BlockAccepted))
    exchange.last_order_id += 1
    block.id = exchange.last_order_id
    block.client = bind_order(exchange, last, command, block.id)
    accepted.order_id = block.id
    accepted.hold_micros = block.hold_micros
    accepted.currency = block.currency
    if not post(exchange, block.balance, -block.hold_micros, block.hold_micros, &accepted.balance):
        return NEGATIVE_BALANCE
    return DONE


cdef inline Outcome cancel_rest(
    Exchange* exchange, EventBuffer* events, const Block* block, const Why* why
) noexcept nogil:
    """Takes away what is left of a block that does not wait."""
    reserve_events(events)
    return give_back(exchange, begin_cancel(events, block, b"ioc_remainder", why[0]), block.balance)


cdef inline Outcome trade_or_wait(
    Exchange* exchange, EventBuffer* events, const Search* search, Block* block, const Choice* choice
) noexcept nogil:
    cdef Outcome outcome = DONE
    if choice.executes:
        outcome = fill_block(exchange, events, search, block, choice)
    if outcome != DONE or block.left == 0:
        return outcome
    if block.tif != GTG:
        return cancel_rest(exchange, events, block, &choice.why)
    keep_block(exchange, block)
    note_block(&exchange.blocks.new, block.id)
    return DONE


cdef inline Outcome place_block(
    Exchange* exchange, EventBuffer* events, Search* search, const Command* command
) noexcept nogil:
    """Takes a bid for the same GPUs over consecutive periods."""
    cdef const Contract* last
    cdef const char* code
    cdef uint32_t bound
    cdef Block block
    cdef Choice choice
    cdef wide hold
    cdef Outcome outcome = readiness(exchange, command)
    if outcome != DONE:
        return outcome
    bound = find_bound(exchange, command)
    if bound != NIL:
        return answer_again(exchange, events, command, bound)
    draft(exchange, command, &block)
    hold = needed_hold(&block)
    last = &exchange.contracts[contracts_of(exchange, command.period_range)[block.periods + command.period_range.later - 1]]
    code = broken_terms(exchange, command)
    if code == NULL:
        code = broken_funds(exchange, block.balance, hold)
    if code != NULL:
        return refuse(exchange, events, command, last, code, NULL)
    block.hold_micros = <int64_t>hold
    choose(exchange, search, &block, &choice)
    if block.tif == FOK and not choice.executes:
        return refuse(exchange, events, command, last, b"fok_not_filled", &choice.why)
    outcome = accept_block(exchange, events, command, last, &block)
    return outcome if outcome != DONE else trade_or_wait(exchange, events, search, &block, &choice)
