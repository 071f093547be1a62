"""The exchange's structs into a snapshot's packed sections: the bytes that `rules/packing.py` packs."""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, qsort
from libc.string cimport memcmp, memcpy

from matching_engine.bridge.core cimport Core, text_of_name
from matching_engine.bridge.store cimport StructStore
from matching_engine.pools.book cimport Order
from matching_engine.pools.id_pages cimport IdPages
from matching_engine.pools.memory cimport NIL, allocate, reallocate
from matching_engine.pools.names cimport Names
from matching_engine.records.accounts cimport Balance
from matching_engine.records.bindings cimport DIGEST_BYTES, Binding, binding_at, first_place, id_text, next_place
from matching_engine.records.exchange cimport Detail, Exchange, price_at, side_of
from matching_engine.records.nodes cimport Count
from matching_engine.records.positions cimport Position
from matching_engine.snapshots.sections cimport (
    PackedBalance, PackedBinding, PackedGate, PackedLine, PackedOrder, PackedPeriod, PackedPosition,
)

from matching_engine.bridge.waiting_blocks import with_plain_blocks
from matching_engine.rules import outline
from matching_engine.rules.snapshot import assemble

cdef enum:
    FIRST_BYTES = 65_536

cdef struct Key:              # what a section is in the order of, and where the record stands
    uint64_t major, minor
    const char* text
    uint32_t size
    uint32_t slot


def write(StructStore store) -> bytes:
    """The whole state as canonical bytes."""
    state = store.state
    cdef Core core = store.core
    store.move_all_counts()
    cdef Packer packer = Packer(core, sorted(state.contracts))
    for name, contract in state.contracts.items():
        contract.last_micros = store.last_micros(name)
    orders, positions = special_orders(core, state.orders), packer.special_positions(state.positions)
    text = outline.text_of(with_plain_blocks(state), packer.names(), orders, positions)
    core.forget_views()
    return assemble(text, packer.pack())


cdef list special_orders(Core core, orders):
    """Those of which a view keeps something; in what is kept are also dead ones."""
    return [order for order in map(orders.get, core.special_orders) if order is not None]


# -- keys


cdef class Keys:
    """The records of a section in their order."""

    cdef Key* keys
    cdef size_t count

    def __cinit__(self, size_t count):
        self.keys = <Key*>allocate((count + 1) * sizeof(Key))

    def __dealloc__(self):
        free(self.keys)

    cdef void add(self, uint64_t major, uint64_t minor, uint32_t slot) noexcept:
        self.keys[self.count] = Key(major, minor, NULL, 0, slot)
        self.count += 1

    cdef void sort(self) noexcept:
        """Mostly there is nothing to do."""
        cdef size_t place
        for place in range(1, self.count):
            if compare(&self.keys[place - 1], &self.keys[place]) > 0:
                qsort(self.keys, self.count, sizeof(Key), compare)
                return


cdef int compare(const void* one, const void* other) noexcept nogil:
    cdef const Key* first = <const Key*>one
    cdef const Key* second = <const Key*>other
    cdef int sign
    if first.major != second.major:
        return 1 if first.major > second.major else -1
    if first.minor != second.minor:
        return 1 if first.minor > second.minor else -1
    sign = memcmp(first.text, second.text, min(first.size, second.size)) if first.text != NULL else 0
    return sign if sign else (first.size > second.size) - (first.size < second.size)


cdef class Places:
    """The names of one kind that sections use, and each one's place among them."""

    cdef const Names* known
    cdef uint32_t* places     # by the name's number
    cdef readonly list names

    def __dealloc__(self):
        free(self.places)

    cdef int start(self, const Names* known) except -1:
        cdef uint32_t number
        self.known = known
        self.places = <uint32_t*>allocate((known.count + 1) * sizeof(uint32_t))
        for number in range(known.count):
            self.places[number] = NIL
        return 0

    cdef void use(self, uint32_t number) noexcept:
        if number != NIL:
            self.places[number] = 0

    cdef int number_names(self) except -1:
        """All that is used is known."""
        cdef uint32_t number
        used = [number for number in range(self.known.count) if self.places[number] != NIL]
        named = sorted([(text_of_name(self.known, number), number) for number in used])
        self.names = [name for name, _ in named]
        for place, (_, number) in enumerate(named):
            self.places[number] = place
        return 0

    cdef uint32_t of(self, uint32_t number) noexcept:
        return NIL if number == NIL else self.places[number]


