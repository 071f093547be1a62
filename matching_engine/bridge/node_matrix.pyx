"""The nodes that a block could take, the cheapest first: sums of rows over its hours."""

from libc.stdint cimport int64_t, uint32_t
from libc.stdlib cimport free

from matching_engine.bridge.core cimport Core
from matching_engine.fast.node_rows cimport read_row
from matching_engine.pools.memory cimport allocate
from matching_engine.records.exchange cimport Contract, Exchange
from matching_engine.records.node_row cimport NO_ASK


cdef class NodeColumns:
    """Nodes with what their first lot costs at least; each can be taken once."""

    cdef readonly Py_ssize_t count         # nodes that offer something in the first hour
    cdef int64_t* sums                     # of the nodes in `numbers`, as are the ages
    cdef int64_t* ages
    cdef uint32_t* numbers
    cdef Py_ssize_t left
    cdef object core

    def __dealloc__(self):
        free(self.sums)
        free(self.ages)
        free(self.numbers)

    def next(self):
        """What the first lot of the next node costs at least, and its age; None where there is no other node."""
        cdef Py_ssize_t place = self.cheapest()
        return None if place < 0 else (self.sums[place], self.ages[place])

    def pop(self):
        """Takes the next node's name."""
        cdef Py_ssize_t place = self.cheapest()
        cdef str name = (<Core>self.core).node_name(self.numbers[place])
        self.left -= 1
        self.sums[place] = self.sums[self.left]
        self.ages[place] = self.ages[self.left]
        self.numbers[place] = self.numbers[self.left]
        return name

    cdef Py_ssize_t cheapest(self) noexcept:
        cdef Py_ssize_t place
        cdef Py_ssize_t best = -1
        for place in range(self.left):
            if best < 0 or self.sums[place] < self.sums[best] or (
                self.sums[place] == self.sums[best] and self.ages[place] < self.ages[best]
            ):
                best = place
        return best


def node_columns(Core core, list contracts, str account, except_for):
    """The nodes that are free in all hours but those of an account and those excepted, which count for nothing."""
    cdef Exchange* exchange = &core.exchange
    cdef uint32_t owner = core.account(account)
    cdef uint32_t size = exchange.nodes.names.count
    cdef uint32_t number, place, first
    cdef NodeColumns columns = NodeColumns.__new__(NodeColumns)
    cdef Contract* contract
    cdef int64_t* sums
    columns.core = core
    columns.sums = sums = <int64_t*>allocate((size + 1) * sizeof(int64_t))
    columns.ages = <int64_t*>allocate((size + 1) * sizeof(int64_t))
    columns.numbers = <uint32_t*>allocate((size + 1) * sizeof(uint32_t))
    numbers = [core.contract(name) for name in contracts]
    for number in numbers:
        read_row(exchange, number)
    for place in range(size):
        sums[place] = 0
    for number in numbers:
        add_row(sums, exchange.contracts[number].nodes.units, size)
    first = numbers[0]
    contract = &exchange.contracts[first]
    skipped = {core.node(name) for name in except_for}
    for place in range(size):
        if contract.nodes.units[place] == NO_ASK or exchange.nodes.nodes[place].account == owner or place in skipped:
            continue
        columns.count += 1
        if sums[place] < NO_ASK:
            sums[columns.left] = sums[place]
            columns.ages[columns.left] = contract.nodes.ages[place]
            columns.numbers[columns.left] = place
            columns.left += 1
    return columns


cdef void add_row(int64_t* sums, const int64_t* units, uint32_t size) noexcept nogil:
    cdef uint32_t place
    for place in range(size):
        sums[place] = min(sums[place] + units[place], NO_ASK)
