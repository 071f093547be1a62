"""Command streams of fixed 24-byte records through the whole exchange, for measuring: money, holds, ids and all.

Every account of a stream is two here, one that buys and one that sells, so that nobody trades with himself, and the
seller's node has GPUs without end. A move is a cancel and a new order. Orders have other ids here than in the stream;
results are told in the stream's.
"""

cimport cython
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free
from libc.string cimport memcpy, memset

from matching_engine.bridge.core cimport Core
from matching_engine.bridge.store cimport StructStore
from matching_engine.codec.event_tape cimport EventTape
from matching_engine.codec.wire cimport put_int, put_literal
from matching_engine.fast.run cimport DIGEST_EVERY_OFFSETS, Run, execute, free_run
from matching_engine.pools.book cimport next_level
from matching_engine.pools.id_table cimport IdEntry, IdTable, put_id, reserve_id, resize_ids, tag_of
from matching_engine.pools.memory cimport NIL, grow, release
from matching_engine.records.commands cimport CANCEL, PLACE, Command
from matching_engine.records.events cimport REJECTED, TRADED, Event, Traded
from matching_engine.records.exchange cimport GTG, IOC, Exchange

from benchmarks.harness.stream import BadStream, StreamTotals

cdef enum:
    LIMIT = 0
    IMMEDIATE = 1
    CANCELED = 2
    MOVED = 3
    CLIENT_ID_BYTES = 16
    GPUS_WITHOUT_END = 2_000_000_000

cdef packed struct Record:
    uint8_t operation
    uint8_t side
    uint16_t book
    uint32_t quantity
    int32_t price
    uint32_t account
    uint64_t order_id

cdef struct Known:            # an order of the stream
    uint64_t stream_id
    int64_t order_id          # the exchange's newest for it
    uint32_t account, place

cdef struct Tally:
    uint64_t trades, quantity, checksum, cancels, refused


@cython.overflowcheck(False)
cdef void count_trade(Tally* tally, uint64_t maker, uint64_t taker, int64_t price, uint64_t quantity) noexcept nogil:
    tally.trades += 1
    tally.quantity += quantity
    tally.checksum = tally.checksum * <uint64_t>0x9E3779B97F4A7C15 + (
        (maker * <uint64_t>0x1000003) ^ (taker * <uint64_t>0x10001) ^ (<uint64_t>price * <uint64_t>0x101) ^ quantity
    )


