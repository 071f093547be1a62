"""What a snapshot's sections hold, to the byte, and what becomes of one that nobody wrote but whose hash is right."""

import inspect
from collections.abc import Callable
from dataclasses import fields

import pytest

from matching_engine import BadSnapshot
from matching_engine.rules import Engine, packing, snapshot
from matching_engine.rules.outline import OrderExtras, PositionExtras
from matching_engine.rules.state import (
    Balance,
    Binding,
    Conditions,
    Contract,
    Node,
    Order,
    Position,
    State,
)
from tests.scenarios.engines import ENGINES
from tests.scenarios.script import play
from tests.scenarios.venue import PRODUCT, Venue

CONTRACT = f"{PRODUCT}-26112201"
SCRIPT = """
product
credit alice 1000.00 CNY
credit op 1000.00 CNY
node n1 op 8
ask op 1h 4 @ 2.00 node=n1
bid alice 1h 1 @ 2.00
bid alice 1h 3 @ 1.50
bid alice 2h 2 @ 1.00 id=mine
"""


def venue() -> Venue:
    """A venue with a position, two bids and an ask."""
    opened = Venue(Engine())
    for line in SCRIPT.strip().splitlines():
        play(opened, line.split())
    return opened


def order(**changes) -> Order:
    usual = {
        **{"id": 7, "parent_id": None, "account": "alice", "client_order_id": "mine", "contract": CONTRACT},
        **{"side": "buy", "kind": "limit", "price_micros": 10_000, "max_cost_micros": None, "qty": 5, "left": 3},
        **{"tif": "GTD", "post_only": True, "node": None, "hold_unit_micros": 258, "hold_micros": 774},
    }
    return Order(**usual | changes)


def small_state() -> State:
    """One of everything that is packed."""
    node = Node("op", "H100SXM80", "CNE", "T1", [], committed={3_600: 2, 7_200: 1}, sold={3_600: 1})
    position = Position(4, CONTRACT, "alice", "op", "n1", 1, 10_000, None, 6, 7, 8, fee_micros=9)
    return State(
        contracts={CONTRACT: Contract(PRODUCT, 3_600, positions=[4])},
        orders={7: order(), 5: order(id=5, client_order_id=None, conditions=Conditions(rank=9))},
        bindings={"alice": {"b": Binding("ab" * 16, 3, 7, 50), "a": Binding("cd" * 16, 3, None, 50)}},
        nodes={"n1": node},
        positions={4: position},
        balances={"op": {"CNY": Balance(1, 2)}, "alice": {"USD": Balance(3, 4), "CNY": Balance(5, 6)}},
    )


def number(value: int, size: int) -> bytes:
    return value.to_bytes(size, "little")


def words(*values: int) -> bytes:
    return b"".join(number(value, 4) for value in values)


def longs(*values: int) -> bytes:
    return b"".join(number(value, 8) for value in values)


def test_the_sections_are_laid_out_as_they_were_when_version_4_began():
    state = small_state()
    names = packing.names_of(state)
    alice, op = 0, 1
    nobody, none = 0xFFFFFFFF, 0
    bid = (none, alice, 0, nobody, 10_000, 258, 774, 5, 3)
    limit_gtd_post_only = bytes([0, 0, 3, 1])

    def packed_bid(order_id: int, client_order_id: bytes) -> bytes:
        parent, account, contract, node, price, unit, hold, qty, left = bid
        numbers = longs(order_id, parent) + words(account, contract, node) + longs(price, unit, hold) + words(qty, left)
        return numbers + limit_gtd_post_only + bytes([len(client_order_id)]) + client_order_id

    assert (names.accounts, names.assets, names.contracts, names.nodes) == (
        ["alice", "op"],
        ["CNY", "USD"],
        [CONTRACT],
        ["n1"],
    )
    assert packing.pack(state, names) == b"".join(
        [
            longs(3),
            words(alice, 0) + longs(5, 6),
            words(alice, 1) + longs(3, 4),
            words(op, 0) + longs(1, 2),
            longs(2),
            words(0) + longs(3_600) + words(2, 1),
            words(0) + longs(7_200) + words(1, 0),
            longs(1),
            longs(50, 2),
            words(alice) + longs(3, 0) + b"\xcd" * 16 + b"\x01a",
            words(alice) + longs(3, 7) + b"\xab" * 16 + b"\x01b",
            longs(1),
            longs(4) + words(0, alice, op, 0, 1) + longs(10_000, 6, 7, 8, 9),
            longs(1),
            words(0) + longs(1, 4),
            longs(2),
            packed_bid(7, b"mine"),
            packed_bid(5, b""),
        ]
    )


def test_every_field_of_an_order_and_of_a_position_has_its_place():
    orders = pytest.importorskip("matching_engine.bridge.orders", reason="the compiled engine is not built")
    positions = pytest.importorskip("matching_engine.bridge.positions", reason="the compiled engine is not built")
    for record, extras, view in (
        (Order, OrderExtras, orders.OrderView),
        (Position, PositionExtras, positions.PositionView),
    ):
        names = {each.name for each in fields(record)}
        assert {name for name, each in vars(view).items() if inspect.isgetsetdescriptor(each)} == names
        assert {each.name for each in fields(extras)} < names


