"""The market of the compiled engine: the reference's, with its books, money and events in C."""

from heapq import heappop, heappush

from matching_engine.book cimport Books, best_order, cancel_order, next_order, reserve, rest_order
from matching_engine.event_tape cimport Header
from matching_engine.memory cimport NIL

from matching_engine.records import order_of
from matching_engine.reference import counts, timers
from matching_engine.reference.clock import move_time
from matching_engine.reference.market import Market as PlainMarket
from matching_engine.reference.market import start_of
from matching_engine.reference.money import LEVELS, Entry
from matching_engine.reference.products import gate_ms, is_known_start, is_open
from schemas.events import Posting
from schemas.ids import contract_name

cdef int64_t NEVER_MS = 0x7FFFFFFFFFFFFFFF


cdef class CompiledMarket:
    # -- what the reference's rules call

    @property
    def events(self):
        """As many as the record in hand has."""
        return range(self.tape.count)

    @events.setter
    def events(self, none):
        self.tape = EventTape()

    def emit(self, event, **fields):
        self.tape.write(event, fields)

    def entry(self, asset):
        return CompiledEntry(self.accounts, asset)

    def rest(self, order):
        compiled = order if isinstance(order, Order) else order_of(order)
        self.orders[order.id] = compiled
        self.index_order(compiled)

    def index_order(self, Order order):
        self.put_into_book(order, self.book_of(order.contract))
        if order.parent_id is not None:
            self.capacity_orders.setdefault(order.parent_id, set()).add(order.id)

    def unrest(self, Order order):
        self.take_out(order)

    def best(self, str contract, str side):
        return self.best_order(self.books[contract], side == "sell") if contract in self.books else None

    def resting(self, str contract, str side):
        cdef ContractBook book = self.books.get(contract)
        cdef Books* books = &self.book_set.books
        cdef uint32_t slot = NIL
        cdef list found = []
        if book is not None:
            slot = best_order(books, book.asks if side == "sell" else book.bids)
        while slot != NIL:
            found.append(self.orders[books.orders[slot].id])
            slot = next_order(books, slot)
        return iter(found)

    def last_micros(self, str contract):
        cdef ContractBook book = self.books.get(contract)
        return None if book is None else book.last_trade or None

    def note_price(self, str contract, int64_t price):
        self.book_of(contract).last_trade = price

    def keep_prices(self):
        """Writes what only books know into the state."""
        cdef ContractBook book
        for book in self.books.values():
            if book.last_trade:
                self.state.contracts[book.name].last_micros = book.last_trade

    def rules_changed(self):
        self.version += 1

    def next_due(self):
        """Takes the next deadline. What the rules say may be another thing afterwards, and a closed book goes."""
        state_timers = self.state.timers
        if not state_timers or state_timers[0][0] > self.state.log_time_ms:
            return None
        timer = heappop(state_timers)
        self.version += 1
        if timer[1] == timers.GATE and timer[2] in self.books:
            self.closed_books.append(self.books[timer[2]])
        return timer

    # -- books

    cdef ContractBook book_of(self, str contract):
        """The book of a contract that was listed."""
        cdef ContractBook book = self.books.get(contract)
        if book is None:
            book = ContractBook.__new__(ContractBook)
            book.name = contract
            book.start_key = start_of(contract)
            book.start_s = book.start_key
            book.number = self.book_set.open_book()
            book.bids = 2 * book.number
            book.asks = book.bids + 1
            book.version = -1
            known = self.state.contracts.get(contract)
            book.last_trade = 0 if known is None else known.last_micros or 0
            self.books[contract] = book
        return book

    cdef ContractBook open_book(self, str contract):
        """The book of a contract that is listed and whose gate is open, by its rules of today; None where it is not."""
        cdef ContractBook book = self.books.get(contract)
        if book is None:
            name = contract.rpartition("-")[0]
            product = self.state.products.get(name)
            start_s = start_of(contract) if product is not None else None
            if start_s is None or not is_known_start(product, start_s) or not is_open(product, start_s):
                return None
            if contract_name(name, start_s, product.newest.period_s) != contract:
                return None
            book = self.book_of(contract)
        self.refresh(book)
        return book if book.trading else None

    cdef int refresh(self, ContractBook book) except -1:
        """Reads a contract's rules again where anything may have changed them."""
        return self.read_rules(book) if book.version != self.version else 0

    cdef int read_rules(self, ContractBook book) except -1:
        product = self.state.products[book.name.rpartition("-")[0]]
        terms = product.terms(book.start_s)
        book.version = self.version
        book.trading = product.state == "OPEN" and is_open(product, book.start_s)
        book.known = self.state.contracts.get(book.name)
        book.positions = None if book.known is None else book.known.positions
        book.currency, book.grade, book.hub = terms.currency, terms.grade, terms.hub
        book.tick, book.lot, book.period_s = terms.tick_micros, terms.lot, terms.period_s
        book.maker_fee_bps, book.taker_fee_bps = terms.maker_fee_bps, terms.taker_fee_bps
        book.gate_ms = gate_ms(product, book.start_s)
        book.last_index = product.last_index_micros or 0
        for level in range(4):
            book.bond_permille[level] = terms.bond_permille[level]
        return 0

    cdef NodeDesk desk_of(self, str name):
        """A node's facts, or None."""
        cdef NodeDesk desk = self.nodes.get(name)
        if desk is not None and desk.version == self.version:
            return desk
        node = self.state.nodes.get(name)
        if node is None:
            return None
        desk = self.nodes[name] = NodeDesk.__new__(NodeDesk)
        desk.version = self.version
        desk.account, desk.grade, desk.hub = node.account, node.grade, node.hub
        desk.alive, desk.until_ms = node.alive, node.until_ms
        desk.level = LEVELS.index(node.level)
        desk.rentable = counts.rentable(self, node)
        desk.committed, desk.sold = node.committed, node.sold
        return desk

    cdef Order best_order(self, ContractBook book, bint asks):
        cdef Books* books = &self.book_set.books
        cdef uint32_t slot = best_order(books, book.asks if asks else book.bids)
        return None if slot == NIL else <Order>self.orders[books.orders[slot].id]

    cdef int put_into_book(self, Order order, ContractBook book) except -1:
        """Books keep the priority; how much is left of an order stands in its record alone."""
        if not reserve(&self.book_set.books):
            raise MemoryError
        order.book = book
        if order.conditions is not None:
            book.icebergs += order.conditions.display_qty is not None
        rest_order(&self.book_set.books, book.asks if order.sells else book.bids, order.price, 1, order.id, 0)
        if order.node is not None:
            self.node_orders.setdefault(order.node, set()).add(order.id)
        return 0

    cdef int take_out(self, Order order) except -1:
        del self.orders[order.id]
        if order.conditions is not None:
            order.book.icebergs -= order.conditions.display_qty is not None
        cancel_order(&self.book_set.books, order.id)
        if order.node is not None:
            self.node_orders[order.node].discard(order.id)
        if order.parent_id is not None:
            parts = self.capacity_orders[order.parent_id]
            parts.discard(order.id)
            if not parts:
                del self.capacity_orders[order.parent_id]
        return 0

    # -- money

    cdef Balance find_balance(self, str account, str asset):
        cdef dict assets = self.balances.get(account)
        return None if assets is None else assets.get(asset)

    cdef Balance open_balance(self, str account, str asset):
        """The balance that a posting is about to change."""
        cdef Balance balance = self.find_balance(account, asset)
        if balance is None:
            balance = self.balances.setdefault(account, {})[asset] = Balance()
        return balance

    # -- what is remembered until a gate

    cdef int touch_book(self, ContractBook book) except -1:
        if book.known is None:
            book.known = self.touch(book.name)
            book.positions = book.known.positions
        return 0

    cdef int keep_until_gate(self, ContractBook book, str account, str client_order_id) except -1:
        if book.expiring is None:
            book.expiring = self.expiring.get(book.gate_ms)
            if book.expiring is None:
                book.expiring = self.expiring[book.gate_ms] = []
                heappush(self.gates, book.gate_ms)
                self.deadline_ms = min(self.deadline_ms, book.gate_ms)
        book.expiring.append(account)
        book.expiring.append(client_order_id)
        return 0

    def forget_at_gates(self):
        """Client order ids are kept until the gate."""
        while self.gates and self.gates[0] <= self.now:
            kept = iter(self.expiring.pop(heappop(self.gates)))
            for account, client_order_id in zip(kept, kept):
                del self.bindings[account][client_order_id]
                if not self.bindings[account]:
                    del self.bindings[account]

    # -- time

    cdef int pass_time(self, int64_t ts_ms, bint is_tick) except -1:
        """Log time moves; deadlines are the reference's matter."""
        cdef ContractBook book
        self.now = max(self.now, ts_ms)
        if self.now < self.deadline_ms and not is_tick:
            return 0
        self.store()
        move_time(self, ts_ms, is_tick)
        for book in self.closed_books:
            self.books.pop(book.name, None)
            self.book_set.close_book(book.number)
        self.closed_books.clear()
        self.forget_at_gates()
        self.load()
        return 0

    # -- the state's counters, kept in C while records are applied

    cdef int store(self) except -1:
        state = self.state
        state.seq, state.log_time_ms = self.seq, self.now
        state.last_order_id, state.last_trade_id = self.last_order_id, self.last_trade_id
        state.last_position_id = self.last_position_id
        state.link = self.tape.link_hex[:64].decode()
        return 0

    cdef int load(self) except -1:
        state = self.state
        self.shard, self.ruleset, self.seq, self.now = state.shard, state.ruleset, state.seq, state.log_time_ms
        self.last_order_id, self.last_trade_id = state.last_order_id, state.last_trade_id
        self.last_position_id = state.last_position_id
        self.deadline_ms = NEVER_MS
        for heap in (state.timers, self.expiries):
            if heap:
                self.deadline_ms = min(self.deadline_ms, heap[0][0])
        if self.gates:
            self.deadline_ms = min(self.deadline_ms, self.gates[0])
        return 0

    cdef int seal(self, list events) except -1:
        cdef Header header = Header(self.shard, self.seq, self.offset, self.now)
        self.tape.seal(&header, events)
        self.seq = header.seq
        return 0


class CompiledEntry(Entry):
    """The reference's entry over compiled balances."""

    def post_one(self, account, available, held):
        balance = self.accounts.state.balances.setdefault(account, {}).setdefault(self.asset, Balance())
        balance.available += available
        balance.held += held
        if min(balance.available, balance.held) < 0:
            raise AssertionError(f"negative balance: {account} {self.asset}")
        return Posting(account, self.asset, available, held, balance.available, balance.held)


class Market(CompiledMarket, PlainMarket):
    """The compiled market with the reference's other methods."""

    def __init__(self, state):
        prepare(self, state)
        PlainMarket.__init__(self, state)
        (<CompiledMarket>self).tape.set_link(state.link)
        (<CompiledMarket>self).load()


cdef int prepare(CompiledMarket market, state) except -1:
    market.book_set = BookSet()
    market.orders, market.blocks, market.positions = state.orders, state.blocks, state.positions
    market.balances, market.bindings = state.balances, state.bindings
    market.books, market.nodes, market.expiring = {}, {}, {}
    market.node_orders, market.capacity_orders = {}, {}
    market.gates, market.closed_books = [], []
    return 0
