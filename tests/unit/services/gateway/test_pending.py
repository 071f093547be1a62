"""Who waits for which decision: it comes with the last event of its command, whole, and as that command left things."""

import pytest

from services.gateway.commands.pending import PendingCommands
from services.gateway.domain import NoAnswer, RecordRejected
from services.gateway.projections.views import as_first_decided
from tests.unit.services.gateway.following import open_venue


@pytest.fixture
def venue():
    return open_venue()


async def test_a_decision_holds_all_events_of_its_command_and_what_they_made(venue):
    venue.decide(venue.limit("op", "sell", 1, 2_000_000))
    venue.decide(venue.limit("op", "sell", 1, 2_100_000))
    decision = venue.decide(venue.limit("alice", "buy", 3, 2_500_000))
    assert [event.type for event in decision.events] == ["order_accepted", "trade", "trade"]
    assert {key: (order.status, order.remaining_qty) for key, order in decision.orders.items()} == {
        1: ("filled", 0),
        2: ("filled", 0),
        3: ("partially_filled", 1),
    }
    assert [fill.price_micros for fill in decision.fills] == [2_000_000, 2_100_000]


async def test_a_decision_does_not_change_with_what_happens_later(venue):
    decision = venue.decide(venue.limit("alice", "buy", 3, 2_500_000))
    venue.decide(venue.cancel("alice", 1))
    assert decision.orders[1].status == "new"


async def test_a_repeat_shows_an_order_as_its_own_command_left_it(venue):
    first = venue.decide(venue.limit("alice", "buy", 3, 2_500_000)).orders[1]
    venue.decide(venue.limit("op", "sell", 1, 2_000_000))
    venue.decide(venue.cancel("alice", 1))
    assert venue.history.orders[1].status == "canceled"
    later = as_first_decided(venue.history.orders[1])
    assert (later.status, later.reason, later.remaining_qty, later.filled_qty) == ("new", None, 3, 0)
    assert (later.filled_micros, later.updated_ms) == (first.filled_micros, first.updated_ms)


async def test_a_repeat_of_a_miss_shows_why_it_missed(venue):
    miss = venue.decide(venue.limit("alice", "buy", 3, 2_500_000, tif="IOC")).orders[1]
    again = as_first_decided(venue.history.orders[1])
    assert (again.status, again.reason, again.why_reason) == ("canceled", "ioc_remainder", "no_liquidity")
    assert again == miss


async def test_a_record_that_the_engine_cannot_take_fails_its_request_whichever_news_comes_first(venue):
    for ack_first in (True, False):
        pending = PendingCommands()
        future = pending.expect("c1")
        offset = len(venue.records)
        if ack_first:
            pending.sent("c1", offset)
        venue.send(b"no command at all")
        for event, records in venue.touched:
            pending.add(event, records)
        if not ack_first:
            pending.sent("c1", offset)
        with pytest.raises(RecordRejected, match="malformed"):
            future.result()


async def test_a_command_that_the_log_lost_is_told_to_its_request():
    pending = PendingCommands()
    future = pending.expect("c1")
    pending.lost("c1", NoAnswer("broker away"))
    with pytest.raises(NoAnswer, match="broker away"):
        future.result()


async def test_nobody_is_told_of_a_command_that_was_given_up(venue):
    command = venue.limit("alice", "buy", 3, 2_500_000)
    future = venue.pending.expect(command.command_id)
    venue.pending.abandon(command.command_id)
    venue.send(command)
    for event, records in venue.touched:
        venue.pending.add(event, records)
    assert not future.done()


async def test_each_request_gets_its_own_decision_whichever_asked_first(venue):
    commands = [venue.limit("alice", "buy", 3, 2_500_000), venue.limit("bob", "buy", 1, 2_400_000)]
    futures = [venue.pending.expect(command.command_id) for command in commands]
    for command in commands:
        venue.send(command)
        for event, records in venue.touched:
            venue.pending.add(event, records)
    found = [[order.account for order in future.result().orders.values()] for future in futures]
    assert found == [["alice"], ["bob"]]
