"""A payout that is held, taken back and paid is posted as the engine says, in money that cannot be spent yet."""

from matching_engine.rules import Engine
from schemas.events import EVENT
from services.ledger.domain import plan_batch
from tests.property.matching_engine.test_held_payouts import GPUS, PERIOD_S, revision, sold_venue


def test_the_ledger_agrees_with_the_engine_from_a_held_payout_to_its_end():
    venue, held = sold_venue(Engine(), "T0"), []
    for number, delivered_gpu_s in enumerate((GPUS * PERIOD_S, 0, PERIOD_S), start=1):
        venue.batch("delivery", revision(number, delivered_gpu_s))
        held.append(compare(venue)["op", "CNY"].held)
    venue.now_ms += 25 * 3_600_000
    venue.send(b'{"type":"tick"}')
    assert held[0] > held[2] > held[1] == 0
    assert compare(venue)["op", "CNY"].held == 0


def compare(venue) -> dict:
    """Posts all events anew; returns the balances, which are those of the engine."""
    plan = plan_batch([EVENT.validate_json(raw) for raw in venue.events], {}, {})
    rows = {(account, asset): (available, held) for account, asset, available, held in venue.engine.balances()}
    assert {key: (each.available, each.held) for key, each in plan.balances.items()} == rows
    return plan.balances
