"""Machines behind asks: their facts as orders need them, and how many of their GPUs each period has promised and sold."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free

from matching_engine.pools.id_list cimport IdList, free_list
from matching_engine.pools.id_table cimport IdTable, put_id, reserve_id, tag_of
from matching_engine.pools.memory cimport NIL, grow, prefetch, release
from matching_engine.pools.names cimport Names, free_names

cdef struct Count:
    int64_t start_s
    int32_t committed         # in asks or sold
    int32_t sold
    uint32_t node
    uint32_t next             # of the same node

cdef struct Node:
    int64_t version           # of the venue's rules that these facts were read at; -1: never read
    int64_t until_ms
    int64_t rentable
    uint32_t account, grade, hub
    IdList asks
    uint32_t counts           # the first of its counts, or NIL
    uint8_t level
    uint8_t alive

cdef struct Nodes:
    Names names               # a name's number is the node's place
    Node* nodes
    Count* counts
    IdTable table
    uint32_t capacity, counts_used, counts_capacity


cdef inline uint64_t count_key(uint32_t node, int64_t start_s) noexcept nogil:
    return <uint64_t>node << 36 ^ <uint64_t>start_s


cdef inline void prefetch_count_entry(const Nodes* nodes, uint32_t node, int64_t start_s) noexcept nogil:
    prefetch(&nodes.table.entries[tag_of(count_key(node, start_s)) >> nodes.table.shift])


cdef inline void prefetch_count(const Nodes* nodes, uint32_t node, int64_t start_s) noexcept nogil:
    """Begin to load what is mostly the count of a node in a period."""
    cdef uint32_t slot = nodes.table.entries[tag_of(count_key(node, start_s)) >> nodes.table.shift].slot
    if slot != NIL:
        prefetch(&nodes.counts[slot])


cdef inline uint32_t find_count(const Nodes* nodes, uint32_t node, int64_t start_s) noexcept nogil:
    """The count of a node in a period, or NIL."""
    cdef uint32_t at = tag_of(count_key(node, start_s)) >> nodes.table.shift
    cdef uint32_t slot
    while True:
        slot = nodes.table.entries[at].slot
        if slot == NIL or (nodes.counts[slot].node == node and nodes.counts[slot].start_s == start_s):
            return slot
        at = (at + 1) & nodes.table.mask


cdef inline uint32_t open_count(Nodes* nodes, uint32_t node, int64_t start_s) noexcept nogil:
    """The count of a node in a period, from zero where there was none."""
    cdef uint32_t slot = find_count(nodes, node, start_s)
    if slot != NIL:
        return slot
    if nodes.counts_used == nodes.counts_capacity:
        grow(<void**>&nodes.counts, &nodes.counts_capacity, sizeof(Count))
    reserve_id(&nodes.table)
    slot = nodes.counts_used
    nodes.counts_used += 1
    nodes.counts[slot] = Count(start_s, 0, 0, node, nodes.nodes[node].counts)
    nodes.nodes[node].counts = slot
    put_id(&nodes.table, count_key(node, start_s), slot)
    return slot


cdef inline void free_nodes(Nodes* nodes) noexcept nogil:
    cdef uint32_t node
    for node in range(nodes.names.count):
        free_list(&nodes.nodes[node].asks)
    release(nodes.nodes, nodes.capacity, sizeof(Node))
    release(nodes.counts, nodes.counts_capacity, sizeof(Count))
    free(nodes.table.entries)
    free_names(&nodes.names)
