/* Loaded before the C library, counts how often a process asks for memory. */
#define _GNU_SOURCE
#include <stdarg.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

extern void* __libc_malloc(size_t);
extern void* __libc_calloc(size_t, size_t);
extern void* __libc_realloc(void*, size_t);
extern void* __libc_memalign(size_t, size_t);

static unsigned long count;

unsigned long allocations(void) { return count; }

void* malloc(size_t size) { count++; return __libc_malloc(size); }
void* calloc(size_t items, size_t size) { count++; return __libc_calloc(items, size); }
void* realloc(void* old, size_t size) { count++; return __libc_realloc(old, size); }
void* aligned_alloc(size_t alignment, size_t size) { count++; return __libc_memalign(alignment, size); }

void* mmap(void* at, size_t size, int access, int flags, int file, off_t offset) {
    count++;
    return (void*)syscall(SYS_mmap, at, size, access, flags, file, offset);
}

void* mremap(void* old, size_t size, size_t wanted, int flags, ...) {
    count++;
    return (void*)syscall(SYS_mremap, old, size, wanted, flags, NULL);
}
