"""The way of a new order: checked, held for, bound to its client's id, matched, and what is left rests.

Either an order is done completely, or the answer is SPECIAL or STALE and nothing has changed.
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memcmp

from matching_engine.fast.cancels cimport cancel_rest, reject
from matching_engine.fast.lots cimport Search
from matching_engine.fast.matching cimport Taker, would_cross, dry_match, match, meets_special
from matching_engine.fast.money cimport AMOUNT_MAX_MICROS, ask_unit, bid_unit, hold_of, post, unit_micros, wide
from matching_engine.fast.waiting_blocks cimport serve_ask, serves_special
from matching_engine.pools.memory cimport NIL
from matching_engine.records.accounts cimport RESERVED_ACCOUNTS, find_balance
from matching_engine.records.bindings cimport DIGEST_BYTES, Binding, bind, binding_at
from matching_engine.records.commands cimport Command
from matching_engine.records.events cimport (
    ACCEPTED, DUPLICATE, FILLED, POST_ONLY, SELF_TRADE, Accepted, Duplicate, EventBuffer, Rejected, Stop, Why, add_event,
)
from matching_engine.records.exchange cimport (
    SPECIAL, DONE, FOK, GTG, LIMIT, MARKET, NEGATIVE_BALANCE, STALE_CONTRACT, STALE_NODE, ORDINARY, Contract,
    Detail, Exchange, Outcome, best_ticks, find_bound, is_limited, list_order, rest,
)
from matching_engine.records.node_row cimport note_ask
from matching_engine.records.nodes cimport Node, find_count, open_count


# -- the rules that an order must keep, in Python's order; each gives the code of the first one broken, or NULL


cdef inline const char* broken_terms(const Contract* contract, const Command* order, int64_t ticks) noexcept nogil:
    """A limit has a price, a market order is a buy with a bound and never rests; a sell names its node, a buy none."""
    cdef bint priced = order.price_micros != 0
    cdef bint bounded = order.max_cost_micros != 0
    if priced == order.at_market or bounded != order.at_market:
        return b"bad_terms"
    if order.at_market and (order.sells or order.post_only):
        return b"bad_terms"
    if (order.post_only and order.tif != GTG) or (order.node != NIL and not order.sells):
        return b"bad_terms"
    if order.min_qty and order.post_only:
        return b"bad_terms"
    if contract.lot != 1 and (order.qty % contract.lot or order.min_qty % contract.lot):
        return b"off_lot"
    if order.min_qty > order.qty:
        return b"bad_quantity"
    if ticks * contract.tick != order.price_micros:
        return b"off_tick"
    return NULL


cdef inline const char* broken_backing(
    const Exchange* exchange, const Contract* contract, const Command* order, Taker* taker
) noexcept nogil:
    """An ask's node is the account's own, heartbeat-fresh, of the product's grade and hub, and has the GPUs."""
    cdef const Node* node = &exchange.nodes.nodes[order.node]
    cdef int64_t committed
    if node.account != order.account:
        return b"not_the_owner"
    if not node.alive or exchange.now_ms >= node.until_ms:
        return b"node_not_alive"
    if node.grade != contract.grade or node.hub != contract.hub:
        return b"wrong_product_for_node"
    taker.count = find_count(&exchange.nodes, order.node, contract.start_s)
    committed = 0 if taker.count == NIL else exchange.nodes.counts[taker.count].committed
    if committed + order.qty > node.rentable:
        return b"insufficient_capacity"
    return NULL


cdef inline const char* broken_funds(const Exchange* exchange, uint32_t balance, wide hold) noexcept nogil:
    """Money is there before the order."""
    if hold > AMOUNT_MAX_MICROS:
        return b"amount_overflow"
    if hold > (0 if balance == NIL else exchange.accounts.balances[balance].available):
        return b"insufficient_funds"
    return NULL


cdef inline const char* broken_rule(
    const Exchange* exchange, const Contract* contract, const Command* order, Taker* taker
) noexcept nogil:
    """All rules, one after the other; what the order will hold is worked out on the way."""
    cdef const char* code = broken_terms(contract, order, taker.ticks)
    cdef wide hold = order.max_cost_micros
    if code == NULL and order.sells:
        code = broken_backing(exchange, contract, order, taker)
    if code != NULL:
        return code
    if order.sells:
        taker.hold_unit_micros = ask_unit(contract, exchange.nodes.nodes[order.node].level, order.price_micros)
    elif not order.at_market:
        taker.hold_unit_micros = bid_unit(contract, order.price_micros)
    if not order.at_market:
        hold = hold_of(order.qty, taker.hold_unit_micros)
    taker.hold_micros = <int64_t>hold
    return broken_funds(exchange, taker.balance, hold)


