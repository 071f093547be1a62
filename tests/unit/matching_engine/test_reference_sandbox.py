"""A sandbox's short periods: contracts are named to the second, money is rounded up per GPU and period."""

import pytest

from schemas.ids import contract_name
from schemas.orders import PlaceOrder
from schemas.venue import SettlePosition, Tick
from tests.scenarios.engines import ENGINES
from tests.scenarios.venue import MIDNIGHT_MS, PRODUCT, Venue

START_S = MIDNIGHT_MS // 1000 + 60


def order(contract: str, side: str) -> PlaceOrder:
    return PlaceOrder(
        command_id=side,
        account="alice" if side == "buy" else "op",
        client_order_id=f"{side}-{contract[-6:]}",
        contract=contract,
        side=side,
        kind="limit",
        qty=3,
        price_micros=12_840_000,
        max_cost_micros=None,
        tif="GTG",
        post_only=False,
        node=None if side == "buy" else "n1",
        stp="cancel_newest",
    )


@pytest.fixture(params=ENGINES.values(), ids=ENGINES)
def venue(request: pytest.FixtureRequest) -> Venue:
    venue = Venue(request.param())
    terms = {"gate_lead_s": 5, "grace_s": 3, "final_after_s": 60, "horizon_periods": 4}
    listed = venue.define(period_s=31, **terms)[-1]
    # A period starts four seconds after midnight: its gate has closed, the next one is the first.
    first_s, last_s = (listed[name] - MIDNIGHT_MS // 1000 for name in ("first_start_s", "last_start_s"))
    assert (first_s, last_s) == (35, 97)
    venue.credit("alice", 10_000_000)
    venue.credit("op", 10_000_000)
    venue.node("n1", "op", 8)
    return venue


def test_a_short_contract_is_named_to_the_second_and_by_no_other_name(venue: Venue):
    start_s = START_S // 31 * 31
    name = contract_name(PRODUCT, start_s, 31)
    assert len(name.rpartition("-")[2]) == 12
    for other in (name[:-4], contract_name(PRODUCT, start_s + 1, 31), f"{PRODUCT}-269999999999"):
        assert venue.send(order(other, "buy"))[0]["code"] == "unlisted_contract"
    assert venue.send(order(name, "buy"))[0]["type"] == "order_accepted"


def test_a_position_lives_from_fill_to_final_in_a_minute_and_a_half(venue: Venue):
    start_s = START_S // 31 * 31
    name = contract_name(PRODUCT, start_s, 31)
    venue.send(order(name, "sell"))
    trade = venue.send(order(name, "buy"))[-1]
    unit = -(-12_840_000 * 31 // 3600)
    assert (trade["escrow_micros"], trade["bond_micros"]) == (3 * unit, 3 * -(-12_840_000 * 31 * 500 // 3_600_000))
    states = []
    for after_s in (-5, 0, 31 + 3):
        venue.now_ms = (start_s + after_s) * 1000
        states += [event["state"] for event in venue.send(Tick()) if event.get("contract") == name]
    assert states == ["LOCKED", "DELIVERING", "METERED"]
    meter = {"excused_gpu_s": 0, "delivered_gpu_s": 93, "used_gpu_s": 93, "noticed": False, "recalled_gpus": 0}
    settled = venue.batch("delivery", SettlePosition(position_id=1, revision=1, **meter, meter_digest="0" * 64))[-1]
    assert settled["gross_micros"] == 12_840_000 * 93 // 3600
    assert settled["refund_micros"] == 3 * unit - settled["gross_micros"]
    venue.now_ms = (start_s + 31 + 60) * 1000
    assert [event["type"] for event in venue.send(Tick())][-1] == "position_finalized"
    assert venue.engine.positions() == []
    assert sum(held for _, _, _, held in venue.engine.balances()) == 0