# -- sections


cdef class Packer:
    """The sections of an exchange in the making. `known` are the names of the contracts that the state remembers."""

    cdef Core core
    cdef list known, gates
    cdef Places accounts, assets, contracts, nodes
    cdef Keys balances, periods, positions, orders
    cdef char* bytes
    cdef size_t used, capacity

    def __init__(self, Core core, list known):
        self.core, self.known = core, known
        self.gates = [gate for gate in sorted(core.gates.items()) if core.exchange.bindings.gates[gate[1]].count]
        self.accounts, self.assets, self.contracts, self.nodes = Places(), Places(), Places(), Places()
        self.accounts.start(&core.exchange.accounts.names)
        self.assets.start(&core.exchange.accounts.assets)
        self.contracts.start(&core.exchange.contract_names)
        self.nodes.start(&core.exchange.nodes.names)
        self.find_orders()
        self.find_positions()
        self.find_others()
        for places in (self.accounts, self.assets, self.contracts, self.nodes):
            (<Places>places).number_names()
        self.find_balances()
        self.find_periods()

    def __dealloc__(self):
        free(self.bytes)

    def names(self):
        """The names that the sections use."""
        return outline.Names(self.accounts.names, self.assets.names, self.contracts.names, self.nodes.names)

    def special_positions(self, positions):
        """Those that are a block's, and those of which a view keeps something."""
        cdef const Position* position
        cdef size_t place
        cdef list found = []
        for place in range(self.positions.count):
            position = &self.core.exchange.positions.pool[self.positions.keys[place].slot]
            if position.special or position.block_id:
                found.append(positions[position.id])
        return found

    def pack(self):
        """Writes every section. Gives what has been packed, as long as this packer lives."""
        self.pack_balances()
        self.pack_periods()
        self.pack_gates()
        self.pack_positions()
        self.pack_lines()
        self.pack_orders()
        return <const char[:self.used]>self.bytes

    cdef void* add(self, size_t size) except NULL:
        """Where the next bytes go."""
        cdef size_t wanted = self.capacity if self.capacity else <size_t>FIRST_BYTES
        while wanted - self.used < size:
            wanted *= 2
        if wanted != self.capacity:
            self.bytes = <char*>reallocate(self.bytes, wanted)
            self.capacity = wanted
        self.used += size
        return self.bytes + self.used - size

    cdef int begin(self, int64_t count) except -1:
        """A section of so many records."""
        cdef void* at = self.add(sizeof(int64_t))
        memcpy(at, &count, sizeof(int64_t))
        return 0

    # -- what there is, in order, and which names it uses

    cdef int find_orders(self) except -1:
        cdef Exchange* exchange = &self.core.exchange
        cdef const IdPages* ids = &exchange.orders
        cdef uint32_t place, index, slot
        self.orders = Keys(ids.count)
        for place in range(ids.known):
            if ids.directory[place] == NIL:
                continue
            for index in range(256):
                slot = ids.pages[ids.directory[place]].slots[index]
                if slot != NIL:
                    self.orders.add(<uint64_t>exchange.details[slot].rank, 0, slot)
                    self.accounts.use(exchange.books.orders[slot].owner)
                    self.contracts.use(exchange.details[slot].contract)
                    self.nodes.use(exchange.details[slot].node)
        self.orders.sort()
        return 0

    cdef int find_positions(self) except -1:
        cdef Exchange* exchange = &self.core.exchange
        cdef const IdPages* ids = &exchange.positions.ids
        cdef const Position* position
        cdef uint32_t place, index, slot
        self.positions = Keys(ids.count)
        for place in range(ids.known):
            if ids.directory[place] == NIL:
                continue
            for index in range(256):
                slot = ids.pages[ids.directory[place]].slots[index]
                if slot == NIL or exchange.positions.pool[slot].gone:
                    continue
                position = &exchange.positions.pool[slot]
                self.positions.add(<uint64_t>position.id, 0, slot)
                self.accounts.use(position.buyer)
                self.accounts.use(position.operator)
                self.contracts.use(position.contract)
                self.nodes.use(position.node)
        return 0

    cdef int find_others(self) except -1:
        """Names of balances, periods, bindings and lines."""
        cdef Exchange* exchange = &self.core.exchange
        cdef const Binding* binding
        cdef uint32_t slot, place
        for slot in range(exchange.accounts.count):
            self.accounts.use(exchange.accounts.balances[slot].account)
            self.assets.use(exchange.accounts.balances[slot].asset)
        for slot in range(exchange.nodes.counts_used):
            if exchange.nodes.counts[slot].committed or exchange.nodes.counts[slot].sold:
                self.nodes.use(exchange.nodes.counts[slot].node)
        for _, gate in self.gates:
            place = first_place(&exchange.bindings, gate)
            while place != NIL:
                binding = binding_at(&exchange.bindings, place)
                if binding.bound:
                    self.accounts.use(binding.account)
                place = next_place(&exchange.bindings, place)
        self.known = [name for name in self.known if exchange.contracts[self.core.contract(name)].positions.count]
        for name in self.known:
            self.contracts.use(self.core.contract(name))
        return 0

    cdef int find_balances(self) except -1:
        cdef const Balance* balances = self.core.exchange.accounts.balances
        cdef uint32_t slot
        self.balances = Keys(self.core.exchange.accounts.count)
        for slot in range(self.core.exchange.accounts.count):
            self.balances.add(self.accounts.of(balances[slot].account), self.assets.of(balances[slot].asset), slot)
        self.balances.sort()
        return 0

    cdef int find_periods(self) except -1:
        cdef const Count* counts = self.core.exchange.nodes.counts
        cdef uint32_t slot
        self.periods = Keys(self.core.exchange.nodes.counts_used)
        for slot in range(self.core.exchange.nodes.counts_used):
            if counts[slot].committed or counts[slot].sold:
                self.periods.add(self.nodes.of(counts[slot].node), <uint64_t>counts[slot].start_s, slot)
        self.periods.sort()
        return 0

    # -- records

    cdef int pack_balances(self) except -1:
        cdef const Balance* balance
        cdef PackedBalance* packed
        cdef size_t place
        self.begin(self.balances.count)
        for place in range(self.balances.count):
            balance = &self.core.exchange.accounts.balances[self.balances.keys[place].slot]
            packed = <PackedBalance*>self.add(sizeof(PackedBalance))
            packed.account, packed.asset = self.accounts.of(balance.account), self.assets.of(balance.asset)
            packed.available, packed.held = balance.available, balance.held
        return 0

    cdef int pack_periods(self) except -1:
        cdef const Count* count
        cdef PackedPeriod* packed
        cdef size_t place
        self.begin(self.periods.count)
        for place in range(self.periods.count):
            count = &self.core.exchange.nodes.counts[self.periods.keys[place].slot]
            packed = <PackedPeriod*>self.add(sizeof(PackedPeriod))
            packed.node, packed.start_s = self.nodes.of(count.node), count.start_s
            packed.committed, packed.sold = count.committed, count.sold
        return 0

    cdef int pack_gates(self) except -1:
        cdef PackedGate* packed
        cdef Keys keys
        cdef size_t place
        self.begin(len(self.gates))
        for until_ms, gate in self.gates:
            keys = self.bindings_of(gate)
            packed = <PackedGate*>self.add(sizeof(PackedGate))
            packed.until_ms, packed.bindings = until_ms, keys.count
            for place in range(keys.count):
                self.pack_binding(binding_at(&self.core.exchange.bindings, keys.keys[place].slot))
        return 0

    cdef Keys bindings_of(self, uint32_t gate):
        """By the record that they came with; those of a batch by account and text."""
        cdef Exchange* exchange = &self.core.exchange
        cdef uint32_t place = first_place(&exchange.bindings, gate)
        cdef Keys keys = Keys(exchange.bindings.gates[gate].count)
        cdef const Binding* binding
        while place != NIL:
            binding = binding_at(&exchange.bindings, place)
            if binding.bound:
                keys.add(<uint64_t>binding.offset, self.accounts.of(binding.account), place)
                keys.keys[keys.count - 1].text = id_text(binding)
                keys.keys[keys.count - 1].size = binding.size
            place = next_place(&exchange.bindings, place)
        keys.sort()
        return keys

    cdef int pack_binding(self, const Binding* binding) except -1:
        cdef PackedBinding* packed = <PackedBinding*>self.add(sizeof(PackedBinding) + binding.size)
        packed.account = self.accounts.of(binding.account)
        packed.offset, packed.order_id = binding.offset, binding.order_id
        memcpy(packed.digest, binding.digest, DIGEST_BYTES)
        packed.size = binding.size
        memcpy(<char*>packed + sizeof(PackedBinding), id_text(binding), binding.size)
        return 0

    cdef int pack_positions(self) except -1:
        cdef const Position* position
        cdef PackedPosition* packed
        cdef size_t place
        self.begin(self.positions.count)
        for place in range(self.positions.count):
            position = &self.core.exchange.positions.pool[self.positions.keys[place].slot]
            packed = <PackedPosition*>self.add(sizeof(PackedPosition))
            packed.id = position.id
            packed.contract, packed.node = self.contracts.of(position.contract), self.nodes.of(position.node)
            packed.buyer, packed.operator = self.accounts.of(position.buyer), self.accounts.of(position.operator)
            packed.qty, packed.price_micros = position.qty, position.price_micros
            packed.escrow_micros, packed.fee_micros = position.escrow_micros, position.fee_micros
            packed.bond_micros, packed.bond_left_micros = position.bond_micros, position.bond_left_micros
        return 0

    cdef int pack_lines(self) except -1:
        cdef Exchange* exchange = &self.core.exchange
        cdef PackedLine* packed
        cdef uint32_t number, slot
        self.begin(len(self.known))
        for name in self.known:
            number = self.core.contract(name)
            packed = <PackedLine*>self.add(sizeof(PackedLine))
            packed.contract, packed.positions = self.contracts.of(number), exchange.contracts[number].positions.count
            slot = exchange.contracts[number].positions.first
            while slot != NIL:
                self.begin(exchange.positions.pool[slot].id)
                slot = exchange.positions.pool[slot].next
        return 0

    cdef int pack_orders(self) except -1:
        cdef size_t place
        self.begin(self.orders.count)
        for place in range(self.orders.count):
            self.pack_order(self.orders.keys[place].slot)
        return 0

    cdef int pack_order(self, uint32_t slot) except -1:
        cdef Exchange* exchange = &self.core.exchange
        cdef const Order* order = &exchange.books.orders[slot]
        cdef const Detail* detail = &exchange.details[slot]
        cdef const Binding* client = NULL if detail.client == NIL else binding_at(&exchange.bindings, detail.client)
        cdef uint8_t size = 0 if client == NULL else client.size
        cdef PackedOrder* packed = <PackedOrder*>self.add(sizeof(PackedOrder) + size)
        packed.id = <int64_t>order.id
        packed.parent_id = packed.id - detail.behind if detail.behind else 0
        packed.account, packed.contract = self.accounts.of(order.owner), self.contracts.of(detail.contract)
        packed.node = self.nodes.of(detail.node)
        packed.price_micros = price_at(exchange, slot)
        packed.hold_unit_micros, packed.hold_micros = detail.hold_unit_micros, detail.hold_micros
        packed.qty, packed.left = detail.qty, <uint32_t>order.quantity
        packed.sells = side_of(exchange, slot) & 1
        packed.kind, packed.tif, packed.post_only = detail.kind, detail.tif, detail.post_only
        packed.size = size
        if size:
            memcpy(<char*>packed + sizeof(PackedOrder), id_text(client), size)
        return 0
