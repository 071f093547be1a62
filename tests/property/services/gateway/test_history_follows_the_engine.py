"""Whatever traders and operators do, the history that follows the events holds what the engine holds."""

from hypothesis import given, settings
from hypothesis import strategies as st

from services.gateway.projections.records import OPEN
from tests.unit.services.gateway.following import FollowedVenue, open_venue

ACCOUNTS = st.sampled_from(["op", "alice", "bob"])
QTY = st.integers(1, 9)
PRICE = st.integers(150, 250).map(lambda ticks: ticks * 10_000)
HOUR = st.integers(2, 5)
TIF = st.sampled_from(["GTG", "IOC", "FOK"])
STEP = st.one_of(
    st.tuples(st.just("limit"), ACCOUNTS, st.sampled_from(["buy", "sell"]), QTY, PRICE, HOUR, TIF),
    st.tuples(st.just("block"), ACCOUNTS, QTY, PRICE, HOUR, st.integers(1, 3)),
    st.tuples(st.just("flex"), ACCOUNTS, QTY, PRICE, HOUR, st.integers(1, 3), st.integers(0, 2)),
    st.tuples(st.just("resale"), ACCOUNTS, st.integers(1, 4), PRICE, HOUR, st.integers(1, 3)),
    st.tuples(st.just("capacity"), st.just("op"), QTY, PRICE, HOUR, st.integers(1, 3)),
    st.tuples(st.just("iceberg"), ACCOUNTS, st.sampled_from(["buy", "sell"]), QTY, PRICE, HOUR),
    st.tuples(st.just("replace"), ACCOUNTS, st.integers(1, 12), st.none() | QTY, st.none() | PRICE),
    st.tuples(st.just("reprice"), st.just("op"), st.integers(1, 12), PRICE),
    st.tuples(st.just("withdraw"), ACCOUNTS, st.integers(1, 12), HOUR),
    st.tuples(st.just("cancel"), ACCOUNTS, st.integers(1, 12)),
    st.tuples(st.just("cancel_all"), ACCOUNTS),
    st.tuples(st.just("wait"), st.integers(1, 90)),
)


def take(venue: FollowedVenue, step: tuple) -> None:
    name, *values = step
    match name:
        case "wait":
            venue.now_ms += values[0] * 60_000
            venue.credit("bob", 1)
        case "limit":
            *terms, tif = values
            venue.send(venue.limit(*terms, tif=tif))
        case "iceberg":
            venue.send(venue.limit(*values, display_qty=1, stp="decrement_and_cancel"))
        case _:
            venue.send(getattr(venue, name)(*values))


@settings(max_examples=60, deadline=None)
@given(st.lists(STEP, max_size=25))
def test_the_history_equals_the_engine_after_any_commands(steps):
    venue = open_venue()
    for step in steps:
        take(venue, step)
    history, engine = venue.history, venue.engine
    balances = {(account, asset): (available, held) for account, asset, available, held in engine.balances()}
    followed = {key: (each.available_micros, each.held_micros) for key, each in history.balances.items()}
    assert {key: value for key, value in followed.items() if value != (0, 0)} == {
        key: value for key, value in balances.items() if value != (0, 0)
    }
    live = {
        order.order_id: (order.account, order.side, order.remaining_qty, order.price_micros)
        for order in history.orders.values()
        if order.status in OPEN and (order.kind not in ("capacity", "resell") or order.parent_id)
    }
    names = ("account", "side", "left", "price_micros")
    resting = {each["id"]: tuple(each[name] for name in names) for each in engine.orders()}
    assert live == resting
    positions = {each["id"]: (each["buyer"], each["operator"], each["qty"]) for each in engine.positions()}
    followed = {key: each for key, each in history.positions.items() if each.state != "RESOLD"}
    assert {key: (each.buyer, each.operator, each.qty) for key, each in followed.items()} == positions


@settings(max_examples=60, deadline=None)
@given(st.lists(STEP, max_size=25))
def test_an_order_of_many_asks_adds_up_to_them(steps):
    venue = open_venue()
    for step in steps:
        take(venue, step)
    orders = venue.history.orders.values()
    for parent in (order for order in orders if order.kind in ("capacity", "resell") and not order.parent_id):
        asks = [order for order in orders if order.parent_id == parent.order_id]
        assert (parent.remaining_qty, parent.filled_qty, parent.filled_micros, parent.asks_open) == (
            sum(ask.remaining_qty for ask in asks),
            sum(ask.filled_qty for ask in asks),
            sum(ask.filled_micros for ask in asks),
            sum(ask.status in OPEN for ask in asks),
        )
