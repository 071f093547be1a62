"""The records that orders touch, as C fields under the names that the reference gives them."""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.string cimport memcpy

from matching_engine.command_text cimport FOK, GTG, IOC
from matching_engine.reference import state as plain
from matching_engine.reference.market import rank_of

# None of these records can be part of a cycle, so the garbage collector need not look at them.

KINDS = ("limit", "market", "capacity")
TIFS = ("GTG", "IOC", "FOK", "GTD")


cdef class Balance:
    def __init__(self, int64_t available=0, int64_t held=0):
        self.available = available
        self.held = held


@cython.no_gc
cdef class Binding:
    def __init__(self, str body, int64_t offset, object order_id, int64_t until_ms):
        cdef bytes digest = bytes.fromhex(body)
        memcpy(self.digest, PyBytes_AS_STRING(digest), 32)
        self.offset = offset
        self.order_id = order_id
        self.until_ms = until_ms

    @property
    def body(self):
        return PyBytes_FromStringAndSize(<char*>self.digest, 32).hex()


@cython.no_gc
cdef class Position:
    def __init__(self, **fields):
        for name, value in fields.items():
            setattr(self, name, value)


@cython.no_gc
@cython.freelist(256)
cdef class Order:
    @property
    def side(self):
        return "sell" if self.sells else "buy"

    @property
    def kind(self):
        return KINDS[self.what]

    @property
    def tif(self):
        return TIFS[self.until]

    @tif.setter
    def tif(self, value):
        self.until = TIFS.index(value)

    @property
    def price_micros(self):
        return self.price or None

    @price_micros.setter
    def price_micros(self, value):
        self.price = value

    @property
    def max_cost_micros(self):
        return self.max_cost or None


def order_of(other) -> Order:
    """An order of the reference, as a record."""
    cdef Order order = Order.__new__(Order)
    order.sells = other.side == "sell"
    order.what = KINDS.index(other.kind)
    order.until = TIFS.index(other.tif)
    order.price = other.price_micros or 0
    order.max_cost = other.max_cost_micros or 0
    for name in ("id", "qty", "left", "hold_unit_micros", "hold_micros", "account", "client_order_id", "contract"):
        setattr(order, name, getattr(other, name))
    order.node = other.node
    order.parent_id = other.parent_id
    order.post_only = other.post_only
    order.conditions = other.conditions
    return order


# -- whole states, from snapshots and into them

COMPILED = {
    plain.Balance: Balance,
    plain.Binding: Binding,
    plain.Position: Position,
}
PLAIN = {compiled: other for other, compiled in COMPILED.items()} | {Order: plain.Order}


def fields_of(each, names) -> dict:
    return {name: getattr(each, name) for name in names}


def compile_state(state):
    """Replaces the records of a state by compiled ones; orders come in the order of their priority in time."""
    state.orders = {order.id: order_of(order) for order in sorted(state.orders.values(), key=rank_of)}
    for records in (state.positions, *state.bindings.values(), *state.balances.values()):
        for key, each in records.items():
            names = each.__dataclass_fields__
            records[key] = COMPILED[type(each)](**fields_of(each, names))
    return state


def plain_record(each):
    """The reference's own record with the same fields."""
    kind = PLAIN.get(type(each))
    return each if kind is None else kind(**fields_of(each, kind.__dataclass_fields__))


def plain_records(records) -> dict:
    return {key: plain_record(each) for key, each in records.items()}


def plain_state(state):
    """The same state in the reference's records."""
    fields = fields_of(state, state.__dataclass_fields__)
    for name in ("orders", "positions"):
        fields[name] = plain_records(fields[name])
    for name in ("bindings", "balances"):
        fields[name] = {account: plain_records(records) for account, records in fields[name].items()}
    return plain.State(**fields)
