"""Rows of nodes' cheapest asks as the books have them: read whole once, then only where a node's cheapest one is gone."""

from libc.stdint cimport uint32_t

from matching_engine.fast.money cimport unit_micros
from matching_engine.pools.book cimport best_order, next_order
from matching_engine.pools.id_pages cimport find_id
from matching_engine.pools.memory cimport NIL
from matching_engine.records.exchange cimport Contract, Exchange, price_at
from matching_engine.records.node_row cimport NO_ASK, UNKNOWN, NodeRow, note_ask, open_row
from matching_engine.records.nodes cimport Node


cdef inline void note_resting(Exchange* exchange, Contract* contract, uint32_t slot) noexcept nogil:
    """Work a resting ask into its contract's row."""
    note_ask(
        &contract.nodes, exchange.details[slot].node, unit_micros(contract, price_at(exchange, slot)),
        exchange.details[slot].rank,
    )


cdef inline void read_whole(Exchange* exchange, Contract* contract) noexcept nogil:
    """Read all asks of a book."""
    cdef uint32_t slot
    open_row(&contract.nodes, exchange.nodes.names.count)
    slot = NIL if contract.bids == NIL else best_order(&exchange.books, contract.bids + 1)
    while slot != NIL:
        if exchange.details[slot].node != NIL:
            note_resting(exchange, contract, slot)
        slot = next_order(&exchange.books, slot)


cdef inline void read_node(Exchange* exchange, uint32_t number, uint32_t node) noexcept nogil:
    """Find a node's cheapest ask of a contract anew."""
    cdef Contract* contract = &exchange.contracts[number]
    cdef const Node* facts = &exchange.nodes.nodes[node]
    cdef uint32_t place, slot
    contract.nodes.units[node] = NO_ASK
    for place in range(facts.asks.used):
        slot = find_id(&exchange.orders, facts.asks.ids[place])
        if slot != NIL and exchange.details[slot].contract == number:
            note_resting(exchange, contract, slot)


cdef inline void read_row(Exchange* exchange, uint32_t number) noexcept nogil:
    """Make a contract's row say what its book has."""
    cdef Contract* contract = &exchange.contracts[number]
    cdef NodeRow* row = &contract.nodes
    cdef uint32_t node
    if not row.valid or row.size < exchange.nodes.names.count:
        read_whole(exchange, contract)
        return
    for node in range(exchange.nodes.names.count if row.unknown else 0):
        if row.units[node] == UNKNOWN:
            read_node(exchange, number, node)
    row.unknown = 0
