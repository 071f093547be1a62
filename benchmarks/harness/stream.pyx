"""Command streams of fixed 24-byte records through bare books: one call for a batch, without the GIL."""

from collections import namedtuple

cimport cython
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from benchmarks.harness.book cimport BookSet, cancel_order, find_order, rest_order, take
from benchmarks.harness.path_ahead cimport (
    Place, are_thin, prefetch_around, prefetch_leaf, prefetch_level, prefetch_link, prefetch_root, prefetch_side,
    place_of, tagged_slot,
)
from benchmarks.harness.tape cimport Tape, Trade, free_tape
from matching_engine.pools.book cimport Books, price_key, next_level, reserve
from matching_engine.pools.id_table cimport likely_slot, prefetch_id
from matching_engine.pools.memory cimport NIL, prefetch

StreamTotals = namedtuple("StreamTotals", "trades quantity checksum live live_quantity cancels refused")
TapeTrade = namedtuple("TapeTrade", "maker_id taker_id price quantity")


class BadStream(ValueError):
    """The bytes are not a whole number of command records."""


cdef extern from * nogil:
    """
    #if defined(__x86_64__)
    static inline uint64_t counted_ticks(void) { unsigned int core; return __builtin_ia32_rdtscp(&core); }
    #else
    #include <time.h>
    static inline uint64_t counted_ticks(void) {
        struct timespec now;
        clock_gettime(CLOCK_MONOTONIC, &now);
        return 1000000000ull * (uint64_t)now.tv_sec + (uint64_t)now.tv_nsec;
    }
    #endif
    """
    uint64_t counted_ticks()

cdef enum:
    EMPTY_READINGS = 100_000


def read_ticks():
    return counted_ticks()


def empty_ticks():
    cdef uint64_t begin, taken
    cdef uint64_t least = <uint64_t>-1
    for _ in range(EMPTY_READINGS):
        begin = counted_ticks()
        taken = counted_ticks() - begin
        least = min(least, taken)
    return least


cdef enum Operation:
    LIMIT = 0
    IMMEDIATE = 1
    CANCEL = 2
    MOVE = 3

cdef packed struct Command:
    uint8_t operation
    uint8_t side
    uint16_t book
    uint32_t quantity
    int32_t price
    uint32_t account
    uint64_t order_id

cdef enum:
    ID_AHEAD = 16             # commands between touching an id's entry and needing it
    ORDER_AHEAD = 8           # the same for the order
    PATH_AHEAD = 32           # the same for all on a price's way, in steps
    STEP = 4                  # commands between one step and the next


cdef struct Run:
    Books* books
    Tape tape
    uint64_t trades, quantity, checksum, cancels, refused


cdef inline void look_ahead(const Run* run, const Command* command) noexcept nogil:
    """Begin to load what commands a little later will need, so that they do not wait for memory."""
    prefetch_id(&run.books.ids, command[ID_AHEAD].order_id)
    cdef uint32_t slot
    if command[ORDER_AHEAD].operation >= CANCEL:
        slot = likely_slot(&run.books.ids, command[ORDER_AHEAD].order_id)
        if slot != NIL:
            prefetch(&run.books.orders[slot])


@cython.overflowcheck(False)
cdef inline void count_trade(Run* run, const Trade* trade) noexcept nogil:
    run.trades += 1
    run.quantity += trade.quantity
    run.checksum = run.checksum * <uint64_t>0x9E3779B97F4A7C15 + (
        (trade.maker_id * <uint64_t>0x1000003) ^ (trade.taker_id * <uint64_t>0x10001)
        ^ (<uint64_t>trade.price * <uint64_t>0x101) ^ <uint64_t>trade.quantity
    )


cdef inline void add_order(Run* run, const Command* command) noexcept nogil:
    """Match an order and rest what is left of it."""
    cdef Books* books = run.books
    cdef uint32_t side = 2 * <uint32_t>command.book + command.side
    if command.side > 1 or side >= books.sides_used:
        run.refused += 1
        return
    cdef uint32_t traded = run.tape.used
    cdef int64_t left = take(books, &run.tape, side, command.price, command.quantity, command.order_id)
    while traded < run.tape.used:
        count_trade(run, &run.tape.trades[traded])
        traded += 1
    if left > 0 and command.operation != IMMEDIATE:
        reserve(books)
        rest_order(books, side, command.price, left, command.order_id, command.account)


cdef inline void apply_command(Run* run, const Command* command) noexcept nogil:
    if command.operation < CANCEL and find_order(run.books, command.order_id) == NIL:
        add_order(run, command)
    elif CANCEL <= command.operation <= MOVE and cancel_order(run.books, command.order_id):
        if command.operation == MOVE:
            add_order(run, command)
        else:
            run.cancels += 1
    else:
        run.refused += 1


cdef inline Place resting_place(const Run* run, const Command* command) noexcept nogil:
    """Where the order rests that a command takes out."""
    return place_of(run.books, command.order_id) if command.operation >= CANCEL else Place(NIL, 0)


