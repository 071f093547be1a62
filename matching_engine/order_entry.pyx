"""The way of an order and of a cancel through the compiled engine; what is out of the ordinary goes to the reference.

Both functions say whether they did it. Where they did not, nothing has changed, and the reference's own rule decides
on the same records.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint8_t
from libc.string cimport memcmp, memcpy, strlen

from matching_engine.command_text cimport (
    AMOUNT_MAX_MICROS, FOK, GTG, Cancel, Place, read_cancel, read_place,
)
from matching_engine.digest cimport sha256_of
from matching_engine.event_tape cimport BODY_SIZE_MAX
from matching_engine.event_text cimport put_accepted, put_cancel_done, put_duplicate, put_rejected
from matching_engine.records cimport (
    LIMIT, MARKET, Balance, Binding, ContractBook, NodeDesk, Order,
)
from matching_engine.trading cimport (
    FILLED, SELF_TRADE, Stop, cancel, change_count, crosses, fee_micros, match, post, unit_micros,
)
from matching_engine.wire cimport Word, is_word, put_literal, str_of

from matching_engine.reference import blocks
from matching_engine.reference.money import GUARANTEE as GUARANTEE_NAME
from matching_engine.reference.money import VENUE as VENUE_NAME

cdef enum:
    RECORD_SIZE_MAX = 1024    # more than words of 64 characters can make a canonical order need

cdef extern from *:
    ctypedef long long wide "__int128"

cdef str VENUE = VENUE_NAME
cdef str GUARANTEE = GUARANTEE_NAME
cdef const char* TYPE = b'{"type":"place_order",'


# -- new orders


cdef bint place_order(CompiledMarket market, bytes record) except -1:
    cdef Place place
    if not read_place(PyBytes_AS_STRING(record), PyBytes_GET_SIZE(record), &place):
        return False
    cdef ContractBook book = market.open_book(str_of(&place.contract))
    cdef str account = str_of(&place.account)
    if book is None or book.icebergs or account == VENUE or account == GUARANTEE:
        return False
    cdef uint8_t[32] digest
    digest_body(record, place.command_id.size, digest)
    cdef str client_order_id = str_of(&place.client_order_id)
    cdef dict bound = market.bindings.get(account)
    if bound is not None and client_order_id in bound:
        return answer_again(market, &place, account, client_order_id, bound[client_order_id], digest)
    cdef NodeDesk desk = market.desk_of(str_of(&place.node)) if place.has_node else None
    cdef Balance balance = None
    cdef wide hold = 0
    cdef const char* code = broken_terms(book, &place)
    if code == NULL and place.sells:
        code = broken_backing(market, book, desk, &place, account)
    if code == NULL:
        hold = hold_of(book, desk, &place)
        balance = market.find_balance(account, book.currency)
        code = broken_funds(balance, hold)
    if code != NULL:
        bind(market, book, account, client_order_id, None, digest)
        refuse(market, b"place_order", &place.command_id, &place.account, &place.client_order_id, 0, code)
        return True
    cdef Order order = draft(book, &place, account, client_order_id, <int64_t>hold)
    order.balance = balance
    if place.tif == FOK or (order.post_only and would_cross(market, book, order)):
        return False
    accept(market, book, order, &place)
    trade_or_rest(market, book, order)
    bind(market, book, account, client_order_id, order.id, digest)
    return True


cdef int digest_body(bytes record, Py_ssize_t command_id_size, uint8_t* digest) except -1:
    """SHA-256 of the record without its member `command_id`, which is correlation only."""
    cdef const char* text = PyBytes_AS_STRING(record)
    cdef size_t head = strlen(TYPE)
    cdef size_t gap = strlen(b'"command_id":"",') + command_id_size
    cdef size_t size = PyBytes_GET_SIZE(record) - gap
    cdef uint8_t[RECORD_SIZE_MAX] body
    memcpy(body, text, head)
    memcpy(body + head, text + head + gap, size - head)
    return sha256_of(body, size, digest)


cdef bint answer_again(
    CompiledMarket market, const Place* place, str account, str client_order_id, bound, const uint8_t* digest
) except -1:
    """Answers a repeat with the first result; another body under the same id is the reference's to refuse."""
    cdef Binding binding
    if type(bound) is not Binding:
        return False
    binding = bound
    if memcmp(<uint8_t*>binding.digest, digest, 32) != 0:
        return False
    at = market.tape.open(BODY_SIZE_MAX)
    order_id = binding.order_id or 0
    at = put_duplicate(at, &place.command_id, account, client_order_id, order_id, binding.offset)
    market.tape.close(b"order_duplicate", 15, at)
    return True


