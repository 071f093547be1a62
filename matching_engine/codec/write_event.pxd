"""Packed events as canonical JSON: the members behind the header, field by field as schemas.events has them."""

from libc.stdint cimport int64_t, uint32_t

from matching_engine.codec.wire cimport put_bytes, put_int, put_literal, put_name, put_optional
from matching_engine.pools.memory cimport NIL
from matching_engine.pools.names cimport precedes
from matching_engine.records.accounts cimport VENUE
from matching_engine.records.bindings cimport Binding, binding_at, id_text
from matching_engine.records.commands cimport CANCEL, PLACE_BLOCK, POST_CAPACITY, Command, PeriodRange
from matching_engine.records.events cimport (
    ACCEPTED, BLOCK_ACCEPTED, BOUNDED, CANCEL_DONE, CANCELED, CAPACITY_ACCEPTED, DUPLICATE, FILLED, MAX_COST,
    NARROWED, NO_LIQUIDITY, POST_ONLY, PRICE, REJECTED, SELF_TRADE, TRADED, Accepted, BlockAccepted, Bounded, Canceled, CancelDone,
    CapacityAccepted, Duplicate, Event, Money, Narrowed, Rejected, Traded, Why,
)
from matching_engine.records.exchange cimport BLOCK, CAPACITY, FOK, IOC, MARKET, Exchange

cdef enum:
    BODY_SIZE_MAX = 2048      # more than any event of an order can need


cdef inline const char* type_name(uint32_t event) noexcept nogil:
    if event == ACCEPTED:
        return b"order_accepted"
    if event == TRADED:
        return b"trade"
    if event == CANCELED:
        return b"order_canceled"
    if event == CANCEL_DONE:
        return b"cancel_done"
    if event == CAPACITY_ACCEPTED:
        return b"capacity_accepted"
    if event == BLOCK_ACCEPTED:
        return b"block_accepted"
    if event == NARROWED:
        return b"flex_narrowed"
    if event == BOUNDED:
        return b"block_trials_bounded"
    return b"order_rejected" if event == REJECTED else b"order_duplicate"


# -- members that several events have


cdef inline char* put_text(char* at, const char* text, size_t size) noexcept nogil:
    """An identifier as a JSON string, none as null."""
    if size == 0:
        return put_literal(at, b"null")
    at[0] = c'"'
    at = put_bytes(at + 1, text, size)
    at[0] = c'"'
    return at + 1


cdef inline char* put_command_id(char* at, const Command* command) noexcept nogil:
    return put_text(put_literal(at, b',"command_id":'), command.command_id, command.command_id_size)


cdef inline char* put_account(char* at, const Exchange* exchange, uint32_t account) noexcept nogil:
    return put_name(put_literal(at, b',"account":'), &exchange.accounts.names, account)


cdef inline char* put_client(char* at, const Exchange* exchange, uint32_t client) noexcept nogil:
    cdef const Binding* binding
    at = put_literal(at, b',"client_order_id":')
    if client == NIL:
        return put_literal(at, b"null")
    binding = binding_at(&exchange.bindings, client)
    return put_text(at, id_text(binding), binding.size)


cdef inline char* put_contract(char* at, const Exchange* exchange, uint32_t contract) noexcept nogil:
    return put_name(put_literal(at, b',"contract":'), &exchange.contract_names, contract)


cdef inline char* put_side(char* at, bint sells) noexcept nogil:
    return put_literal(at, b',"side":"sell"' if sells else b',"side":"buy"')


cdef inline char* put_kind(char* at, int kind) noexcept nogil:
    if kind == CAPACITY:
        return put_literal(at, b',"kind":"capacity"')
    if kind == BLOCK:
        return put_literal(at, b',"kind":"block"')
    return put_literal(at, b',"kind":"market"' if kind == MARKET else b',"kind":"limit"')


cdef inline char* put_tif(char* at, int tif) noexcept nogil:
    if tif == IOC:
        return put_literal(at, b',"tif":"IOC"')
    return put_literal(at, b',"tif":"FOK"' if tif == FOK else b',"tif":"GTG"')


cdef inline const char* reason_of(uint32_t stop) noexcept nogil:
    if stop == NO_LIQUIDITY:
        return b"no_liquidity"
    if stop == PRICE:
        return b"price"
    if stop == SELF_TRADE:
        return b"self_trade"
    if stop == POST_ONLY:
        return b"post_only"
    return b"max_cost" if stop == MAX_COST else b"no_node_free_in_all_hours"


