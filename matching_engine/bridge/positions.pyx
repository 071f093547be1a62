"""Views of the positions: the structs of each under the names that the rules give its fields.

What no struct has is kept as Python's `PositionExtras` beside the position, and marks it `special`. A view of a
position that is over goes on as the plain record.
"""

from libc.stdint cimport uint32_t

from matching_engine.bridge.core cimport text_of_name
from matching_engine.bridge.fields cimport live_ids
from matching_engine.pools.id_pages cimport find_id
from matching_engine.pools.memory cimport NIL
from matching_engine.records.positions cimport Position as PackedPosition
from matching_engine.records.positions cimport close_position, list_position, add_position, unlist_position

from matching_engine.rules.outline import PositionExtras
from matching_engine.rules.state import Position

cdef tuple FIELDS = tuple(Position.__dataclass_fields__)
cdef tuple EXTRAS = tuple([name for name in PositionExtras.__dataclass_fields__ if name != "block_id"])
cdef object NO_EXTRAS = PositionExtras()


cdef class PositionView:
    """One fill's claim on delivery."""

    # -- fields that nobody changes

    @property
    def id(self):
        return self.gone.id if self.slot == NIL else self.core.exchange.positions.pool[self.slot].id

    @property
    def contract(self):
        if self.slot == NIL:
            return self.gone.contract
        return text_of_name(&self.core.exchange.contract_names, self.core.exchange.positions.pool[self.slot].contract)

    @property
    def buyer(self):
        if self.slot == NIL:
            return self.gone.buyer
        return text_of_name(&self.core.exchange.accounts.names, self.core.exchange.positions.pool[self.slot].buyer)

    @property
    def operator(self):
        if self.slot == NIL:
            return self.gone.operator
        return text_of_name(&self.core.exchange.accounts.names, self.core.exchange.positions.pool[self.slot].operator)

    @property
    def node(self):
        if self.slot == NIL:
            return self.gone.node
        return text_of_name(&self.core.exchange.nodes.names, self.core.exchange.positions.pool[self.slot].node)

    @property
    def price_micros(self):
        return self.gone.price_micros if self.slot == NIL else self.core.exchange.positions.pool[self.slot].price_micros

    # -- fields of the struct that rules change

    @property
    def qty(self):
        return self.gone.qty if self.slot == NIL else self.core.exchange.positions.pool[self.slot].qty

    @qty.setter
    def qty(self, value):
        if self.slot == NIL:
            self.gone.qty = value
        else:
            self.core.exchange.positions.pool[self.slot].qty = value

    @property
    def escrow_micros(self):
        if self.slot == NIL:
            return self.gone.escrow_micros
        return self.core.exchange.positions.pool[self.slot].escrow_micros

    @escrow_micros.setter
    def escrow_micros(self, value):
        if self.slot == NIL:
            self.gone.escrow_micros = value
        else:
            self.core.exchange.positions.pool[self.slot].escrow_micros = value

    @property
    def bond_micros(self):
        return self.gone.bond_micros if self.slot == NIL else self.core.exchange.positions.pool[self.slot].bond_micros

    @bond_micros.setter
    def bond_micros(self, value):
        if self.slot == NIL:
            self.gone.bond_micros = value
        else:
            self.core.exchange.positions.pool[self.slot].bond_micros = value

    @property
    def bond_left_micros(self):
        if self.slot == NIL:
            return self.gone.bond_left_micros
        return self.core.exchange.positions.pool[self.slot].bond_left_micros

    @bond_left_micros.setter
    def bond_left_micros(self, value):
        if self.slot == NIL:
            self.gone.bond_left_micros = value
        else:
            self.core.exchange.positions.pool[self.slot].bond_left_micros = value

    @property
    def fee_micros(self):
        return self.gone.fee_micros if self.slot == NIL else self.core.exchange.positions.pool[self.slot].fee_micros

    @fee_micros.setter
    def fee_micros(self, value):
        if self.slot == NIL:
            self.gone.fee_micros = value
        else:
            self.core.exchange.positions.pool[self.slot].fee_micros = value

    @property
    def block_id(self):
        return self.gone.block_id if self.slot == NIL else self.core.exchange.positions.pool[self.slot].block_id or None

    @block_id.setter
    def block_id(self, value):
        if self.slot == NIL:
            self.gone.block_id = value
        else:
            self.core.exchange.positions.pool[self.slot].block_id = value or 0

    # -- fields that no struct has

    @property
    def gpus(self):
        return self.extras().gpus

    @gpus.setter
    def gpus(self, value):
        self.own_extras().gpus = value

    @property
    def revision(self):
        return self.extras().revision

    @revision.setter
    def revision(self, value):
        self.own_extras().revision = value

    @property
    def paid(self):
        return self.extras().paid

    @paid.setter
    def paid(self, value):
        self.own_extras().paid = value

    @property
    def held_micros(self):
        return self.extras().held_micros

    @held_micros.setter
    def held_micros(self, value):
        self.own_extras().held_micros = value

    @property
    def disputed(self):
        return self.extras().disputed

    @disputed.setter
    def disputed(self, value):
        self.own_extras().disputed = value

    @property
    def final_due(self):
        return self.extras().final_due

    @final_due.setter
    def final_due(self, value):
        self.own_extras().final_due = value

    @property
    def delays_payout(self):
        return self.extras().delays_payout

    @delays_payout.setter
    def delays_payout(self, value):
        self.own_extras().delays_payout = value

    @property
    def payout_held_micros(self):
        return self.extras().payout_held_micros

    @payout_held_micros.setter
    def payout_held_micros(self, value):
        self.own_extras().payout_held_micros = value

    cdef object extras(self):
        """Whatever has those fields, to read them."""
        if self.slot == NIL:
            return self.gone
        if not self.core.exchange.positions.pool[self.slot].special:
            return NO_EXTRAS
        return self.core.special_positions[self.slot]

    cdef object own_extras(self):
        """To change one of them."""
        if self.slot == NIL:
            return self.gone
        if not self.core.exchange.positions.pool[self.slot].special:
            self.core.exchange.positions.pool[self.slot].special = True
            self.core.special_positions[self.slot] = PositionExtras()
        return self.core.special_positions[self.slot]

    cdef int detach(self) except -1:
        """Goes on as a record of its own."""
        self.gone = Position(**{name: getattr(self, name) for name in FIELDS})
        self.slot = NIL
        return 0


