"""The way of an order and of a cancel through the compiled engine; what is out of the ordinary goes to the reference.

Both functions say whether they did it. Where they did not, nothing has changed, and the reference's own rule decides
on the same records: it has the refusals, and the orders that rarely come.
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
from matching_engine.event_text cimport put_accepted, put_cancel_done, put_duplicate
from matching_engine.records cimport (
    LIMIT, MARKET, Balance, Binding, ContractBook, NodeDesk, Order,
)
from matching_engine.trading cimport (
    FILLED, SELF_TRADE, Stop, cancel, change_count, crosses, fee_micros, match, post, unit_micros,
)
from matching_engine.wire cimport is_word, put_literal, str_of

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
    if book is None or account == VENUE or account == GUARANTEE:
        return False
    cdef uint8_t[32] digest
    digest_body(record, place.command_id.size, digest)
    cdef str client_order_id = str_of(&place.client_order_id)
    cdef dict bound = market.bindings.get(account)
    if bound is not None and client_order_id in bound:
        return answer_again(market, &place, account, client_order_id, bound[client_order_id], digest)
    cdef Order order = draft(market, book, &place, account, client_order_id)
    if order is None:
        return False
    accept(market, book, order, &place)
    trade_or_rest(market, book, order)
    bind(market, book, order, digest)
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


cdef Order draft(
    CompiledMarket market, ContractBook book, const Place* place, str account, str client_order_id
):
    """The order with its hold, if it keeps every rule and its money is there; else None."""
    cdef NodeDesk desk = None
    if not keeps_terms(book, place):
        return None
    if place.sells:
        desk = backing_desk(market, book, place, account)
        if desk is None:
            return None
    cdef int64_t unit = 0
    cdef wide hold = place.max_cost_micros
    if not place.at_market:
        unit = ask_unit(book, desk, place.price_micros) if place.sells else bid_unit(book, place.price_micros)
        hold = <wide>place.qty * unit
    cdef Balance balance = market.find_balance(account, book.currency)
    if hold > AMOUNT_MAX_MICROS or hold > (0 if balance is None else balance.available):
        return None
    cdef Order order = Order.__new__(Order)
    order.account = account
    order.client_order_id = client_order_id
    order.contract = book.name
    order.node = str_of(&place.node) if place.sells else None
    order.qty = order.left = place.qty
    order.price = place.price_micros
    order.max_cost = place.max_cost_micros
    order.hold_unit_micros = unit
    order.hold_micros = <int64_t>hold
    order.sells = place.sells
    order.what = MARKET if place.at_market else LIMIT
    order.until = place.tif
    order.post_only = place.post_only
    order.balance = balance
    return None if order.post_only and would_cross(market, book, order) else order


cdef bint keeps_terms(ContractBook book, const Place* place) noexcept:
    """A limit has a price, a market order is a buy with a bound; a sell names its node. FOK is the reference's."""
    if place.tif == FOK or place.sells != place.has_node or place.qty % book.lot:
        return False
    if place.at_market:
        return place.price_micros == 0 and place.max_cost_micros != 0 and not place.sells and not place.post_only
    if place.price_micros == 0 or place.max_cost_micros != 0 or place.price_micros % book.tick:
        return False
    return not place.post_only or place.tif == GTG


cdef NodeDesk backing_desk(CompiledMarket market, ContractBook book, const Place* place, str account):
    """The node behind an ask, if it may stand there and has the GPUs."""
    cdef NodeDesk desk = market.desk_of(str_of(&place.node))
    cdef int64_t committed
    if desk is None or desk.account != account or not desk.alive or market.now >= desk.until_ms:
        return None
    if desk.grade != book.grade or desk.hub != book.hub:
        return None
    committed = desk.committed.get(book.start_key, 0)
    return desk if committed + place.qty <= desk.rentable else None


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


cdef int bind(CompiledMarket market, ContractBook book, Order order, const uint8_t* digest) except -1:
    """Keeps the answer until the contract's gate."""
    cdef Binding binding = Binding.__new__(Binding)
    memcpy(binding.digest, digest, 32)
    binding.offset = market.offset
    binding.order_id = order.id
    binding.until_ms = book.gate_ms
    cdef dict bound = market.bindings.get(order.account)
    if bound is None:
        bound = market.bindings[order.account] = {}
    bound[order.client_order_id] = binding
    return market.keep_until_gate(book, order.account, order.client_order_id)


# -- cancels


cdef bint cancel_order(CompiledMarket market, bytes record) except -1:
    """Cancels one resting order of the account; blocks and capacity orders are the reference's."""
    cdef Cancel command
    if not read_cancel(PyBytes_AS_STRING(record), PyBytes_GET_SIZE(record), &command):
        return False
    if (command.order_id != 0) == command.has_client_order_id:
        return False
    cdef Order order = find_order(market, &command)
    if order is None or not is_word(order.account, &command.account):
        return False
    market.refresh(order.book)
    cancel(market, order.book, order, b"user", FILLED)
    at = put_cancel_done(market.tape.open(BODY_SIZE_MAX), &command.command_id, order.account, 1)
    market.tape.close(b"cancel_done", 11, at)
    return True


cdef Order find_order(CompiledMarket market, const Cancel* command):
    if command.order_id:
        return market.orders.get(command.order_id)
    cdef dict bound = market.bindings.get(str_of(&command.account))
    binding = None if bound is None else bound.get(str_of(&command.client_order_id))
    return None if binding is None else market.orders.get(binding.order_id)
