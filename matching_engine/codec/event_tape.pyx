"""Sealed events: numbered, linked and written as canonical JSON, one behind another until they are collected."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdlib cimport free
from libc.string cimport memcpy, strlen

from matching_engine.codec.sha256 cimport sha256_of
from matching_engine.codec.wire cimport put_bytes, put_int, put_literal, size_of, span, text_of
from matching_engine.codec.write_event cimport BODY_SIZE_MAX, put_event, type_name
from matching_engine.pools.memory cimport reallocate
from matching_engine.records.events cimport Event as PackedEvent
from schemas.base import Model
from schemas.events import Event

cdef const char* DIGITS = b"0123456789abcdef"
cdef dict SHAPES = {}         # class of event: its type, and its own fields with their keys as text


cdef tuple shape_of(event):
    """What the encoder has to know of a class of event, read from the model once."""
    names = [name for name in event.model_fields if name not in Event.model_fields]
    return event.model_fields["type"].default, tuple((name, f',"{name}":') for name in names)


cdef str json_of(object value):
    """The canonical text of a field. No identifier needs escaping."""
    if value is None:
        return "null"
    if value is True or value is False:
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, Model):
        return value.canonical().decode()
    if isinstance(value, (tuple, list)):
        return f"[{','.join([json_of(each) for each in value])}]"
    if isinstance(value, dict):
        return "{" + ",".join([f'"{key}":{json_of(each)}' for key, each in value.items()]) + "}"
    raise TypeError(f"a field of {type(value)} cannot be written to an event")


cdef class EventTape:
    def __dealloc__(self):
        free(self.bodies)
        free(self.marks)
        free(self.sealed)
        free(self.spans)

    cdef int set_link(self, str link_hex) except -1:
        cdef bytes link = bytes.fromhex(link_hex)
        memcpy(self.link, PyBytes_AS_STRING(link), 32)
        memcpy(self.link_hex, text_of(link_hex), 64)
        return 0

    # -- events of the rules in Python, kept until their record is over, since only then their number is known

    cdef int write(self, object event, dict fields) except -1:
        """Writes the body of any event from its fields, in the model's order."""
        cdef str name, text
        shape = SHAPES.get(event)
        if shape is None:
            shape = SHAPES[event] = shape_of(event)
        text = "".join([key + json_of(fields[field]) for field, key in shape[1]])
        name = shape[0]
        cdef size_t wanted = self.bodies_used + size_of(text)
        if wanted > self.bodies_capacity:
            self.bodies = <char*>reallocate(self.bodies, 2 * wanted)
            self.bodies_capacity = 2 * wanted
        if self.count == self.marks_capacity:
            self.marks = <Body*>reallocate(self.marks, (2 * self.count + 64) * sizeof(Body))
            self.marks_capacity = 2 * self.count + 64
        put_bytes(self.bodies + self.bodies_used, text_of(text), size_of(text))
        self.bodies_used = wanted
        self.marks[self.count] = Body(text_of(name), size_of(name), wanted)
        self.count += 1
        return 0

    cdef int seal(self, int64_t in_offset, int64_t ts_ms) except -1:
        """The record is over: its events are numbered and linked."""
        cdef Header header = Header(in_offset, ts_ms, self.count)
        cdef uint32_t index
        cdef size_t begin, body = 0
        cdef Body* mark
        if self.count == 0:
            return 0
        self.make_room(self.count, self.bodies_used)
        begin = self.begin_record()
        for index in range(header.count):
            mark = &self.marks[index]
            at = self.begin_event(mark.name, mark.name_size, &header, index)
            self.end_event(put_bytes(at, self.bodies + body, mark.end - body))
            body = mark.end
        self.end_record(begin)
        self.count = self.bodies_used = 0
        return 0

    # -- packed events

    cdef int seal_packed(
        self, const Exchange* exchange, const Command* commands, uint32_t count, const EventBuffer* events,
        int64_t first_offset
    ) except -1 nogil:
        """Writes what a run of commands caused."""
        cdef const char* next_event = events.bytes
        cdef const PackedEvent* event
        cdef const char* name
        cdef Header header
        cdef uint32_t i, index
        cdef size_t begin
        for i in range(count):
            header = Header(first_offset + i, commands[i].ts_ms, commands[i].events)
            self.make_room(header.count, header.count * <size_t>BODY_SIZE_MAX)
            begin = self.begin_record()
            for index in range(header.count):
                event = <const PackedEvent*>next_event
                next_event += event.size
                name = type_name(event.type)
                at = self.begin_event(name, strlen(name), &header, index)
                self.end_event(put_event(at, exchange, event, &commands[i]))
            self.end_record(begin)
        return 0

    # -- records and their events

    cdef int make_room(self, size_t events, size_t size) except -1 nogil:
        """For a record's link and events, whose bodies are of at most `size` bytes together."""
        cdef size_t wanted = self.sealed_used + 32 + events * HEAD_SIZE_MAX + size
        if wanted > self.sealed_capacity:
            self.sealed = <char*>reallocate(self.sealed, 2 * wanted)
            self.sealed_capacity = 2 * wanted
        if self.spans_used + events > self.spans_capacity:
            self.spans = <Span*>reallocate(self.spans, 2 * (self.spans_used + events) * sizeof(Span))
            self.spans_capacity = 2 * (self.spans_used + events)
        return 0

    cdef size_t begin_record(self) noexcept nogil:
        """A record's events stand behind the link before them, as they are hashed. Returns where."""
        cdef size_t begin = self.sealed_used
        memcpy(self.sealed + begin, self.link, 32)
        self.sealed_used = begin + 32
        return begin

    cdef char* begin_event(self, const char* name, size_t name_size, const Header* header, uint32_t index) noexcept nogil:
        cdef char* at = self.sealed + self.sealed_used
        self.seq = self.seq + 1
        at = put_bytes(put_literal(at, b'{"type":"'), name, name_size)
        at = put_int(put_literal(at, b'","shard":'), self.shard)
        at = put_int(put_literal(at, b',"seq":'), self.seq)
        at = put_int(put_literal(at, b',"in_offset":'), header.in_offset)
        at = put_int(put_literal(at, b',"index":'), index)
        at = put_int(put_literal(at, b',"count":'), header.count)
        at = put_int(put_literal(at, b',"ts_ms":'), header.ts_ms)
        at = put_bytes(put_literal(at, b',"prev_link":"'), self.link_hex, 64)
        return put_literal(at, b'"')

    cdef void end_event(self, char* at) noexcept nogil:
        at = put_literal(at, b"}")
        self.spans[self.spans_used].begin = self.sealed_used
        self.spans[self.spans_used].end = self.sealed_used = span(self.sealed, at)
        self.spans_used = self.spans_used + 1

    cdef int end_record(self, size_t begin) except -1 nogil:
        """The next link: SHA-256 of the previous one and the bytes of the events."""
        cdef int place
        sha256_of(<uint8_t*>self.sealed + begin, self.sealed_used - begin, self.link)
        for place in range(32):
            self.link_hex[2 * place] = DIGITS[self.link[place] >> 4]
            self.link_hex[2 * place + 1] = DIGITS[self.link[place] & 15]
        return 0

    cdef int collect(self, list events) except -1:
        """Hands the sealed events over."""
        cdef size_t i
        for i in range(self.spans_used):
            events.append(PyBytes_FromStringAndSize(
                self.sealed + self.spans[i].begin, self.spans[i].end - self.spans[i].begin
            ))
        self.spans_used = self.sealed_used = 0
        return 0
