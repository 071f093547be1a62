"""Views of the resting orders: the structs of each under the names that the rules give its fields.

What no struct has is kept as Python's `OrderExtras` beside the order and marks it `special`; where takers would notice,
the compiled rules leave the order to the others. A view of an order that leaves its book goes on as the plain record.
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t

from matching_engine.bridge.bindings cimport find_place
from matching_engine.bridge.core cimport text_of_name
from matching_engine.bridge.fields cimport client_id_at, live_ids
from matching_engine.codec.wire cimport size_of, text_of
from matching_engine.fast.money cimport unit_micros
from matching_engine.pools.book cimport Order as Resting
from matching_engine.pools.id_pages cimport find_id
from matching_engine.pools.memory cimport NIL
from matching_engine.records.accounts cimport find_balance
from matching_engine.records.bindings cimport keep_text
from matching_engine.records.exchange cimport (
    SPECIAL_FIELDS, SPECIAL_TRADING, ORDINARY, Contract, Detail, Exchange, list_order, price_at, rest, side_of,
)
from matching_engine.records.node_row cimport note_ask
from matching_engine.records.nodes cimport open_count

from matching_engine.rules.outline import OrderExtras
from matching_engine.rules.sections import KINDS, TIFS
from matching_engine.rules.state import Order
from matching_engine.rules.store import rank_of

cdef tuple FIELDS = tuple(Order.__dataclass_fields__)
cdef tuple EXTRAS = tuple(OrderExtras.__dataclass_fields__)
cdef object NO_EXTRAS = OrderExtras()


cdef class OrderView:
    """A resting order. Rules change what is left of it, what it holds and what is extra, and not its price or side."""

    # -- fields that nobody changes

    @property
    def id(self):
        return self.gone.id if self.slot == NIL else self.core.exchange.books.orders[self.slot].id

    @property
    def parent_id(self):
        if self.slot == NIL:
            return self.gone.parent_id
        cdef uint32_t behind = self.core.exchange.details[self.slot].behind
        return self.core.exchange.books.orders[self.slot].id - behind if behind else None

    @property
    def account(self):
        if self.slot == NIL:
            return self.gone.account
        return text_of_name(&self.core.exchange.accounts.names, self.core.exchange.books.orders[self.slot].owner)

    @property
    def client_order_id(self):
        if self.slot == NIL:
            return self.gone.client_order_id
        return client_id_at(&self.core.exchange, self.core.exchange.details[self.slot].client)

    @property
    def contract(self):
        if self.slot == NIL:
            return self.gone.contract
        return text_of_name(&self.core.exchange.contract_names, self.core.exchange.details[self.slot].contract)

    @property
    def side(self):
        if self.slot == NIL:
            return self.gone.side
        return "sell" if side_of(&self.core.exchange, self.slot) & 1 else "buy"

    @property
    def kind(self):
        return self.gone.kind if self.slot == NIL else KINDS[self.core.exchange.details[self.slot].kind]

    @property
    def post_only(self):
        return self.gone.post_only if self.slot == NIL else self.core.exchange.details[self.slot].post_only != 0

    @property
    def node(self):
        if self.slot == NIL:
            return self.gone.node
        return text_of_name(&self.core.exchange.nodes.names, self.core.exchange.details[self.slot].node)

    # -- fields of the structs that rules change

    @property
    def price_micros(self):
        return self.gone.price_micros if self.slot == NIL else price_at(&self.core.exchange, self.slot)

    @price_micros.setter
    def price_micros(self, value):
        if self.slot == NIL:
            self.gone.price_micros = value
        elif value != price_at(&self.core.exchange, self.slot):
            raise AttributeError("the price of a resting order is fixed")

    @property
    def left(self):
        return self.gone.left if self.slot == NIL else self.core.exchange.books.orders[self.slot].quantity

    @left.setter
    def left(self, value):
        cdef Resting* order
        if self.slot == NIL:
            self.gone.left = value
        else:
            order = &self.core.exchange.books.orders[self.slot]
            self.core.exchange.books.levels[order.level].quantity += <int64_t>value - order.quantity
            order.quantity = value

    @property
    def qty(self):
        return self.gone.qty if self.slot == NIL else self.core.exchange.details[self.slot].qty

    @qty.setter
    def qty(self, value):
        if self.slot == NIL:
            self.gone.qty = value
        else:
            self.core.exchange.details[self.slot].qty = value

    @property
    def hold_micros(self):
        return self.gone.hold_micros if self.slot == NIL else self.core.exchange.details[self.slot].hold_micros

    @hold_micros.setter
    def hold_micros(self, value):
        if self.slot == NIL:
            self.gone.hold_micros = value
        else:
            self.core.exchange.details[self.slot].hold_micros = value

    @property
    def hold_unit_micros(self):
        if self.slot == NIL:
            return self.gone.hold_unit_micros
        return self.core.exchange.details[self.slot].hold_unit_micros

    @hold_unit_micros.setter
    def hold_unit_micros(self, value):
        if self.slot == NIL:
            self.gone.hold_unit_micros = value
        else:
            self.core.exchange.details[self.slot].hold_unit_micros = value

    @property
    def tif(self):
        return self.gone.tif if self.slot == NIL else TIFS[self.core.exchange.details[self.slot].tif]

    @tif.setter
    def tif(self, value):
        if self.slot == NIL:
            self.gone.tif = value
        else:
            self.core.exchange.details[self.slot].tif = TIFS.index(value)

    # -- fields that no struct has

    @property
    def conditions(self):
        return self.extras().conditions

    @conditions.setter
    def conditions(self, value):
        """An order's own end, its place in time and its instruction about self-trades do not matter to takers; of an
        iceberg they see a part only.
        """
        if value is not None and value.display_qty is not None:
            self.extras_that_takers_meet().conditions = value
        else:
            self.own_extras().conditions = value
        if self.slot != NIL:
            self.core.exchange.details[self.slot].rank = (value and value.rank) or self.id

    @property
    def max_cost_micros(self):
        return self.extras().max_cost_micros

    @max_cost_micros.setter
    def max_cost_micros(self, value):
        self.extras_that_takers_meet().max_cost_micros = value

    @property
    def backing(self):
        return self.extras().backing

    @backing.setter
    def backing(self, value):
        self.extras_that_takers_meet().backing = value

    @property
    def twin_id(self):
        return self.extras().twin_id

    @twin_id.setter
    def twin_id(self, value):
        self.extras_that_takers_meet().twin_id = value

    @property
    def resold_position_id(self):
        return self.extras().resold_position_id

    @resold_position_id.setter
    def resold_position_id(self, value):
        self.extras_that_takers_meet().resold_position_id = value

    @property
    def resold_block_id(self):
        return self.extras().resold_block_id

    @resold_block_id.setter
    def resold_block_id(self, value):
        self.extras_that_takers_meet().resold_block_id = value

    cdef object extras(self):
        """Whatever has those fields, to read them."""
        if self.slot == NIL:
            return self.gone
        if not self.core.exchange.details[self.slot].special:
            return NO_EXTRAS
        return self.core.special_orders[self.core.exchange.books.orders[self.slot].id]

    cdef object own_extras(self):
        """To change one of them. The compiled rules take orders out without a word, so what was kept for the dead goes
        when it is more than what is kept for the living.
        """
        if self.slot == NIL:
            return self.gone
        cdef Core core = self.core
        cdef Detail* detail = &core.exchange.details[self.slot]
        cdef uint64_t order_id = core.exchange.books.orders[self.slot].id
        if not detail.special:
            detail.special = SPECIAL_FIELDS
            if len(core.special_orders) > 2 * core.special_alive + 64:
                core.special_orders = {each: kept for each, kept in core.special_orders.items() if is_kept(core, each)}
                core.special_alive = len(core.special_orders)
            core.special_orders[order_id] = OrderExtras()
        return core.special_orders[order_id]

    cdef object extras_that_takers_meet(self):
        """To change one that makes the order trade otherwise than others do."""
        cdef object extras = self.own_extras()
        cdef uint32_t side
        if self.slot != NIL and self.core.exchange.details[self.slot].special == SPECIAL_FIELDS:
            self.core.exchange.details[self.slot].special = SPECIAL_TRADING
            side = side_of(&self.core.exchange, self.slot) & 1
            self.core.exchange.contracts[self.core.exchange.details[self.slot].contract].special_count[side] += 1
            self.core.exchange.special_asks += side
        return extras

    cdef int detach(self) except -1:
        """Goes on as a record of its own."""
        self.gone = Order(**{name: getattr(self, name) for name in FIELDS})
        self.slot = NIL
        return 0


if not all([hasattr(OrderView, name) for name in FIELDS]):
    raise ImportError("a field of an order has no property")


cdef bint is_kept(Core core, uint64_t order_id):
    cdef uint32_t slot = find_id(&core.exchange.orders, order_id)
    return slot != NIL and core.exchange.details[slot].special


cdef uint32_t put_order(Core core, object order, uint32_t contract_number) except 0xFFFFFFFF:
    """Puts an order of the rules into its book, whose terms have been read; its slot."""
    cdef Exchange* exchange = &core.exchange
    cdef Contract* contract = &exchange.contracts[contract_number]
    cdef uint32_t account = core.account(order.account)
    cdef bint sells = order.side == "sell"
    ticks, beside = divmod(order.price_micros, contract.tick)
    if beside:
        raise AssertionError(f"order {order.id}: its price is not a multiple of the tick")
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
    detail.kind = KINDS.index(order.kind)
    detail.tif = TIFS.index(order.tif)
    detail.special = ORDINARY
    put_extras(core, slot, order)
    if detail.node != NIL:
        detail.count = open_count(&exchange.nodes, detail.node, contract.start_s)
        note_ask(&contract.nodes, detail.node, unit_micros(contract, order.price_micros), detail.rank)
    list_order(exchange, order.id, account, detail.node)
    return slot


cdef int put_extras(Core core, uint32_t slot, object order) except -1:
    """Keeps what the structs of an order that came to rest cannot say."""
    cdef OrderView view = OrderView.__new__(OrderView)
    view.core, view.slot = core, slot
    for name in EXTRAS:
        if getattr(order, name) != getattr(NO_EXTRAS, name):
            setattr(view, name, getattr(order, name))
    return 0


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

    cdef OrderView at(self, uint32_t slot):
        """The one view of an order that the record in hand uses."""
        cdef OrderView order = self.core.order_views.get(slot)
        if order is None:
            order = OrderView.__new__(OrderView)
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
