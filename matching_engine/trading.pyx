"""How an order meets its book, and how what is left of one is cancelled: the rules of reference.matching, in C."""

from matching_engine.event_tape cimport BODY_SIZE_MAX
from matching_engine.event_text cimport put_canceled, put_posting, put_why
from matching_engine.records cimport MARKET, NodeDesk, Position
from matching_engine.wire cimport put_int, put_literal, put_quoted

cdef str VENUE = "venue"

cdef const char* reason_of(Stop stop) noexcept:
    if stop == NO_LIQUIDITY:
        return b"no_liquidity"
    if stop == PRICE:
        return b"price"
    return b"self_trade" if stop == SELF_TRADE else b"max_cost"


cdef int64_t unit_micros(ContractBook book, int64_t price) noexcept:
    """What one GPU costs for one period, rounded up."""
    return (price * book.period_s + 3599) // 3600


cdef int64_t fee_micros(int64_t unit, int64_t bps) noexcept:
    return (unit * bps + 9999) // 10_000


cdef bint crosses(Order taker, Order maker) noexcept:
    if taker.what == MARKET:
        return True
    return maker.price >= taker.price if taker.sells else maker.price <= taker.price


cdef int change_count(dict counts, object start_s, int64_t gpus) except -1:
    """Counts GPUs of a node in a period; nothing is kept of a zero."""
    cdef int64_t count = counts.get(start_s, 0)
    if count + gpus:
        counts[start_s] = count + gpus
    else:
        counts.pop(start_s, None)
    return 0


# -- matching


