"""Payout at level T0: the operator's share of a provisional settlement stays held until FINAL."""

from matching_engine.rules import rulesets
from matching_engine.rules.market import Market
from matching_engine.rules.money import Entry
from matching_engine.rules.state import Contract, Position
from schemas.events import PayoutHeld

UNPROVEN = "T0"


def note_levels(market: Market, known: Contract) -> None:
    """At the gate: the level that a position's node has now decides when its operator is paid, whatever comes later."""
    if not rulesets.delays_payout(market):
        return
    for position_id in known.positions:
        position = market.state.positions[position_id]
        if market.state.nodes[position.node].level == UNPROVEN:
            position.delays_payout = True


def receive(entry: Entry, position: Position, party: str, amount: int) -> None:
    """Gives a party of a position money that it may spend; the operator's stays held where its payout is delayed.
    [D-12]
    """
    if position.delays_payout and party == position.operator:
        position.payout_held_micros += amount
        entry.add(party, held=amount)
    else:
        entry.add(party, available=amount)


def draw_held_payout(position: Position, amount: int) -> int:
    """Takes of a payout that is still held. Returns how much there was."""
    taken = min(amount, position.payout_held_micros)
    position.payout_held_micros -= taken
    return taken


def emit_payout_held(market: Market, position: Position) -> None:
    """Says after each revision what is held until when, unless a dispute lasts longer."""
    if not position.delays_payout:
        return
    terms, start_s = market.terms_of(position.contract), market.state.contracts[position.contract].start_s
    market.emit(
        PayoutHeld,
        position_id=position.id,
        revision=position.revision,
        operator=position.operator,
        held_micros=position.payout_held_micros,
        until_ms=(start_s + terms.period_s + terms.final_after_s) * 1000,
    )
