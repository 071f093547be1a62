"""Private feeds: each session gets what concerns its account in the channels that it has, and nothing else."""

import json

import pytest

from services.gateway.projections.feeds import Feeds, Session
from tests.unit.services.gateway.following import open_venue


@pytest.fixture
def venue():
    venue = open_venue()
    venue.feeds = Feeds(venue.history)
    return venue


def joined(venue, account: str, *channels: str, queue_max: int = 100) -> Session:
    session = Session(account, f"key-{account}", queue_max)
    session.channels.update(channels)
    venue.feeds.join(session)
    return session


def publish(venue, command) -> None:
    venue.send(command)
    for event, records in venue.touched:
        venue.feeds.publish(event, records)


def heard(session: Session) -> list[dict]:
    messages = []
    while not session.queue.empty():
        messages.append(json.loads(session.queue.get_nowait()[1]))
    return messages


def test_both_sides_of_a_trade_hear_of_their_own_side_only(venue):
    publish(venue, venue.limit("op", "sell", 4, 2_000_000))
    alice, operator = (joined(venue, name, "orders", "fills", "positions") for name in ("alice", "op"))
    bystander = joined(venue, "bob", "orders", "fills", "positions", "balances")
    publish(venue, venue.limit("alice", "buy", 3, 2_500_000))
    assert [(message["ch"], message["type"]) for message in heard(alice)] == [
        ("orders", "update"),
        ("orders", "update"),
        ("fills", "update"),
        ("positions", "update"),
    ]
    told = {message["ch"]: message["data"] for message in heard(operator)}
    assert (told["orders"]["order_id"], told["orders"]["filled_qty"]) == (1, 3)
    assert (told["fills"]["side"], told["fills"]["role"]) == ("sell", "maker")
    assert told["positions"]["role"] == "operator"
    assert heard(bystander) == []


def test_a_message_carries_the_sequence_of_its_event(venue):
    session = joined(venue, "alice", "balances")
    publish(venue, venue.limit("alice", "buy", 3, 2_000_000))
    assert heard(session) == [
        {
            "ch": "balances",
            "type": "update",
            "seq": venue.history.seq,
            "data": {
                "asset": "CNY",
                "available": "994.00",
                "held": "6.00",
                "total": "1000.00",
                "programme": None,
                "issuer": None,
                "currency": None,
                "expires": None,
                "seq": venue.history.seq,
            },
        }
    ]


def test_the_asks_of_a_new_capacity_order_are_not_told_one_by_one(venue):
    session = joined(venue, "op", "orders")
    publish(venue, venue.capacity("op", 8, 2_000_000, periods=10))
    assert {message["data"]["order_id"] for message in heard(session)} == {1}


def test_a_session_that_does_not_keep_up_is_ended_and_not_fed_with_holes(venue):
    session = joined(venue, "alice", "balances", queue_max=1)
    publish(venue, venue.limit("alice", "buy", 1, 2_000_000))
    assert not session.overrun.is_set()
    publish(venue, venue.limit("alice", "buy", 1, 2_000_000))
    assert session.overrun.is_set()


def test_a_session_that_left_hears_nothing(venue):
    session = joined(venue, "alice", "balances")
    venue.feeds.leave(session)
    publish(venue, venue.limit("alice", "buy", 1, 2_000_000))
    assert heard(session) == []
