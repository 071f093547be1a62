"""A snapshot into the exchange's structs. Nothing in it is used before it is known to be in range."""

from array import array

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

from matching_engine.bridge.core cimport Core
from matching_engine.bridge.store cimport StructStore
from matching_engine.codec.read_command cimport PRICE_MAX_MICROS
from matching_engine.codec.wire cimport CLIENT_ORDER_ID, WORD_CHARACTERS, WORD_SIZE_MAX, span
from matching_engine.fast.money cimport AMOUNT_MAX_MICROS
from matching_engine.pools.id_pages cimport find_id, is_in_reach
from matching_engine.pools.memory cimport NIL
from matching_engine.records.accounts cimport find_balance, open_balance
from matching_engine.records.bindings cimport bind, binding_hash, find_binding, gate_of, keep_text
from matching_engine.records.exchange cimport ORDINARY, Contract, Detail, Exchange, list_order, rest
from matching_engine.records.nodes cimport find_count, open_count
from matching_engine.records.positions cimport Position, list_position, add_position
from matching_engine.snapshots.sections cimport (
    PackedBalance, PackedBinding, PackedGate, PackedLine, PackedOrder, PackedPeriod, PackedPosition,
)

from matching_engine.bridge.waiting_blocks import load_blocks
from matching_engine.rules.outline import add_extras

cdef enum:
    GPUS_MAX = 0x7FFFFFFF


def load(StructStore store, outline, packed):
    """Moves the sections of a snapshot into the store of its outline's state. What is wrong with them is raised as
    LookupError, ValueError or OverflowError.
    """
    cdef Unpacker unpacker = Unpacker(store, outline, packed)
    unpacker.unpack()
    load_blocks(store)
    add_extras(store.state.positions, outline.positions)
    add_extras(store.state.orders, outline.orders)
    store.end_rules()


cdef int require(bint holds, str otherwise) except -1:
    if not holds:
        raise ValueError(otherwise)
    return 0


cdef bint is_amount(int64_t amount) noexcept:
    return 0 <= amount <= <int64_t>AMOUNT_MAX_MICROS