cdef Stop match(CompiledMarket market, ContractBook book, Order taker) except *:
    """Trades an arriving order against the book. Returns why it stopped."""
    cdef Order maker
    cdef int64_t unit, fee, qty
    while taker.left:
        maker = market.best_order(book, not taker.sells)
        if maker is None:
            return NO_LIQUIDITY
        if not crosses(taker, maker):
            return PRICE
        if maker.account == taker.account:
            return SELF_TRADE
        unit = unit_micros(book, maker.price)
        fee = fee_micros(unit, book.maker_fee_bps if taker.sells else book.taker_fee_bps)
        qty = min(taker.left, maker.left)
        if taker.what == MARKET:
            qty = min(qty, taker.hold_micros // (unit + fee) // book.lot * book.lot)
            if not qty:
                return MAX_COST
        trade(market, book, maker, taker, qty, unit, fee)
    return FILLED


cdef int trade(
    CompiledMarket market, ContractBook book, Order maker, Order taker, int64_t qty, int64_t unit, int64_t fee
) except -1:
    """Fills both orders: escrow and bond move to the position, the buyer's improvement comes back at once."""
    cdef Order bid = maker if taker.sells else taker
    cdef Order ask = taker if taker.sells else maker
    cdef int64_t bond = qty * ask.hold_unit_micros
    cdef int64_t released
    ask.left -= qty
    ask.hold_micros -= bond
    change_count(market.desk_of(ask.node).sold, book.start_key, qty)
    released = take_bid(bid, qty, qty * (unit + fee))
    if not maker.left:
        market.take_out(maker)
    position = open_position(market, book, ask, bid, qty, maker.price, qty * unit, bond)
    book.last_trade = maker.price
    return write_trade(market, book, maker, taker, position, released, qty * fee)


cdef int64_t take_bid(Order bid, int64_t qty, int64_t cost) noexcept:
    """Fills a bid. Returns how much of its hold is no longer needed for what is left of it."""
    cdef int64_t needed
    bid.left -= qty
    if bid.what != MARKET:
        needed = bid.left * bid.hold_unit_micros
    else:
        needed = bid.hold_micros - cost if bid.left else 0
    cdef int64_t released = bid.hold_micros - needed
    bid.hold_micros = needed
    return released


cdef Position open_position(
    CompiledMarket market, ContractBook book, Order ask, Order bid, int64_t qty, int64_t price, int64_t escrow,
    int64_t bond
):
    cdef Position position = Position.__new__(Position)
    market.last_position_id += 1
    position.id = market.last_position_id
    position.contract = book.name
    position.buyer = bid.account
    position.operator = ask.account
    position.node = ask.node
    position.qty = qty
    position.price_micros = price
    position.escrow_micros = escrow
    position.bond_micros = position.bond_left_micros = bond
    position.gpus = []
    position.paid = (0, 0, 0)
    market.positions[position.id] = position
    book.positions.append(position.id)
    return position


cdef int write_trade(
    CompiledMarket market, ContractBook book, Order maker, Order taker, Position position, int64_t released,
    int64_t fee
) except -1:
    cdef char* at = market.tape.open(BODY_SIZE_MAX)
    cdef Order bid = maker if taker.sells else taker
    market.last_trade_id += 1
    at = put_int(put_literal(at, b',"trade_id":'), market.last_trade_id)
    at = put_int(put_literal(at, b',"position_id":'), position.id)
    at = put_quoted(put_literal(at, b',"contract":'), position.contract)
    at = put_int(put_literal(at, b',"price_micros":'), position.price_micros)
    at = put_int(put_literal(at, b',"qty":'), position.qty)
    at = put_literal(at, b',"taker_side":"sell"' if taker.sells else b',"taker_side":"buy"')
    at = put_int(put_literal(at, b',"maker_order_id":'), maker.id)
    at = put_int(put_literal(at, b',"taker_order_id":'), taker.id)
    at = put_quoted(put_literal(at, b',"buyer":'), position.buyer)
    at = put_quoted(put_literal(at, b',"seller":'), position.operator)
    at = put_quoted(put_literal(at, b',"node":'), position.node)
    at = put_int(put_literal(at, b',"block_id":null,"escrow_micros":'), position.escrow_micros)
    at = put_int(put_literal(at, b',"bond_micros":'), position.bond_micros)
    at = put_int(put_literal(at, b',"buyer_fee_micros":'), fee)
    at = put_int(put_literal(at, b',"maker_left":'), maker.left)
    at = put_int(put_literal(at, b',"taker_left":'), taker.left)
    at = put_literal(at, b',"postings":[')
    at = post_trade(at, market, bid, book.currency, position.escrow_micros - released, fee)
    return market.tape.close(b"trade", 5, put_literal(at, b"]"))


cdef char* post_trade(char* at, CompiledMarket market, Order bid, str asset, int64_t held, int64_t fee) except NULL:
    """The buyer's money and the venue's fee, in the order of their names."""
    cdef Balance venue
    cdef bint buyer_first = bid.account < VENUE
    cdef bint buyer_pays = held != 0 or fee != 0
    if buyer_first and buyer_pays:
        at = post(at, market, bid, asset, -held - fee, held)
    if fee:
        venue = market.open_balance(VENUE, asset)
        venue.available += fee
        if buyer_first:
            at = put_literal(at, b",")
        at = put_posting(at, VENUE, asset, fee, 0, venue)
    if not buyer_first and buyer_pays:
        if fee:
            at = put_literal(at, b",")
        at = post(at, market, bid, asset, -held - fee, held)
    return at


# -- money of one order


cdef char* post(char* at, CompiledMarket market, Order order, str asset, int64_t available, int64_t held) except NULL:
    """Moves money of the order's account, and writes the posting, unless nothing moves."""
    if not (available or held):
        return at
    if order.balance is None:
        order.balance = market.open_balance(order.account, asset)
    cdef Balance balance = order.balance
    balance.available += available
    balance.held += held
    if balance.available < 0 or balance.held < 0:
        raise AssertionError(f"negative balance: {order.account} {asset}")
    return put_posting(at, order.account, asset, available, held, balance)


# -- what is left


cdef int cancel(CompiledMarket market, ContractBook book, Order order, const char* reason, Stop stop) except -1:
    """Takes what is left of an order away, whether it rests or was just matched; its hold comes back."""
    cdef char* at = put_canceled(market.tape.open(BODY_SIZE_MAX), order, reason)
    cdef Order best
    cdef int64_t released = order.hold_micros
    if stop == FILLED:
        at = put_literal(at, b',"why_unfilled":null')
    else:
        best = market.best_order(book, not order.sells)
        at = put_why(at, reason_of(stop), 0 if best is None else best.price, order.left)
    order.hold_micros = 0
    if order.node is not None:
        change_count(market.desk_of(order.node).committed, book.start_key, -order.left)
    if order.book is not None:
        market.take_out(order)
    order.left = 0
    at = post(put_literal(at, b',"postings":['), market, order, book.currency, released, -released)
    return market.tape.close(b"order_canceled", 14, put_literal(at, b"]"))