# -- clients' ids


cdef inline Outcome answer_again(
    Exchange* exchange, EventBuffer* events, const Command* order, uint32_t place
) noexcept nogil:
    """Answers a repeat with the first result; another body under the same id is refused."""
    cdef const Binding* binding = binding_at(&exchange.bindings, place)
    cdef Duplicate* duplicate
    if memcmp(binding.digest, order.digest, DIGEST_BYTES) != 0:
        reject(events, b"client_order_id_conflict", binding.order_id)
        return DONE
    duplicate = <Duplicate*>add_event(events, DUPLICATE, sizeof(Duplicate))
    duplicate.order_id = binding.order_id
    duplicate.first_offset = binding.offset
    duplicate.account = order.account
    return DONE


cdef inline uint32_t bind_order(
    Exchange* exchange, const Contract* contract, const Command* order, int64_t order_id
) noexcept nogil:
    """Keeps the answer until the contract's gate."""
    return bind(
        &exchange.bindings, contract.gate, order.account, order.client_id, order.client_id_size,
        order.client_hash, order.digest, exchange.offset, order_id,
    )


# -- the order


cdef inline Outcome accept(
    Exchange* exchange, EventBuffer* events, const Contract* contract, const Command* order, Taker* taker
) noexcept nogil:
    """Holds the order's money and its node's GPUs."""
    cdef Accepted* accepted = <Accepted*>add_event(events, ACCEPTED, sizeof(Accepted))
    accepted.order_id = taker.id
    accepted.parent_id = taker.parent_id
    accepted.price_micros = order.price_micros
    accepted.max_cost_micros = order.max_cost_micros
    accepted.hold_micros = taker.hold_micros
    accepted.account = order.account
    accepted.contract = order.contract
    accepted.node = taker.node
    accepted.client = taker.client
    accepted.currency = contract.currency
    accepted.qty = order.qty
    accepted.sells = order.sells
    accepted.kind = taker.kind
    accepted.tif = order.tif
    accepted.post_only = order.post_only
    if order.sells:
        if taker.count == NIL:
            taker.count = open_count(&exchange.nodes, order.node, contract.start_s)
        exchange.nodes.counts[taker.count].committed += <int>order.qty
    if taker.balance == NIL:      # an order that holds nothing may come before any money
        accepted.balance.available = accepted.balance.held = 0
        return DONE
    if not post(exchange, taker.balance, -taker.hold_micros, taker.hold_micros, &accepted.balance):
        return NEGATIVE_BALANCE
    return DONE


cdef inline Outcome put_to_rest(Exchange* exchange, Contract* contract, const Command* order, Taker* taker) noexcept nogil:
    cdef uint32_t slot
    cdef Detail* detail
    slot = rest(exchange, contract.bids + taker.sells, taker.ticks, taker.left, taker.id, taker.account)
    detail = &exchange.details[slot]
    detail.price_micros = taker.price_micros
    detail.hold_micros = taker.hold_micros
    detail.hold_unit_micros = taker.hold_unit_micros
    detail.rank = taker.id
    detail.behind = <uint32_t>(taker.id - taker.parent_id) if taker.parent_id else 0
    detail.qty = order.qty
    detail.contract = taker.contract
    detail.node = taker.node
    detail.client = taker.client
    detail.balance = taker.balance
    detail.count = taker.count
    detail.kind = taker.kind
    detail.tif = order.tif
    detail.post_only = order.post_only
    detail.special = ORDINARY
    if taker.sells:
        note_ask(&contract.nodes, taker.node, unit_micros(contract, taker.price_micros), taker.id)
    list_order(exchange, <uint64_t>taker.id, taker.account, taker.node)
    return DONE


