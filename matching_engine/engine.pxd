"""A window of records on its way through the compiled rules, without the GIL."""

from libc.stdint cimport int64_t, uint32_t

from matching_engine.commands cimport Command
from matching_engine.core cimport Core
from matching_engine.event_tape cimport EventTape
from matching_engine.events cimport EventBuffer
from matching_engine.exchange cimport Exchange, Outcome
from matching_engine.command_text cimport Reading

cdef enum:
    WINDOW = 128              # records

cdef struct Record:
    const char* text
    Py_ssize_t size
    int64_t ts_ms


cdef class Window:
    cdef Record[WINDOW] records
    cdef Command[WINDOW] commands
    cdef EventBuffer events
    cdef uint32_t loaded, read, done
    cdef Reading stopped      # why reading did not go on
    cdef Outcome outcome      # of the command that was not done

    cdef int load(self, list records, Py_ssize_t first, int64_t next_offset) except -1
    cdef int run(self, Exchange* exchange, EventTape tape) except -1 nogil
    cdef int read_all(self, Exchange* exchange) except -1 nogil
    cdef void execute(self, Exchange* exchange) noexcept nogil
