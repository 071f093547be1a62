"""The compiled engine: ordinary commands in C, every other one by the rules in Python, on the same records."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint8_t

from matching_engine.bridge.store cimport StructStore
from matching_engine.codec.read_command cimport (
    READ, RECORD_SIZE_MAX, UNRESOLVED, BlockBid, Capacity, Place, put_body, read_block, read_capacity, read_command,
    read_place,
)
from matching_engine.codec.sha256 cimport sha256_of
from matching_engine.codec.wire cimport Word
from matching_engine.fast.run cimport DIGEST_EVERY_OFFSETS, Run, execute, free_run
from matching_engine.pools.memory cimport NIL
from matching_engine.records.commands cimport CANCEL
from matching_engine.records.exchange cimport NEGATIVE_BALANCE, STALE_CONTRACT, STALE_HOURS, STALE_NODE

from matching_engine.bridge.store import open_store
from matching_engine.errors import OffsetGap
from matching_engine.rules.log_time import move_time
from matching_engine.rules.dispatch import execute as execute_by_rules
from matching_engine.rules.dispatch import parse_command
from matching_engine.rules.engine import DIGEST_EVERY_OFFSETS as DIGEST_EVERY
from matching_engine.rules.market import Market
from matching_engine.rules.standing import Standing
from matching_engine.rules.state import State
from matching_engine.snapshots.load import load
from matching_engine.snapshots.save import write
from schemas.events import BalanceDigest
from schemas.venue import Genesis, Privileged, Tick

if DIGEST_EVERY != DIGEST_EVERY_OFFSETS:
    raise ImportError("the engines disagree on when balances are digested")


class Engine(Standing):
    """State and its rules. `apply` takes records in the order of their offsets, cut into batches however one likes."""

    def __init__(self, state=None):
        self.state = state or State()
        self.store = open_store(self.state)
        self.market = Market(self.store)
        self.window = Window()

    def apply(self, records):
        """Applies records (offset, broker's timestamp in ms, value). Raises OffsetGap where one is not the next."""
        cdef list batch = list(records)
        cdef list events = []
        try:
            apply_all(self, self.store, self.window, batch, events)
        finally:
            (<StructStore>self.store).begin_rules()
        return events

    def apply_other(self, offset, ts_ms, value):
        """Time moves, then the rules apply the command to the same records."""
        cdef StructStore store = self.store
        command = parse_command(value)
        self.market.offset = offset
        store.core.exchange.next_offset = offset + 1
        store.begin_rules()
        pass_time(self.market, store, ts_ms, isinstance(command, Tick))
        execute_by_rules(self.market, command)
        if isinstance(command, Privileged | Genesis):
            store.note_change()
        if self.state.ruleset and offset % DIGEST_EVERY_OFFSETS == 0:
            self.market.emit(BalanceDigest, digest=self.balance_digest())
        store.tape.seal(offset, self.state.log_time_ms)
        store.end_rules()

    def snapshot(self):
        """The whole state as canonical bytes, the same that the plain engine gives."""
        return write(self.store)

    @classmethod
    def load(cls, outline, packed):
        """Goes on from a snapshot's outline and packed sections."""
        engine = cls(outline.state)
        load(engine.store, outline, packed)
        return engine


cdef int apply_all(object engine, StructStore store, Window window, list batch, list events) except -1:
    """Windows of ordinary records go through the compiled rules, the others one by one through those in Python."""
    cdef Exchange* exchange = &store.core.exchange
    cdef Py_ssize_t first = 0
    while first < len(batch):
        window.load(batch, first, exchange.next_offset)
        while window.applied.done < window.loaded:
            with nogil:
                window.run(exchange, store.tape)
            if window.applied.done < window.loaded and not make_ready(store, window):
                engine.apply_other(*batch[first + window.applied.done])
                window.applied.done += 1
            store.tape.collect(events)
        first += window.loaded
    return 0


cdef int pass_time(object market, StructStore store, int64_t ts_ms, bint is_tick) except -1:
    """Log time moves; deadlines are the rules' matter."""
    cdef object state = store.state
    if max(state.log_time_ms, ts_ms) < store.core.exchange.deadline_ms and not is_tick:
        state.log_time_ms = max(state.log_time_ms, ts_ms)
        return 0
    move_time(market, ts_ms, is_tick)
    return store.close_books()


cdef bint make_ready(StructStore store, Window window) except -1:
    """Reads what the rules have to know before the record in hand; False where that is another's to apply."""
    cdef Record* record = &window.records[window.applied.done]
    cdef Command* command = &window.commands[window.applied.done]
    if window.applied.count == window.applied.done:
        if window.stopped == READ:                # enough was read for once
            return True
        return window.stopped == UNRESOLVED and store.core.exchange.is_open and resolve(store, record)
    if window.applied.outcome == STALE_CONTRACT:
        store.read_contract(command.contract)
    elif window.applied.outcome == STALE_NODE:
        store.find_node(store.core.node_name(command.node))
    elif window.applied.outcome == STALE_HOURS:
        store.read_hours(command.period_range)
    elif window.applied.outcome == NEGATIVE_BALANCE:
        raise AssertionError("negative balance")
    else:
        return False
    return True


cdef bint resolve(StructStore store, const Record* record) except -1:
    """Looks up the contracts and the node that a record names; False where there are none such."""
    cdef Place order
    cdef Capacity capacity
    cdef BlockBid block
    if read_place(record.text, record.size, &order):
        if store.find_contract(text_of_word(&order.contract)) == NIL:
            return False
        return not order.has_node or store.find_node(text_of_word(&order.node)) != NIL
    if read_block(record.text, record.size, &block):
        return store.find_hours(text_of_word(&block.product), block.start_s, 0, block.latest_s, block.periods)
    read_capacity(record.text, record.size, &capacity)
    if not store.find_hours(text_of_word(&capacity.product), capacity.from_s, capacity.to_s, 0, 0):
        return False
    return store.find_node(text_of_word(&capacity.node)) != NIL


cdef str text_of_word(const Word* word):
    return word.text[:word.size].decode()


cdef class Window:
    def __dealloc__(self):
        free_run(&self.applied)

    cdef int load(self, list records, Py_ssize_t first, int64_t next_offset) except -1:
        """Takes as many records as there are and fit. Raises OffsetGap before anything is applied to the first one."""
        cdef Record* record
        cdef object value
        cdef Py_ssize_t place
        self.loaded = self.applied.count = self.applied.done = 0
        self.applied.commands = self.commands
        for place in range(first, min(first + WINDOW, len(records))):
            offset, ts_ms, value = records[place]
            if offset != next_offset:
                if self.loaded:
                    return 0
                raise OffsetGap(f"record at offset {offset}, expected offset {next_offset}")
            record = &self.records[self.loaded]
            record.ts_ms = ts_ms
            record.size = PyBytes_GET_SIZE(value) if type(value) is bytes else 0
            record.text = PyBytes_AS_STRING(value) if record.size else NULL
            self.loaded += 1
            next_offset += 1
        return 0

    cdef int run(self, Exchange* exchange, EventTape tape) except -1 nogil:
        """Applies records, from the first that is not done to the first that is special."""
        cdef uint32_t first = self.applied.done
        cdef int64_t offset = exchange.next_offset
        self.read_all(exchange)
        self.applied.events.used = 0
        execute(exchange, &self.applied)
        tape.seal_packed(
            exchange, &self.commands[first], self.applied.done - first, &self.applied.events, offset
        )
        return 0

    cdef int read_all(self, Exchange* exchange) except -1 nogil:
        """Reads records as far as they are ordinary and are not too much. What was read stays good, whatever happens to
        those before it.
        """
        cdef uint8_t[RECORD_SIZE_MAX] body
        cdef Run* applied = &self.applied
        cdef Record* record
        cdef Command* command
        cdef Word command_id
        cdef size_t size
        cdef uint32_t periods = 0
        self.stopped = READ
        applied.count = max(applied.count, applied.done)
        while applied.count < self.loaded and periods < PERIODS_READ:
            record = &self.records[applied.count]
            command = &self.commands[applied.count]
            self.stopped = read_command(
                exchange, record.text, record.size, command, &self.period_ranges[applied.count], &command_id
            )
            if self.stopped != READ:
                return 0
            if command.type != CANCEL:
                size = put_body(record.text, record.size, &command_id, body)
                sha256_of(body, size, command.digest)
            command.ts_ms = record.ts_ms
            periods += 1 if command.period_range == NULL else command.period_range.periods
            applied.count += 1
        return 0
