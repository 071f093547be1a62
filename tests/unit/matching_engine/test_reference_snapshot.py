"""A snapshot is the whole engine: it goes on as if nothing had happened, and damaged bytes are refused."""

import json

import pytest

from matching_engine import BadSnapshot
from matching_engine.rules import Engine
from tests.scenarios.engines import ENGINES
from tests.scenarios.script import play
from tests.scenarios.venue import Venue

MORNING = """
product
credit alice 1000.00 CNY
credit op 1000.00 CNY
node n1 op 8
capacity op n1 1h 4h 8 @ 2.00
bid alice 1h 3 @ 2.10
block alice 2h 2h 9 @ 2.00 id=block
lock L1 op n1:0
escrow E1 L1 alice op 10.00 1.00
"""
REST_OF_THE_DAY = """
time 2:05
settle 1 delivered=3000
settle 1 delivered=0 revision=2
release E1
bid alice 3h 9 @ 2.00
cancel alice id=block
time 30:00
"""


def act(venue: Venue, script: str) -> list[bytes]:
    first = len(venue.events)
    for line in script.strip().splitlines():
        play(venue, line.split())
    return venue.events[first:]


@pytest.mark.parametrize("engine_class", ENGINES.values(), ids=ENGINES)
def test_an_engine_from_a_snapshot_goes_on_to_the_same_bytes(engine_class):
    venue = Venue(engine_class())
    act(venue, MORNING)
    snapshot = venue.engine.snapshot()
    events = act(venue, REST_OF_THE_DAY)
    restored = engine_class.restore(snapshot)
    assert restored.snapshot() == snapshot
    assert restored.apply(venue.records[restored.next_offset :]) == events
    assert (restored.seq, restored.link, restored.log_time_ms, restored.balance_digest()) == (
        venue.engine.seq,
        venue.engine.link,
        venue.engine.log_time_ms,
        venue.engine.balance_digest(),
    )


@pytest.mark.parametrize("engine_class", ENGINES.values(), ids=ENGINES)
def test_any_damage_to_a_snapshot_is_noticed(engine_class):
    venue = Venue(engine_class())
    act(venue, MORNING)
    good = venue.engine.snapshot()
    step = max(1, len(good) // 200)
    for place in range(0, len(good), step):
        damaged = good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :]
        with pytest.raises(BadSnapshot):
            engine_class.restore(damaged)
    for damaged in (b"", good[:-1], good + b" ", good[: len(good) // 2], b"x" * 5000):
        with pytest.raises(BadSnapshot):
            engine_class.restore(damaged)


GOOD = Engine().snapshot()
REFUSED = {
    "not a snapshot": b"x" * 5000,
    "snapshot version 2 is not supported, only version 6": b"hourbook-snapshot-2 "
    + b"0" * 64
    + b'\n{"engine":"reference"}\n{}',
    "snapshot version 7 is not supported, only version 6": GOOD.replace(b"snapshot-6", b"snapshot-7", 1),
    "the header is damaged": GOOD[:40],
    "truncated": GOOD[:-1],
    "too long": GOOD + b" ",
    "the SHA-256 does not match": GOOD[:-1] + b"x",
}


@pytest.mark.parametrize("engine_class", ENGINES.values(), ids=ENGINES)
@pytest.mark.parametrize("reason", REFUSED)
def test_a_snapshot_is_refused_with_what_is_wrong_with_it(engine_class, reason: str):
    with pytest.raises(BadSnapshot, match=reason):
        engine_class.restore(REFUSED[reason])


@pytest.mark.parametrize("engine_class", ENGINES.values(), ids=ENGINES)
def test_the_oldest_of_many_still_comes_first_after_a_restore(engine_class):
    venue = Venue(engine_class())
    act(venue, "product\ncredit alice 9000.00 CNY\n" + "block alice 1h 2h 1 @ 1.00\nbid alice 1h 1 @ 1.00\n" * 60)
    venue.engine = engine_class.restore(venue.engine.snapshot())
    expired = [event for event in act(venue, "time 0:50") if b'"order_expired"' in event]
    orders, blocks = list(range(2, 121, 2)), list(range(1, 121, 2))
    assert [json.loads(event)["order_id"] for event in expired] == orders + blocks
