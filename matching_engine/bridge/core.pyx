"""The exchange's structs as one object, and its names as Python's strings."""

import os
from heapq import heappop, heappush

from cpython.unicode cimport PyUnicode_DecodeASCII
from libc.stdint cimport uint8_t, uint64_t
from libc.string cimport memset

from matching_engine.codec.wire cimport size_of, text_of
from matching_engine.pools.book cimport free_books, start_books
from matching_engine.pools.id_list cimport IdList
from matching_engine.pools.id_pages cimport free_ids
from matching_engine.pools.id_table cimport resize_ids
from matching_engine.pools.memory cimport NIL, grow, release
from matching_engine.pools.names cimport find_name, free_names, intern_name
from matching_engine.records.accounts cimport free_accounts
from matching_engine.records.bindings cimport free_gate, free_bindings, add_gate
from matching_engine.records.blocks cimport free_blocks
from matching_engine.records.exchange cimport Contract, Detail, Posted
from matching_engine.records.hours cimport Product
from matching_engine.records.node_row cimport free_row
from matching_engine.records.nodes cimport Node, free_nodes
from matching_engine.records.positions cimport PositionList, free_positions

from matching_engine.rules.money import RESERVED

cdef enum:
    TABLE_BITS = 4            # of an empty hash table

cdef uint64_t cached_bytes = 262_144       # half of what a core has to itself nearly everywhere


def expect_cache(uint64_t size):
    """Lets the engines made from now on take it that so many bytes stay in the processor's cache; gives what it was."""
    global cached_bytes
    size, cached_bytes = cached_bytes, size
    return size