# -- the rules that an order must keep, in the reference's order; each gives the code of the first one broken, or NULL


cdef const char* broken_terms(ContractBook book, const Place* place) noexcept:
    """A limit has a price, a market order is a buy with a bound and never rests; a sell names its node, a buy none."""
    cdef bint priced = place.price_micros != 0
    cdef bint bounded = place.max_cost_micros != 0
    if priced == place.at_market or bounded != place.at_market:
        return b"bad_terms"
    if place.at_market and (place.sells or place.post_only):
        return b"bad_terms"
    if (place.post_only and place.tif != GTG) or (place.has_node and not place.sells):
        return b"bad_terms"
    if place.sells and not place.has_node:
        return b"unbacked_ask"
    if place.qty % book.lot:
        return b"off_lot"
    if place.price_micros % book.tick:
        return b"off_tick"
    return NULL


cdef const char* broken_backing(
    CompiledMarket market, ContractBook book, NodeDesk desk, const Place* place, str account
) except? NULL:
    """An ask's node is the account's own, heartbeat-fresh, of the product's grade and hub, and has the GPUs."""
    cdef int64_t committed
    if desk is None:
        return b"unknown_node"
    if desk.account != account:
        return b"not_the_owner"
    if not desk.alive or market.now >= desk.until_ms:
        return b"node_not_alive"
    if desk.grade != book.grade or desk.hub != book.hub:
        return b"wrong_product_for_node"
    committed = desk.committed.get(book.start_key, 0)
    if committed + place.qty > desk.rentable:
        return b"insufficient_capacity"
    return NULL


cdef const char* broken_funds(Balance balance, wide hold) noexcept:
    """Money is there before the order."""
    if hold > AMOUNT_MAX_MICROS:
        return b"amount_overflow"
    if hold > (0 if balance is None else balance.available):
        return b"insufficient_funds"
    return NULL


cdef int refuse(
    CompiledMarket market, const char* command, const Word* command_id, const Word* account,
    const Word* client_order_id, int64_t order_id, const char* code
) except -1:
    at = market.tape.open(BODY_SIZE_MAX)
    at = put_rejected(at, command, command_id, account, client_order_id, order_id, code)
    return market.tape.close(b"order_rejected", 14, at)


# -- the order and what it holds


cdef Order draft(ContractBook book, const Place* place, str account, str client_order_id, int64_t hold):
    cdef Order order = Order.__new__(Order)
    order.account = account
    order.client_order_id = client_order_id
    order.contract = book.name
    order.node = str_of(&place.node) if place.sells else None
    order.qty = order.left = place.qty
    order.price = place.price_micros
    order.max_cost = place.max_cost_micros
    order.hold_unit_micros = 0 if place.at_market else hold // place.qty
    order.hold_micros = hold
    order.sells = place.sells
    order.what = MARKET if place.at_market else LIMIT
    order.until = place.tif
    order.post_only = place.post_only
    return order


@cython.overflowcheck(False)
cdef wide hold_of(ContractBook book, NodeDesk desk, const Place* place) noexcept:
    if place.at_market:
        return place.max_cost_micros
    cdef int64_t price = place.price_micros
    return <wide>place.qty * (ask_unit(book, desk, price) if place.sells else bid_unit(book, price))


cdef int64_t bid_unit(ContractBook book, int64_t price) noexcept:
    """What a bid holds per GPU: the cost and the dearer of the two fees."""
    cdef int64_t unit = unit_micros(book, price)
    return unit + fee_micros(unit, max(book.maker_fee_bps, book.taker_fee_bps))


