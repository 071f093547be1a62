"""The contracts of a product by their delivery starts: the number of each, found without its name."""

from libc.stdint cimport int64_t, uint32_t

from matching_engine.pools.memory cimport NIL, grow

cdef struct Product:
    int64_t first_s           # the first start that was ever listed
    int64_t period_s          # 0: nothing is known of the product yet
    uint32_t* contracts       # of the periods from there on; NIL where nobody has asked
    uint32_t known, capacity
    uint32_t first_block, last_block       # of those that wait, or NIL
    uint32_t pending          # how many of them are to be tried
    bint tried                # some were, of which the rules in Python have not heard


cdef inline uint32_t contract_at(const Product* product, int64_t start_s) noexcept nogil:
    """The contract that begins then, or NIL where nobody has asked for it, or none does."""
    cdef int64_t place
    if product.period_s == 0 or start_s < product.first_s or (start_s - product.first_s) % product.period_s:
        return NIL
    place = (start_s - product.first_s) // product.period_s
    return NIL if place >= product.known else product.contracts[place]


cdef inline void note_contract(Product* product, int64_t start_s, uint32_t contract) noexcept nogil:
    """Remember the contract of a start that was listed."""
    cdef uint32_t place = <uint32_t>((start_s - product.first_s) // product.period_s)
    while product.known <= place:
        if product.known == product.capacity:
            grow(<void**>&product.contracts, &product.capacity, sizeof(uint32_t))
        product.contracts[product.known] = NIL
        product.known += 1
    product.contracts[place] = contract