cdef inline char* put_why(char* at, const Why* why) noexcept nogil:
    at = put_literal(at, b',"why_unfilled":')
    if why.stop == FILLED:
        return put_literal(at, b"null")
    at = put_literal(put_literal(at, b'{"reason":"'), reason_of(why.stop))
    at = put_optional(put_literal(at, b'","best_price_micros":'), why.best_price_micros)
    return put_literal(put_int(put_literal(at, b',"missing_gpus":'), why.missing), b"}")


cdef inline char* put_posting(
    char* at, const Exchange* exchange, uint32_t account, uint32_t asset, int64_t available, int64_t held,
    const Money* balance
) noexcept nogil:
    """One posting, as the balance stands after it."""
    at = put_name(put_literal(at, b"["), &exchange.accounts.names, account)
    at = put_name(put_literal(at, b","), &exchange.accounts.assets, asset)
    at = put_int(put_literal(at, b","), available)
    at = put_int(put_literal(at, b","), held)
    at = put_int(put_literal(at, b","), balance.available)
    return put_literal(put_int(put_literal(at, b","), balance.held), b"]")


# -- events


cdef inline char* put_accepted(
    char* at, const Exchange* exchange, const Accepted* event, const Command* command
) noexcept nogil:
    at = put_int(put_literal(at, b',"order_id":'), event.order_id)
    at = put_command_id(put_optional(put_literal(at, b',"parent_id":'), event.parent_id), command)
    at = put_account(at, exchange, event.account)
    at = put_client(at, exchange, event.client)
    at = put_contract(at, exchange, event.contract)
    at = put_kind(put_side(at, event.sells), event.kind)
    at = put_int(put_literal(at, b',"qty":'), event.qty)
    at = put_optional(put_literal(at, b',"price_micros":'), event.price_micros)
    at = put_optional(put_literal(at, b',"max_cost_micros":'), event.max_cost_micros)
    at = put_tif(at, event.tif)
    at = put_literal(at, b',"post_only":true' if event.post_only else b',"post_only":false')
    at = put_name(put_literal(at, b',"node":'), &exchange.nodes.names, event.node)
    at = put_optional(put_literal(at, b',"expires_ms":null,"display_qty":null,"min_qty":'), command.min_qty)
    at = put_literal(at, b',"stp":"cancel_newest","postings":[')
    if event.hold_micros:
        at = put_posting(
            at, exchange, event.account, event.currency, -event.hold_micros, event.hold_micros, &event.balance
        )
    return put_literal(at, b"]")


cdef inline char* put_floors(char* at, const PeriodRange* period_range) noexcept nogil:
    """One price, or a curve of them."""
    cdef uint32_t place
    at = put_literal(at, b',"floor_price_micros":')
    if period_range.floors == 1:
        return put_literal(put_int(at, period_range.floors_micros[0]), b',"floor_curve_micros":null')
    at = put_literal(at, b'null,"floor_curve_micros":[')
    for place in range(period_range.floors):
        at = put_int(put_literal(at, b",") if place else at, period_range.floors_micros[place])
    return put_literal(at, b"]")


cdef inline char* put_capacity_accepted(
    char* at, const Exchange* exchange, const CapacityAccepted* event, const Command* command
) noexcept nogil:
    cdef const PeriodRange* period_range = command.period_range
    cdef int64_t to_s = period_range.first_s + period_range.periods * exchange.products[period_range.product].period_s
    at = put_int(put_literal(at, b',"order_id":'), event.order_id)
    at = put_account(put_command_id(at, command), exchange, command.account)
    at = put_text(put_literal(at, b',"client_order_id":'), command.client_id, command.client_id_size)
    at = put_name(put_literal(at, b',"product":'), &exchange.product_names, period_range.product)
    at = put_name(put_literal(at, b',"node":'), &exchange.nodes.names, command.node)
    at = put_int(put_literal(at, b',"gpus":'), command.qty)
    at = put_int(put_literal(at, b',"from_s":'), period_range.first_s)
    at = put_int(put_literal(at, b',"to_s":'), to_s)
    at = put_optional(put_literal(put_floors(at, period_range), b',"ttl_s":'), period_range.ttl_s)
    return put_optional(put_literal(at, b',"split":false,"expires_ms":'), event.expires_ms)