@cython.overflowcheck(False)
cdef int64_t ask_unit(ContractBook book, NodeDesk desk, int64_t price) noexcept:
    """What an ask holds per GPU, on the dearer of its price and the last index."""
    cdef wide bond = <wide>book.bond_permille[desk.level] * max(price, book.last_index) * book.period_s
    return <int64_t>((bond + 3_599_999) // 3_600_000)


cdef bint would_cross(CompiledMarket market, ContractBook book, Order order) except -1:
    cdef Order best = market.best_order(book, not order.sells)
    return best is not None and crosses(order, best)


cdef int accept(CompiledMarket market, ContractBook book, Order order, const Place* place) except -1:
    """Gives the order its id and holds its money and its node's GPUs."""
    market.last_order_id += 1
    order.id = market.last_order_id
    market.touch_book(book)
    if order.sells:
        change_count(market.desk_of(order.node).committed, book.start_key, order.qty)
    cdef char* at = put_accepted(market.tape.open(BODY_SIZE_MAX), order, &place.command_id)
    at = post(at, market, order, book.currency, -order.hold_micros, order.hold_micros)
    return market.tape.close(b"order_accepted", 14, put_literal(at, b"]"))


cdef int trade_or_rest(CompiledMarket market, ContractBook book, Order order) except -1:
    """Matches the order, and decides what becomes of what did not trade."""
    cdef Stop stop = match(market, book, order)
    if stop == FILLED:
        return 0
    if stop == SELF_TRADE:
        return cancel(market, book, order, b"stp", stop)
    if order.what == MARKET or order.until != GTG:
        return cancel(market, book, order, b"ioc_remainder", stop)
    market.orders[order.id] = order
    market.put_into_book(order, book)
    if order.sells and market.blocks:
        market.store()
        blocks.serve_new_asks(market, book.known.product, [book.start_key])
        market.load()
    return 0


cdef int bind(
    CompiledMarket market, ContractBook book, str account, str client_order_id, object order_id, const uint8_t* digest
) except -1:
    """Keeps the answer until the contract's gate."""
    cdef Binding binding = Binding.__new__(Binding)
    memcpy(binding.digest, digest, 32)
    binding.offset = market.offset
    binding.order_id = order_id
    binding.until_ms = book.gate_ms
    cdef dict bound = market.bindings.get(account)
    if bound is None:
        bound = market.bindings[account] = {}
    bound[client_order_id] = binding
    return market.keep_until_gate(book, account, client_order_id)


# -- cancels


cdef bint cancel_order(CompiledMarket market, bytes record) except -1:
    """Cancels one resting order of the account; blocks and capacity orders are the reference's."""
    cdef Cancel command
    if not read_cancel(PyBytes_AS_STRING(record), PyBytes_GET_SIZE(record), &command):
        return False
    if (command.order_id != 0) == command.has_client_order_id:
        return refuse_cancel(market, &command, 0, b"bad_terms")
    cdef int64_t order_id = command.order_id or bound_order(market, &command)
    if not order_id:
        return refuse_cancel(market, &command, 0, b"unknown_order")
    cdef Order order = market.orders.get(order_id)
    if order is None:
        if order_id in market.blocks or order_id in market.capacity_orders:
            return False
        if order_id > market.last_order_id:
            return refuse_cancel(market, &command, order_id, b"unknown_order")
        return refuse_cancel(market, &command, order_id, b"order_closed")
    if not is_word(order.account, &command.account):
        return refuse_cancel(market, &command, order_id, b"not_the_owner")
    market.refresh(order.book)
    cancel(market, order.book, order, b"user", FILLED)
    at = put_cancel_done(market.tape.open(BODY_SIZE_MAX), &command.command_id, order.account, 1)
    market.tape.close(b"cancel_done", 11, at)
    return True


cdef bint refuse_cancel(CompiledMarket market, const Cancel* command, int64_t order_id, const char* code) except -1:
    cdef const Word* account = &command.account
    refuse(market, b"cancel_order", &command.command_id, account, &command.client_order_id, order_id, code)
    return True


cdef int64_t bound_order(CompiledMarket market, const Cancel* command) except -1:
    """The order that the client's id is bound to, or 0."""
    cdef dict bound = market.bindings.get(str_of(&command.account))
    binding = None if bound is None else bound.get(str_of(&command.client_order_id))
    return 0 if binding is None else binding.order_id or 0
