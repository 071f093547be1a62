"""What each node's cheapest ask of an hour costs: a row of the matrix in which blocks look for nodes.

A row is there once a block has asked for it. Asks that come are worked in; where one goes that was its node's cheapest,
the next block looks at the node again (`fast/node_rows.pxd`).
"""

from libc.stdint cimport int64_t, uint32_t
from libc.stdlib cimport free

from matching_engine.pools.memory cimport allocate

cdef extern from *:
    """
    /* More than a thousand periods cost at the highest price. */
    #define NO_ASK ((int64_t)1 << 55)
    /* An ask is gone: what is the cheapest now? */
    #define UNKNOWN_ASK ((int64_t)-1)
    """
    const int64_t NO_ASK
    const int64_t UNKNOWN "UNKNOWN_ASK"

cdef struct NodeRow:
    int64_t* units            # by the node's number: the cost of one GPU
    int64_t* ages             # and the place in time of that ask
    uint32_t size
    uint32_t unknown          # how many entries may be
    bint valid


cdef inline void note_ask(NodeRow* row, uint32_t node, int64_t unit, int64_t age) noexcept nogil:
    """An ask came to rest."""
    if not row.valid:
        return
    if node >= row.size:
        row.valid = False
    elif unit < row.units[node] or (unit == row.units[node] and age < row.ages[node]):
        row.units[node] = unit
        row.ages[node] = age


cdef inline void forget_ask(NodeRow* row, uint32_t node, int64_t unit) noexcept nogil:
    """An ask is gone."""
    if not row.valid:
        return
    if node >= row.size:
        row.valid = False
    elif row.units[node] == unit:
        row.units[node] = UNKNOWN
        row.unknown += 1


cdef inline void free_row(NodeRow* row) noexcept nogil:
    free(row.units)
    free(row.ages)
    row.units = row.ages = NULL
    row.size = row.unknown = 0
    row.valid = False


cdef inline void open_row(NodeRow* row, uint32_t size) noexcept nogil:
    """An empty row for so many nodes."""
    cdef uint32_t node
    if row.size < size:
        free_row(row)
        row.units = <int64_t*>allocate(2 * size * sizeof(int64_t))
        row.ages = <int64_t*>allocate(2 * size * sizeof(int64_t))
        row.size = 2 * size
    for node in range(row.size):
        row.units[node] = NO_ASK
    row.unknown = 0
    row.valid = True
