"""What views of several kinds read: the ids that are alive, and clients' ids as they stand among the bindings."""

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport uint32_t

from matching_engine.pools.id_pages cimport IdPages
from matching_engine.pools.memory cimport NIL
from matching_engine.records.bindings cimport Binding, binding_at, id_text
from matching_engine.records.exchange cimport Exchange


cdef inline list live_ids(const IdPages* ids):
    """Ids in ascending order."""
    cdef uint32_t place, index
    cdef list found = []
    for place in range(ids.known):
        if ids.directory[place] != NIL:
            for index in range(256):
                if ids.pages[ids.directory[place]].slots[index] != NIL:
                    found.append(((ids.first + place) << 8) + index)
    return found


cdef inline str client_id_at(const Exchange* exchange, uint32_t place):
    """The client's id that stands there among the bindings."""
    cdef const Binding* binding
    if place == NIL:
        return None
    binding = binding_at(&exchange.bindings, place)
    return PyBytes_FromStringAndSize(id_text(binding), binding.size).decode()
