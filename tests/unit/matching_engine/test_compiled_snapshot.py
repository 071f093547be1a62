"""What the compiled engine writes into a snapshot of records that only the rules in Python have met."""

from schemas.orders import CancelOrder
from tests.fixtures.side_by_side import SideBySide
from tests.scenarios.venue import MIDNIGHT_MS, limit_order


def test_gpus_that_no_compiled_rule_has_sold_cannot_be_sold_again_after_a_restart():
    venue = SideBySide()
    venue.define()
    for account in ("op", "alice"):
        venue.credit(account, 10**12)
    venue.node("n1", "op", 8)
    venue.send(limit_order(1, qty=8))
    ask = {"account": "op", "side": "sell", "node": "n1", "qty": 8}
    assert not venue.in_c(limit_order(2, display_qty=8, **ask))
    venue.restart()
    refused = venue.send(limit_order(3, **ask))
    assert [(event["type"], event["code"]) for event in refused] == [("order_rejected", "insufficient_capacity")]


def test_what_is_kept_of_an_unusual_order_stays_while_hundreds_of_others_go():
    venue = SideBySide()
    venue.define()
    venue.credit("alice", 10**12)
    terms = {"qty": 1, "tif": "GTD", "expires_ms": MIDNIGHT_MS + 60_000}
    venue.send(limit_order(0, **terms))
    for number in range(1, 300):
        venue.send(limit_order(number, **terms))
        cancel = CancelOrder(command_id=f"d-{number}", account="alice", order_id=None, client_order_id=f"id-{number}")
        venue.send(cancel)
    assert venue.fast.engine.snapshot() == venue.plain.engine.snapshot()
    venue.pass_time(60_000)
    assert [event["type"] for event in venue.send(limit_order(300))] == ["order_expired", "order_accepted"]
