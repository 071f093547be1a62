"""What the engines do though no clause asks for it; the oracle does it too, and its README says so."""

import pytest

from schemas.orders import ReplaceOrder
from schemas.venue import SetAccountLimits, Tick
from tests.oracle.oracle import Oracle
from tests.scenarios.engines import ENGINES
from tests.scenarios.venue import Venue, limit_order

MINUTE_MS = 60_000
everywhere = pytest.mark.parametrize("engine_class", [*ENGINES.values(), Oracle], ids=[*ENGINES, "oracle"])


@everywhere
def test_an_order_whose_end_was_moved_ends_at_the_place_of_its_first_end(engine_class: type):
    """Clause M-4 would have the second order end first."""
    venue = Venue(engine_class())
    venue.define()
    venue.credit("alice", 10**9)
    first = venue.send(limit_order(1, tif="GTD", expires_ms=venue.now_ms + MINUTE_MS))[0]["order_id"]
    second = venue.send(limit_order(2, tif="GTD", expires_ms=venue.now_ms + 2 * MINUTE_MS))[0]["order_id"]
    named = {"command_id": "c-3", "account": "alice", "order_id": first, "client_order_id": None, "replace_id": None}
    venue.send(ReplaceOrder(**named, qty=None, price_micros=None, expires_ms=venue.now_ms + 3 * MINUTE_MS))
    venue.now_ms += 4 * MINUTE_MS
    assert [event["order_id"] for event in venue.send(Tick())] == [first, second]


@everywhere
def test_a_throttled_accounts_first_order_in_a_product_earns_nothing_by_its_trade(engine_class: type):
    """Clause M-44 would have the trade of the first order pay for the second."""
    venue = Venue(engine_class())
    venue.define()
    for account in ("alice", "op"):
        venue.credit(account, 10**9)
    venue.node("n1", "op", 4)
    limits = {"throttle_window_s": 3600, "throttle_free_orders": 1, "throttle_orders_per_trade": 1}
    venue.batch("admin", SetAccountLimits(account="alice", **limits))
    venue.send(limit_order(1, account="op", side="sell", node="n1"))
    kinds = [event["type"] for event in venue.send(limit_order(2, qty=1, tif="IOC"))]
    refused = venue.send(limit_order(3, qty=1, tif="IOC"))[0]
    assert (kinds, refused["type"], refused.get("code")) == (["order_accepted", "trade"], "order_rejected", "throttled")
