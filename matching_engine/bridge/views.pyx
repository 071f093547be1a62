"""Views: the exchange's records under the names that the reference's rules give them.

A field that no struct has, or a value that its struct cannot say, is kept as a Python object beside the record and
marks it `rare`: the compiled rules leave such records to the reference's. A view of an order that leaves its book, or of
a position that is over, goes on as the reference's own record.
"""

from dataclasses import MISSING, fields

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from matching_engine.bridge.core cimport number_or_nil, text_of_name
from matching_engine.codec.wire cimport size_of, text_of
from matching_engine.fast.money cimport unit_micros
from matching_engine.pools.book cimport Order as Resting
from matching_engine.pools.id_pages cimport IdPages, find_id
from matching_engine.pools.memory cimport NIL
from matching_engine.records.accounts cimport find_balance
from matching_engine.records.bindings cimport (
    DIGEST_BYTES, Binding, bind, binding_at, binding_hash, find_binding, gate_of, id_text, keep_text, unbind,
)
from matching_engine.records.exchange cimport (
    KEPT, UNUSUAL, USUAL, Contract, Detail, Exchange, list_order, price_at, rest, side_of,
)
from matching_engine.records.node_row cimport note_ask
from matching_engine.records.nodes cimport Count, find_count, open_count
from matching_engine.records.positions cimport Position as Claim
from matching_engine.records.positions cimport (
    close_position, list_position, open_position, unlist_position,
)

from matching_engine.rules import state as plain
from matching_engine.rules.store import rank_of

KINDS = ("limit", "market", "capacity")
TIFS = ("GTG", "IOC", "FOK", "GTD")


ORDER_STRUCT = (
    "id", "parent_id", "account", "client_order_id", "contract", "side", "kind", "price_micros", "qty", "left", "tif",
    "post_only", "node", "hold_unit_micros", "hold_micros",
)
POSITION_STRUCT = (
    "id", "contract", "buyer", "operator", "node", "qty", "price_micros", "escrow_micros", "bond_micros",
    "bond_left_micros", "fee_micros", "block_id",
)
UNSAID = {"max_cost_micros": None}     # what records mostly have in fields without a default


def rare_fields(record, struct) -> dict:
    """The fields of a reference's record that no struct has, each with a function that gives what is usual in it."""
    return {each.name: usual(each) for each in fields(record) if each.name not in struct}


def usual(each):
    if each.default_factory is not MISSING:
        return each.default_factory
    value = UNSAID.get(each.name, MISSING) if each.default is MISSING else each.default
    return lambda: value


cdef dict ORDER_RARE = rare_fields(plain.Order, ORDER_STRUCT)
cdef dict POSITION_RARE = rare_fields(plain.Position, POSITION_STRUCT)
cdef tuple ORDER_FIELDS = tuple(plain.Order.__dataclass_fields__)
cdef tuple POSITION_FIELDS = tuple(plain.Position.__dataclass_fields__)


cdef object usual_value(dict rare, str name):
    """What a record has in a field unless something else is kept beside it."""
    if name not in rare:
        raise AttributeError(name)
    return rare[name]()


cdef dict unusual_values(record, dict rare):
    """What has to be kept beside a record."""
    return {name: getattr(record, name) for name, usual in rare.items() if getattr(record, name) != usual()}


# -- ids in ascending order


cdef list live_ids(const IdPages* ids):
    cdef uint32_t place, index
    cdef list found = []
    for place in range(ids.known):
        if ids.directory[place] != NIL:
            for index in range(256):
                if ids.pages[ids.directory[place]].slots[index] != NIL:
                    found.append(((ids.first + place) << 8) + index)
    return found


# -- orders


