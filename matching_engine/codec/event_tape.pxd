"""Sealed events: numbered, linked and written as canonical JSON, one behind another until they are collected."""

from libc.stdint cimport int64_t, uint8_t, uint32_t

from matching_engine.records.commands cimport Command
from matching_engine.records.events cimport EventBuffer
from matching_engine.records.exchange cimport Exchange

cdef struct Body:             # of an event that the rules in Python caused
    const char* name          # of its type; never freed
    Py_ssize_t name_size
    size_t end                # it begins where the one before ends

cdef struct Span:             # of a sealed event
    size_t begin, end

cdef enum:
    HEAD_SIZE_MAX = 512

cdef struct Header:
    int64_t in_offset, ts_ms
    uint32_t count


cdef class EventTape:
    cdef int64_t shard, seq
    cdef uint8_t[32] link
    cdef char[64] link_hex
    cdef char* bodies
    cdef size_t bodies_used, bodies_capacity
    cdef Body* marks
    cdef size_t count, marks_capacity
    cdef char* sealed
    cdef size_t sealed_used, sealed_capacity
    cdef Span* spans
    cdef size_t spans_used, spans_capacity

    cdef int set_link(self, str link_hex) except -1
    cdef int write(self, object event, dict fields) except -1
    cdef int seal(self, int64_t in_offset, int64_t ts_ms) except -1
    cdef int seal_packed(
        self, const Exchange* exchange, const Command* commands, uint32_t count, const EventBuffer* events,
        int64_t first_offset
    ) except -1 nogil
    cdef int collect(self, list events) except -1

    cdef int make_room(self, size_t events, size_t size) except -1 nogil
    cdef size_t begin_record(self) noexcept nogil
    cdef char* begin_event(self, const char* name, size_t name_size, const Header* header, uint32_t index) noexcept nogil
    cdef void end_event(self, char* at) noexcept nogil
    cdef int end_record(self, size_t begin) except -1 nogil
