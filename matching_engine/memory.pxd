"""What every pool of the engine shares: the number of no slot, growth by doubling, bit scans and prefetch."""

from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport realloc

cdef extern from "<stdint.h>" nogil:
    const uint32_t NIL "UINT32_MAX"

cdef extern from "<assert.h>" nogil:
    void expect "assert"(bint holds)

cdef extern from * nogil:
    """
    /* The empty statement keeps GCC from dropping functions that only prefetch: it takes them to have no effect. */
    static inline void begin_load(const void* address) { __builtin_prefetch(address); __asm__ volatile (""); }
    """
    void prefetch "begin_load"(const void* address)
    int trailing_zeros "__builtin_ctzll"(uint64_t bits)
    int leading_zeros "__builtin_clzll"(uint64_t bits)
    bint unlikely "__builtin_expect"(bint holds, bint usual)

cdef extern from * nogil:
    """
    #include <stdlib.h>
    #if defined(__linux__)
    #include <sys/mman.h>
    #endif

    enum { HUGE_PAGE_BYTES = 1 << 21 };

    /* Random reads of a pool that is larger than the processor's page tables reach wait for those as much as for the
       memory. A hint: where there are no huge pages, nothing happens. */
    static inline void* prefer_huge_pages(void* memory, size_t size) {
    #if defined(MADV_HUGEPAGE)
        const size_t first = ((size_t)memory + HUGE_PAGE_BYTES - 1) & -(size_t)HUGE_PAGE_BYTES;
        const size_t end = ((size_t)memory + size) & -(size_t)HUGE_PAGE_BYTES;
        if (memory && first < end) madvise((void*)first, end - first, MADV_HUGEPAGE);
    #endif
        return memory;
    }
    static inline void* allocate_aligned(size_t size) {
        return size < 2 * HUGE_PAGE_BYTES ? malloc(size)
            : prefer_huge_pages(aligned_alloc(HUGE_PAGE_BYTES, (size + HUGE_PAGE_BYTES - 1) & -(size_t)HUGE_PAGE_BYTES), size);
    }
    """
    void* prefer_huge_pages(void* memory, size_t size)
    void* allocate_large "allocate_aligned"(size_t size)


cdef inline bint grow(void** items, uint32_t* capacity, size_t item_size) noexcept nogil:
    """Double an array in place; where memory is out it stays as it was, and the answer is False."""
    cdef size_t wanted = 16 if capacity[0] == 0 else 2 * <size_t>capacity[0]
    if wanted >= NIL:
        return False
    cdef void* moved = realloc(items[0], wanted * item_size)
    if moved == NULL:
        return False
    items[0] = prefer_huge_pages(moved, wanted * item_size)
    capacity[0] = <uint32_t>wanted
    return True
