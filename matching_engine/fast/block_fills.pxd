"""How a block trades the lots it has chosen: node by node, each hour at its own asks' prices."""

from libc.stdint cimport int64_t, uint32_t

from matching_engine.fast.lots cimport Choice, Offer, Search, Taken
from matching_engine.fast.matching cimport Fill, begin_trade, end_trade
from matching_engine.fast.money cimport bid_unit, fee_micros, hold_of, post, wide
from matching_engine.records.blocks cimport Block
from matching_engine.records.events cimport NARROWED, EventBuffer, Narrowed, Traded, add_event, reserve_events
from matching_engine.records.exchange cimport (
    DONE, NEGATIVE_BALANCE, Contract, Detail, Exchange, Outcome, contracts_from, count_hours,
)


cdef inline int64_t needed_micros(const Block* block) noexcept nogil:
    """What the rest of a block may cost at most."""
    cdef wide whole = hold_of(block.left, block.hold_unit_micros)  # what bounds it may be far below it
    if block.max_cost_micros:
        whole = min(whole, <wide>(block.max_cost_micros - block.spent_micros))
    return <int64_t>whole


cdef inline int64_t hold_unit_from(const Exchange* exchange, const Block* block, int64_t first_s) noexcept nogil:
    """What a block holds per GPU from a start on."""
    cdef const uint32_t* contracts = contracts_from(exchange, block.product, first_s)
    cdef int64_t unit = 0
    cdef uint32_t period
    for period in range(block.periods):
        unit += bid_unit(&exchange.contracts[contracts[period]], block.limit_price_micros)
    return unit


cdef inline Outcome narrow(Exchange* exchange, EventBuffer* events, Block* block, int64_t first_s) noexcept nogil:
    """A flex is at one start from now on, and holds what it needs for that."""
    cdef Narrowed* narrowed
    if block.waits:
        count_hours(exchange, block, False)
    block.first_s = block.latest_s = first_s
    if block.waits:
        count_hours(exchange, block, True)
    block.hold_unit_micros = hold_unit_from(exchange, block, first_s)
    reserve_events(events)
    narrowed = <Narrowed*>add_event(events, NARROWED, sizeof(Narrowed))
    narrowed.order_id, narrowed.first_s = block.id, first_s
    narrowed.account, narrowed.client = block.account, block.client
    narrowed.product, narrowed.currency = block.product, block.currency
    narrowed.released_micros = block.hold_micros - needed_micros(block)
    block.hold_micros -= narrowed.released_micros
    if not post(
        exchange, block.balance, narrowed.released_micros, -narrowed.released_micros, &narrowed.balance
    ):
        return NEGATIVE_BALANCE
    return DONE


cdef inline Outcome fill_offer(
    Exchange* exchange, EventBuffer* events, Contract* contract, const Block* block, const Offer* offer, uint32_t qty,
    int64_t improvement
) noexcept nogil:
    """One trade. What the block held for it becomes escrow, fee, and the improvement that comes back."""
    cdef Detail* detail = &exchange.details[offer.slot]
    cdef uint32_t count = detail.count
    cdef Fill fill
    cdef Traded* traded
    fill.price_micros = offer.price_micros
    fill.unit_micros = offer.unit_micros
    fill.fee_micros = fee_micros(offer.unit_micros, contract.taker_fee_bps)
    fill.qty = qty
    traded = begin_trade(exchange, events, contract, detail.contract, offer.slot, &fill)
    traded.taker_order_id = traded.block_id = block.id
    traded.taker_left = block.left
    traded.taker_sells = False
    traded.buyer, traded.seller, traded.node = block.account, exchange.books.orders[offer.slot].owner, detail.node
    traded.bond_micros = qty * detail.hold_unit_micros
    detail.hold_micros -= traded.bond_micros
    traded.released_micros = traded.escrow_micros + traded.fee_micros + improvement
    return end_trade(exchange, traded, offer.slot, count, block.balance)


cdef inline Outcome fill_hour(
    Exchange* exchange, EventBuffer* events, const Search* search, const Block* block, uint32_t contract, uint32_t first,
    uint32_t gpus, int64_t improvement
) noexcept nogil:
    """Takes GPUs of a node from its asks of one hour, cheapest first; the last trade returns the improvement."""
    cdef const Offer* offer
    cdef Outcome outcome = DONE
    cdef uint32_t part
    while gpus and outcome == DONE:
        offer = &search.offers[first]
        part = min(gpus, <uint32_t>exchange.books.orders[offer.slot].quantity)
        gpus -= part
        outcome = fill_offer(
            exchange, events, &exchange.contracts[contract], block, offer, part, 0 if gpus else improvement
        )
        first = offer.behind
    return outcome


cdef inline Outcome fill_block(
    Exchange* exchange, EventBuffer* events, const Search* search, Block* block, const Choice* choice
) noexcept nogil:
    """Trades the chosen lots. What the block held beyond them and what its rest may cost comes back with the last one."""
    cdef const uint32_t* contracts = contracts_from(exchange, block.product, choice.first_s)
    cdef const Taken* taken
    cdef uint32_t place, period
    cdef int64_t improvement
    cdef bint last
    cdef Outcome outcome = DONE
    if block.first_s < block.latest_s:
        outcome = narrow(exchange, events, block, choice.first_s)
    if outcome != DONE:
        return outcome
    block.left -= choice.gpus
    block.spent_micros += choice.cost_micros
    improvement = block.hold_micros - choice.cost_micros - needed_micros(block)
    block.hold_micros = needed_micros(block)
    for place in range(search.taken_used):
        taken = &search.taken[place]
        for period in range(block.periods):
            last = place == search.taken_used - 1 and period == block.periods - 1
            outcome = fill_hour(
                exchange, events, search, block, contracts[period], search.hours[taken.hours + period].first, taken.gpus,
                improvement if last else 0,
            )
            if outcome != DONE:
                return outcome
    return DONE
