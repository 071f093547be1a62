"""A run of packed commands through the exchange, one after the other, into packed events."""

from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport free

from matching_engine.fast.blocks cimport place_block
from matching_engine.fast.cancels cimport cancel
from matching_engine.fast.capacity cimport post_capacity
from matching_engine.fast.lots cimport Search, free_search
from matching_engine.fast.matching cimport prefetch_holdings
from matching_engine.fast.orders cimport place
from matching_engine.pools.book cimport Books, Order, price_key
from matching_engine.pools.id_list cimport prefetch_end
from matching_engine.pools.id_pages cimport find_id, prefetch_id
from matching_engine.pools.memory cimport NIL, prefetch
from matching_engine.pools.price_tree cimport Page
from matching_engine.records.accounts cimport Balance, prefetch_balance, prefetch_balance_entry
from matching_engine.records.bindings cimport binding_hash, prefetch_binding
from matching_engine.records.commands cimport CANCEL, PLACE, PLACE_BLOCK, Command
from matching_engine.records.events cimport EventBuffer, reserve_events
from matching_engine.records.exchange cimport SPECIAL, DONE, Contract, Detail, Exchange, Outcome
from matching_engine.records.nodes cimport Count, prefetch_count, prefetch_count_entry

cdef enum:
    DIGEST_EVERY_OFFSETS = 4096            # a record with a digest of the balances is for Python
    ID_AHEAD = 16             # commands between touching what an id leads to and needing it
    ORDER_AHEAD = 8           # the same for the order
    AROUND_AHEAD = 4          # the same for what stands around it

cdef struct Run:
    Command* commands
    uint32_t count            # up to where they may be applied
    uint32_t done
    EventBuffer events
    Search search             # of the block in hand
    Outcome outcome           # of the command that was not done


cdef inline bint outgrows_cache(const Exchange* exchange) noexcept nogil:
    """Whether what commands lead to is more than mostly stays in the processor's cache. Clients' ids always are, since
    they are kept long after their orders.
    """
    return (
        exchange.books.orders_used * (sizeof(Order) + sizeof(Detail))
        + exchange.accounts.count * sizeof(Balance)
        + exchange.nodes.counts_used * sizeof(Count)
    ) > exchange.cached_bytes


cdef inline void prefetch_client_id(const Exchange* exchange, Command* command) noexcept nogil:
    """Begin to load where a client's id stands, or will."""
    if command.client_id_size:
        command.client_hash = binding_hash(
            &exchange.bindings, command.account, command.client_id, command.client_id_size
        )
        prefetch_binding(&exchange.bindings, command.client_hash)


cdef inline void prefetch_entries(const Exchange* exchange, const Command* command) noexcept nogil:
    """Begin to load where the order of a command stands, or what backs a new one."""
    if command.order_id:
        prefetch_id(&exchange.orders, <uint64_t>command.order_id)
    if command.contract != NIL:
        prefetch_backing_entries(exchange, command, &exchange.contracts[command.contract])


cdef inline void prefetch_backing_entries(
    const Exchange* exchange, const Command* command, const Contract* contract
) noexcept nogil:
    """Begin to load where the money and the GPUs behind a new order stand."""
    prefetch_balance_entry(&exchange.accounts, command.account, contract.currency)
    if command.node != NIL:
        prefetch(&exchange.nodes.nodes[command.node])
        prefetch_count_entry(&exchange.nodes, command.node, contract.start_s)
    elif command.account < exchange.accounts.orders_capacity:
        prefetch(&exchange.accounts.orders[command.account])


