"""What became of clients' order ids: each with its text and the digest of its body, kept together until a gate.

Bindings of one gate lie in chunks of their own, which go back to the pool as a whole when the gate closes. Where the
table of bindings finds one, it is named by chunk and place, in 32 bits.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free
from libc.string cimport memcmp, memcpy

from matching_engine.pools.id_table cimport IdTable, drop_id, put_id, reserve_id, tag_of
from matching_engine.pools.memory cimport NIL, allocate_large, grow, out_of_memory, prefetch, release
from matching_engine.pools.names cimport hash_of

cdef enum:
    CHUNK_BYTES = 4096
    PLACE_BITS = 9            # of a place in a chunk, in units of 8 bytes
    DIGEST_BYTES = 16         # of SHA-256's: enough to tell bodies under one id apart
    SLAB_CHUNKS_MAX = 2048

cdef packed struct Binding:   # its text follows
    uint8_t[DIGEST_BYTES] digest
    int64_t offset            # of the record that the id came with
    int64_t order_id          # 0 where the order was refused
    uint32_t account
    uint8_t size              # of its text
    uint8_t bound             # whether it is in the table; what is not is kept for its text alone

cdef struct Chunk:
    char* bytes
    uint32_t used
    uint32_t gate
    uint32_t next             # of the same gate, or of the free ones

cdef struct Gate:
    int64_t until_ms
    uint32_t first, last      # of its chunks
    uint32_t count            # of its bindings
    uint32_t next_free

cdef struct Bindings:
    Chunk* chunks
    char** slabs              # the memory of chunks
    Gate* gates
    IdTable table
    uint64_t seed
    uint32_t slabs_used, slabs_capacity, slab_left
    uint32_t chunks_used, chunks_capacity, chunks_free
    uint32_t gates_used, gates_capacity, gates_free


cdef inline Binding* binding_at(const Bindings* bindings, uint32_t place) noexcept nogil:
    return <Binding*>(bindings.chunks[place >> PLACE_BITS].bytes + (place & ((1 << PLACE_BITS) - 1)) * 8)


cdef inline uint32_t gate_of(const Bindings* bindings, uint32_t place) noexcept nogil:
    """The gate until which a binding is kept."""
    return bindings.chunks[place >> PLACE_BITS].gate


cdef inline const char* id_text(const Binding* binding) noexcept nogil:
    return <const char*>binding + sizeof(Binding)


cdef inline uint32_t bytes_of(size_t text_size) noexcept nogil:
    """What a binding takes in a chunk."""
    return <uint32_t>((sizeof(Binding) + text_size + 7) & ~<size_t>7)


cdef inline uint64_t binding_hash(
    const Bindings* bindings, uint32_t account, const char* text, size_t size
) noexcept nogil:
    return hash_of(text, size, bindings.seed, account)


cdef inline uint32_t find_binding(
    const Bindings* bindings, uint32_t account, const char* text, size_t size, uint64_t hashed
) noexcept nogil:
    """The place of an account's binding, or NIL."""
    cdef uint32_t tag = tag_of(hashed)
    cdef uint32_t at = tag >> bindings.table.shift
    cdef const Binding* binding
    while bindings.table.entries[at].slot != NIL:
        if bindings.table.entries[at].tag == tag:
            binding = binding_at(bindings, bindings.table.entries[at].slot)
            if binding.account == account and binding.size == size and memcmp(id_text(binding), text, size) == 0:
                return bindings.table.entries[at].slot
        at = (at + 1) & bindings.table.mask
    return NIL


cdef inline void open_slab(Bindings* bindings) noexcept nogil:
    """Memory for more chunks, the more the more there are."""
    cdef uint32_t chunks = min(max(bindings.chunks_used, 16), SLAB_CHUNKS_MAX)
    if bindings.slabs_used == bindings.slabs_capacity:
        grow(<void**>&bindings.slabs, &bindings.slabs_capacity, sizeof(char*))
    bindings.slabs[bindings.slabs_used] = <char*>allocate_large(chunks * <size_t>CHUNK_BYTES)
    bindings.slabs_used += 1
    bindings.slab_left = chunks


cdef inline void open_chunk(Bindings* bindings, uint32_t gate_index) noexcept nogil:
    """One chunk more for a gate."""
    cdef Gate* gate = &bindings.gates[gate_index]
    cdef uint32_t chunk = bindings.chunks_free
    if chunk != NIL:
        bindings.chunks_free = bindings.chunks[chunk].next
    else:
        chunk = bindings.chunks_used
        if chunk == bindings.chunks_capacity:
            grow(<void**>&bindings.chunks, &bindings.chunks_capacity, sizeof(Chunk))
        if chunk >> (32 - PLACE_BITS):
            out_of_memory((<size_t>chunk + 1) * CHUNK_BYTES)
        if bindings.slab_left == 0:
            open_slab(bindings)
        bindings.slab_left -= 1
        bindings.chunks[chunk].bytes = bindings.slabs[bindings.slabs_used - 1] + bindings.slab_left * CHUNK_BYTES
        bindings.chunks_used += 1
    bindings.chunks[chunk].used = 0
    bindings.chunks[chunk].gate = gate_index
    bindings.chunks[chunk].next = NIL
    if gate.first == NIL:
        gate.first = chunk
    else:
        bindings.chunks[gate.last].next = chunk
    gate.last = chunk


