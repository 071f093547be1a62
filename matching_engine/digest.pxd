"""SHA-256 of bytes in memory: by the processor's instructions where it has them, else by hashlib."""

from libc.stdint cimport uint8_t

cdef int sha256_of(const uint8_t* text, size_t size, uint8_t* digest) except -1 nogil
