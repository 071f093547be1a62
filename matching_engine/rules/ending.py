"""A block that its buyer ends after a long outage: its periods whose gate is open cost nothing.

Escrow, vouchers and bond go back, the GPUs are the node's again; the fee of the trade stays, since the contract is not
void. Resale asks that such a position backs go first: what ends cannot be sold.
"""

from matching_engine.rules import cancels, counts, resale, rulesets, voucher_settling
from matching_engine.rules.market import Market
from matching_engine.rules.refusals import require
from matching_engine.rules.state import Position
from schemas.events import BlockEnded, PositionEnded
from schemas.venue import EndBlock


def end_block(market: Market, command: EndBlock) -> None:
    """Ends the account's positions of a block in contracts whose gate is open. [D-13]"""
    require(rulesets.knows_disputes(market), "not_permitted")
    require(command.block_id not in market.state.blocks, "wrong_state")
    positions = [position for _, position in sorted(market.state.positions.items())]
    block = [position for position in positions if position.block_id == command.block_id]
    require(bool(block), "unknown_order")
    own = [position for position in block if position.buyer == command.account]
    require(bool(own), "not_the_owner")
    open_ones = [each for each in own if market.state.contracts[each.contract].state == "OPEN"]
    require(bool(open_ones), "gate_closed")
    market.emit(BlockEnded, **command.model_dump(exclude={"type"}), positions=len(open_ones))
    for position in open_ones:
        cancel_resale(market, position)
        end_position(market, position)


def cancel_resale(market: Market, position: Position) -> None:
    """Cancels the asks that the position backs, the others behind them too: whoever wants may offer those again."""
    asks = [
        order
        for order in market.store.resting(position.contract, "sell")
        if resale.is_resale(order) and any(each == position.id for each, _ in order.backing)
    ]
    for ask in asks:
        cancels.cancel_order(market, ask, "block_ended")


def end_position(market: Market, position: Position) -> None:
    """Gives a position's money and GPUs back."""
    known, currency = market.state.contracts[position.contract], market.terms_of(position.contract).currency
    counts.count_sold(market.state.nodes[position.node], known.start_s, -position.qty)
    entry = market.entry(currency)
    entry.hold(position.buyer, -position.escrow_micros).hold(position.operator, -position.bond_left_micros)
    market.emit(
        PositionEnded,
        position_id=position.id,
        block_id=position.block_id,
        contract=position.contract,
        node=position.node,
        buyer=position.buyer,
        operator=position.operator,
        qty=position.qty,
        escrow_micros=position.escrow_micros,
        bond_micros=position.bond_left_micros,
        postings=entry.post(),
    )
    voucher_settling.give_all_back(market, position, currency)
    known.positions.remove(position.id)
    del market.state.positions[position.id]