cdef inline Place new_place(const Run* run, const Command* command) noexcept nogil:
    """Where the order comes to rest that a command brings."""
    cdef uint32_t side = 2 * <uint32_t>command.book + command.side
    if command.operation == CANCEL or command.side > 1 or side >= run.books.sides_used:
        return Place(NIL, 0)
    return Place(side, price_key(side, command.price))


cdef inline void look_along_paths(const Run* run, const Command* command) noexcept nogil:
    """Each command is looked at eight times, a step farther each time: what one step loads the next one reads."""
    cdef const Books* books = run.books
    cdef uint32_t slot
    prefetch_id(&books.ids, command[PATH_AHEAD].order_id)
    if command[PATH_AHEAD - STEP].operation >= CANCEL:
        slot = tagged_slot(&books.ids, command[PATH_AHEAD - STEP].order_id)
        if slot != NIL:
            prefetch(&books.orders[slot])
    if command[PATH_AHEAD - 2 * STEP].operation >= CANCEL:
        prefetch_around(books, command[PATH_AHEAD - 2 * STEP].order_id)
    prefetch_side(books, resting_place(run, &command[PATH_AHEAD - 3 * STEP]))
    prefetch_side(books, new_place(run, &command[PATH_AHEAD - 3 * STEP]))
    prefetch_root(books, resting_place(run, &command[PATH_AHEAD - 4 * STEP]))
    prefetch_root(books, new_place(run, &command[PATH_AHEAD - 4 * STEP]))
    prefetch_link(books, resting_place(run, &command[PATH_AHEAD - 5 * STEP]))
    prefetch_link(books, new_place(run, &command[PATH_AHEAD - 5 * STEP]))
    prefetch_leaf(books, resting_place(run, &command[PATH_AHEAD - 6 * STEP]))
    prefetch_leaf(books, new_place(run, &command[PATH_AHEAD - 6 * STEP]))
    prefetch_level(books, new_place(run, &command[PATH_AHEAD - 7 * STEP]))


cdef void apply_all(Run* run, const Command* commands, size_t count) noexcept nogil:
    cdef bint thin = are_thin(run.books)
    cdef size_t ahead = PATH_AHEAD if thin else ID_AHEAD
    cdef size_t i
    for i in range(count):
        if i + ahead < count:
            if thin:
                look_along_paths(run, &commands[i])
            else:
                look_ahead(run, &commands[i])
        apply_command(run, &commands[i])


cdef class StreamRunner:
    cdef readonly BookSet books
    cdef Run run

    def __cinit__(self, uint32_t books=1):
        self.books = BookSet(books)
        self.run.books = &self.books.books

    def __dealloc__(self):
        free_tape(&self.run.tape)

    def apply_stream(self, const uint8_t[::1] commands not None):
        cdef size_t size = commands.shape[0]
        cdef const Command* first
        if size % sizeof(Command) != 0:
            raise BadStream(f"{size} bytes are not a multiple of {sizeof(Command)}")
        self.run.tape.used = 0
        if size > 0:
            first = <const Command*>&commands[0]
            with nogil:
                apply_all(&self.run, first, size // sizeof(Command))
        return self.run.tape.used

    def apply_one(
        self, uint8_t operation, uint8_t side, uint16_t book, uint32_t quantity, int32_t price, uint32_t account,
        uint64_t order_id
    ):
        cdef Command command = Command(operation, side, book, quantity, price, account, order_id)
        self.run.tape.used = 0
        apply_command(&self.run, &command)
        return self.run.tape.used

    def time_each(self, const uint8_t[::1] commands not None, uint32_t[::1] ticks not None):
        cdef const Command* command = <const Command*>&commands[0] if commands.shape[0] else NULL
        cdef uint64_t begin
        cdef Py_ssize_t i
        if commands.shape[0] != ticks.shape[0] * <Py_ssize_t>sizeof(Command):
            raise BadStream(f"{commands.shape[0]} bytes are not {ticks.shape[0]} commands")
        for i in range(ticks.shape[0]):
            self.run.tape.used = 0
            begin = counted_ticks()
            apply_command(&self.run, &command[i])
            ticks[i] = <uint32_t>(counted_ticks() - begin)

    def tape_trades(self):
        cdef Trade* trade
        trades = []
        for i in range(self.run.tape.used):
            trade = &self.run.tape.trades[i]
            trades.append(TapeTrade(trade.maker_id, trade.taker_id, trade.price, trade.quantity))
        return trades

    def totals(self):
        cdef Books* books = &self.books.books
        cdef int64_t live_quantity = 0
        cdef uint32_t level
        for side in range(books.sides_used):
            level = books.sides[side].best
            while level != NIL:
                live_quantity += books.levels[level].quantity
                level = next_level(books, level)
        return StreamTotals(
            self.run.trades, self.run.quantity, self.run.checksum, len(self.books), live_quantity,
            self.run.cancels, self.run.refused,
        )
