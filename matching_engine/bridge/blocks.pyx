"""What blocks look at: asks by node and hour, and resold ones; and a block that waits, as the rules have it."""

from libc.stdint cimport uint32_t

from matching_engine.bridge.core cimport Core, text_of_name
from matching_engine.bridge.fields cimport client_id_at
from matching_engine.bridge.orders cimport Orders
from matching_engine.pools.book cimport best_order, next_order
from matching_engine.pools.id_pages cimport find_id
from matching_engine.pools.memory cimport NIL
from matching_engine.records.exchange cimport Block, Contract, Exchange
from matching_engine.records.nodes cimport Node

from matching_engine.rules.sections import TIFS
from matching_engine.rules.state import Block as WaitingBlock
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
    if known.unusual == 0 or known.bids == NIL:
        return found
    slot = best_order(&orders.core.exchange.books, known.bids + 1)
    while slot != NIL:
        if orders.core.exchange.details[slot].node == NIL:
            found.append(orders.at(slot))
        slot = next_order(&orders.core.exchange.books, slot)
    return found


cdef object plain_block(Core core, const Block* block):
    """A block that waits, as the rules have it."""
    cdef Exchange* exchange = &core.exchange
    return WaitingBlock(
        id=block.id,
        account=text_of_name(&exchange.accounts.names, block.account),
        client_order_id=client_id_at(exchange, block.client),
        product=text_of_name(&exchange.product_names, block.product),
        start_s=block.first_s,
        latest_s=block.first_s,
        periods=block.periods,
        qty=block.qty,
        min_qty=block.min_qty,
        left=block.left,
        limit_price_micros=block.limit_price_micros,
        max_cost_micros=block.max_cost_micros or None,
        tif=TIFS[block.tif],
        hold_unit_micros=block.hold_unit_micros,
        hold_micros=block.hold_micros,
        spent_micros=block.spent_micros,
    )
