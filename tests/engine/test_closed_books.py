"""Orders for a book that has closed: engines that look ahead must not look into what is gone."""

import pytest

from schemas.orders import PlaceOrder
from schemas.venue import Tick
from tests.scenarios.engines import ENGINES
from tests.scenarios.venue import HOUR_S, Venue, contract_of


def bid(place: int) -> bytes:
    return PlaceOrder(
        command_id=f"c-{place}",
        account="alice",
        client_order_id=f"id-{place}",
        contract=contract_of(13),
        side="buy",
        kind="limit",
        qty=1,
        price_micros=12_000_000,
        max_cost_micros=None,
        tif="GTG",
        post_only=False,
        node=None,
        stp="cancel_newest",
    ).canonical()


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("cut", [1, 2, 40])
def test_orders_behind_the_gate_are_refused_wherever_the_log_is_cut(engine: str, cut: int):
    venue = Venue(ENGINES[engine]())
    venue.define()
    venue.credit("alice", 10**10)
    first, gate_ms = len(venue.records), venue.now_ms + 12 * HOUR_S * 1000 + 50 * 60_000
    records = [(first, venue.now_ms, bid(first)), (first + 1, gate_ms, Tick().canonical())]
    records += [(place, gate_ms, bid(place)) for place in range(first + 2, first + 40)]
    events = []
    for begin in range(0, len(records), cut):
        events += venue.engine.apply(records[begin : begin + cut])
    refused = [event for event in events if b'"code":"gate_closed"' in event]
    assert len(refused) == 38
    assert venue.engine.orders() == []
