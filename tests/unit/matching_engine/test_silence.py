"""Dead-man timers: what one client does with them costs nobody else anything."""

import pytest

from schemas.orders import CancelAllAfter
from schemas.venue import Tick
from tests.scenarios.engines import ENGINES
from tests.scenarios.venue import Venue, limit_order

TIMEOUT_MS, TIMES = 10_000, 200


def arm(venue: Venue, timeout_ms: int) -> None:
    venue.send(CancelAllAfter(command_id="c", account="alice", session="desk", timeout_ms=timeout_ms))


@pytest.mark.parametrize("engine", ENGINES)
def test_a_session_that_is_armed_and_disarmed_many_times_keeps_one_timer_and_fires_once(engine: str):
    venue = Venue(ENGINES[engine]())
    venue.define()
    venue.credit("alice", 10**9)
    venue.send(limit_order(1))
    for _ in range(TIMES):
        arm(venue, TIMEOUT_MS)
        arm(venue, 0)
        venue.now_ms += 1
    for _ in range(3):  # as long as it goes on to be armed, each timer that runs out is set anew
        arm(venue, TIMEOUT_MS)
        venue.now_ms += TIMEOUT_MS - 1
        venue.send(Tick())
    assert venue.engine.snapshot().count(b"alice|desk") <= 2
    venue.now_ms += TIMEOUT_MS
    assert [event["type"] for event in venue.send(Tick())] == ["order_canceled", "cancel_timer_fired"]