cdef inline char* put_block_accepted(
    char* at, const Exchange* exchange, const BlockAccepted* event, const Command* command
) noexcept nogil:
    cdef const PeriodRange* period_range = command.period_range
    at = put_int(put_literal(at, b',"order_id":'), event.order_id)
    at = put_account(put_command_id(at, command), exchange, command.account)
    at = put_text(put_literal(at, b',"client_order_id":'), command.client_id, command.client_id_size)
    at = put_name(put_literal(at, b',"product":'), &exchange.product_names, period_range.product)
    at = put_int(put_literal(at, b',"start_s":'), period_range.first_s)
    at = put_int(put_literal(at, b',"periods":'), period_range.periods)
    at = put_int(put_literal(at, b',"qty":'), command.qty)
    at = put_int(put_literal(at, b',"min_qty":'), period_range.min_qty)
    at = put_int(put_literal(at, b',"limit_price_micros":'), command.price_micros)
    at = put_optional(put_literal(at, b',"max_cost_micros":'), command.max_cost_micros)
    at = put_optional(put_literal(put_tif(at, command.tif), b',"latest_s":'), period_range.latest_s)
    at = put_literal(at, b',"use_vouchers":false,"stp":"cancel_newest","postings":[')
    at = put_posting(
        at, exchange, command.account, event.currency, -event.hold_micros, event.hold_micros, &event.balance
    )
    return put_literal(at, b"]")


cdef inline char* put_narrowed(char* at, const Exchange* exchange, const Narrowed* event) noexcept nogil:
    at = put_int(put_literal(at, b',"order_id":'), event.order_id)
    at = put_client(put_account(at, exchange, event.account), exchange, event.client)
    at = put_name(put_literal(at, b',"product":'), &exchange.product_names, event.product)
    at = put_int(put_literal(at, b',"start_s":'), event.first_s)
    at = put_literal(put_int(put_literal(at, b',"latest_s":'), event.first_s), b',"postings":[')
    if event.released_micros:
        at = put_posting(
            at, exchange, event.account, event.currency, event.released_micros, -event.released_micros, &event.balance
        )
    return put_literal(at, b"]")


cdef inline char* put_bounded(char* at, const Exchange* exchange, const Bounded* event) noexcept nogil:
    at = put_name(put_literal(at, b',"product":'), &exchange.product_names, event.product)
    at = put_int(put_literal(at, b',"trials":'), event.trials)
    at = put_int(put_literal(at, b',"bound":'), event.trials_max)
    return put_int(put_literal(at, b',"waiting":'), event.waiting)


cdef inline char* put_trade(char* at, const Exchange* exchange, const Traded* event) noexcept nogil:
    at = put_int(put_literal(at, b',"trade_id":'), event.trade_id)
    at = put_int(put_literal(at, b',"position_id":'), event.position_id)
    at = put_contract(at, exchange, event.contract)
    at = put_int(put_literal(at, b',"price_micros":'), event.price_micros)
    at = put_int(put_literal(at, b',"qty":'), event.qty)
    at = put_literal(at, b',"taker_side":"sell"' if event.taker_sells else b',"taker_side":"buy"')
    at = put_int(put_literal(at, b',"maker_order_id":'), event.maker_order_id)
    at = put_int(put_literal(at, b',"taker_order_id":'), event.taker_order_id)
    at = put_name(put_literal(at, b',"buyer":'), &exchange.accounts.names, event.buyer)
    at = put_name(put_literal(at, b',"seller":'), &exchange.accounts.names, event.seller)
    at = put_name(put_literal(at, b',"node":'), &exchange.nodes.names, event.node)
    at = put_optional(put_literal(at, b',"block_id":'), event.block_id)
    at = put_int(put_literal(at, b',"escrow_micros":'), event.escrow_micros)
    at = put_int(put_literal(at, b',"bond_micros":'), event.bond_micros)
    at = put_int(put_literal(at, b',"buyer_fee_micros":'), event.fee_micros)
    at = put_int(put_literal(at, b',"maker_left":'), event.maker_left)
    at = put_int(put_literal(at, b',"taker_left":'), event.taker_left)
    return put_literal(put_payments(put_literal(at, b',"resale":null,"postings":['), exchange, event), b"]")