cdef inline void prefetch_records(const Exchange* exchange, const Command* command) noexcept nogil:
    """Begin to load the order that a command names, or what a new one will meet."""
    cdef uint32_t slot
    cdef const Contract* contract
    if command.order_id:
        slot = find_id(&exchange.orders, <uint64_t>command.order_id)
        if slot != NIL:
            prefetch(&exchange.books.orders[slot])
            prefetch(&exchange.details[slot])
    elif command.contract != NIL:
        contract = &exchange.contracts[command.contract]
        prefetch_backing(exchange, command, contract)
        if contract.trading and contract.bids != NIL:         # a gate may have closed since its rules were read
            prefetch_price_page(&exchange.books, contract.bids + command.sells, command.price_micros // contract.tick)


cdef inline void prefetch_backing(
    const Exchange* exchange, const Command* command, const Contract* contract
) noexcept nogil:
    """Begin to load the money and the GPUs behind a new order, and the end of the list in which it will stand."""
    prefetch_balance(&exchange.accounts, command.account, contract.currency)
    if command.node != NIL:
        prefetch_count(&exchange.nodes, command.node, contract.start_s)
        prefetch_end(&exchange.nodes.nodes[command.node].asks)
    elif command.account < exchange.accounts.orders_capacity:
        prefetch_end(&exchange.accounts.orders[command.account])


cdef inline void prefetch_price_page(const Books* books, uint32_t side, int64_t ticks) noexcept nogil:
    """Begin to load the page of the price tree on which the price stands, if that is one step from the root."""
    cdef const Page* page
    cdef uint64_t slot
    if books.sides[side].root == NIL:
        return
    page = &books.tree.pages[books.sides[side].root]
    slot = (price_key(side, ticks) ^ page.base) >> page.shift
    if page.shift != 0 and slot < 64 and page.taken >> slot & 1:
        prefetch(&books.tree.pages[page.slots[slot]])
        prefetch(&books.tree.pages[page.slots[slot]].slots[32])


cdef inline void prefetch_neighbors(const Exchange* exchange, const Command* command) noexcept nogil:
    """Begin to load what stands around the order that a command names."""
    cdef const Order* order
    cdef uint32_t slot
    if command.order_id:
        slot = find_id(&exchange.orders, <uint64_t>command.order_id)
        if slot != NIL:
            order = &exchange.books.orders[slot]
            prefetch(&exchange.books.levels[order.level])
            if order.next != NIL:
                prefetch(&exchange.books.orders[order.next])
            if order.prev != NIL:
                prefetch(&exchange.books.orders[order.prev])
            prefetch_holdings(exchange, &exchange.details[slot])


cdef inline Outcome execute_one(Exchange* exchange, Run* run, Command* command) noexcept nogil:
    """Applies a command, unless its time or its place in the log make it one for Python."""
    cdef int64_t now_ms = max(exchange.now_ms, command.ts_ms)
    cdef EventBuffer* events = &run.events
    if not exchange.is_open or now_ms >= exchange.deadline_ms:
        return SPECIAL
    if exchange.next_offset % DIGEST_EVERY_OFFSETS == 0:
        return SPECIAL
    reserve_events(events)
    exchange.now_ms = command.ts_ms = now_ms
    exchange.offset = exchange.next_offset
    if command.type == PLACE:
        return place(exchange, events, &run.search, command)
    if command.type == CANCEL:
        return cancel(exchange, events, command)
    if command.type == PLACE_BLOCK:
        return place_block(exchange, events, &run.search, command)
    return post_capacity(exchange, events, &run.search, command)


cdef inline void free_run(Run* run) noexcept nogil:
    """Gives back what a run has grown; its commands are the caller's."""
    free(run.events.bytes)
    free_search(&run.search)


cdef inline void prefetch_ahead(const Exchange* exchange, const Command* command, uint32_t left) noexcept nogil:
    """Begin to load what the commands behind this one will need, in three steps."""
    if left > ID_AHEAD:
        prefetch_entries(exchange, &command[ID_AHEAD])
    if left > ORDER_AHEAD:
        prefetch_records(exchange, &command[ORDER_AHEAD])
    if left > AROUND_AHEAD:
        prefetch_neighbors(exchange, &command[AROUND_AHEAD])


cdef inline void execute(Exchange* exchange, Run* run) noexcept nogil:
    """Applies commands from the first that is not done, until one is special."""
    cdef bint prefetches = outgrows_cache(exchange)
    cdef uint32_t ahead
    cdef size_t before
    for ahead in range(run.done, min(run.done + ID_AHEAD, run.count)):
        prefetch_client_id(exchange, &run.commands[ahead])
        if prefetches:
            prefetch_entries(exchange, &run.commands[ahead])
    while run.done < run.count:
        if run.count - run.done > ID_AHEAD:
            prefetch_client_id(exchange, &run.commands[run.done + ID_AHEAD])
        if prefetches:
            prefetch_ahead(exchange, &run.commands[run.done], run.count - run.done)
        before = run.events.count
        run.outcome = execute_one(exchange, run, &run.commands[run.done])
        if run.outcome != DONE:
            return
        run.commands[run.done].events = <uint32_t>(run.events.count - before)
        exchange.next_offset += 1
        run.done += 1
