"""How many GPUs of a node each period has promised or sold, by delivery start: the dictionaries that the rules know."""

from libc.stdint cimport uint32_t

from matching_engine.bridge.core cimport Core
from matching_engine.pools.memory cimport NIL
from matching_engine.records.nodes cimport Count, find_count, open_count


cdef class Counts:
    """How many of a node's GPUs each period has promised, or sold; nothing is kept of a zero."""

    def __init__(self, Core core, uint32_t node, bint sold):
        self.core = core
        self.node = node
        self.sold = sold

    cdef dict all(self):
        cdef uint32_t slot = self.core.exchange.nodes.nodes[self.node].counts
        cdef Count* count
        cdef dict found = {}
        while slot != NIL:
            count = &self.core.exchange.nodes.counts[slot]
            gpus = count.sold if self.sold else count.committed
            if gpus:
                found[count.start_s] = gpus
            slot = count.next
        return found

    def get(self, start_s, otherwise=None):
        cdef uint32_t slot = find_count(&self.core.exchange.nodes, self.node, start_s)
        if slot == NIL:
            return otherwise
        gpus = self.core.exchange.nodes.counts[slot].sold if self.sold else self.core.exchange.nodes.counts[slot].committed
        return gpus or otherwise

    def __getitem__(self, start_s):
        return self.get(start_s, 0)

    def __setitem__(self, start_s, gpus):
        cdef uint32_t slot = open_count(&self.core.exchange.nodes, self.node, start_s)
        if self.sold:
            self.core.exchange.nodes.counts[slot].sold = gpus
        else:
            self.core.exchange.nodes.counts[slot].committed = gpus

    def __delitem__(self, start_s):
        self[start_s] = 0

    def pop(self, start_s, otherwise=None):
        found = self.get(start_s, otherwise)
        self[start_s] = 0
        return found

    def keys(self):
        return self.all().keys()

    def values(self):
        return self.all().values()

    def items(self):
        return self.all().items()

    def __contains__(self, start_s):
        return bool(self.get(start_s))

    def __iter__(self):
        return iter(self.all())

    def __len__(self):
        return len(self.all())

    def __eq__(self, other):
        return self.all() == dict(other)
