"""SHA-256 of bytes in memory, by the libcrypto that hashlib uses; called without a Python object between."""

from libc.stdint cimport uint8_t

cdef int sha256_of(const uint8_t* text, size_t size, uint8_t* digest) except -1 nogil
