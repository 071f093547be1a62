"""How an order meets its book: `rules/matching.py` on the structs."""

from libc.stdint cimport int64_t, uint8_t, uint32_t

from matching_engine.fast.money cimport fee_micros, post, unit_micros
from matching_engine.pools.book cimport Order, best_order, next_order, price_of
from matching_engine.pools.id_pages cimport prefetch_id
from matching_engine.pools.memory cimport NIL, prefetch
from matching_engine.records.accounts cimport VENUE, open_balance
from matching_engine.records.events cimport (
    FILLED, MAX_COST, NO_LIQUIDITY, PRICE, SELF_TRADE, TRADED, EventBuffer, Stop, Traded, add_event, reserve_events,
)
from matching_engine.records.exchange cimport (
    DONE, MARKET, NEGATIVE_BALANCE, SPECIAL_TRADING, Contract, Detail, Exchange, Outcome, best_ticks, remove_order,
)
from matching_engine.records.positions cimport Position, list_position, add_position

cdef struct Taker:            # an order on its way into the book
    int64_t id
    int64_t parent_id         # 0: none
    int64_t price_micros, ticks            # 0: at market
    int64_t hold_micros, hold_unit_micros
    uint32_t left
    uint32_t account, contract, node
    uint32_t balance          # in the contract's currency
    uint32_t count            # of its node in the contract's period
    uint32_t client           # where its client id stands
    uint8_t sells, kind

cdef struct Fill:
    int64_t price_micros, unit_micros, fee_micros
    uint32_t qty


cdef inline bint would_cross(
    const Exchange* exchange, const Contract* contract, bint sells, int64_t ticks
) noexcept nogil:
    """Whether an order of this side and price in ticks, 0 for any, could trade with the best of the other side."""
    cdef int64_t best = best_ticks(exchange, contract.bids + (not sells))
    return best != 0 and (ticks == 0 or (best >= ticks if sells else best <= ticks))


cdef inline int64_t ticks_of(const Exchange* exchange, uint32_t side, uint32_t slot) noexcept nogil:
    """The price of an order on a side, in ticks."""
    return price_of(side, exchange.books.levels[exchange.books.orders[slot].level].key)


cdef inline bint meets_special(
    const Exchange* exchange, const Contract* contract, uint32_t account, bint sells, int64_t ticks, int64_t qty
) noexcept nogil:
    """Whether an order of an account, this side, price (0: any) and quantity would come to a special one."""
    cdef uint32_t other = contract.bids + (not sells)
    cdef uint32_t slot
    cdef int64_t price
    if contract.special_count[not sells] == 0:
        return False
    slot = best_order(&exchange.books, other)
    while slot != NIL and qty > 0:
        price = ticks_of(exchange, other, slot)
        if ticks != 0 and (price < ticks if sells else price > ticks):
            return False
        if exchange.details[slot].special == SPECIAL_TRADING:
            return True
        if exchange.books.orders[slot].owner == account:
            return False
        qty -= exchange.books.orders[slot].quantity
        slot = next_order(&exchange.books, slot)
    return False


