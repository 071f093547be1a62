"""What blocks look at: asks by node and hour, and resold ones; and the structs of those that wait."""

from libc.stdint cimport int64_t, uint32_t

from matching_engine.bridge.core cimport Core, text_of_name
from matching_engine.bridge.fields cimport client_id_at
from matching_engine.bridge.orders cimport Orders, place_of_id
from matching_engine.pools.book cimport best_order, next_order
from matching_engine.pools.id_pages cimport find_id
from matching_engine.pools.memory cimport NIL
from matching_engine.records.accounts cimport find_balance
from matching_engine.records.blocks cimport Block, Blocks, set_pending
from matching_engine.records.exchange cimport Contract, Exchange, count_hours, drop_block, keep_block
from matching_engine.records.nodes cimport Node

from matching_engine.rules.sections import TIFS
from matching_engine.rules.store import rank_of


def book_order(order):
    """The place of an ask in its book."""
    return order.price_micros, rank_of(order)


cdef list asks_by_hour(Orders orders, str node, contracts):
    """A node's own asks in each of the contracts, in the order of the book."""
    cdef Exchange* exchange = &orders.core.exchange
    cdef Node* facts = &exchange.nodes.nodes[orders.core.node(node)]
    cdef uint32_t place, slot
    cdef dict hours = {orders.core.contract(contract): [] for contract in contracts}
    cdef list found
    for place in range(facts.asks.used):
        slot = find_id(&exchange.orders, facts.asks.ids[place])
        if slot == NIL:
            continue
        found = hours.get(exchange.details[slot].contract)
        if found is not None:
            ask = orders.at(slot)
            if ask not in found:
                found.append(ask)
    for found in hours.values():
        if len(found) > 1:
            found.sort(key=book_order)
    return list(hours.values())


cdef list resale_asks(Orders orders, str contract):
    """The asks that positions back, in the order of the book."""
    cdef Contract* known = &orders.core.exchange.contracts[orders.core.contract(contract)]
    cdef list found = []
    cdef uint32_t slot
    if known.special_count[1] == 0 or known.bids == NIL:
        return found
    slot = best_order(&orders.core.exchange.books, known.bids + 1)
    while slot != NIL:
        if orders.core.exchange.details[slot].node == NIL:
            found.append(orders.at(slot))
        slot = next_order(&orders.core.exchange.books, slot)
    return found


# -- blocks that wait