cdef class Core:
    def __cinit__(self):
        cdef Exchange* exchange = &self.exchange
        memset(exchange, 0, sizeof(Exchange))
        exchange.cached_bytes = cached_bytes
        exchange.orders.free = NIL
        exchange.positions.free = exchange.positions.ids.free = NIL
        exchange.bindings.chunks_free = exchange.bindings.gates_free = NIL
        exchange.blocks.free = exchange.blocks.ids.free = NIL
        seeds = [int.from_bytes(os.urandom(8)) for _ in range(7)]
        start_books(&exchange.books)
        resize_ids(&exchange.accounts.table, TABLE_BITS)
        resize_ids(&exchange.bindings.table, TABLE_BITS)
        resize_ids(&exchange.nodes.table, TABLE_BITS)
        exchange.bindings.seed = seeds[0]
        start_names(&exchange.accounts.names, seeds[1])
        start_names(&exchange.accounts.assets, seeds[2])
        start_names(&exchange.nodes.names, seeds[3])
        start_names(&exchange.labels, seeds[4])
        start_names(&exchange.contract_names, seeds[5])
        start_names(&exchange.product_names, seeds[6])
        self.gates, self.gate_times = {}, []
        self.special_orders, self.special_positions, self.order_views, self.position_views = {}, {}, {}, {}
        for account in RESERVED:
            self.account(account)

    def __dealloc__(self):
        cdef Exchange* exchange = &self.exchange
        cdef uint32_t contract, product
        for contract in range(exchange.contract_names.count):
            free_row(&exchange.contracts[contract].nodes)
        for product in range(exchange.product_names.count):
            release(exchange.products[product].contracts, exchange.products[product].capacity, sizeof(uint32_t))
        release(exchange.products, exchange.products_capacity, sizeof(Product))
        release(exchange.posted, exchange.posted_capacity, sizeof(Posted))
        release(exchange.limited, exchange.limited_capacity, sizeof(uint8_t))
        free_blocks(&exchange.blocks)
        release(exchange.contracts, exchange.contracts_capacity, sizeof(Contract))
        release(exchange.details, exchange.details_capacity, sizeof(Detail))
        free_books(&exchange.books)
        free_ids(&exchange.orders)
        free_accounts(&exchange.accounts)
        free_bindings(&exchange.bindings)
        free_nodes(&exchange.nodes)
        free_positions(&exchange.positions)
        free_names(&exchange.labels)
        free_names(&exchange.contract_names)
        free_names(&exchange.product_names)

    # -- numbers for names

    cdef uint32_t number_of(self, Names* names, str text) except 0xFFFFFFFF:
        """The number of a name, which is given one where it has none."""
        return intern_name(names, text_of(text), size_of(text))

    cdef uint32_t account(self, str name) except 0xFFFFFFFF:
        return self.number_of(&self.exchange.accounts.names, name)

    cdef uint32_t asset(self, str name) except 0xFFFFFFFF:
        return self.number_of(&self.exchange.accounts.assets, name)

    cdef uint32_t label(self, str name) except 0xFFFFFFFF:
        """The number of a grade or a hub."""
        return self.number_of(&self.exchange.labels, name)

    cdef str contract_name(self, uint32_t number):
        return text_of_name(&self.exchange.contract_names, number)

    cdef str node_name(self, uint32_t number):
        return text_of_name(&self.exchange.nodes.names, number)

    cdef uint32_t node(self, str name) except 0xFFFFFFFF:
        """The number of a node, whose facts are yet to be read where it is new."""
        cdef Exchange* exchange = &self.exchange
        cdef uint32_t known = exchange.nodes.names.count
        cdef uint32_t number = self.number_of(&exchange.nodes.names, name)
        if number == known:
            if number == exchange.nodes.capacity:
                grow(<void**>&exchange.nodes.nodes, &exchange.nodes.capacity, sizeof(Node))
            exchange.nodes.nodes[number] = Node(-1, 0, 0, 0, 0, 0, IdList(NULL, 0, 0), NIL, 0, False)
        return number

    cdef uint32_t contract(self, str name) except 0xFFFFFFFF:
        """The number of a contract, whose rules are yet to be read where it is new."""
        cdef Exchange* exchange = &self.exchange
        cdef uint32_t known = exchange.contract_names.count
        cdef uint32_t number = self.number_of(&exchange.contract_names, name)
        cdef Contract* contract
        if number == known:
            if number == exchange.contracts_capacity:
                grow(<void**>&exchange.contracts, &exchange.contracts_capacity, sizeof(Contract))
            contract = &exchange.contracts[number]
            memset(contract, 0, sizeof(Contract))
            contract.version = -1
            contract.bids = contract.gate = NIL
            contract.positions = PositionList(NIL, NIL, 0)
        return number

    cdef uint32_t product(self, str name) except 0xFFFFFFFF:
        """The number of a product, of which nothing is known yet where it is new."""
        cdef Exchange* exchange = &self.exchange
        cdef uint32_t known = exchange.product_names.count
        cdef uint32_t number = self.number_of(&exchange.product_names, name)
        if number == known:
            if number == exchange.products_capacity:
                grow(<void**>&exchange.products, &exchange.products_capacity, sizeof(Product))
            exchange.products[number] = Product(0, 0, NULL, 0, 0, NIL, NIL, 0, False)
        return number

    cdef uint32_t gate(self, int64_t until_ms) except 0xFFFFFFFF:
        """The gate until which bindings are kept."""
        cdef uint32_t gate
        known = self.gates.get(until_ms)
        if known is not None:
            return known
        gate = add_gate(&self.exchange.bindings, until_ms)
        self.gates[until_ms] = gate
        heappush(self.gate_times, until_ms)
        self.exchange.deadline_ms = min(self.exchange.deadline_ms, until_ms)
        return gate

    cdef int64_t next_gate_ms(self) except? -1:
        """When the next bindings are forgotten; 0 where there are none."""
        return self.gate_times[0] if self.gate_times else 0

    cdef int close_gates(self, int64_t now_ms) except -1:
        """Forgets the bindings whose time is over."""
        while self.gate_times and self.gate_times[0] <= now_ms:
            free_gate(&self.exchange.bindings, self.gates.pop(heappop(self.gate_times)))
        return 0

    cdef int forget_views(self) except -1:
        """The record in hand is over: views of it are not used any more."""
        self.order_views.clear()
        self.position_views.clear()
        return 0


cdef int start_names(Names* names, seed) except -1:
    names.seed = seed
    resize_ids(&names.table, TABLE_BITS)
    return 0


cdef str text_of_name(const Names* names, uint32_t number):
    """A name as a string, None for no name."""
    if number == NIL:
        return None
    return PyUnicode_DecodeASCII(names.text + names.names[number].at, names.names[number].size, NULL)


cdef uint32_t number_or_nil(const Names* names, str text):
    """The number of a name, NIL where there is none or it is not known."""
    return NIL if text is None else find_name(names, text_of(text), size_of(text))