cdef inline Outcome trade_and_rest(
    Exchange* exchange, EventBuffer* events, Contract* contract, const Command* order, Taker* taker, bint* rests
) noexcept nogil:
    """Matches the order, and decides what becomes of what did not trade."""
    cdef Stop stop
    cdef Outcome outcome = match(exchange, events, contract, taker, &stop)
    rests[0] = False
    if outcome != DONE or stop == FILLED:
        return outcome
    if stop == SELF_TRADE:
        return cancel_rest(exchange, events, contract, taker, b"stp", stop)
    if taker.kind == MARKET or order.tif != GTG:
        return cancel_rest(exchange, events, contract, taker, b"ioc_remainder", stop)
    rests[0] = True
    return put_to_rest(exchange, contract, order, taker)


cdef inline bint is_special(
    const Exchange* exchange, const Contract* contract, const Command* order, int64_t ticks
) noexcept nogil:
    """What the rules in Python do: whatever would meet a special order, be it by a block that waits."""
    if order.sells and serves_special(
        exchange, contract.product, contract.start_s, contract.start_s + contract.period_s
    ):
        return True
    return meets_special(exchange, contract, order.account, order.sells, ticks, order.qty)


cdef inline bint is_unfillable(
    Exchange* exchange, EventBuffer* events, const Contract* contract, const Command* order, const Taker* taker
) noexcept nogil:
    """Whether less would trade at once than the order asks for; then it is refused."""
    cdef uint32_t wanted = order.qty if order.tif == FOK else order.min_qty
    cdef uint32_t filled
    cdef Stop stop
    cdef Rejected* rejected
    if wanted == 0:
        return False
    filled = dry_match(exchange, contract, taker, &stop)
    if filled >= wanted:
        return False
    bind_order(exchange, contract, order, 0)
    rejected = reject(events, b"fok_not_filled" if order.tif == FOK else b"min_qty_not_filled", 0)
    rejected.why = Why(best_ticks(exchange, contract.bids + (not order.sells)) * contract.tick, wanted - filled, stop)
    return True


cdef inline Outcome send(
    Exchange* exchange, EventBuffer* events, Search* search, Contract* contract, const Command* order, Taker* taker
) noexcept nogil:
    """Sends an order that was taken through its book; what rests of an ask goes to the blocks that wait."""
    cdef bint rests
    cdef Outcome outcome
    if order.post_only and would_cross(exchange, contract, order.sells, taker.ticks):
        return cancel_rest(exchange, events, contract, taker, b"post_only_cross", POST_ONLY)
    outcome = trade_and_rest(exchange, events, contract, order, taker, &rests)
    if outcome == DONE and order.sells and rests:
        outcome = serve_ask(exchange, events, search, contract)
    return outcome


cdef inline Outcome place(
    Exchange* exchange, EventBuffer* events, Search* search, const Command* order
) noexcept nogil:
    """Takes a bid or an ask for one contract."""
    cdef Contract* contract = &exchange.contracts[order.contract]
    cdef Taker taker
    cdef const char* code
    cdef uint32_t bound
    cdef Outcome outcome
    if contract.version != exchange.version:
        return STALE_CONTRACT
    if order.node != NIL and exchange.nodes.nodes[order.node].version != exchange.version:
        return STALE_NODE
    if not contract.trading or not contract.known or order.account < RESERVED_ACCOUNTS:
        return SPECIAL
    if is_limited(exchange, order.account):
        return SPECIAL
    if order.sells and order.node == NIL:      # positions back it
        return SPECIAL
    bound = find_bound(exchange, order)
    if bound != NIL:
        return answer_again(exchange, events, order, bound)
    taker.parent_id = 0
    taker.price_micros = order.price_micros
    taker.ticks = order.price_micros // contract.tick
    taker.hold_unit_micros = 0
    taker.left = order.qty
    taker.account = order.account
    taker.contract = order.contract
    taker.node = order.node
    taker.balance = find_balance(&exchange.accounts, order.account, contract.currency)
    taker.count = NIL
    taker.sells = order.sells
    taker.kind = MARKET if order.at_market else LIMIT
    code = broken_rule(exchange, contract, order, &taker)
    if code != NULL:
        bind_order(exchange, contract, order, 0)
        reject(events, code, 0)
        return DONE
    if is_special(exchange, contract, order, taker.ticks):
        return SPECIAL
    if is_unfillable(exchange, events, contract, order, &taker):
        return DONE
    exchange.last_order_id += 1
    taker.id = exchange.last_order_id
    taker.client = bind_order(exchange, contract, order, taker.id)
    outcome = accept(exchange, events, contract, order, &taker)
    return outcome if outcome != DONE else send(exchange, events, search, contract, order, &taker)
