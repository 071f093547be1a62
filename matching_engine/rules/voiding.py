"""VOID, by the venue's fault: a contract's positions are settled on nothing, fees and bonds go back, all is final.

Settled positions are corrected by the same function, so what cannot be taken back becomes a claim as after any
correction. Whoever has bought a position has its refunds; the price that he paid for it is his seller's, finally.
"""

from matching_engine.rules import claims, counts, products, settling
from matching_engine.rules.market import Market
from matching_engine.rules.money import VENUE
from matching_engine.rules.refusals import require
from matching_engine.rules.state import Position
from schemas.events import ContractStateChanged, ContractVoided, FeeReturned
from schemas.venue import SettlePosition, VoidContract

NO_METER = "0" * 64


def void_contract(market: Market, command: VoidContract) -> None:
    """Gives everything back. Before its gate a contract is halted and its orders cancelled instead. [D-14]"""
    products.find_contract(market, command.contract)
    known = market.state.contracts.get(command.contract)
    require(known is not None and known.state in ("LOCKED", "DELIVERING", "METERED"), "wrong_state")
    was_metered, known.state = known.state == "METERED", "VOID"
    positions = [*known.positions]
    market.emit(ContractVoided, contract=command.contract, reason=command.reason)
    for position_id in positions:
        position = market.state.positions[position_id]
        if not was_metered:
            counts.count_sold(market.state.nodes[position.node], known.start_s, -position.qty)
        settle_on_nothing(market, position)
        return_fee(market, position)
        settling.close(market, position_id)
    market.emit(ContractStateChanged, contract=command.contract, state="VOID", positions=len(positions))
    if was_metered:
        del market.state.contracts[command.contract]


def settle_on_nothing(market: Market, position: Position) -> None:
    """Excuses all of the time: nothing is due either way."""
    terms, known = market.terms_of(position.contract), market.state.contracts[position.contract]
    index_micros = position.price_micros if known.index_micros is None else known.index_micros
    position.revision += 1
    command = SettlePosition(
        position_id=position.id,
        revision=position.revision,
        excused_gpu_s=position.qty * terms.period_s,
        delivered_gpu_s=0,
        used_gpu_s=0,
        noticed=False,
        recalled_gpus=0,
        meter_digest=NO_METER,
    )
    settling.carry_out(market, position, terms, index_micros, command)


def return_fee(market: Market, position: Position) -> None:
    """Trading fees are returned only on VOID; what the venue lacks is paid as any debt of a correction."""
    asset = market.terms_of(position.contract).currency
    paid = min(position.fee_micros, market.accounts.available(VENUE, asset))
    if paid:
        entry = market.entry(asset).add(VENUE, available=-paid).add(position.buyer, available=paid)
        fields = {"position_id": position.id, "account": position.buyer, "asset": asset, "amount_micros": paid}
        market.emit(FeeReturned, **fields, postings=entry.post())
    if position.fee_micros > paid:
        claims.cover(market, position, asset, claims.Debt(VENUE, position.buyer, position.fee_micros - paid))
