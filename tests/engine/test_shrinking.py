"""The shrinker finds the commands that matter, keeps batches valid, and tells them as text."""

from matching_engine.rules import Engine
from tests.engine.random_log import RandomLog, Record
from tests.engine.shrinking import records_of, shrink, steps_of, tell


def trades(records: list[Record]) -> bool:
    """Whether an order, not a block, has traded."""
    return any(b'"type":"trade"' in event and b'"block_id":null' in event for event in Engine().apply(records))


def test_a_log_is_shrunk_to_what_a_trade_needs():
    records = RandomLog(1).take(800)
    assert trades(records)
    small = shrink(records, trades)
    assert trades(small)
    assert len(small) <= 9
    told = tell(small)
    for kind in ("genesis", "admin: define_product", "delivery: register_node", "ledger: credit", "nodes_alive"):
        assert kind in told


def test_steps_made_a_log_again_say_the_same():
    records = RandomLog(2).take(300)
    events = [event for event in Engine().apply(records_of(steps_of(records))) if b'"type":"trade"' in event]
    assert len(events) == sum(b'"type":"trade"' in event for event in Engine().apply(records))