cdef class ExchangeRunner:
    cdef StructStore store
    cdef Core core
    cdef uint32_t[:] contracts, buyers, sellers, nodes
    cdef int64_t tick, price_min
    cdef Run applied
    cdef uint32_t commands_capacity
    cdef char* client_ids
    cdef uint32_t client_ids_capacity
    cdef IdTable table
    cdef Known* known
    cdef uint32_t known_count, known_capacity
    cdef uint64_t* stream_ids              # by the exchange's id
    cdef uint32_t stream_ids_capacity
    cdef int64_t next_id
    cdef uint32_t first                    # of the commands applied last
    cdef int64_t first_offset
    cdef Tally tally

    def __cinit__(self, engine, contracts, accounts, int64_t tick, int64_t price_min):
        """`accounts` are the names of buyer, seller and node of each account of the stream."""
        from array import array

        self.store = engine.store
        self.core = self.store.core
        self.tick, self.price_min = tick, price_min
        resize_ids(&self.table, 10)
        numbers = [self.store.open_contract(name) for name in contracts]
        for name in contracts:
            engine.store.touch(name)
        self.contracts = array("I", numbers)
        self.buyers = array("I", [self.core.account(buyer) for buyer, _, _ in accounts])
        self.sellers = array("I", [self.core.account(seller) for _, seller, _ in accounts])
        self.nodes = array("I", [self.store.find_node(node) for _, _, node in accounts])
        for number in self.nodes:
            self.core.exchange.nodes.nodes[<uint32_t>number].rentable = GPUS_WITHOUT_END
        self.next_id = self.core.exchange.last_order_id + 1

    def __dealloc__(self):
        release(self.applied.commands, self.commands_capacity, sizeof(Command))
        release(self.client_ids, self.client_ids_capacity, CLIENT_ID_BYTES)
        release(self.known, self.known_capacity, sizeof(Known))
        release(self.stream_ids, self.stream_ids_capacity, sizeof(uint64_t))
        free_run(&self.applied)
        free(self.table.entries)

    # -- a batch, made ready

    def load(self, const uint8_t[::1] records not None):
        """Packs a batch of the stream's records into commands; gives how many those are."""
        cdef size_t count = records.shape[0] // sizeof(Record)
        cdef const Record* record = <const Record*>&records[0] if count else NULL
        cdef size_t i
        if records.shape[0] % sizeof(Record):
            raise BadStream(f"{records.shape[0]} bytes are not a multiple of {sizeof(Record)}")
        self.applied.count = self.applied.done = 0
        while self.commands_capacity < 2 * count:
            grow(<void**>&self.applied.commands, &self.commands_capacity, sizeof(Command))
        while self.client_ids_capacity < 2 * count:
            grow(<void**>&self.client_ids, &self.client_ids_capacity, CLIENT_ID_BYTES)
        for i in range(count):
            self.pack(&record[i])
        return self.applied.count

    cdef int pack(self, const Record* record) except -1:
        cdef Known* known = self.find(record.order_id)
        if record.operation == CANCELED or record.operation == MOVED:
            if known == NULL:
                self.tally.refused += 1
                return 0
            self.pack_cancel(known)
            self.tally.cancels += record.operation == CANCELED
        if record.operation == MOVED:
            self.pack_order(record, known)
        elif record.operation == LIMIT or record.operation == IMMEDIATE:
            if known != NULL:
                self.tally.refused += 1
                return 0
            known = self.add(record)
            self.pack_order(record, known)
        return 0

    cdef Command* next_command(self, uint32_t account):
        cdef Command* command = &self.applied.commands[self.applied.count]
        memset(command, 0, sizeof(Command))
        command.account = account
        command.contract = command.node = NIL
        command.ts_ms = self.core.exchange.now_ms
        self.applied.count += 1
        return command

    cdef int pack_cancel(self, const Known* known) except -1:
        cdef Command* command = self.next_command(known.account)
        command.type = CANCEL
        command.order_id = known.order_id
        return 0

    cdef int pack_order(self, const Record* record, Known* known) except -1:
        cdef char* client_id = self.client_ids + self.applied.count * CLIENT_ID_BYTES
        cdef Command* command = self.next_command(known.account)
        command.type = PLACE
        command.contract = self.contracts[record.book]
        command.sells = record.side
        command.node = self.nodes[known.place] if record.side else NIL
        command.tif = IOC if record.operation == IMMEDIATE else GTG
        command.qty = record.quantity
        command.price_micros = (record.price - self.price_min + 1) * self.tick
        known.order_id = self.next_id
        memset(client_id, c"0", CLIENT_ID_BYTES)
        put_literal(put_int(client_id, self.next_id), b"-")
        command.client_id = client_id
        command.client_id_size = CLIENT_ID_BYTES
        memcpy(command.digest, record, sizeof(Record))
        while self.next_id >= self.stream_ids_capacity:
            grow(<void**>&self.stream_ids, &self.stream_ids_capacity, sizeof(uint64_t))
        self.stream_ids[self.next_id] = record.order_id
        self.next_id += 1
        return 0

    # -- the stream's ids

    cdef Known* find(self, uint64_t stream_id):
        cdef uint32_t tag = tag_of(stream_id)
        cdef uint32_t at = tag >> self.table.shift
        while self.table.entries[at].slot != NIL:
            if self.known[self.table.entries[at].slot].stream_id == stream_id:
                return &self.known[self.table.entries[at].slot]
            at = (at + 1) & self.table.mask
        return NULL

    cdef Known* add(self, const Record* record) except NULL:
        cdef Known* known
        cdef uint32_t place = record.account % <uint32_t>self.buyers.shape[0]
        if self.known_count == self.known_capacity:
            grow(<void**>&self.known, &self.known_capacity, sizeof(Known))
        reserve_id(&self.table)
        known = &self.known[self.known_count]
        known.stream_id = record.order_id
        known.account = self.sellers[place] if record.side else self.buyers[place]
        known.place = place
        put_id(&self.table, record.order_id, self.known_count)
        self.known_count += 1
        return known

    # -- a batch, applied

    def run(self, uint32_t at_most=NIL):
        """Applies the batch, or so many commands of it, into packed events; gives how many are left."""
        cdef uint32_t loaded = self.applied.count
        cdef Exchange* exchange = &self.core.exchange
        cdef Run* applied = &self.applied
        self.applied.count = min(loaded, self.applied.done + <uint64_t>at_most)
        self.first = self.applied.done
        self.first_offset = self.core.exchange.next_offset
        self.applied.events.used = 0
        with nogil:
            while applied.done < applied.count:
                exchange.next_offset += exchange.next_offset % DIGEST_EVERY_OFFSETS == 0
                execute(exchange, applied)
                if exchange.next_offset % DIGEST_EVERY_OFFSETS:
                    break
        if self.applied.done != self.applied.count:
            raise BadStream(f"command {self.applied.done} of the batch is out of the ordinary: {self.applied.outcome}")
        self.applied.count = loaded
        return loaded - self.applied.done

    def write(self):
        """Writes the last packed events as canonical JSON, linked; gives how many, and their bytes."""
        cdef EventTape tape = self.store.tape
        with nogil:
            tape.seal_packed(
                &self.core.exchange, &self.applied.commands[self.first], self.applied.done - self.first,
                &self.applied.events, self.first_offset,
            )
        events, size = tape.spans_used, tape.sealed_used
        tape.spans_used = tape.sealed_used = 0
        return events, size

    # -- what came of it

    def own_bytes(self):
        """What the stream's tables take here, which is not the exchange's memory."""
        return (
            self.commands_capacity * sizeof(Command) + self.client_ids_capacity * CLIENT_ID_BYTES
            + self.known_count * sizeof(Known) + self.next_id * sizeof(uint64_t)
            + (<size_t>self.table.mask + 1) * sizeof(IdEntry) + self.applied.events.capacity
        )

    def count(self):
        """Adds the last packed events to the result."""
        cdef const char* at = self.applied.events.bytes
        cdef const char* end = at + self.applied.events.used
        cdef const Event* event
        cdef const Traded* trade
        while at < end:
            event = <const Event*>at
            if event.type == TRADED:
                trade = <const Traded*>event
                count_trade(
                    &self.tally, self.stream_ids[trade.maker_order_id], self.stream_ids[trade.taker_order_id],
                    trade.price_micros // self.tick - 1 + self.price_min, trade.qty,
                )
            elif event.type == REJECTED:
                self.tally.refused += 1
            at += event.size

    def totals(self):
        cdef Exchange* exchange = &self.core.exchange
        cdef int64_t live_quantity = 0
        cdef uint32_t level
        for number in self.contracts:
            for side in range(2):
                level = exchange.books.sides[exchange.contracts[<uint32_t>number].bids + <uint32_t>side].best
                while level != NIL:
                    live_quantity += exchange.books.levels[level].quantity
                    level = next_level(&exchange.books, level)
        return StreamTotals(
            self.tally.trades, self.tally.quantity, self.tally.checksum, exchange.orders.count, live_quantity,
            self.tally.cancels, self.tally.refused,
        )