cdef inline uint32_t keep_text(
    Bindings* bindings, uint32_t gate_index, uint32_t account, const char* text, size_t size
) noexcept nogil:
    """Keep a client's id until a gate without binding it; its place."""
    cdef Gate* gate = &bindings.gates[gate_index]
    cdef uint32_t needed = bytes_of(size)
    cdef Binding* binding
    cdef uint32_t place
    if gate.first == NIL or bindings.chunks[gate.last].used + needed > CHUNK_BYTES:
        open_chunk(bindings, gate_index)
    place = gate.last << PLACE_BITS | bindings.chunks[gate.last].used >> 3
    bindings.chunks[gate.last].used += needed
    binding = binding_at(bindings, place)
    binding.account = account
    binding.size = <uint8_t>size
    binding.bound = False
    memcpy(<char*>id_text(binding), text, size)
    return place


cdef inline uint32_t bind(
    Bindings* bindings, uint32_t gate_index, uint32_t account, const char* text, size_t size, uint64_t hashed,
    const uint8_t* digest, int64_t offset, int64_t order_id
) noexcept nogil:
    """Bind a client's id that is not bound; its place."""
    cdef uint32_t place
    cdef Binding* binding
    reserve_id(&bindings.table)
    place = keep_text(bindings, gate_index, account, text, size)
    binding = binding_at(bindings, place)
    memcpy(binding.digest, digest, DIGEST_BYTES)
    binding.offset = offset
    binding.order_id = order_id
    binding.bound = True
    bindings.gates[gate_index].count += 1
    put_id(&bindings.table, hashed, place)
    return place


cdef inline void unbind(Bindings* bindings, uint32_t place) noexcept nogil:
    """Forget a binding; its text stays where it is until its gate."""
    cdef Binding* binding = binding_at(bindings, place)
    drop_id(&bindings.table, binding_hash(bindings, binding.account, id_text(binding), binding.size), place)
    bindings.gates[gate_of(bindings, place)].count -= 1
    binding.bound = False


cdef inline void prefetch_binding(const Bindings* bindings, uint64_t hashed) noexcept nogil:
    prefetch(&bindings.table.entries[tag_of(hashed) >> bindings.table.shift])


# -- gates


cdef inline uint32_t add_gate(Bindings* bindings, int64_t until_ms) noexcept nogil:
    """A gate for bindings that are kept as long."""
    cdef uint32_t gate = bindings.gates_free
    if gate != NIL:
        bindings.gates_free = bindings.gates[gate].next_free
    else:
        if bindings.gates_used == bindings.gates_capacity:
            grow(<void**>&bindings.gates, &bindings.gates_capacity, sizeof(Gate))
        gate = bindings.gates_used
        bindings.gates_used += 1
    bindings.gates[gate] = Gate(until_ms, NIL, NIL, 0, NIL)
    return gate


cdef inline uint32_t first_place(const Bindings* bindings, uint32_t gate) noexcept nogil:
    """The place of the first binding of a gate, or NIL."""
    cdef uint32_t chunk = bindings.gates[gate].first
    return NIL if chunk == NIL else chunk << PLACE_BITS


cdef inline uint32_t next_place(const Bindings* bindings, uint32_t place) noexcept nogil:
    """The place behind a binding of the same gate, or NIL."""
    cdef const Chunk* chunk = &bindings.chunks[place >> PLACE_BITS]
    cdef uint32_t behind = place + bytes_of(binding_at(bindings, place).size) // 8
    if behind < (place >> PLACE_BITS << PLACE_BITS) + chunk.used // 8:
        return behind
    return NIL if chunk.next == NIL else chunk.next << PLACE_BITS


cdef inline void free_gate(Bindings* bindings, uint32_t gate_index) noexcept nogil:
    """Forget all bindings of a gate and give its chunks back."""
    cdef Gate* gate = &bindings.gates[gate_index]
    cdef uint32_t place = first_place(bindings, gate_index)
    while place != NIL:
        if binding_at(bindings, place).bound:
            unbind(bindings, place)
        place = next_place(bindings, place)
    if gate.first != NIL:
        bindings.chunks[gate.last].next = bindings.chunks_free
        bindings.chunks_free = gate.first
    gate.first = gate.last = NIL
    gate.next_free = bindings.gates_free
    bindings.gates_free = gate_index


cdef inline void free_bindings(Bindings* bindings) noexcept nogil:
    cdef uint32_t slab
    for slab in range(bindings.slabs_used):
        free(bindings.slabs[slab])
    release(bindings.slabs, bindings.slabs_capacity, sizeof(char*))
    release(bindings.chunks, bindings.chunks_capacity, sizeof(Chunk))
    release(bindings.gates, bindings.gates_capacity, sizeof(Gate))
    free(bindings.table.entries)
