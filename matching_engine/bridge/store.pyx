"""The store of the compiled engine: what the rules read and change, on the exchange's structs."""

from heapq import heappop, heappush

from matching_engine.bridge.bindings cimport Bindings
from matching_engine.bridge.blocks cimport BlockRecords, asks_by_hour, resale_asks
from matching_engine.bridge.core cimport Core, text_of_name
from matching_engine.bridge.counts cimport Counts
from matching_engine.bridge.orders cimport Orders, OrderView, put_order
from matching_engine.bridge.positions cimport ContractPositions, Positions
from matching_engine.bridge.terms cimport may_trade, read_terms, read_trading
from matching_engine.pools.book cimport best_order, close_sides, next_order, open_sides
from matching_engine.pools.id_list cimport IdList, keep_living
from matching_engine.pools.id_pages cimport find_id
from matching_engine.pools.memory cimport NIL
from matching_engine.records.exchange cimport Contract, Exchange, Posted, contracts_of, limit, remove_order
from matching_engine.records.hours cimport Product, contract_at, note_contract
from matching_engine.records.node_row cimport free_row
from matching_engine.records.nodes cimport Node

from matching_engine.bridge.balances import StructBalances
from matching_engine.bridge.block_search import first_offer, walk_nodes
from matching_engine.bridge.capacity_orders import CapacityOrders
from matching_engine.bridge.node_matrix import node_columns
from matching_engine.bridge.terms import StructTerms
from matching_engine.bridge.waiting_blocks import WaitingBlocks
from matching_engine.rules import deadlines
from matching_engine.rules.counts import rentable
from matching_engine.rules.money import LEVELS
from matching_engine.rules.products import is_known_start, is_open, name_of
from matching_engine.rules.state import Contract as PlainContract
from matching_engine.rules.store import start_of
from schemas.ids import contract_name

cdef int64_t NEVER_MS = 0x7FFFFFFFFFFFFFFF