cdef inline char* put_payments(char* at, const Exchange* exchange, const Traded* event) noexcept nogil:
    """The buyer's money and the venue's fee, in the order of their names."""
    cdef int64_t fee = event.fee_micros
    cdef int64_t held = event.escrow_micros - event.released_micros
    cdef bint buyer_first = precedes(&exchange.accounts.names, event.buyer, VENUE)
    cdef bint both = fee != 0 and (held != 0 or fee != 0)
    if buyer_first and (held or fee):
        at = put_posting(at, exchange, event.buyer, event.currency, -held - fee, held, &event.buyer_balance)
        at = put_literal(at, b",") if both else at
    if fee:
        at = put_posting(at, exchange, VENUE, event.currency, fee, 0, &event.venue_balance)
    if not buyer_first and (held or fee):
        at = put_literal(at, b",") if both else at
        at = put_posting(at, exchange, event.buyer, event.currency, -held - fee, held, &event.buyer_balance)
    return at


cdef inline char* put_canceled(char* at, const Exchange* exchange, const Canceled* event) noexcept nogil:
    cdef int64_t released = event.released_micros
    at = put_int(put_literal(at, b',"order_id":'), event.order_id)
    at = put_client(put_account(at, exchange, event.account), exchange, event.client)
    at = put_side(put_contract(put_kind(at, event.kind), exchange, event.contract), event.sells)
    at = put_optional(put_literal(at, b',"price_micros":'), event.price_micros)
    at = put_int(put_literal(at, b',"qty_left":'), event.left)
    at = put_literal(put_literal(put_literal(at, b',"reason":"'), event.reason), b'"')
    at = put_literal(put_why(at, &event.why), b',"postings":[')
    if released:
        at = put_posting(at, exchange, event.account, event.currency, released, -released, &event.balance)
    return put_literal(at, b"]")


cdef inline const char* command_name(int type) noexcept nogil:
    if type == CANCEL:
        return b"cancel_order"
    if type == POST_CAPACITY:
        return b"post_capacity"
    return b"place_block" if type == PLACE_BLOCK else b"place_order"


cdef inline char* put_rejected(
    char* at, const Exchange* exchange, const Rejected* event, const Command* command
) noexcept nogil:
    at = put_literal(put_literal(put_command_id(at, command), b',"command":"'), command_name(command.type))
    at = put_account(put_literal(at, b'"'), exchange, command.account)
    at = put_text(put_literal(at, b',"client_order_id":'), command.client_id, command.client_id_size)
    at = put_optional(put_literal(at, b',"order_id":'), event.order_id)
    return put_why(put_literal(put_literal(put_literal(at, b',"code":"'), event.code), b'"'), &event.why)


cdef inline char* put_duplicate(
    char* at, const Exchange* exchange, const Duplicate* event, const Command* command
) noexcept nogil:
    at = put_account(put_command_id(at, command), exchange, event.account)
    at = put_text(put_literal(at, b',"client_order_id":'), command.client_id, command.client_id_size)
    at = put_optional(put_literal(at, b',"order_id":'), event.order_id)
    return put_int(put_literal(at, b',"first_offset":'), event.first_offset)


cdef inline char* put_event(
    char* at, const Exchange* exchange, const Event* event, const Command* command
) noexcept nogil:
    """The members of any event behind its header."""
    if event.type == ACCEPTED:
        return put_accepted(at, exchange, <const Accepted*>event, command)
    if event.type == TRADED:
        return put_trade(at, exchange, <const Traded*>event)
    if event.type == CANCELED:
        return put_canceled(at, exchange, <const Canceled*>event)
    if event.type == CAPACITY_ACCEPTED:
        return put_capacity_accepted(at, exchange, <const CapacityAccepted*>event, command)
    if event.type == BLOCK_ACCEPTED:
        return put_block_accepted(at, exchange, <const BlockAccepted*>event, command)
    if event.type == NARROWED:
        return put_narrowed(at, exchange, <const Narrowed*>event)
    if event.type == BOUNDED:
        return put_bounded(at, exchange, <const Bounded*>event)
    if event.type == REJECTED:
        return put_rejected(at, exchange, <const Rejected*>event, command)
    if event.type == DUPLICATE:
        return put_duplicate(at, exchange, <const Duplicate*>event, command)
    at = put_account(put_command_id(at, command), exchange, (<const CancelDone*>event).account)
    return put_int(put_literal(at, b',"canceled":'), (<const CancelDone*>event).canceled)