cdef class BlockRecords:
    """What the structs have of blocks that wait, for the records that the rules know."""

    def __init__(self, Core core):
        self.core = core

    def slot_of(self, block_id):
        """Where a block stands; None where it does not wait any more."""
        cdef uint32_t slot = find_id(&self.core.exchange.blocks.ids, block_id)
        return None if slot == NIL else slot

    def fields(self, uint32_t slot):
        """A block's fields that nobody changes."""
        cdef Exchange* exchange = &self.core.exchange
        cdef const Block* block = &exchange.blocks.pool[slot]
        return {
            "id": block.id,
            "account": text_of_name(&exchange.accounts.names, block.account),
            "client_order_id": client_id_at(exchange, block.client),
            "product": text_of_name(&exchange.product_names, block.product),
            "periods": block.periods,
            "qty": block.qty,
            "min_qty": block.min_qty,
            "limit_price_micros": block.limit_price_micros,
            "max_cost_micros": block.max_cost_micros or None,
            "tif": TIFS[block.tif],
        }

    def get(self, uint32_t slot, str field):
        """A field that the rules change."""
        cdef const Block* block = &self.core.exchange.blocks.pool[slot]
        if field == "start_s":
            return block.first_s
        if field == "latest_s":
            return block.latest_s
        if field == "left":
            return block.left
        if field == "hold_micros":
            return block.hold_micros
        return block.hold_unit_micros if field == "hold_unit_micros" else block.spent_micros

    def set(self, uint32_t slot, str field, int64_t value):
        """Changes such a field; the periods that the block may come to need follow its starts."""
        cdef Block* block = &self.core.exchange.blocks.pool[slot]
        if field == "start_s" or field == "latest_s":
            count_hours(&self.core.exchange, block, False)
            if field == "start_s":
                block.first_s = value
            else:
                block.latest_s = value
            count_hours(&self.core.exchange, block, True)
        elif field == "left":
            block.left = <uint32_t>value
        elif field == "hold_micros":
            block.hold_micros = value
        elif field == "hold_unit_micros":
            block.hold_unit_micros = value
        else:
            block.spent_micros = value

    def add(self, block, uint32_t currency, uint32_t gate):
        """A block of the rules waits from now on."""
        cdef Exchange* exchange = &self.core.exchange
        cdef Block kept
        kept.id, kept.first_s, kept.latest_s = block.id, block.start_s, block.latest_s
        kept.limit_price_micros, kept.max_cost_micros = block.limit_price_micros, block.max_cost_micros or 0
        kept.hold_unit_micros, kept.hold_micros = block.hold_unit_micros, block.hold_micros
        kept.spent_micros = block.spent_micros
        kept.product, kept.periods = self.core.product(block.product), block.periods
        kept.qty, kept.min_qty, kept.left = block.qty, block.min_qty, block.left
        kept.account, kept.currency = self.core.account(block.account), currency
        kept.client = place_of_id(self.core, gate, kept.account, block.client_order_id)
        kept.balance = find_balance(&exchange.accounts, kept.account, currency)
        kept.tif = TIFS.index(block.tif)
        if kept.balance == NIL:
            raise ValueError("a block holds nobody's money")
        keep_block(exchange, &kept)

    def drop(self, uint32_t slot):
        """The rules have ended a block."""
        drop_block(&self.core.exchange, slot)

    # -- what the compiled rules do, told to the others, and back

    def sync(self, state):
        """Tells the rules which blocks the compiled ones ended and took, and which they have left to be tried."""
        cdef Blocks* blocks = &self.core.exchange.blocks
        cdef uint32_t place
        for place in range(blocks.gone.used):
            state.blocks.forget(blocks.gone.ids[place])
        for place in range(blocks.new.used):
            state.blocks.hear(blocks.new.ids[place])
        blocks.gone.used = blocks.new.used = 0
        if blocks.tried:
            self.sync_pending(state)

    cdef int sync_pending(self, state) except -1:
        cdef Exchange* exchange = &self.core.exchange
        cdef uint32_t product
        for product in range(exchange.product_names.count):
            if exchange.products[product].tried:
                exchange.products[product].tried = False
                name = text_of_name(&exchange.product_names, product)
                pending = self.pending_of(product)
                if pending:
                    state.pending_blocks[name] = pending
                else:
                    state.pending_blocks.pop(name, None)
        exchange.blocks.tried = False
        return 0

    cdef list pending_of(self, uint32_t product):
        """The ids of a product's blocks that are to be tried, oldest first."""
        cdef const Block* block
        cdef uint32_t slot = self.core.exchange.products[product].first_block
        cdef list found = []
        while slot != NIL:
            block = &self.core.exchange.blocks.pool[slot]
            if block.pending:
                found.append(block.id)
            slot = block.next
        return found

    def mark_pending(self, state):
        """Takes note of the blocks that the rules have left to be tried."""
        cdef Exchange* exchange = &self.core.exchange
        cdef Block* block
        cdef uint32_t slot
        self.forget_pending()
        for pending in state.pending_blocks.values():
            for block_id in pending:
                slot = find_id(&exchange.blocks.ids, block_id)
                if slot != NIL:                       # else it is yet to come
                    block = &exchange.blocks.pool[slot]
                    set_pending(&exchange.blocks, &exchange.products[block.product], block, True)

    cdef int forget_pending(self) except -1:
        """No block is to be tried."""
        cdef Exchange* exchange = &self.core.exchange
        cdef uint32_t product, slot
        for product in range(exchange.product_names.count):
            slot = exchange.products[product].first_block if exchange.products[product].pending else NIL
            while slot != NIL:
                set_pending(&exchange.blocks, &exchange.products[product], &exchange.blocks.pool[slot], False)
                slot = exchange.blocks.pool[slot].next
        return 0
