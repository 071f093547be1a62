"""What every pool of the engine shares: the number of no slot, growth by doubling, bit scans and prefetch.

No function fails for want of memory: the process ends with one line that says so.
"""

from libc.stdint cimport uint32_t, uint64_t

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
    #include <stdio.h>
    #include <stdlib.h>
    #include <string.h>
    #if defined(__linux__)
    #include <sys/mman.h>
    #endif

    enum { HUGE_PAGE_BYTES = 1 << 21, LINE_BYTES = 64 };

    /* A command that was accepted cannot be taken back half done, so the process ends; the log has the command. */
    __attribute__((cold, noreturn, noinline)) static void stop_without_memory(size_t size) {
        fprintf(stderr, "hourbook: the matching engine is out of memory: %zu bytes could not be allocated\\n", size);
        abort();
    }

    static inline size_t whole(size_t size, size_t unit) { return (size + unit - 1) & -unit; }

    /* Random reads of memory that is larger than the processor's page tables reach wait for those as much as for the
       memory. A hint: where there are no huge pages, nothing happens. */
    static inline void* prefer_huge_pages(void* memory, size_t size) {
    #if defined(MADV_HUGEPAGE)
        madvise(memory, size, MADV_HUGEPAGE);
    #endif
        return memory;
    }
    static inline void* check_memory(void* memory, size_t size) {
        if (__builtin_expect(memory == NULL, 0)) stop_without_memory(size);
        return memory;
    }
    static inline void* allocate_plain(size_t size) { return check_memory(malloc(size), size); }
    static inline void* reallocate_plain(void* memory, size_t size) { return check_memory(realloc(memory, size), size); }
    static inline void* allocate_aligned(size_t size) {
        if (size < 2 * HUGE_PAGE_BYTES) return allocate_plain(size);
        size = whole(size, HUGE_PAGE_BYTES);
        return prefer_huge_pages(check_memory(aligned_alloc(HUGE_PAGE_BYTES, size), size), size);
    }

    /* Pools begin at a cache line, so that a record of a line's size is on one. Large ones are mapped in whole huge
       pages, which are moved as they are when the pool grows. */
    static inline void release_pool(void* pool, size_t size) {
    #if defined(MREMAP_MAYMOVE)
        if (size >= HUGE_PAGE_BYTES) {
            munmap(pool, whole(size, HUGE_PAGE_BYTES));
            return;
        }
    #endif
        free(pool);
    }
    static inline void* allocate_pool(size_t size) {
    #if defined(MREMAP_MAYMOVE)
        if (size >= HUGE_PAGE_BYTES) {
            size = whole(size, HUGE_PAGE_BYTES);
            void* pool = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
            return prefer_huge_pages(check_memory(pool == MAP_FAILED ? NULL : pool, size), size);
        }
    #endif
        return check_memory(aligned_alloc(LINE_BYTES, whole(size, LINE_BYTES)), size);
    }
    static inline void* regrow_pool(void* pool, size_t size, size_t wanted) {
    #if defined(MREMAP_MAYMOVE)
        if (size >= HUGE_PAGE_BYTES) {
            void* moved = mremap(pool, whole(size, HUGE_PAGE_BYTES), whole(wanted, HUGE_PAGE_BYTES), MREMAP_MAYMOVE);
            check_memory(moved == MAP_FAILED ? NULL : moved, wanted);
            return prefer_huge_pages(moved, whole(wanted, HUGE_PAGE_BYTES));
        }
    #endif
        void* grown = allocate_pool(wanted);
        if (pool) {
            memcpy(grown, pool, size);
            release_pool(pool, size);
        }
        return grown;
    }
    """
    void out_of_memory "stop_without_memory"(size_t size)
    void* allocate "allocate_plain"(size_t size)
    void* reallocate "reallocate_plain"(void* memory, size_t size)
    void* allocate_large "allocate_aligned"(size_t size)
    void* regrow_pool(void* pool, size_t size, size_t wanted)
    void release_pool(void* pool, size_t size)


cdef inline void grow(void** items, uint32_t* capacity, size_t item_size) noexcept nogil:
    """Double a pool."""
    cdef size_t wanted = 16 if capacity[0] == 0 else 2 * <size_t>capacity[0]
    if wanted >= NIL:
        out_of_memory(wanted * item_size)
    items[0] = regrow_pool(items[0], capacity[0] * item_size, wanted * item_size)
    capacity[0] = <uint32_t>wanted


cdef inline void release(void* items, uint32_t capacity, size_t item_size) noexcept nogil:
    """Give a pool's memory back."""
    release_pool(items, capacity * item_size)