cdef class Order:
    """A resting order."""

    def __getattr__(self, str name):
        if self.gone is not None:
            return getattr(self.gone, name)
        if self.core.exchange.details[self.slot].rare:
            rare = self.core.rare_orders[self.core.exchange.books.orders[self.slot].id]
            if name in rare:
                return rare[name]
        return read_order(&self.core.exchange, self.slot, name)

    def __setattr__(self, str name, value):
        if self.gone is not None:
            setattr(self.gone, name, value)
        else:
            write_order(self.core, self.slot, name, value)

    cdef int detach(self) except -1:
        """Goes on as a record of its own."""
        self.gone = plain.Order(**{name: getattr(self, name) for name in ORDER_FIELDS})
        self.slot = NIL
        return 0


cdef object read_order(Exchange* exchange, uint32_t slot, str name):
    cdef Resting* order = &exchange.books.orders[slot]
    cdef Detail* detail = &exchange.details[slot]
    if name == "id":
        return order.id
    if name == "left":
        return order.quantity
    if name == "account":
        return text_of_name(&exchange.accounts.names, order.handle)
    if name == "contract":
        return text_of_name(&exchange.contract_names, detail.contract)
    if name == "side":
        return "sell" if side_of(exchange, slot) & 1 else "buy"
    if name == "price_micros":
        return price_at(exchange, slot)
    if name == "hold_micros":
        return detail.hold_micros
    if name == "hold_unit_micros":
        return detail.hold_unit_micros
    if name == "qty":
        return detail.qty
    if name == "node":
        return text_of_name(&exchange.nodes.names, detail.node)
    if name == "client_order_id":
        return client_id_at(exchange, detail.client)
    if name == "parent_id":
        return order.id - detail.behind if detail.behind else None
    if name == "kind":
        return KINDS[detail.kind]
    if name == "tif":
        return TIFS[detail.tif]
    if name == "post_only":
        return detail.post_only != 0
    return usual_value(ORDER_RARE, name)


cdef str client_id_at(const Exchange* exchange, uint32_t place):
    """The client's id that stands there among the bindings."""
    cdef const Binding* binding
    if place == NIL:
        return None
    binding = binding_at(&exchange.bindings, place)
    return PyBytes_FromStringAndSize(id_text(binding), binding.size).decode()


cdef int write_order(Core core, uint32_t slot, str name, value) except -1:
    """What rules change about a resting order; its price and its side they cannot."""
    cdef Exchange* exchange = &core.exchange
    cdef Resting* order = &exchange.books.orders[slot]
    cdef Detail* detail = &exchange.details[slot]
    if name == "left":
        exchange.books.levels[order.level].quantity += <int64_t>value - order.quantity
        order.quantity = value
    elif name == "hold_micros":
        detail.hold_micros = value
    elif name == "hold_unit_micros":
        detail.hold_unit_micros = value
    elif name == "qty":
        detail.qty = value
    elif name == "tif" and value in TIFS:
        detail.tif = TIFS.index(value)
    elif name == "price_micros" and value == price_at(exchange, slot):
        pass
    elif name in ORDER_RARE:
        keep_rare(core, slot, {name: value})
        if name == "conditions":
            detail.rank = (value and value.rank) or order.id
    else:
        raise AttributeError(f"{name} of a resting order is fixed")
    return 0


cdef int keep_rare(Core core, uint32_t slot, dict values) except -1:
    """Keeps what an order's structs cannot say. The compiled rules take orders out without a word, so what was kept
    for the dead goes when it is more than what is kept for the living.
    """
    cdef Detail* detail = &core.exchange.details[slot]
    cdef uint64_t order_id = core.exchange.books.orders[slot].id
    if not detail.rare:
        detail.rare = KEPT
        if len(core.rare_orders) > 2 * core.rare_alive + 64:
            alive = {each: kept for each, kept in core.rare_orders.items() if is_kept(core, each)}
            core.rare_orders, core.rare_alive = alive, len(alive)
        core.rare_orders[order_id] = {}
    core.rare_orders[order_id].update(values)
    if detail.rare == KEPT and not all([trades_as_usual(name, value) for name, value in values.items()]):
        detail.rare = UNUSUAL
        core.exchange.contracts[detail.contract].unusual += 1
    return 0


