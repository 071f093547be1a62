"""Packing the view's state: the same state gives the same bytes, and what is no state of the view is refused."""

from collections import deque

import pytest

from services.market_data.candles import Candle, Candles
from services.market_data.contracts import ContractView
from services.market_data.index import Fill
from services.market_data.packing import BadState, pack, unpack


def view(**held) -> ContractView:
    return ContractView("X-1", "X", 3600, 3600, 600, **held)


def test_containers_come_back_as_they_were():
    state = {"a": [1, None, True], ("b", "1m"): (2, "x"), 3: deque([10**30, -1], 5), "d": {}}
    back = unpack(pack(state))
    assert (back, back[3].maxlen, list(back)) == (state, 5, list(state))


def test_an_object_held_twice_is_one_again():
    shared = view()
    first, second = unpack(pack([shared, shared]))
    assert (first, first is second) == (shared, True)


def test_a_contract_that_never_traded_is_written_without_its_defaults():
    assert unpack(pack(view())) == view()
    assert pack(view()).endswith(b'[5,0,"X-1","X",3600,3600,600]]')
    traded = view(fills=[Fill(1, 2, 3, 4, "a", "b")], qty=4)
    assert unpack(pack(traded)) == traded


def test_the_bytes_of_what_was_unpacked_are_the_same_bytes():
    candles = Candles()
    candles.add("X-1", 60, 1_000, 5, 2, 1)
    candles.advance(10**9)
    candles.add("X-1", 60, 10**9, 6, 2, 2)
    data = pack(candles)
    assert pack(unpack(data)) == data


@pytest.mark.parametrize("stranger", [object(), {1, 2}, b"bytes", Exception()])
def test_a_value_of_a_strange_class_is_not_packed(stranger):
    with pytest.raises(BadState):
        pack([stranger])


def tampered(old: bytes, new: bytes) -> bytes:
    data = pack(Candle("X", "1m", 0, 60_000, 1, 1, 1, 1))
    assert old in data
    return data.replace(old, new)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b'[["os:system"],[5,0]]',
        b'[["services.market_data.candles:Nobody"],[5,0]]',
        b"[[],[9]]",
        b"[[],[6,1]]",
        tampered(b'"X","1m",0,60000,1,1,1,1', b'"X"'),
        tampered(b'"X",', b'"X",1,2,3,4,5,6,7,8,'),
    ],
)
def test_bytes_that_are_no_state_are_refused(data):
    with pytest.raises(BadState):
        unpack(data)
