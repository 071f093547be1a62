"""What the compiled engine writes into a snapshot of records that only the reference's rules have met."""

from schemas.orders import CancelOrder, PlaceOrder
from tests.fixtures.side_by_side import SideBySide
from tests.scenarios.venue import MIDNIGHT_MS, contract_of


def order(number: int, account: str, **changes: object) -> PlaceOrder:
    """An order for eight GPUs at four o'clock."""
    terms = {
        "command_id": f"c-{number}",
        "account": account,
        "client_order_id": f"id-{number}",
        "contract": contract_of(4),
        "side": "buy",
        "kind": "limit",
        "qty": 8,
        "price_micros": 2_000_000,
        "max_cost_micros": None,
        "tif": "GTG",
        "post_only": False,
        "node": None,
        "stp": "cancel_newest",
    }
    return PlaceOrder(**terms | changes)


def test_gpus_that_no_compiled_rule_has_sold_cannot_be_sold_again_after_a_restart():
    venue = SideBySide()
    venue.define()
    for account in ("op", "alice"):
        venue.credit(account, 10**12)
    venue.node("n1", "op", 8)
    venue.send(order(1, "alice"))
    ask = {"side": "sell", "node": "n1"}
    assert not venue.in_c(order(2, "op", min_qty=8, **ask))
    venue.restart()
    refused = venue.send(order(3, "op", **ask))
    assert [(event["type"], event["code"]) for event in refused] == [("order_rejected", "insufficient_capacity")]


def test_what_is_kept_of_an_unusual_order_stays_while_hundreds_of_others_go():
    venue = SideBySide()
    venue.define()
    venue.credit("alice", 10**12)
    terms = {"qty": 1, "tif": "GTD", "expires_ms": MIDNIGHT_MS + 60_000}
    venue.send(order(0, "alice", **terms))
    for number in range(1, 300):
        venue.send(order(number, "alice", **terms))
        cancel = CancelOrder(command_id=f"d-{number}", account="alice", order_id=None, client_order_id=f"id-{number}")
        venue.send(cancel)
    assert venue.fast.engine.snapshot() == venue.plain.engine.snapshot()
    venue.pass_time(60_000)
    assert [event["type"] for event in venue.send(order(300, "alice"))] == ["order_expired", "order_accepted"]