cdef bint is_kept(Core core, uint64_t order_id):
    cdef uint32_t slot = find_id(&core.exchange.orders, order_id)
    return slot != NIL and core.exchange.details[slot].rare


cdef bint trades_as_usual(str name, value):
    """Whether takers meet the order as any other: its own end, its place in time and its instruction about self-trades
    do not matter to them, but of an iceberg they see a part only.
    """
    return name in ("kind", "tif") or (name == "conditions" and (value is None or value.display_qty is None))


cdef uint32_t put_order(Core core, object order, uint32_t contract_number) except 0xFFFFFFFF:
    """Puts an order of the reference into its book, whose rules have been read; its slot."""
    cdef Exchange* exchange = &core.exchange
    cdef Contract* contract = &exchange.contracts[contract_number]
    cdef uint32_t account = core.account(order.account)
    cdef bint sells = order.side == "sell"
    ticks, beside = divmod(order.price_micros, contract.tick)
    if beside:
        raise AssertionError(f"order {order.id} is between two ticks")
    cdef uint32_t slot = rest(exchange, contract.bids + sells, ticks, order.left, order.id, account)
    cdef Detail* detail = &exchange.details[slot]
    detail.price_micros = order.price_micros
    detail.hold_micros = order.hold_micros
    detail.hold_unit_micros = order.hold_unit_micros
    detail.rank = rank_of(order)
    detail.behind = order.id - order.parent_id if order.parent_id is not None else 0
    detail.qty = order.qty
    detail.contract = contract_number
    detail.node = NIL if order.node is None else core.node(order.node)
    detail.client = place_of_id(core, contract.gate, account, order.client_order_id)
    detail.balance = find_balance(&exchange.accounts, account, contract.currency)
    detail.count = NIL
    detail.post_only = order.post_only
    detail.rare = USUAL
    cdef dict rare = unusual_values(order, ORDER_RARE)
    detail.kind = KINDS.index(order.kind) if order.kind in KINDS else 0
    detail.tif = TIFS.index(order.tif) if order.tif in TIFS else 0
    if order.kind not in KINDS:
        rare["kind"] = order.kind
    if order.tif not in TIFS:
        rare["tif"] = order.tif
    if rare:
        keep_rare(core, slot, rare)
    if detail.node != NIL:
        detail.count = open_count(&exchange.nodes, detail.node, contract.start_s)
        note_ask(&contract.nodes, detail.node, unit_micros(contract, order.price_micros), detail.rank)
    list_order(exchange, order.id, account, detail.node)
    return slot


cdef uint32_t place_of_id(Core core, uint32_t gate, uint32_t account, str client_order_id) except? 0xFFFFFFFF:
    """Where a client's id stands; it is kept until the gate where it is not bound yet."""
    cdef uint32_t place
    if client_order_id is None:
        return NIL
    place = find_place(core, account, client_order_id)
    if place == NIL:
        place = keep_text(&core.exchange.bindings, gate, account, text_of(client_order_id), size_of(client_order_id))
    return place


cdef class Orders:
    """The resting orders by their ids."""

    def __init__(self, Core core):
        self.core = core

    cdef Order at(self, uint32_t slot):
        """The one view of an order that the record in hand uses."""
        cdef Order order = self.core.order_views.get(slot)
        if order is None:
            order = Order.__new__(Order)
            order.core = self.core
            order.slot = slot
            self.core.order_views[slot] = order
        return order

    def get(self, order_id, otherwise=None):
        cdef uint32_t slot = find_id(&self.core.exchange.orders, order_id)
        return otherwise if slot == NIL else self.at(slot)

    def __getitem__(self, order_id):
        cdef uint32_t slot = find_id(&self.core.exchange.orders, order_id)
        if slot == NIL:
            raise KeyError(order_id)
        return self.at(slot)

    def __contains__(self, order_id):
        return find_id(&self.core.exchange.orders, order_id) != NIL

    def __len__(self):
        return self.core.exchange.orders.count

    def __iter__(self):
        return iter(live_ids(&self.core.exchange.orders))

    keys = __iter__

    def values(self):
        return [self[order_id] for order_id in self]

    def items(self):
        return [(order_id, self[order_id]) for order_id in self]


