"""Whatever corrections say, an operator of a node of level T0 spends nothing of what he earned before it is final."""

from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from matching_engine.settlement import settle
from schemas.venue import NEWEST_RULESET, SetRuleset, SettlePosition
from tests.scenarios.engines import ENGINES
from tests.scenarios.venue import Venue, contract_of, genesis, limit_order

GPUS, PERIOD_S, PRICE_MICROS, BOND_UNIT_MICROS = 2, 3600, 2_345_679, 2_345_679
CREDIT_MICROS = 1_000_000_000
HOUR_MS = 3_600_000


@dataclass
class Purse:
    """What an operator has of one position by the rulebook: free money, his bond, earnings that he may not spend."""

    bond_micros: int
    free_micros: int = 0
    earned_micros: int = 0
    total_micros: int = 0

    def revise(self, total_micros: int) -> None:
        """Moves the difference to what he was due before: losses come from earnings, then bond, then free money."""
        due, self.total_micros = total_micros - self.total_micros, total_micros
        if due > 0:
            self.earned_micros += due
            return
        from_earned = min(-due, self.earned_micros)
        from_bond = min(-due - from_earned, self.bond_micros)
        self.earned_micros -= from_earned
        self.bond_micros -= from_bond
        self.free_micros += due + from_earned + from_bond


def sold_venue(engine, level: str, ruleset: int = NEWEST_RULESET) -> Venue:
    """A venue in which alice has bought two GPUs at four o'clock of a node of a level, and they are delivered."""
    venue = Venue(engine, with_genesis=False)
    venue.send(genesis(ruleset=ruleset))
    venue.define(tick_micros=1)
    for account in ("alice", "op"):
        venue.credit(account, CREDIT_MICROS)
    venue.node("n1", "op", GPUS, level=level)
    traded = {"contract": contract_of(4), "price_micros": PRICE_MICROS}
    venue.send(limit_order(1, account="op", side="sell", node="n1", **traded))
    venue.send(limit_order(2, **traded))
    venue.now_ms += 6 * HOUR_MS
    venue.send(b'{"type":"tick"}')
    return venue


def revision(number: int, delivered_gpu_s: int) -> SettlePosition:
    meter = {"excused_gpu_s": 0, "used_gpu_s": 0, "noticed": False, "recalled_gpus": 0, "meter_digest": "0" * 64}
    return SettlePosition(position_id=1, revision=number, delivered_gpu_s=delivered_gpu_s, **meter)


def due_micros(delivered_gpu_s: int, bond_micros: int) -> int:
    terms = {"q": GPUS, "T": PERIOD_S, "P": PRICE_MICROS, "I": PRICE_MICROS, "E": 0, "r": 1000, "hi": 990, "lo": 800}
    return settle(**terms, bond=bond_micros, fee_bps=100, D=delivered_gpu_s, U=0).operator


DELIVERED = st.lists(st.integers(0, GPUS * PERIOD_S), min_size=1, max_size=6)


@pytest.mark.parametrize("engine_class", ENGINES.values(), ids=ENGINES)
@settings(max_examples=60, deadline=None)
@given(delivered=DELIVERED)
def test_what_a_t0_node_earns_is_held_to_the_micro_unit_until_it_is_final(engine_class, delivered: list[int]):
    venue = sold_venue(engine_class(), "T0")
    purse = Purse(GPUS * BOND_UNIT_MICROS)
    for number, delivered_gpu_s in enumerate(delivered, start=1):
        events = venue.batch("delivery", revision(number, delivered_gpu_s))
        purse.revise(due_micros(delivered_gpu_s, GPUS * BOND_UNIT_MICROS))
        told = [(event["revision"], event["held_micros"]) for event in events if event["type"] == "payout_held"]
        assert told == [(number, purse.earned_micros)]
        assert of_operator(venue) == (
            CREDIT_MICROS - GPUS * BOND_UNIT_MICROS + purse.free_micros,
            purse.bond_micros + purse.earned_micros,
        )
    venue.now_ms += 25 * HOUR_MS
    venue.send(b'{"type":"tick"}')
    left = CREDIT_MICROS - GPUS * BOND_UNIT_MICROS + purse.free_micros + purse.bond_micros + purse.earned_micros
    assert of_operator(venue) == (left, 0)


@pytest.mark.parametrize("level", ["T1", "T2", "T3"])
@pytest.mark.parametrize("engine_class", ENGINES.values(), ids=ENGINES)
def test_a_node_above_t0_is_paid_at_once_and_nothing_is_said_of_it(engine_class, level: str):
    venue = sold_venue(engine_class(), level)
    available, held = of_operator(venue)
    events = venue.batch("delivery", revision(1, GPUS * PERIOD_S))
    assert [event["type"] for event in events] == ["position_settled"]
    earned = due_micros(GPUS * PERIOD_S, 0)
    assert of_operator(venue) == (available + earned, held)


@pytest.mark.parametrize("moves_on", [False, True])
@pytest.mark.parametrize("engine_class", ENGINES.values(), ids=ENGINES)
def test_what_was_locked_before_ruleset_4_is_paid_at_once(engine_class, moves_on: bool):
    venue = sold_venue(engine_class(), "T0", ruleset=3)
    if moves_on:
        venue.batch("admin", SetRuleset(ruleset=4))
    available, held = of_operator(venue)
    events = venue.batch("delivery", revision(1, GPUS * PERIOD_S))
    assert [event["type"] for event in events] == ["position_settled"]
    assert of_operator(venue) == (available + due_micros(GPUS * PERIOD_S, 0), held)


def of_operator(venue: Venue) -> tuple[int, int]:
    """What the operator may spend, and what is held of him."""
    return next(row[2:] for row in venue.engine.balances() if row[0] == "op")
