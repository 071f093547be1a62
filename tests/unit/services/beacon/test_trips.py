"""A beacon's clock: from handing a token out until it is back, signed by the node that is measured, and no other."""

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from schemas.hubs import HubReceipt, TripAnswer, TripReply, TripStart
from schemas.nodes import signing_bytes
from services.beacon.app import load_or_make_key
from services.beacon.settings import Settings
from services.beacon.trips import Trips
from services.kit.http import ProblemError
from services.kit.keys import public_hex, signature_holds
from tests.fixtures.delivery import TestNode

KEY = Ed25519PrivateKey.from_private_bytes(b"\7" * 32)


class Clock:
    now_us = 1_000_000

    def __call__(self) -> int:
        return self.now_us


def beacon_of(clock: Clock, exchanges: int = 3, trips_max: int = 2) -> Trips:
    return Trips("CNE", KEY, exchanges, 10_000_000, trips_max, clock, lambda: 1_234_567)


def answer_of(node: TestNode, reply: TripReply, **changes: object) -> TripAnswer:
    facts = {"agent": node.node_id, "trip_id": reply.trip_id, "token": reply.token}
    return node.sign(TripAnswer, **facts | changes)


def measure(trips: Trips, clock: Clock, node: TestNode, ways_us: list[int]) -> TripReply:
    """Sends tokens back after these times."""
    reply = trips.start(TripStart(public_key=node.public_key))
    for way_us in ways_us:
        clock.now_us += way_us
        reply = trips.answer(reply.trip_id, answer_of(node, reply), clock.now_us)
    return reply


def test_the_shortest_way_counts_and_the_receipt_is_signed():
    clock, node = Clock(), TestNode()
    end = measure(beacon_of(clock), clock, node, [40_000, 3_500, 20_000])
    facts = {"hub": "CNE", "agent": node.node_id, "trip_us": 3_500, "exchanges": 3, "measured_ms": 1_234_567}
    assert end.receipt == HubReceipt(**facts, signature=end.receipt.signature)
    assert signature_holds(public_hex(KEY), end.receipt.signature, signing_bytes(end.receipt))


def test_every_token_is_new_and_none_counts_twice():
    clock, node = Clock(), TestNode()
    trips = beacon_of(clock)
    first = trips.start(TripStart(public_key=node.public_key))
    second = trips.answer(first.trip_id, answer_of(node, first), clock.now_us)
    assert first.token != second.token
    with pytest.raises(ProblemError, match="not signed by the node"):
        trips.answer(first.trip_id, answer_of(node, first), clock.now_us)
    with pytest.raises(ProblemError, match="no such measurement"):
        trips.answer(second.trip_id, answer_of(node, second), clock.now_us)


def test_nobody_answers_for_another_node():
    clock, node, other = Clock(), TestNode(), TestNode(seed=2)
    for signer, agent in ((node, other), (other, node), (other, other)):
        trips = beacon_of(clock)
        reply = trips.start(TripStart(public_key=node.public_key))
        with pytest.raises(ProblemError, match="not signed by the node"):
            trips.answer(reply.trip_id, answer_of(signer, reply, agent=agent.node_id), clock.now_us)


def test_a_measurement_ends_with_its_time_and_too_many_at_once_are_sent_away():
    clock, node = Clock(), TestNode()
    trips = beacon_of(clock)
    reply = trips.start(TripStart(public_key=node.public_key))
    trips.start(TripStart(public_key=node.public_key))
    with pytest.raises(ProblemError, match="too many nodes"):
        trips.start(TripStart(public_key=node.public_key))
    clock.now_us += 10_000_000
    with pytest.raises(ProblemError, match="no such measurement"):
        trips.answer(reply.trip_id, answer_of(node, reply), clock.now_us)
    assert trips.start(TripStart(public_key=node.public_key)).token


def test_a_beacon_keeps_its_key_and_refuses_a_file_that_holds_none(tmp_path):
    settings = Settings(beacon_hub="CNE", beacon_key=tmp_path / "beacon.key")
    made = load_or_make_key(settings)
    assert load_or_make_key(settings).private_bytes_raw() == made.private_bytes_raw()
    assert (tmp_path / "beacon.key").stat().st_mode & 0o777 == 0o600
    (tmp_path / "beacon.key").write_text("rubbish")
    with pytest.raises(SystemExit, match="is not the private half of a key"):
        load_or_make_key(settings)
