"""The events of the record in hand as bytes: bodies first, their headers when the record is sealed."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdlib cimport free, realloc
from libc.string cimport memcpy

from matching_engine.digest cimport sha256_of
from matching_engine.wire cimport put_bytes, put_int, put_literal, size_of, span, text_of
from schemas.base import Model
from schemas.events import Event

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
    raise TypeError(f"no event has a field of {type(value)}")


cdef class EventTape:
    def __dealloc__(self):
        free(self.bodies)
        free(self.marks)
        free(self.sealed)

    cdef char* open(self, size_t size) except NULL:
        """Room for a body of at most this size; what was written counts once it is closed."""
        cdef size_t wanted = self.bodies_used + size
        if wanted > self.bodies_capacity:
            self.bodies = <char*>regrow(self.bodies, 2 * wanted)
            self.bodies_capacity = 2 * wanted
        return self.bodies + self.bodies_used

    cdef int close(self, const char* name, Py_ssize_t name_size, const char* end) except -1:
        if self.count == self.marks_capacity:
            self.marks = <Mark*>regrow(self.marks, (2 * self.count + 64) * sizeof(Mark))
            self.marks_capacity = 2 * self.count + 64
        self.bodies_used = span(self.bodies, end)
        self.marks[self.count] = Mark(name, name_size, self.bodies_used)
        self.count += 1
        return 0

    cdef int write(self, object event, dict fields) except -1:
        """Writes any event from its fields, in the model's order."""
        cdef str name, text
        shape = SHAPES.get(event)
        if shape is None:
            shape = SHAPES[event] = shape_of(event)
        text = "".join([key + json_of(fields[field]) for field, key in shape[1]])
        name = shape[0]
        at = put_bytes(self.open(size_of(text)), text_of(text), size_of(text))
        return self.close(text_of(name), size_of(name), at)

    cdef int set_link(self, str link_hex) except -1:
        cdef bytes link = bytes.fromhex(link_hex)
        memcpy(self.link, PyBytes_AS_STRING(link), 32)
        memcpy(self.link_hex, text_of(link_hex), 64)
        return 0

    cdef int seal(self, Header* header, list events) except -1:
        """Numbers and links the events, appends them to the list, and begins anew."""
        cdef size_t wanted = 32 + self.bodies_used + self.count * HEAD_SIZE_MAX
        cdef size_t index
        cdef size_t begin = 0
        cdef char* at
        cdef char* first
        if self.count == 0:
            return 0
        if wanted > self.sealed_capacity:
            self.sealed = <char*>regrow(self.sealed, 2 * wanted)
            self.sealed_capacity = 2 * wanted
        at = put_bytes(self.sealed, <char*>self.link, 32)
        for index in range(self.count):
            first = at
            header.seq += 1
            at = self.put_header(at, header, index)
            at = put_bytes(at, self.bodies + begin, self.marks[index].end - begin)
            at = put_literal(at, b"}")
            begin = self.marks[index].end
            events.append(PyBytes_FromStringAndSize(first, span(first, at)))
        self.advance(span(self.sealed, at))
        self.count = 0
        self.bodies_used = 0
        return 0

    cdef char* put_header(self, char* at, const Header* header, size_t index) noexcept:
        at = put_literal(at, b'{"type":"')
        at = put_bytes(at, self.marks[index].name, self.marks[index].name_size)
        at = put_int(put_literal(at, b'","shard":'), header.shard)
        at = put_int(put_literal(at, b',"seq":'), header.seq)
        at = put_int(put_literal(at, b',"in_offset":'), header.in_offset)
        at = put_int(put_literal(at, b',"index":'), index)
        at = put_int(put_literal(at, b',"count":'), self.count)
        at = put_int(put_literal(at, b',"ts_ms":'), header.ts_ms)
        at = put_bytes(put_literal(at, b',"prev_link":"'), self.link_hex, 64)
        return put_literal(at, b'"')

    cdef int advance(self, size_t size) except -1:
        """The next link: SHA-256 of the previous one and the bytes of the events."""
        cdef int place
        sha256_of(<uint8_t*>self.sealed, size, self.link)
        for place in range(32):
            self.link_hex[2 * place] = DIGITS[self.link[place] >> 4]
            self.link_hex[2 * place + 1] = DIGITS[self.link[place] & 15]
        return 0


cdef const char* DIGITS = b"0123456789abcdef"


cdef void* regrow(void* memory, size_t size) except NULL:
    cdef void* grown = realloc(memory, size)
    if grown == NULL:
        raise MemoryError
    return grown
