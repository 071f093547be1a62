"""How what is left of an order ends before its time: its hold comes back in the same event."""

from libc.stdint cimport int64_t, uint32_t, uint64_t

from matching_engine.fast.matching cimport Taker
from matching_engine.fast.money cimport post
from matching_engine.pools.book cimport Order
from matching_engine.pools.id_pages cimport find_id
from matching_engine.pools.memory cimport NIL
from matching_engine.records.bindings cimport binding_at
from matching_engine.records.blocks cimport Block
from matching_engine.records.commands cimport Command
from matching_engine.records.events cimport (
    CANCEL_DONE, CANCELED, FILLED, REJECTED, Canceled, CancelDone, EventBuffer, Rejected, Stop, Why, add_event,
)
from matching_engine.records.exchange cimport (
    BLOCK, SPECIAL, DONE, NEGATIVE_BALANCE, SPECIAL_TRADING, Contract, Detail, Exchange, Outcome, best_ticks, end_block,
    find_bound, price_at, side_of, remove_order,
)


cdef inline Rejected* reject(EventBuffer* events, const char* code, int64_t order_id) noexcept nogil:
    """A command breaks a rule; nothing else happens."""
    cdef Rejected* rejected = <Rejected*>add_event(events, REJECTED, sizeof(Rejected))
    rejected.order_id = order_id
    rejected.code = code
    rejected.why = Why(0, 0, FILLED)
    return rejected


cdef inline Outcome give_back(Exchange* exchange, Canceled* canceled, uint32_t balance) noexcept nogil:
    """What an order held is available again; one that held nothing may have no balance."""
    cdef int64_t released = canceled.released_micros
    if released and not post(exchange, balance, released, -released, &canceled.balance):
        return NEGATIVE_BALANCE
    return DONE


cdef inline Outcome cancel_resting(Exchange* exchange, EventBuffer* events, uint32_t slot) noexcept nogil:
    """Takes a resting order away because its owner says so."""
    cdef Order* order = &exchange.books.orders[slot]
    cdef Detail* detail = &exchange.details[slot]
    cdef Canceled* canceled = <Canceled*>add_event(events, CANCELED, sizeof(Canceled))
    canceled.order_id = <int64_t>order.id
    canceled.price_micros = price_at(exchange, slot)
    canceled.released_micros = detail.hold_micros
    canceled.reason = b"user"
    canceled.account = order.owner
    canceled.contract = detail.contract
    canceled.client = detail.client
    canceled.currency = exchange.contracts[detail.contract].currency
    canceled.left = <uint32_t>order.quantity
    canceled.sells = side_of(exchange, slot) & 1
    canceled.kind = detail.kind
    canceled.why = Why(0, 0, FILLED)
    if detail.node != NIL:
        exchange.nodes.counts[detail.count].committed -= <int>order.quantity
    remove_order(exchange, slot)
    return give_back(exchange, canceled, detail.balance)


cdef inline Outcome cancel_rest(
    Exchange* exchange, EventBuffer* events, const Contract* contract, Taker* taker, const char* reason, Stop stop
) noexcept nogil:
    """Takes away what is left of an order that was just matched."""
    cdef Canceled* canceled = <Canceled*>add_event(events, CANCELED, sizeof(Canceled))
    canceled.order_id = taker.id
    canceled.price_micros = taker.price_micros
    canceled.released_micros = taker.hold_micros
    canceled.why.best_price_micros = best_ticks(exchange, contract.bids + (not taker.sells)) * contract.tick
    canceled.why.missing = taker.left
    canceled.why.stop = stop
    canceled.reason = reason
    canceled.account = taker.account
    canceled.contract = taker.contract
    canceled.client = taker.client
    canceled.currency = contract.currency
    canceled.left = taker.left
    canceled.sells = taker.sells
    canceled.kind = taker.kind
    if taker.sells:
        exchange.nodes.counts[taker.count].committed -= <int>taker.left
    return give_back(exchange, canceled, taker.balance)


cdef inline int64_t named_order(const Exchange* exchange, const Command* command) noexcept nogil:
    """The order that a cancel names by our id or by the client's, or 0."""
    cdef uint32_t place
    if command.order_id:
        return command.order_id
    place = find_bound(exchange, command)
    return 0 if place == NIL else binding_at(&exchange.bindings, place).order_id


cdef inline Canceled* begin_cancel(
    EventBuffer* events, const Block* block, const char* reason, Why why
) noexcept nogil:
    """The event that what is left of a block is over; its money has yet to go back."""
    cdef Canceled* canceled = <Canceled*>add_event(events, CANCELED, sizeof(Canceled))
    canceled.order_id = block.id
    canceled.price_micros = block.limit_price_micros
    canceled.released_micros = block.hold_micros
    canceled.reason = reason
    canceled.account = block.account
    canceled.contract = NIL
    canceled.client = block.client
    canceled.currency = block.currency
    canceled.left = block.left
    canceled.sells = False
    canceled.kind = BLOCK
    canceled.why = why
    return canceled


cdef inline Outcome cancel_waiting(Exchange* exchange, EventBuffer* events, uint32_t slot) noexcept nogil:
    """Takes a block that waits away because its owner says so."""
    cdef uint32_t balance = exchange.blocks.pool[slot].balance
    cdef Canceled* canceled = begin_cancel(events, &exchange.blocks.pool[slot], b"user", Why(0, 0, FILLED))
    end_block(exchange, slot)
    return give_back(exchange, canceled, balance)


cdef inline void note_done(EventBuffer* events, const Command* command) noexcept nogil:
    cdef CancelDone* done = <CancelDone*>add_event(events, CANCEL_DONE, sizeof(CancelDone))
    done.account = command.account
    done.canceled = 1


cdef inline Outcome cancel_block(
    Exchange* exchange, EventBuffer* events, const Command* command, int64_t order_id
) noexcept nogil:
    """Cancels one block of the account; capacity orders and blocks that are to be tried are for Python."""
    cdef uint32_t slot = find_id(&exchange.blocks.ids, <uint64_t>order_id)
    cdef Outcome outcome
    if slot == NIL and order_id > exchange.last_order_id:
        reject(events, b"unknown_order", order_id)
        return DONE
    if slot == NIL:
        return SPECIAL
    if exchange.blocks.pool[slot].account != command.account:
        reject(events, b"not_the_owner", order_id)
        return DONE
    if exchange.blocks.pool[slot].pending:
        return SPECIAL
    outcome = cancel_waiting(exchange, events, slot)
    note_done(events, command)
    return outcome


cdef inline Outcome cancel(Exchange* exchange, EventBuffer* events, const Command* command) noexcept nogil:
    """Cancels one resting order or waiting block of the account."""
    cdef int64_t order_id
    cdef uint32_t slot
    cdef Outcome outcome
    if (command.order_id != 0) == (command.client_id_size != 0):
        reject(events, b"bad_terms", 0)
        return DONE
    order_id = named_order(exchange, command)
    if order_id == 0:
        reject(events, b"unknown_order", 0)
        return DONE
    slot = find_id(&exchange.orders, <uint64_t>order_id)
    if slot == NIL:
        return cancel_block(exchange, events, command, order_id)
    if exchange.books.orders[slot].owner != command.account:
        reject(events, b"not_the_owner", order_id)
        return DONE
    if exchange.details[slot].special == SPECIAL_TRADING:
        return SPECIAL
    outcome = cancel_resting(exchange, events, slot)
    note_done(events, command)
    return outcome
