"""Names of accounts, nodes, contracts and assets: each text once, under a number that it keeps."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free
from libc.string cimport memcmp, memcpy

from matching_engine.pools.id_table cimport IdTable, put_id, reserve_id, tag_of
from matching_engine.pools.memory cimport NIL, grow, release

cdef extern from * nogil:
    """
    /* Folded multiplication, the step of wyhash; unlike hash functions without a key it cannot be aimed at. */
    static inline uint64_t fold(uint64_t a, uint64_t b) {
        const unsigned __int128 product = (unsigned __int128)a * b;
        return (uint64_t)product ^ (uint64_t)(product >> 64);
    }
    """
    uint64_t fold(uint64_t a, uint64_t b)

cdef struct Name:
    uint32_t at               # where its text begins
    uint32_t size

cdef struct Names:
    char* text
    Name* names
    IdTable table
    uint64_t seed
    uint32_t text_used, text_capacity, count, capacity


cdef inline uint64_t hash_of(const char* text, size_t size, uint64_t seed, uint32_t owner=0) noexcept nogil:
    """A keyed hash of a short text, of each owner another: mixed by the product, which no text undoes."""
    cdef uint64_t word
    cdef uint64_t found = seed ^ size
    while size > 8:
        memcpy(&word, text, 8)
        found = fold(found ^ word, <uint64_t>0x9E3779B97F4A7C15)
        text += 8
        size -= 8
    word = 0
    memcpy(&word, text, size)
    return fold(found ^ word, <uint64_t>0xA0761D6478BD642F ^ owner)


cdef inline uint32_t find_name(const Names* names, const char* text, size_t size) noexcept nogil:
    """The number of a name, or NIL."""
    cdef uint32_t tag = tag_of(hash_of(text, size, names.seed))
    cdef uint32_t at = tag >> names.table.shift
    cdef uint32_t number
    cdef const Name* name
    while True:
        number = names.table.entries[at].slot
        if number == NIL:
            return NIL
        name = &names.names[number]
        if names.table.entries[at].tag == tag and name.size == size and memcmp(names.text + name.at, text, size) == 0:
            return number
        at = (at + 1) & names.table.mask


cdef inline uint32_t intern_name(Names* names, const char* text, size_t size) noexcept nogil:
    """The number of a name, which is given one where it has none."""
    cdef uint32_t number = find_name(names, text, size)
    if number != NIL:
        return number
    while names.text_capacity - names.text_used < size:
        grow(<void**>&names.text, &names.text_capacity, 1)
    if names.count == names.capacity:
        grow(<void**>&names.names, &names.capacity, sizeof(Name))
    reserve_id(&names.table)
    memcpy(names.text + names.text_used, text, size)
    number = names.count
    names.names[number].at = names.text_used
    names.names[number].size = <uint32_t>size
    names.text_used += <uint32_t>size
    names.count += 1
    put_id(&names.table, hash_of(text, size, names.seed), number)
    return number


cdef inline bint precedes(const Names* names, uint32_t one, uint32_t other) noexcept nogil:
    """Whether one name comes before another in the order of their bytes."""
    cdef const Name* first = &names.names[one]
    cdef const Name* second = &names.names[other]
    cdef int sign = memcmp(names.text + first.at, names.text + second.at, min(first.size, second.size))
    return sign < 0 or (sign == 0 and first.size < second.size)


cdef inline void free_names(Names* names) noexcept nogil:
    release(names.text, names.text_capacity, 1)
    release(names.names, names.capacity, sizeof(Name))
    free(names.table.entries)
