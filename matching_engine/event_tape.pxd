"""The events of the record in hand as bytes: bodies first, their headers when the record is sealed."""

from libc.stdint cimport int64_t, uint8_t

cdef struct Mark:
    const char* name          # of a type of event; never freed
    Py_ssize_t name_size
    size_t end                # of its body; it begins where the one before ends

cdef enum:
    BODY_SIZE_MAX = 4096      # more than any event of an order can need
    HEAD_SIZE_MAX = 512

cdef struct Header:
    int64_t shard, seq, in_offset, ts_ms


cdef class EventTape:
    cdef char* bodies
    cdef size_t bodies_used, bodies_capacity
    cdef Mark* marks
    cdef size_t count, marks_capacity
    cdef char* sealed
    cdef size_t sealed_capacity
    cdef uint8_t[32] link
    cdef char[64] link_hex

    cdef char* open(self, size_t size) except NULL
    cdef int close(self, const char* name, Py_ssize_t name_size, const char* end) except -1
    cdef int write(self, object event, dict fields) except -1
    cdef int seal(self, Header* header, list events) except -1
    cdef int set_link(self, str link_hex) except -1
    cdef char* put_header(self, char* at, const Header* header, size_t index) noexcept
    cdef int advance(self, size_t size) except -1
