"""The compiled engine's reader and writer of bytes agree with the models, for every event and for broken commands."""

from hashlib import sha256
from itertools import product
from typing import get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from matching_engine.rules import Engine as ReferenceEngine
from schemas.base import Model
from schemas.events import EVENT, AnyEvent, Event
from schemas.orders import CancelOrder, PlaceBlock, PlaceOrder, PostCapacity
from schemas.venue import Tick
from tests.engine.models import fields_of
from tests.fixtures.side_by_side import SideBySide
from tests.scenarios.venue import PRODUCT, Venue, contract_of, hour_start_s, limit_order

engine = pytest.importorskip("matching_engine.engine", reason="the compiled engine is not built")
digest = pytest.importorskip("matching_engine.codec.sha256")

EVENTS = get_args(get_args(AnyEvent)[0])
RELAXED = settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
PIECES = (
    b"",
    b" ",
    b"0",
    b"-",
    b"1e3",
    b".",
    b'"',
    b"\\",
    b"\\u0061",
    b"null",
    b"\x00",
    b"\xff",
    b"\xc3\xa9",
    b",",
    b"}",
)


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.__name__)
@settings(RELAXED, max_examples=25)
@given(data=st.data())
def test_every_event_is_written_as_its_model_writes_it(event: type[Event], data: st.DataObject):
    fields = data.draw(fields_of(event, without=tuple(Event.model_fields)))
    venue = Venue(engine.Engine(), with_genesis=False)
    venue.engine.market.emit(event, **fields)
    raw = venue.engine.apply([(0, 1, Tick().canonical())])[0]
    header = {name: getattr(EVENT.validate_json(raw), name) for name in Event.model_fields if name != "type"}
    assert raw == event(**header, **fields).canonical()


@RELAXED
@given(message=st.binary(max_size=300), by_library=st.booleans())
def test_digests_are_sha256_by_the_library_and_without_it(message: bytes, by_library: bool):
    assert digest.digest_bytes(message, by_library) == sha256(message).digest()


def orders() -> st.SearchStrategy[bytes]:
    fields = fields_of(PlaceOrder, without=("account", "contract"))
    return fields.map(lambda each: PlaceOrder(account="alice", contract=contract_of(3), **each).canonical())


def cancels() -> st.SearchStrategy[bytes]:
    return fields_of(CancelOrder, without=("account",)).map(
        lambda each: CancelOrder(account="alice", **each).canonical()
    )


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A command's bytes, whole or with a piece of them replaced."""
    raw = draw(orders() | cancels())
    if draw(st.booleans()):
        return raw
    first = draw(st.integers(0, len(raw)))
    piece = draw(st.sampled_from(PIECES) | st.binary(max_size=3))
    return raw[:first] + piece + raw[first + draw(st.integers(0, 3)) :]


@RELAXED
@given(records=st.lists(damaged(), min_size=1, max_size=12))
def test_both_engines_take_and_refuse_the_same_bytes(records: list[bytes]):
    compiled, reference = Venue(engine.Engine()), Venue(ReferenceEngine())
    for venue in (compiled, reference):
        venue.define()
        venue.credit("alice", 10**15)
        for record in records:
            venue.send(record)
    assert compiled.events == reference.events


NAMED = {"command_id": "c-9", "client_order_id": "id-9"}
WINDOW = {"product": PRODUCT, "from_s": hour_start_s(3), "to_s": hour_start_s(6), "ttl_s": 60}
BLOCK = {"product": PRODUCT, "start_s": hour_start_s(3), "periods": 2, "qty": 2, "min_qty": 1, "tif": "GTG"}
BUYS = {"account": "alice", "limit_price_micros": 2_200_000, "max_cost_micros": 50_000_000, "stp": "cancel_newest"}
OFFERS = {"account": "op", "node": "n1", "gpus": 8}
ORDINARY = {
    "a bid": limit_order(9),
    "an ask": limit_order(9, account="op", side="sell", node="n1", tif="IOC"),
    "a market order": limit_order(9, kind="market", price_micros=None, max_cost_micros=9_000_000, tif="IOC"),
    "a cancel": CancelOrder(command_id="c-9", account="alice", order_id=1, client_order_id=None),
    "a block": PlaceBlock(**NAMED, **BLOCK, **BUYS),
    "capacity": PostCapacity(**NAMED, **WINDOW, **OFFERS, floor_price_micros=2_000_000, floor_curve_micros=None),
    "capacity along a curve": PostCapacity(
        **NAMED, **WINDOW, **OFFERS, floor_price_micros=None, floor_curve_micros=(2_000_000,) * 24
    ),
}


@pytest.fixture
def both() -> SideBySide:
    """Both engines with money, a node and orders in the hours that the commands are about."""
    both = SideBySide()
    both.define()
    both.credit("alice", 10**15)
    both.node("n1", "op", 8)
    for hour in (3, 4, 5):
        both.send(limit_order(hour, contract=contract_of(hour), price_micros=10_000))
    return both


def fresh(both: SideBySide, command: Model, number: int) -> Model:
    """The command as one that is new: under an id not bound yet, or about an order that rests."""
    if isinstance(command, CancelOrder):
        (accepted,) = both.send(limit_order(number))
        return command.model_copy(update={"order_id": accepted["order_id"]})
    return command.model_copy(update={"client_order_id": f"id-{number}"})


@pytest.mark.parametrize("command", ORDINARY.values(), ids=ORDINARY)
def test_a_piece_put_in_or_a_byte_lost_anywhere_means_the_same_to_both_engines(both: SideBySide, command: Model):
    edits = product(range(len(command.canonical()) + 5), ((1, b""), (0, b"0"), (0, b" "), (0, b'"'), (0, b"}")))
    for number, (place, (lost, piece)) in enumerate(edits, 1_000):
        raw = fresh(both, command, number).canonical()
        for event in both.send(raw[:place] + piece + raw[place + lost :]):
            if event["type"].endswith("_accepted"):
                taken = {"account": event["account"], "order_id": event["order_id"]}
                both.send(ORDINARY["a cancel"].model_copy(update=taken))
    assert both.in_c(fresh(both, command, 999))
    assert both.fast.events == both.plain.events