# -- blocks


cdef object plain_block(Core core, const Block* block):
    """A block that waits, as the reference has it."""
    cdef Exchange* exchange = &core.exchange
    return plain.Block(
        id=block.id,
        account=text_of_name(&exchange.accounts.names, block.account),
        client_order_id=client_id_at(exchange, block.client),
        product=text_of_name(&exchange.product_names, block.product),
        start_s=block.first_s,
        latest_s=block.first_s,
        periods=block.periods,
        qty=block.qty,
        min_qty=block.min_qty,
        left=block.left,
        limit_price_micros=block.limit_price_micros,
        max_cost_micros=block.max_cost_micros or None,
        tif=TIFS[block.tif],
        hold_unit_micros=block.hold_unit_micros,
        hold_micros=block.hold_micros,
        spent_micros=block.spent_micros,
    )


# -- positions


cdef class Position:
    """One fill's claim on delivery."""

    def __getattr__(self, str name):
        cdef Claim* claim
        if self.gone is not None:
            return getattr(self.gone, name)
        claim = &self.core.exchange.positions.pool[self.slot]
        if claim.rare:
            rare = self.core.rare_positions[self.slot]
            if name in rare:
                return rare[name]
        return read_position(&self.core.exchange, claim, name)

    def __setattr__(self, str name, value):
        if self.gone is not None:
            setattr(self.gone, name, value)
        elif not write_position(self.core, &self.core.exchange.positions.pool[self.slot], name, value):
            self.core.exchange.positions.pool[self.slot].rare = True
            self.core.rare_positions.setdefault(self.slot, {})[name] = value

    cdef int detach(self) except -1:
        self.gone = plain.Position(**{name: getattr(self, name) for name in POSITION_FIELDS})
        self.slot = NIL
        return 0


cdef object read_position(const Exchange* exchange, const Claim* claim, str name):
    if name == "id":
        return claim.id
    if name == "contract":
        return text_of_name(&exchange.contract_names, claim.contract)
    if name == "buyer":
        return text_of_name(&exchange.accounts.names, claim.buyer)
    if name == "operator":
        return text_of_name(&exchange.accounts.names, claim.operator)
    if name == "node":
        return text_of_name(&exchange.nodes.names, claim.node)
    if name == "qty":
        return claim.qty
    if name == "price_micros":
        return claim.price_micros
    if name == "escrow_micros":
        return claim.escrow_micros
    if name == "bond_micros":
        return claim.bond_micros
    if name == "bond_left_micros":
        return claim.bond_left_micros
    if name == "fee_micros":
        return claim.fee_micros
    if name == "block_id":
        return claim.block_id or None
    return usual_value(POSITION_RARE, name)


cdef bint write_position(Core core, Claim* claim, str name, value) except -1:
    """Whether the struct can say it."""
    if name == "id":
        claim.id = value
    elif name == "contract":
        claim.contract = core.contract(value)
    elif name == "buyer":
        claim.buyer = core.account(value)
    elif name == "operator":
        claim.operator = core.account(value)
    elif name == "node":
        claim.node = NIL if value is None else core.node(value)
    elif name == "qty":
        claim.qty = value
    elif name == "price_micros":
        claim.price_micros = value
    elif name == "escrow_micros":
        claim.escrow_micros = value
    elif name == "bond_micros":
        claim.bond_micros = value
    elif name == "bond_left_micros":
        claim.bond_left_micros = value
    elif name == "fee_micros":
        claim.fee_micros = value
    elif name == "block_id":
        claim.block_id = value or 0
    else:
        return False
    return True


