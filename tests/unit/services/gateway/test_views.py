"""What a caller reads: an order's acknowledgement has the very bytes of the reply that the document describes."""

import pytest

from schemas.replies import OrderReply
from services.gateway.projections.views import Views, fills_of, timing
from services.gateway.routes.answers import own_fills
from tests.unit.services.gateway.following import open_venue

COMMANDS = {
    "a limit order that trades": lambda venue: venue.limit("alice", "buy", 3, 3_500_000),
    "one that rests": lambda venue: venue.limit("alice", "buy", 3, 1_000_000),
    "one that misses and says why": lambda venue: venue.limit("alice", "buy", 6, 2_500_000, tif="IOC"),
    "a block": lambda venue: venue.block("alice", 2, 1_500_000),
    "a flex": lambda venue: venue.flex("alice", 2, 1_500_000),
    "capacity at a curve": lambda venue: venue.capacity(
        "op", 2, None, floor_price_micros=None, floor_curve_micros=tuple(range(2_000_000, 2_240_000, 10_000))
    ),
}


@pytest.mark.parametrize("name", COMMANDS)
async def test_an_acknowledgement_has_the_bytes_of_the_reply_that_is_described(name):
    venue = open_venue()
    venue.send(venue.limit("op", "sell", 4, 3_000_000))
    command = COMMANDS[name](venue)
    decision = venue.decide(command)
    order_id = max(decision.orders) if name != "capacity at a curve" else min(decision.orders)
    order, fills = decision.orders[order_id], own_fills(decision, order_id)
    views, moments = Views(venue.history), timing(1_796_000_000_123_456_789, order.created_ms)
    described = OrderReply(order=views.order(order), fills=fills_of(views, fills, command.account), timing=moments)
    assert order.client_order_id == command.client_order_id
    assert views.order_reply(order, fills, command.account, moments).decode() == described.model_dump_json()