if not all([hasattr(PositionView, name) for name in FIELDS]):
    raise ImportError("a field of a position has no property")


cdef class Positions:
    """Positions by their ids."""

    def __init__(self, Core core):
        self.core = core

    cdef PositionView at(self, uint32_t slot):
        cdef PositionView position = self.core.position_views.get(slot)
        if position is None:
            position = PositionView.__new__(PositionView)
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
        """Takes a record of the rules."""
        cdef uint32_t slot = add_position(&self.core.exchange.positions, position_id)
        cdef PackedPosition* packed = &self.core.exchange.positions.pool[slot]
        packed.contract = self.core.contract(position.contract)
        packed.buyer, packed.operator = self.core.account(position.buyer), self.core.account(position.operator)
        packed.node = NIL if position.node is None else self.core.node(position.node)
        packed.qty, packed.price_micros = position.qty, position.price_micros
        packed.escrow_micros, packed.fee_micros = position.escrow_micros, position.fee_micros
        packed.bond_micros, packed.bond_left_micros = position.bond_micros, position.bond_left_micros
        packed.block_id = position.block_id or 0
        view = self.at(slot)
        for name in EXTRAS:
            if getattr(position, name) != getattr(NO_EXTRAS, name):
                setattr(view, name, getattr(position, name))

    def pop(self, position_id):
        cdef uint32_t slot = self.find(position_id)
        cdef PositionView position = self[position_id]
        position.detach()
        self.core.special_positions.pop(slot, None)
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
