"""SHA-256 of bytes in memory, by the libcrypto that hashlib uses; called without a Python object between.

hashlib makes an object and looks the algorithm up for every message, which costs more than hashing 300 bytes. Where
Python was built without libcrypto, or hides it, hashlib is called.
"""

import ctypes
from hashlib import sha256

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport uint64_t
from libc.string cimport memcpy

cdef struct Context:          # libcrypto's SHA256_CTX has 112 bytes
    uint64_t[32] bytes

ctypedef int (*Begin)(Context* context) noexcept nogil
ctypedef int (*Update)(Context* context, const void* text, size_t size) noexcept nogil
ctypedef int (*Finish)(uint8_t* digest, Context* context) noexcept nogil

cdef Begin begin = NULL
cdef Update update = NULL
cdef Finish finish = NULL


cdef int find_library() except -1:
    """Takes the functions from the library that hashlib's own module is linked with."""
    global begin, update, finish
    try:
        import _hashlib
        library = ctypes.CDLL(_hashlib.__file__)
        found = [address_of(library[name]) for name in ("SHA256_Init", "SHA256_Update", "SHA256_Final")]
    except (ImportError, AttributeError, OSError):
        return 0
    begin, update, finish = <Begin><size_t>found[0], <Update><size_t>found[1], <Finish><size_t>found[2]
    return 0


def address_of(function):
    return ctypes.cast(function, ctypes.c_void_p).value


find_library()
cdef bint BY_LIBRARY = begin != NULL


cdef int sha256_of(const uint8_t* text, size_t size, uint8_t* digest) except -1 nogil:
    cdef Context context
    if BY_LIBRARY:
        begin(&context)
        update(&context, text, size)
        finish(digest, &context)
    else:
        with gil:
            hash_in_python(text, size, digest)
    return 0


cdef int hash_in_python(const uint8_t* text, size_t size, uint8_t* digest) except -1:
    cdef bytes digested = sha256(PyBytes_FromStringAndSize(<const char*>text, size)).digest()
    memcpy(digest, PyBytes_AS_STRING(digested), 32)
    return 0


def digest_bytes(const uint8_t[::1] text, bint by_library=BY_LIBRARY):
    """The digest of a message, as the engine takes it; for tests, also the way without the library."""
    global BY_LIBRARY
    cdef uint8_t[32] digest
    cdef bint usual = BY_LIBRARY
    BY_LIBRARY = usual and by_library
    try:
        sha256_of(&text[0] if text.shape[0] else <const uint8_t*>b"", text.shape[0], digest)
        return PyBytes_FromStringAndSize(<char*>digest, 32)
    finally:
        BY_LIBRARY = usual