cdef class Unpacker:
    """Sections on their way into an exchange."""

    cdef Core core
    cdef StructStore store
    cdef object outline
    cdef const uint8_t[::1] packed
    cdef const char* at
    cdef const char* end
    cdef uint32_t[::1] accounts, assets, contracts, nodes    # numbers of the names, by their places

    def __init__(self, StructStore store, outline, packed):
        cdef Core core = store.core
        names = outline.names
        require(all([name in store.state.nodes for name in names.nodes]), "a node is not registered")
        self.core, self.store, self.outline = core, store, outline
        self.accounts = array("I", [core.account(name) for name in names.accounts])
        self.assets = array("I", [core.asset(name) for name in names.assets])
        self.contracts = array("I", [core.contract(name) for name in names.contracts])
        self.nodes = array("I", [core.node(name) for name in names.nodes])
        self.packed = packed
        self.at = <const char*>&self.packed[0] if self.packed.shape[0] else NULL
        self.end = self.at + self.packed.shape[0]

    cdef int unpack(self) except -1:
        self.unpack_balances()
        self.unpack_periods()
        self.unpack_gates()
        self.unpack_positions()
        self.unpack_lines()
        self.unpack_orders()
        return require(self.at == self.end, "trailing bytes after the last section")

    cdef const void* read_bytes(self, size_t size) except NULL:
        """The next bytes."""
        require(span(self.at, self.end) >= size, "a section is truncated")
        self.at += size
        return self.at - size

    cdef int64_t read_number(self) except? -1:
        cdef int64_t number
        memcpy(&number, self.read_bytes(sizeof(int64_t)), sizeof(int64_t))
        return number

    cdef const char* read_id(self, uint8_t size) except NULL:
        """A client's id."""
        cdef const char* text = <const char*>self.read_bytes(size)
        cdef uint8_t place
        require(size <= WORD_SIZE_MAX, "a client order id is too long")
        for place in range(size):
            require(WORD_CHARACTERS[<uint8_t>text[place]] & CLIENT_ORDER_ID, "a client order id has invalid characters")
        return text

    # -- sections

    cdef int unpack_balances(self) except -1:
        cdef int64_t record
        cdef Exchange* exchange = &self.core.exchange
        cdef const PackedBalance* packed
        cdef uint32_t account, asset, slot
        for record in range(self.read_number()):
            packed = <const PackedBalance*>self.read_bytes(sizeof(PackedBalance))
            account, asset = number_at(self.accounts, packed.account), number_at(self.assets, packed.asset)
            require(find_balance(&exchange.accounts, account, asset) == NIL, "duplicate balance")
            require(is_amount(packed.available) and is_amount(packed.held), "a balance is out of range")
            slot = open_balance(&exchange.accounts, account, asset)
            exchange.accounts.balances[slot].available = packed.available
            exchange.accounts.balances[slot].held = packed.held
        return 0

    cdef int unpack_periods(self) except -1:
        cdef int64_t record
        cdef Exchange* exchange = &self.core.exchange
        cdef const PackedPeriod* packed
        cdef uint32_t node, slot
        for record in range(self.read_number()):
            packed = <const PackedPeriod*>self.read_bytes(sizeof(PackedPeriod))
            node = number_at(self.nodes, packed.node)
            require(find_count(&exchange.nodes, node, packed.start_s) == NIL, "duplicate period of a node")
            require(packed.committed <= GPUS_MAX and packed.sold <= GPUS_MAX, "a node has too many GPUs")
            slot = open_count(&exchange.nodes, node, packed.start_s)
            exchange.nodes.counts[slot].committed = packed.committed
            exchange.nodes.counts[slot].sold = packed.sold
        return 0

    cdef int unpack_gates(self) except -1:
        cdef int64_t record, part
        cdef const PackedGate* packed
        cdef uint32_t gate
        for record in range(self.read_number()):
            packed = <const PackedGate*>self.read_bytes(sizeof(PackedGate))
            gate = self.core.gate(packed.until_ms)
            for part in range(packed.bindings):
                self.unpack_binding(gate)
        return 0

    cdef int unpack_binding(self, uint32_t gate) except -1:
        cdef Exchange* exchange = &self.core.exchange
        cdef const PackedBinding* packed = <const PackedBinding*>self.read_bytes(sizeof(PackedBinding))
        cdef const char* text = self.read_id(packed.size)
        cdef uint32_t account = number_at(self.accounts, packed.account)
        cdef uint64_t hashed = binding_hash(&exchange.bindings, account, text, packed.size)
        require(
            find_binding(&exchange.bindings, account, text, packed.size, hashed) == NIL, "duplicate client order id"
        )
        bind(
            &exchange.bindings, gate, account, text, packed.size, hashed, packed.digest, packed.offset, packed.order_id
        )
        return 0

    cdef int unpack_positions(self) except -1:
        cdef int64_t record
        cdef Exchange* exchange = &self.core.exchange
        cdef const PackedPosition* packed
        cdef Position* position
        cdef uint32_t slot
        for record in range(self.read_number()):
            packed = <const PackedPosition*>self.read_bytes(sizeof(PackedPosition))
            require(0 < packed.id <= exchange.last_position_id, "a position's id was never assigned")
            require(find_id(&exchange.positions.ids, <uint64_t>packed.id) == NIL, "duplicate position")
            require(
                is_in_reach(&exchange.positions.ids, <uint64_t>packed.id), "a position's id is too far from the others"
            )
            slot = add_position(&exchange.positions, packed.id)
            position = &exchange.positions.pool[slot]
            position.contract = number_at(self.contracts, packed.contract)
            position.buyer = number_at(self.accounts, packed.buyer)
            position.operator = number_at(self.accounts, packed.operator)
            position.node = number_at(self.nodes, packed.node)
            position.qty, position.price_micros = packed.qty, packed.price_micros
            position.escrow_micros, position.fee_micros = packed.escrow_micros, packed.fee_micros
            position.bond_micros, position.bond_left_micros = packed.bond_micros, packed.bond_left_micros
            position.block_id = 0
        return 0

    cdef int unpack_lines(self) except -1:
        cdef int64_t record, part
        cdef Exchange* exchange = &self.core.exchange
        cdef const PackedLine* packed
        cdef uint32_t contract, slot
        cdef uint32_t listed = 0
        for record in range(self.read_number()):
            packed = <const PackedLine*>self.read_bytes(sizeof(PackedLine))
            contract = number_at(self.contracts, packed.contract)
            require(self.core.contract_name(contract) in self.store.state.contracts, "unknown contract")
            for part in range(packed.positions):
                slot = find_id(&exchange.positions.ids, <uint64_t>self.read_number())
                require(slot != NIL and not exchange.positions.pool[slot].listed, "a contract lists a wrong position")
                require(exchange.positions.pool[slot].contract == contract, "a position of another contract")
                list_position(&exchange.positions, &exchange.contracts[contract].positions, slot)
                listed += 1
        return require(listed == exchange.positions.ids.count, "a position is missing from its contract")

    # -- orders

    cdef int unpack_orders(self) except -1:
        cdef int64_t record
        for record in range(self.read_number()):
            self.unpack_order()
        return 0

    cdef int unpack_order(self) except -1:
        cdef Exchange* exchange = &self.core.exchange
        cdef const PackedOrder* packed = <const PackedOrder*>self.read_bytes(sizeof(PackedOrder))
        cdef const char* text = self.read_id(packed.size)
        cdef uint32_t account = number_at(self.accounts, packed.account)
        cdef uint32_t number = number_at(self.contracts, packed.contract)
        cdef Contract* contract = self.open_book(number)
        cdef Detail* detail
        cdef int64_t ticks
        cdef uint32_t slot
        self.check_order(packed, contract)
        ticks = packed.price_micros // contract.tick
        slot = rest(exchange, contract.bids + packed.sells, ticks, packed.left, packed.id, account)
        detail = &exchange.details[slot]
        detail.price_micros = packed.price_micros
        detail.hold_micros, detail.hold_unit_micros = packed.hold_micros, packed.hold_unit_micros
        detail.rank = packed.id
        detail.behind = <uint32_t>(packed.id - packed.parent_id) if packed.parent_id else 0
        detail.qty, detail.contract = packed.qty, number
        detail.kind, detail.tif, detail.post_only, detail.special = packed.kind, packed.tif, packed.post_only, ORDINARY
        detail.client = self.place_of_id(contract, account, text, packed.size)
        detail.balance = find_balance(&exchange.accounts, account, contract.currency)
        require(
            detail.balance != NIL or packed.sells and not (packed.hold_micros or packed.hold_unit_micros),
            "an order's hold has no balance",
        )
        detail.node = detail.count = NIL
        if packed.sells:
            self.offer(packed, detail)
        list_order(exchange, <uint64_t>packed.id, account, detail.node)
        if packed.parent_id:
            self.store.capacity_orders.add(packed.parent_id, packed.id)
        return 0

    cdef Contract* open_book(self, uint32_t number) except NULL:
        """The contract of an order, whose gate has not closed."""
        cdef Contract* contract = &self.core.exchange.contracts[number]
        if contract.bids == NIL:
            self.store.open_contract(self.core.contract_name(number))
            contract = &self.core.exchange.contracts[number]
        require(contract.known, "unknown contract")
        require(contract.gate_ms > self.core.exchange.now_ms, "an order rests after its gate")
        return contract

    cdef int check_order(self, const PackedOrder* packed, const Contract* contract) except -1:
        cdef Exchange* exchange = &self.core.exchange
        require(0 < packed.id <= exchange.last_order_id, "an order's id was never assigned")
        require(find_id(&exchange.orders, <uint64_t>packed.id) == NIL, "duplicate order")
        require(is_in_reach(&exchange.orders, <uint64_t>packed.id), "an order's id is too far from the others")
        require(0 <= packed.parent_id < packed.id, "an order's parent came after it")
        require(packed.parent_id == 0 or packed.id - packed.parent_id < NIL, "an order is too far from its parent")
        require(
            packed.price_micros > 0 and packed.price_micros % contract.tick == 0,
            "an order's price is not a multiple of the tick",
        )
        require(packed.price_micros <= <int64_t>PRICE_MAX_MICROS, "a price is out of range")
        require(0 < packed.left <= packed.qty <= GPUS_MAX, "an order's quantity is out of range")
        require(is_amount(packed.hold_micros) and is_amount(packed.hold_unit_micros), "a hold is out of range")
        require(packed.sells <= 1 and packed.kind <= 2 and packed.tif <= 3 and packed.post_only <= 1, "invalid terms")
        require(packed.sells or packed.node == NIL, "a bid names a node")
        return 0

    cdef uint32_t place_of_id(
        self, const Contract* contract, uint32_t account, const char* text, uint8_t size
    ) except? 0xFFFFFFFF:
        """Where an order's client id stands at least until the order's gate."""
        cdef Exchange* exchange = &self.core.exchange
        cdef uint64_t hashed
        cdef uint32_t place
        if size == 0:
            return NIL
        hashed = binding_hash(&exchange.bindings, account, text, size)
        place = find_binding(&exchange.bindings, account, text, size, hashed)
        if place != NIL and self.kept_until_ms(place) >= contract.gate_ms:
            return place
        return keep_text(&exchange.bindings, contract.gate, account, text, size)

    cdef int64_t kept_until_ms(self, uint32_t place) noexcept:
        cdef Exchange* exchange = &self.core.exchange
        return exchange.bindings.gates[gate_of(&exchange.bindings, place)].until_ms

    cdef int offer(self, const PackedOrder* packed, Detail* detail) except -1:
        """A node stands behind an ask, or positions do."""
        cdef Exchange* exchange = &self.core.exchange
        if packed.node == NIL:
            extras = self.outline.orders.get(packed.id)
            return require(extras is not None and extras.backing is not None, "an ask has no backing")
        detail.node = number_at(self.nodes, packed.node)
        detail.count = open_count(&exchange.nodes, detail.node, exchange.contracts[detail.contract].start_s)
        return 0


cdef uint32_t number_at(uint32_t[::1] numbers, uint32_t place) except? 0xFFFFFFFF:
    """The number of the name at a place."""
    if place >= <size_t>numbers.shape[0]:
        raise IndexError("a name's number is out of range")
    return numbers[place]