@pytest.mark.parametrize("engine_class", ENGINES.values(), ids=ENGINES)
def test_what_few_orders_and_positions_have_comes_back(engine_class):
    state = venue().engine.state
    order_id = max(state.orders)
    state.orders[order_id].conditions = Conditions(expires_ms=5, display_qty=1, shown=1, rank=order_id + 1)
    state.orders[order_id].max_cost_micros = 8
    state.last_order_id += 1
    state.positions[1].gpus = ["GPU-00000000-00"]
    state.positions[1].paid = (1, 2, 3)
    restored = engine_class.restore(snapshot.write(state)).state
    assert restored.orders[order_id].conditions == state.orders[order_id].conditions
    assert restored.orders[order_id].max_cost_micros == 8
    assert (restored.positions[1].gpus, restored.positions[1].paid) == (["GPU-00000000-00"], (1, 2, 3))


# -- forged


def change_order(**changes) -> Callable[[State], None]:
    """Another value of the newest order."""

    def change(state: State) -> None:
        newest = state.orders[max(state.orders)]
        for name, value in changes.items():
            setattr(newest, name, value)

    return change


def forget(field: str, key: object) -> Callable[[State], None]:
    def change(state: State) -> None:
        getattr(state, field).pop(key)

    return change


FORGED = {
    "an order's id was never assigned": lambda state: setattr(state, "last_order_id", 1),
    "a position's id was never assigned": lambda state: setattr(state, "last_position_id", 0),
    "an order's price is not a multiple of the tick": change_order(price_micros=10_001),
    "a price is out of range": change_order(price_micros=2 * 10**12),
    "an order's quantity is out of range": change_order(left=3),
    "a hold is out of range": change_order(hold_micros=-1),
    "a bid names a node": change_order(node="n1"),
    "an ask has no backing": change_order(side="sell"),
    "an order's hold has no balance": change_order(account="bob"),
    "an order rests after its gate": lambda state: setattr(state, "log_time_ms", state.log_time_ms + 86_400_000),
    "unknown contract": forget("contracts", f"{PRODUCT}-26112202"),
    f"KeyError\\('{PRODUCT}'\\)": forget("products", PRODUCT),
    "a client order id is too long": change_order(client_order_id="x" * 65),
    "a client order id has invalid characters": change_order(client_order_id='"'),
    "a node is not registered": change_order(side="sell", node="n9"),
    "a balance is out of range": lambda state: setattr(state.balances["alice"]["CNY"], "held", -1),
    "a node has too many GPUs": lambda state: state.nodes["n1"].sold.update({3_600: 2**32 - 1}),
    "a contract lists a wrong position": forget("positions", 1),
    "a position is missing from its contract": lambda state: state.contracts[CONTRACT].positions.clear(),
    "a position of another contract": lambda state: setattr(state.positions[1], "contract", f"{PRODUCT}-26112202"),
}


@pytest.mark.parametrize("reason", FORGED)
def test_a_state_that_cannot_be_is_refused_with_its_reason(reason: str):
    compiled = pytest.importorskip("matching_engine.engine", reason="the compiled engine is not built")
    state = venue().engine.state
    FORGED[reason](state)
    with pytest.raises(BadSnapshot, match=f"invalid state: .*{reason}"):
        compiled.Engine.restore(snapshot.write(state))


@pytest.mark.parametrize("engine_class", ENGINES.values(), ids=ENGINES)
def test_whatever_byte_of_the_sections_is_forged_is_refused_or_written_again(engine_class):
    raw = venue().engine.snapshot()
    text, packed = parts_of(raw)
    for place in range(0, len(packed)):
        forged = snapshot.assemble(text, packed[:place] + bytes([packed[place] ^ 0xFF]) + packed[place + 1 :])
        try:
            assert engine_class.restore(forged).snapshot() == forged
        except BadSnapshot:
            continue


@pytest.mark.parametrize("engine_class", ENGINES.values(), ids=ENGINES)
def test_sections_that_end_early_or_late_are_refused(engine_class):
    text, packed = parts_of(venue().engine.snapshot())
    for forged in (packed[:-1], packed + b"\0", packed[:40], b""):
        with pytest.raises(BadSnapshot):
            engine_class.restore(snapshot.assemble(text, forged))


@pytest.mark.parametrize("engine_class", ENGINES.values(), ids=ENGINES)
def test_an_outline_that_is_not_canonical_is_refused(engine_class):
    text, packed = parts_of(venue().engine.snapshot())
    for forged in (
        text.replace(b'{"', b'{ "', 1),
        text.replace(b'"state":{', b'"state":{"orders":{},'),
        text[:-1],
        b"",
    ):
        with pytest.raises(BadSnapshot):
            engine_class.restore(snapshot.assemble(forged, packed))


def parts_of(raw: bytes) -> tuple[bytes, bytes]:
    """Outline and sections."""
    body = raw[snapshot.check_header(raw) :]
    (size,) = snapshot.SIZE.unpack_from(body)
    return body[snapshot.SIZE.size :][:size], body[snapshot.SIZE.size + size :]