cdef inline uint32_t dry_match(
    const Exchange* exchange, const Contract* contract, const Taker* taker, Stop* stop
) noexcept nogil:
    """How many GPUs `match` would trade among usual orders, changing nothing, and why it would stop."""
    cdef uint32_t other = contract.bids + (not taker.sells)
    cdef uint32_t slot = best_order(&exchange.books, other)
    cdef int64_t left = taker.left
    cdef int64_t budget = taker.hold_micros
    cdef int64_t price, unit, offered, qty
    stop[0] = FILLED
    while left:
        if slot == NIL:
            stop[0] = NO_LIQUIDITY
            break
        price = ticks_of(exchange, other, slot)
        if taker.ticks and (price < taker.ticks if taker.sells else price > taker.ticks):
            stop[0] = PRICE
            break
        if exchange.books.orders[slot].owner == taker.account:
            stop[0] = SELF_TRADE
            break
        offered = qty = min(left, exchange.books.orders[slot].quantity)
        if taker.kind == MARKET:
            unit = unit_micros(contract, price * contract.tick)
            unit += fee_micros(unit, contract.taker_fee_bps)
            qty = min(offered, budget // unit // contract.lot * contract.lot)
            budget -= qty * unit
        left -= qty
        if qty < offered:
            stop[0] = MAX_COST
            break
        slot = next_order(&exchange.books, slot)
    return <uint32_t>(taker.left - left)


cdef inline Stop next_fill(
    const Exchange* exchange, const Contract* contract, const Taker* taker, uint32_t maker, Fill* fill
) noexcept nogil:
    """What the taker takes from the best order of the other side, or why nothing."""
    cdef uint32_t other = contract.bids + (not taker.sells)
    cdef const Order* order = &exchange.books.orders[maker]
    if maker == NIL:
        return NO_LIQUIDITY
    if not would_cross(exchange, contract, taker.sells, taker.ticks):
        return PRICE
    if order.owner == taker.account:
        return SELF_TRADE
    fill.price_micros = best_ticks(exchange, other) * contract.tick
    fill.unit_micros = unit_micros(contract, fill.price_micros)
    fill.fee_micros = fee_micros(fill.unit_micros, contract.maker_fee_bps if taker.sells else contract.taker_fee_bps)
    fill.qty = min(taker.left, <uint32_t>order.quantity)
    if taker.kind == MARKET:
        fill.qty = <uint32_t>min(
            <int64_t>fill.qty,
            taker.hold_micros // (fill.unit_micros + fill.fee_micros) // contract.lot * contract.lot
        )
    return FILLED if fill.qty else MAX_COST


cdef inline int64_t lower_resting_hold(Detail* bid, int64_t left) noexcept nogil:
    """Lowers a resting bid's hold to what is left of it. Returns what is no longer held."""
    cdef int64_t released = bid.hold_micros - left * bid.hold_unit_micros
    bid.hold_micros -= released
    return released


cdef inline int64_t lower_arriving_hold(Taker* bid, const Fill* fill) noexcept nogil:
    """Lowers an arriving bid's hold. A market order keeps what it has not spent, until nothing is left of it."""
    cdef int64_t needed = bid.left * bid.hold_unit_micros
    if bid.kind == MARKET and bid.left:
        needed = bid.hold_micros - fill.qty * (fill.unit_micros + fill.fee_micros)
    cdef int64_t released = bid.hold_micros - needed
    bid.hold_micros = needed
    return released


cdef inline void open_position(Exchange* exchange, Traded* trade) noexcept nogil:
    """Every fill opens a position, never merged with another."""
    cdef uint32_t slot = add_position(&exchange.positions, trade.position_id)
    cdef Position* position = &exchange.positions.pool[slot]
    position.contract = trade.contract
    position.buyer = trade.buyer
    position.operator = trade.seller
    position.node = trade.node
    position.qty = trade.qty
    position.price_micros = trade.price_micros
    position.escrow_micros = trade.escrow_micros
    position.bond_micros = position.bond_left_micros = trade.bond_micros
    position.fee_micros = trade.fee_micros
    position.block_id = trade.block_id
    list_position(&exchange.positions, &exchange.contracts[trade.contract].positions, slot)


cdef inline Outcome pay_trade(Exchange* exchange, Traded* trade, uint32_t buyer_balance) noexcept nogil:
    """Escrow and fee come out of the buyer's hold, what it held beyond that comes back, the venue gets its fee."""
    cdef uint32_t venue
    cdef int64_t held = trade.escrow_micros - trade.released_micros
    if not post(exchange, buyer_balance, -held - trade.fee_micros, held, &trade.buyer_balance):
        return NEGATIVE_BALANCE
    if trade.fee_micros:
        venue = open_balance(&exchange.accounts, VENUE, trade.currency)
        post(exchange, venue, trade.fee_micros, 0, &trade.venue_balance)
    return DONE


cdef inline Traded* begin_trade(
    Exchange* exchange, EventBuffer* events, Contract* contract, uint32_t number, uint32_t maker, const Fill* fill
) noexcept nogil:
    """Fills the resting order and writes what any trade has; the taker's part is the caller's."""
    cdef Order* order = &exchange.books.orders[maker]
    cdef Traded* traded
    reserve_events(events)
    traded = <Traded*>add_event(events, TRADED, sizeof(Traded))
    exchange.last_trade_id += 1
    exchange.last_position_id += 1
    contract.last_trade = fill.price_micros
    order.quantity -= fill.qty
    exchange.books.levels[order.level].quantity -= fill.qty
    traded.trade_id = exchange.last_trade_id
    traded.position_id = exchange.last_position_id
    traded.block_id = 0
    traded.maker_order_id = <int64_t>order.id
    traded.price_micros = fill.price_micros
    traded.escrow_micros = fill.qty * fill.unit_micros
    traded.fee_micros = fill.qty * fill.fee_micros
    traded.contract = number
    traded.currency = contract.currency
    traded.qty = fill.qty
    traded.maker_left = <uint32_t>order.quantity
    return traded


cdef inline Outcome end_trade(
    Exchange* exchange, Traded* traded, uint32_t maker, uint32_t count, uint32_t buyer_balance
) noexcept nogil:
    """The node's GPUs are sold, the money moves, and the position opens."""
    exchange.nodes.counts[count].sold += traded.qty
    if traded.maker_left == 0:
        remove_order(exchange, maker)
    if pay_trade(exchange, traded, buyer_balance) != DONE:
        return NEGATIVE_BALANCE
    open_position(exchange, traded)
    return DONE


cdef inline Outcome trade(
    Exchange* exchange, EventBuffer* events, Contract* contract, Taker* taker, uint32_t maker, const Fill* fill
) noexcept nogil:
    """Fills both orders: escrow and bond move to the position, the buyer's improvement comes back at once."""
    cdef const Order* order = &exchange.books.orders[maker]
    cdef Detail* detail = &exchange.details[maker]
    cdef Traded* traded = begin_trade(exchange, events, contract, taker.contract, maker, fill)
    cdef uint32_t count, buyer_balance
    taker.left -= fill.qty
    traded.taker_order_id = taker.id
    traded.taker_left = taker.left
    traded.taker_sells = taker.sells
    if taker.sells:
        traded.buyer, traded.seller, traded.node = order.owner, taker.account, taker.node
        traded.bond_micros = fill.qty * taker.hold_unit_micros
        taker.hold_micros -= traded.bond_micros
        traded.released_micros = lower_resting_hold(detail, order.quantity)
        count, buyer_balance = taker.count, detail.balance
    else:
        traded.buyer, traded.seller, traded.node = taker.account, order.owner, detail.node
        traded.bond_micros = fill.qty * detail.hold_unit_micros
        detail.hold_micros -= traded.bond_micros
        traded.released_micros = lower_arriving_hold(taker, fill)
        count, buyer_balance = detail.count, taker.balance
    return end_trade(exchange, traded, maker, count, buyer_balance)


cdef inline void prefetch_holdings(const Exchange* exchange, const Detail* detail) noexcept nogil:
    """Begin to load what an order holds."""
    if detail.balance != NIL:
        prefetch(&exchange.accounts.balances[detail.balance])
    if detail.count != NIL:
        prefetch(&exchange.nodes.counts[detail.count])


cdef inline void prefetch_next_trades(const Exchange* exchange, uint32_t maker) noexcept nogil:
    """Begin to load what the trades after this one will meet: the order behind the next one, and what the next holds."""
    cdef uint32_t following = exchange.books.orders[maker].next
    cdef const Order* order
    if following == NIL:
        return
    order = &exchange.books.orders[following]
    if order.next != NIL:
        prefetch(&exchange.books.orders[order.next])
        prefetch(&exchange.details[order.next])
    prefetch_id(&exchange.orders, order.id)
    prefetch_holdings(exchange, &exchange.details[following])


cdef inline Outcome match(
    Exchange* exchange, EventBuffer* events, Contract* contract, Taker* taker, Stop* stop
) noexcept nogil:
    """Trades an arriving order against the book, best price first, oldest first, and says why it stopped."""
    cdef uint32_t other = contract.bids + (not taker.sells)
    cdef uint32_t maker
    cdef Fill fill
    cdef Outcome outcome
    stop[0] = FILLED
    while taker.left:
        maker = best_order(&exchange.books, other)
        stop[0] = next_fill(exchange, contract, taker, maker, &fill)
        if stop[0] != FILLED:
            break
        if fill.qty < taker.left:
            prefetch_next_trades(exchange, maker)
        outcome = trade(exchange, events, contract, taker, maker, &fill)
        if outcome != DONE:
            return outcome
    return DONE
