"""The compiled engine's reader and writer of bytes agree with the models, for every event and for broken commands."""

from hashlib import sha256
from typing import get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from matching_engine.reference import Engine as ReferenceEngine
from schemas.events import EVENT, AnyEvent, Event
from schemas.orders import CancelOrder, PlaceOrder
from schemas.venue import Tick
from tests.engine.models import fields_of
from tests.scenarios.venue import Venue, contract_of

engine = pytest.importorskip("matching_engine.engine", reason="the compiled engine is not built")
digest = pytest.importorskip("matching_engine.digest")

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