cdef class Positions:
    """Positions by their ids."""

    def __init__(self, Core core):
        self.core = core

    cdef Position at(self, uint32_t slot):
        cdef Position position = self.core.position_views.get(slot)
        if position is None:
            position = Position.__new__(Position)
            position.core = self.core
            position.slot = slot
            self.core.position_views[slot] = position
        return position

    cdef uint32_t find(self, position_id) except? 0xFFFFFFFF:
        cdef uint32_t slot = find_id(&self.core.exchange.positions.ids, position_id)
        return NIL if slot == NIL or self.core.exchange.positions.pool[slot].gone else slot

    def get(self, position_id, otherwise=None):
        cdef uint32_t slot = self.find(position_id)
        return otherwise if slot == NIL else self.at(slot)

    def __getitem__(self, position_id):
        cdef uint32_t slot = self.find(position_id)
        if slot == NIL:
            raise KeyError(position_id)
        return self.at(slot)

    def __setitem__(self, position_id, position):
        """Takes a record of the reference."""
        cdef uint32_t slot = open_position(&self.core.exchange.positions, position_id)
        cdef Position view = self.at(slot)
        for name in POSITION_STRUCT:
            setattr(view, name, getattr(position, name))
        for name, value in unusual_values(position, POSITION_RARE).items():
            setattr(view, name, value)

    def pop(self, position_id):
        cdef uint32_t slot = self.find(position_id)
        cdef Position position = self[position_id]
        position.detach()
        self.core.rare_positions.pop(slot, None)
        self.core.position_views.pop(slot, None)
        close_position(&self.core.exchange.positions, slot)
        return position

    def __delitem__(self, position_id):
        self.pop(position_id)

    def __contains__(self, position_id):
        return self.find(position_id) != NIL

    def __len__(self):
        return self.core.exchange.positions.ids.count - self.core.exchange.positions.gone

    def __iter__(self):
        return iter([each for each in live_ids(&self.core.exchange.positions.ids) if each in self])

    keys = __iter__

    def values(self):
        return [self[position_id] for position_id in self]

    def items(self):
        return [(position_id, self[position_id]) for position_id in self]


cdef class ContractPositions:
    """The ids of a contract's positions, in the order in which they were opened."""

    def __init__(self, Core core, uint32_t contract):
        self.core = core
        self.contract = contract

    cdef list ids(self):
        cdef uint32_t slot = self.core.exchange.contracts[self.contract].positions.first
        cdef list found = []
        while slot != NIL:
            found.append(self.core.exchange.positions.pool[slot].id)
            slot = self.core.exchange.positions.pool[slot].next
        return found

    def append(self, position_id):
        cdef uint32_t slot = find_id(&self.core.exchange.positions.ids, position_id)
        if slot == NIL:
            raise ValueError(f"there is no position {position_id}")
        list_position(&self.core.exchange.positions, &self.core.exchange.contracts[self.contract].positions, slot)

    def remove(self, position_id):
        cdef uint32_t slot = find_id(&self.core.exchange.positions.ids, position_id)
        if slot == NIL or not self.core.exchange.positions.pool[slot].listed:
            raise ValueError(f"position {position_id} is not in the list")
        unlist_position(&self.core.exchange.positions, &self.core.exchange.contracts[self.contract].positions, slot)

    def __len__(self):
        return self.core.exchange.contracts[self.contract].positions.count

    def __iter__(self):
        return iter(self.ids())

    def __contains__(self, position_id):
        return position_id in self.ids()

    def __eq__(self, other):
        return self.ids() == list(other)


# -- GPUs of a node by delivery start


