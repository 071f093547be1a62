"""A window of records on its way through the compiled rules, without the GIL."""

from libc.stdint cimport int64_t, uint32_t

from matching_engine.bridge.core cimport Core
from matching_engine.codec.event_tape cimport EventTape
from matching_engine.codec.read_command cimport Reading
from matching_engine.fast.run cimport Run
from matching_engine.records.commands cimport Command, PeriodRange
from matching_engine.records.exchange cimport Exchange

cdef enum:
    WINDOW = 128              # records
    PERIODS_READ = 256        # of orders of many periods at a time: their events are to stay in the processor's cache

cdef struct Record:
    const char* text
    Py_ssize_t size
    int64_t ts_ms


cdef class Window:
    cdef Record[WINDOW] records
    cdef Command[WINDOW] commands
    cdef PeriodRange[WINDOW] period_ranges         # of those that are orders of many periods
    cdef uint32_t loaded
    cdef Run applied          # counts what was read
    cdef Reading stopped      # why reading did not go on

    cdef int load(self, list records, Py_ssize_t first, int64_t next_offset) except -1
    cdef int run(self, Exchange* exchange, EventTape tape) except -1 nogil
    cdef int read_all(self, Exchange* exchange) except -1 nogil