cdef class StructStore:
    """What `rules.store.Store` asks for."""

    def __init__(self, Core core, Orders orders, state):
        self.core, self.resting_orders, self.state = core, orders, state
        self.tape = EventTape()
        self.tape.set_link(state.link)
        self.tape.seq = state.seq
        self.block_records = BlockRecords(core)
        self.terms = StructTerms(self)
        self.balances = StructBalances(core)
        self.capacity_orders = CapacityOrders(orders)
        self.closed_books, self.account_nodes = [], {}
        for account in state.limits:
            self.note_limits(account)

    # -- events of the record in hand

    def emit(self, event, dict fields):
        self.tape.write(event, fields)

    def count_events(self):
        return self.tape.count

    # -- resting orders

    def rest(self, order):
        cdef uint32_t contract = self.open_contract(order.contract)
        if order.node is not None:
            self.find_node(order.node)
        put_order(self.core, order, contract)
        if order.parent_id is not None:
            self.capacity_orders.add(order.parent_id, order.id)

    def remove_order(self, order):
        self.unlink_order(order)

    cdef int unlink_order(self, object order) except -1:
        cdef Exchange* exchange = &self.core.exchange
        cdef uint32_t slot = find_id(&exchange.orders, order.id)
        cdef OrderView view = self.resting_orders[order.id]
        view.detach()
        self.core.special_orders.pop(order.id, None)
        self.core.order_views.pop(slot, None)
        remove_order(exchange, slot)
        return 0

    def best(self, str contract, str side):
        cdef uint32_t slot = self.best_slot(contract, side)
        return None if slot == NIL else self.resting_orders.at(slot)

    def resting(self, str contract, str side):
        cdef uint32_t slot = self.best_slot(contract, side)
        cdef list found = []
        while slot != NIL:
            found.append(self.resting_orders.at(slot))
            slot = next_order(&self.core.exchange.books, slot)
        return iter(found)

    cdef uint32_t best_slot(self, str contract, str side) except? 0xFFFFFFFF:
        cdef Contract* known = &self.core.exchange.contracts[self.core.contract(contract)]
        return NIL if known.bids == NIL else best_order(&self.core.exchange.books, known.bids + (side == "sell"))

    def asks_of(self, str node):
        return self.oldest_first(self.living(&self.core.exchange.nodes.nodes[self.core.node(node)].asks))

    def resting_of(self, str account):
        """What the account backs itself, and what its nodes back."""
        cdef Exchange* exchange = &self.core.exchange
        cdef uint32_t number = self.core.account(account)
        cdef uint32_t node
        cdef set ids = set()
        if number < exchange.accounts.orders_capacity:
            ids = self.living(&exchange.accounts.orders[number])
        for node in self.account_nodes.get(number, ()):
            ids |= self.living(&exchange.nodes.nodes[node].asks)
        return self.oldest_first(ids)

    cdef set living(self, IdList* own):
        """The ids of a list. One may stand there twice: whoever replaces an order puts it to rest again."""
        cdef uint32_t place
        keep_living(own, &self.core.exchange.orders)
        return {own.ids[place] for place in range(own.used)}

    def parts_of(self, order_id):
        return [self.resting_orders[each] for each in sorted(self.capacity_orders.get(order_id))]

    cdef list oldest_first(self, set ids):
        return [self.resting_orders[order_id] for order_id in sorted(ids)]

    def blocks_of(self, str account):
        return self.state.blocks.of_account(account)

    # -- what blocks look for

    def walk_nodes(self, market, block, contracts):
        return walk_nodes(market, block, contracts)

    def first_offer(self, market, block, contract, node):
        return first_offer(market, block, contract, node)

    def node_columns(self, contracts, account, except_for):
        return node_columns(self.core, contracts, account, except_for)

    def asks_by_hour(self, node, contracts):
        """A node's own asks in each of the contracts, in the order of the book."""
        return asks_by_hour(self.resting_orders, node, contracts)

    def resale_asks(self, contract):
        """The asks that positions back, in the order of the book."""
        return resale_asks(self.resting_orders, contract)

    # -- contracts

    def last_micros(self, str contract):
        return self.core.exchange.contracts[self.core.contract(contract)].last_trade or None

    def note_price(self, str contract, int64_t price):
        self.core.exchange.contracts[self.core.contract(contract)].last_trade = price

    def forget_contract(self, str contract):
        self.state.contracts.pop(contract, None)

    def note_change(self):
        """What contracts and nodes copy of the rules has to be read anew."""
        self.core.exchange.version += 1

    def note_limits(self, str account):
        """Whether an account is held against limits of its own may have changed."""
        limit(&self.core.exchange, self.core.account(account), account in self.state.limits)

    def touch(self, str contract):
        cdef uint32_t number
        known = self.state.contracts.get(contract)
        if known is None:
            number = self.core.contract(contract)
            positions = ContractPositions(self.core, number)
            known = PlainContract(contract.rpartition("-")[0], start_of(contract), positions=positions)
            self.state.contracts[contract] = known
            self.core.exchange.contracts[number].known = True
        return known

    cdef uint32_t find_contract(self, str name) except? 0xFFFFFFFF:
        """The number of a contract that is listed and whose gate is open, its rules read; NIL for another one."""
        product = self.state.products.get(name.rpartition("-")[0])
        start_s = start_of(name) if product is not None else None
        if start_s is None or not is_known_start(product, start_s) or not is_open(product, start_s):
            return NIL
        if contract_name(name.rpartition("-")[0], start_s, product.newest.period_s) != name:
            return NIL
        return self.open_contract(name)

    cdef uint32_t open_contract(self, str name) except 0xFFFFFFFF:
        """The number of a listed contract, its rules read and its book open."""
        cdef uint32_t number = self.core.contract(name)
        cdef Contract* contract = &self.core.exchange.contracts[number]
        if contract.bids == NIL:
            contract.bids = open_sides(&self.core.exchange.books)
            contract.version = -1
        if contract.version != self.core.exchange.version:
            self.read_contract(number)
        return number

    cdef int read_contract(self, uint32_t number) except -1:
        """Copies what orders have to know of a contract."""
        cdef Contract* contract = &self.core.exchange.contracts[number]
        name = self.core.contract_name(number)
        product = self.state.products[name.rpartition("-")[0]]
        if contract.version < 0:
            read_terms(self.core, contract, product, start_of(name))
            contract.known = name in self.state.contracts
        read_trading(contract, product, may_trade(self.state, product), self.core.exchange.version)
        return 0

    cdef bint find_hours(self, str name, int64_t from_s, int64_t to_s, int64_t latest_s, int64_t periods) except -1:
        """Whether all periods of a window, or so many from each of some starts, are listed and open; then their contracts
        have numbers.
        """
        cdef Product* known
        cdef int64_t start_s
        cdef uint32_t contract
        product = self.state.products.get(name)
        if product is None or not is_known_start(product, from_s):
            return False
        known = &self.core.exchange.products[self.core.product(name)]
        known.first_s, known.period_s = product.versions[0][0], product.newest.period_s
        for start_s in range(from_s, to_s or max(from_s, latest_s) + periods * known.period_s, known.period_s):
            if contract_at(known, start_s) == NIL:
                contract = self.find_contract(name_of(name, start_s, known.period_s))
                if contract == NIL:
                    return False
                note_contract(known, start_s, contract)
        return True

    cdef int read_hours(self, const PeriodRange* period_range) except -1:
        """Reads the rules of a product's contracts, which were found before and whose terms stay."""
        cdef Exchange* exchange = &self.core.exchange
        cdef const uint32_t* contracts = contracts_of(exchange, period_range)
        cdef Contract* contract
        cdef uint32_t period
        product = self.state.products[text_of_name(&exchange.product_names, period_range.product)]
        cdef bint trades = may_trade(self.state, product)
        for period in range(period_range.periods + period_range.later):
            contract = &exchange.contracts[contracts[period]]
            if contract.version < 0:
                self.read_contract(contracts[period])
            elif contract.version != exchange.version:
                read_trading(contract, product, trades, exchange.version)
        return 0

    # -- nodes

    cdef uint32_t find_node(self, str name) except? 0xFFFFFFFF:
        """The number of a registered node, its facts read; NIL for another one."""
        node = self.state.nodes.get(name)
        if node is None:
            return NIL
        cdef uint32_t number = self.core.node(name)
        if self.core.exchange.nodes.nodes[number].version != self.core.exchange.version:
            self.read_node(number, node)
        return number

    cdef int read_node(self, uint32_t number, object node) except -1:
        """Copies what orders have to know of a node; its counts move into the exchange."""
        cdef Node* facts = &self.core.exchange.nodes.nodes[number]
        facts.version = self.core.exchange.version
        self.account_nodes.get(facts.account, set()).discard(number)
        facts.account = self.core.account(node.account)
        self.account_nodes.setdefault(facts.account, set()).add(number)
        facts.grade, facts.hub = self.core.label(node.grade), self.core.label(node.hub)
        facts.alive, facts.until_ms = node.alive, node.until_ms
        facts.level = LEVELS.index(node.level)
        facts.rentable = rentable(self.state, node)
        if type(node.committed) is dict:
            node.committed = self.move_counts(number, node.committed, False)
            node.sold = self.move_counts(number, node.sold, True)
        return 0

    def move_all_counts(self):
        """What only the rules in Python have counted moves too: nodes that no compiled rule has met yet."""
        for name, node in self.state.nodes.items():
            if type(node.committed) is dict and (node.committed or node.sold):
                self.find_node(name)

    cdef Counts move_counts(self, uint32_t number, dict plain, bint sold):
        counts = Counts(self.core, number, sold)
        for start_s, gpus in plain.items():
            counts[start_s] = gpus
        return counts

    # -- time

    def next_due(self):
        """Takes the next deadline. What the rules say may be another thing afterwards, and a closed book goes."""
        state_deadlines = self.state.timers
        if not state_deadlines or state_deadlines[0][0] > self.state.log_time_ms:
            return None
        deadline = heappop(state_deadlines)
        self.core.exchange.version += 1
        if deadline[1] == deadlines.GATE:
            self.closed_books.append(self.core.contract(deadline[2]))
        return deadline

    def expire_binding(self, until_ms, account, client_order_id):
        """A binding has its gate from the start."""

    def forget_bindings(self):
        self.core.close_gates(self.state.log_time_ms)

    cdef int close_books(self) except -1:
        """The gates of these books have closed: their memory is free again."""
        cdef Exchange* exchange = &self.core.exchange
        cdef uint32_t number
        for number in self.closed_books:
            if exchange.contracts[number].bids != NIL:
                close_sides(&exchange.books, exchange.contracts[number].bids)
                exchange.contracts[number].bids = NIL
            free_row(&exchange.contracts[number].nodes)
            exchange.contracts[number].last_trade = 0
        if self.closed_books:
            self.capacity_orders.forget_dead()
            self.closed_books.clear()
        return 0

    # -- the state's counters, kept in C while records are applied

    cdef int sync_rules(self) except -1:
        """Tells the rules in Python of the capacity orders and waiting blocks that the compiled ones took."""
        cdef Exchange* exchange = &self.core.exchange
        cdef const Posted* posted
        cdef uint32_t place
        for place in range(exchange.posted_used):
            posted = &exchange.posted[place]
            self.capacity_orders.add_all(posted.id, posted.asks)
            if posted.expires_ms:
                heappush(self.state.timers, (posted.expires_ms, deadlines.EXPIRY, posted.id))
        exchange.posted_used = 0
        self.block_records.sync(self.state)
        return 0

    def keep_block(self, block):
        """Puts a block of the rules among those that wait."""
        if not self.find_hours(block.product, block.start_s, 0, block.latest_s, block.periods):
            raise ValueError("a block waits for periods that are not open")
        currency = self.state.products[block.product].newest.currency
        self.block_records.add(block, self.core.asset(currency), self.gate_of(block))

    cdef uint32_t gate_of(self, object block) except 0xFFFFFFFF:
        """The gate of the last period that a block may come to need."""
        cdef Product* known = &self.core.exchange.products[self.core.product(block.product)]
        cdef int64_t last_s = block.latest_s + (block.periods - 1) * known.period_s
        return self.core.exchange.contracts[contract_at(known, last_s)].gate

    cdef int begin_rules(self) except -1:
        """The rules in Python take over."""
        self.sync_rules()
        cdef Exchange* exchange = &self.core.exchange
        state = self.state
        state.seq, state.link = self.tape.seq, self.tape.link_hex[:64].decode()
        state.next_offset = exchange.next_offset
        state.log_time_ms = exchange.now_ms
        state.last_order_id, state.last_trade_id = exchange.last_order_id, exchange.last_trade_id
        state.last_position_id = exchange.last_position_id
        return 0

    cdef int end_rules(self) except -1:
        """The compiled rules take over."""
        cdef Exchange* exchange = &self.core.exchange
        state = self.state
        self.tape.shard = state.shard
        exchange.now_ms = state.log_time_ms
        exchange.last_order_id, exchange.last_trade_id = state.last_order_id, state.last_trade_id
        exchange.last_position_id = state.last_position_id
        exchange.is_open = state.ruleset != 0
        if exchange.blocks.pending or state.pending_blocks:
            self.block_records.mark_pending(self.state)
        exchange.deadline_ms = min(
            state.timers[0][0] if state.timers else NEVER_MS, self.core.next_gate_ms() or NEVER_MS
        )
        self.core.forget_views()
        return 0


# -- the store of a state


def open_store(state) -> StructStore:
    """The store of a state whose orders, money, bindings and positions are yet to come."""
    cdef Core core = Core()
    cdef StructStore store
    state.orders, state.positions, state.bindings = Orders(core), Positions(core), Bindings(core)
    store = StructStore(core, state.orders, state)
    store.blocks_to_come, state.blocks = state.blocks, WaitingBlocks(store.block_records, store.keep_block)
    core.exchange.next_offset = state.next_offset
    store.end_rules()
    for name in state.nodes:
        store.find_node(name)
    for name, contract in state.contracts.items():
        if contract.last_micros is not None:
            store.note_price(name, contract.last_micros)
        contract.positions = ContractPositions(core, core.contract(name))
    return store