cdef class Counts:
    """How many of a node's GPUs each period has promised, or sold; nothing is kept of a zero."""

    def __init__(self, Core core, uint32_t node, bint sold):
        self.core = core
        self.node = node
        self.sold = sold

    cdef dict all(self):
        cdef uint32_t slot = self.core.exchange.nodes.nodes[self.node].counts
        cdef Count* count
        cdef dict found = {}
        while slot != NIL:
            count = &self.core.exchange.nodes.counts[slot]
            gpus = count.sold if self.sold else count.committed
            if gpus:
                found[count.start_s] = gpus
            slot = count.next
        return found

    def get(self, start_s, otherwise=None):
        cdef uint32_t slot = find_count(&self.core.exchange.nodes, self.node, start_s)
        if slot == NIL:
            return otherwise
        gpus = self.core.exchange.nodes.counts[slot].sold if self.sold else self.core.exchange.nodes.counts[slot].committed
        return gpus or otherwise

    def __getitem__(self, start_s):
        return self.get(start_s, 0)

    def __setitem__(self, start_s, gpus):
        cdef uint32_t slot = open_count(&self.core.exchange.nodes, self.node, start_s)
        if self.sold:
            self.core.exchange.nodes.counts[slot].sold = gpus
        else:
            self.core.exchange.nodes.counts[slot].committed = gpus

    def __delitem__(self, start_s):
        self[start_s] = 0

    def pop(self, start_s, otherwise=None):
        found = self.get(start_s, otherwise)
        self[start_s] = 0
        return found

    def keys(self):
        return self.all().keys()

    def values(self):
        return self.all().values()

    def items(self):
        return self.all().items()

    def __contains__(self, start_s):
        return bool(self.get(start_s))

    def __iter__(self):
        return iter(self.all())

    def __len__(self):
        return len(self.all())

    def __eq__(self, other):
        return self.all() == dict(other)


# -- clients' ids


cdef uint32_t find_place(Core core, uint32_t account, str client_order_id) noexcept:
    cdef const char* text = text_of(client_order_id)
    cdef size_t size = size_of(client_order_id)
    return find_binding(
        &core.exchange.bindings, account, text, size, binding_hash(&core.exchange.bindings, account, text, size)
    )


cdef object plain_binding(Core core, uint32_t place):
    """A binding as the reference has it."""
    cdef Binding* binding = binding_at(&core.exchange.bindings, place)
    body = PyBytes_FromStringAndSize(<char*>binding.digest, DIGEST_BYTES).hex()
    until_ms = core.exchange.bindings.gates[gate_of(&core.exchange.bindings, place)].until_ms
    return plain.Binding(body, binding.offset, binding.order_id or None, until_ms)


cdef class AccountBindings:
    """An account's bindings by client order id."""

    def get(self, str client_order_id, otherwise=None):
        if client_order_id is None:
            return otherwise
        cdef uint32_t place = find_place(self.core, self.account, client_order_id)
        return otherwise if place == NIL else plain_binding(self.core, place)

    def __setitem__(self, str client_order_id, binding):
        cdef const char* text = text_of(client_order_id)
        cdef size_t size = size_of(client_order_id)
        cdef uint64_t hashed = binding_hash(&self.core.exchange.bindings, self.account, text, size)
        cdef uint32_t gate = self.core.gate(binding.until_ms)
        cdef bytes digest = bytes.fromhex(binding.body)
        cdef uint32_t place = find_place(self.core, self.account, client_order_id)
        if place != NIL:
            unbind(&self.core.exchange.bindings, place)
        bind(
            &self.core.exchange.bindings, gate, self.account, text, size, hashed, <uint8_t*>PyBytes_AS_STRING(digest),
            binding.offset, binding.order_id or 0,
        )


cdef class Bindings:
    """All bindings by account."""

    def __init__(self, Core core):
        self.core = core

    cdef AccountBindings of(self, uint32_t account):
        cdef AccountBindings bindings = AccountBindings.__new__(AccountBindings)
        bindings.core = self.core
        bindings.account = account
        return bindings

    def get(self, str account, otherwise=None):
        cdef uint32_t number = number_or_nil(&self.core.exchange.accounts.names, account)
        return otherwise if number == NIL else self.of(number)

    def setdefault(self, str account, none):
        return self.of(self.core.account(account))
