"""SHA-256 of bytes in memory: by the processor's instructions where it has them, else by hashlib."""

from hashlib import sha256

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.string cimport memcpy

cdef extern from "sha256.h" nogil:
    bint sha256_in_hardware()
    void sha256_digest(const uint8_t* text, size_t size, uint8_t* digest)

cdef bint IN_HARDWARE = sha256_in_hardware()


cdef int sha256_of(const uint8_t* text, size_t size, uint8_t* digest) except -1 nogil:
    if IN_HARDWARE:
        sha256_digest(text, size, digest)
    else:
        with gil:
            hash_in_python(text, size, digest)
    return 0


cdef int hash_in_python(const uint8_t* text, size_t size, uint8_t* digest) except -1:
    cdef bytes digested = sha256(PyBytes_FromStringAndSize(<const char*>text, size)).digest()
    memcpy(digest, PyBytes_AS_STRING(digested), 32)
    return 0


def digest_bytes(const uint8_t[::1] text, bint in_hardware=IN_HARDWARE):
    """The digest of a message, as the engine takes it; for tests, also without the processor's help."""
    global IN_HARDWARE
    cdef uint8_t[32] digest
    cdef bint usual = IN_HARDWARE
    IN_HARDWARE = usual and in_hardware
    try:
        sha256_of(&text[0] if text.shape[0] else <const uint8_t*>b"", text.shape[0], digest)
        return PyBytes_FromStringAndSize(<char*>digest, 32)
    finally:
        IN_HARDWARE = usual
