"""After delivery: positions settle by the function of [D-4], are corrected by differences, and become final."""

from matching_engine.rules import claims, deadlines, payouts, rulesets, voucher_settling
from matching_engine.rules.market import Market
from matching_engine.rules.money import VENUE, Entry
from matching_engine.rules.refusals import RuleBroken, require
from matching_engine.rules.state import Position
from matching_engine.settlement import BadMeterValues, Settlement, settle, undisputed
from schemas.events import DifferenceHeld, PositionFinalized, PositionSettled, Posting
from schemas.venue import DefineProduct, SettleDisputed, SettlePosition


def settle_position(market: Market, command: SettlePosition) -> None:
    """Revision 1 settles, a higher one corrects by the same function on new inputs: only the difference moves.

    Where two meters differ, `SettleDisputed` holds of the buyer's money what they differ about. [D-7]
    """
    require(command.type == "settle_position" or rulesets.knows_disputes(market), "not_permitted")
    position = find_position(market, command.position_id)
    known, terms = market.state.contracts[position.contract], market.terms_of(position.contract)
    require(known.state == "METERED", "not_metered")
    require(command.revision > position.revision, "already_settled")
    require(command.revision == position.revision + 1, "wrong_state")
    require(command.recalled_gpus <= position.qty, "bad_meter_values")
    index_micros = position.price_micros if known.index_micros is None else known.index_micros
    carry_out(market, position, terms, index_micros, command)
    if command.revision == 1:
        final_s = known.start_s + terms.period_s + terms.final_after_s
        market.at(final_s * 1000, deadlines.FINAL, position.id)
    finalize_if_due(market, position)


def carry_out(
    market: Market, position: Position, terms: DefineProduct, index_micros: int, command: SettlePosition
) -> None:
    """Settles or corrects on these inputs."""
    low, high = outcomes_of(position, terms, index_micros, command)
    outcome = undisputed(low, high)
    position.revision = command.revision
    voucher_settling.draw_again(market, position, terms.currency, high.gross)
    before_micros = market.accounts.available(position.buyer, terms.currency)
    debts, postings = pay_difference(market, position, terms.currency, outcome, high.gross - low.gross)
    emit_settled(market, position, terms, index_micros, command, outcome, postings)
    if isinstance(command, SettleDisputed):
        emit_difference_held(market, position, command)
    for debt in debts:
        claims.cover(market, position, terms.currency, debt)
    payouts.emit_payout_held(market, position)
    received_micros = market.accounts.available(position.buyer, terms.currency) - before_micros
    voucher_settling.settle_vouchers(market, position, terms.currency, high.gross, received_micros)


def find_position(market: Market, position_id: int) -> Position:
    """Returns a position that is not final."""
    position = market.state.positions.get(position_id)
    if position is None:
        raise RuleBroken("too_late" if position_id <= market.state.last_position_id else "unknown_position")
    return position


def reservation_permille(terms: DefineProduct) -> int:
    """Tiers F and I: 1000; M what the product says, usually 300. [D-4]"""
    return terms.reservation_permille if terms.tier == "M" else 1000


def outcomes_of(
    position: Position, terms: DefineProduct, index_micros: int, command: SettlePosition
) -> tuple[Settlement, Settlement]:
    """What is due on the lower and on the higher figures; the same where nothing is disputed."""
    low = outcome_of(position, terms, index_micros, command, command.delivered_gpu_s, command.used_gpu_s)
    if not isinstance(command, SettleDisputed):
        return low, low
    delivered_gpu_s = command.delivered_gpu_s + command.disputed_gpu_s
    used_gpu_s = command.used_gpu_s + command.disputed_used_gpu_s
    return low, outcome_of(position, terms, index_micros, command, delivered_gpu_s, used_gpu_s)


def outcome_of(
    position: Position,
    terms: DefineProduct,
    index_micros: int,
    command: SettlePosition,
    delivered_gpu_s: int,
    used_gpu_s: int,
) -> Settlement:
    try:
        return settle(
            q=position.qty,
            T=terms.period_s,
            P=position.price_micros,
            I=index_micros,
            E=command.excused_gpu_s,
            r=reservation_permille(terms),
            hi=terms.dead_band_permille,
            lo=terms.full_damage_permille,
            bond=position.bond_micros,
            fee_bps=terms.settlement_fee_bps,
            D=delivered_gpu_s,
            U=used_gpu_s,
            interruptible=terms.tier == "I",
            noticed=command.noticed,
            recalled_gpus=command.recalled_gpus,
        )
    except BadMeterValues:
        raise RuleBroken("bad_meter_values") from None


def pay_difference(
    market: Market, position: Position, asset: str, outcome: Settlement, difference_micros: int
) -> tuple[list[claims.Debt], tuple[Posting, ...]]:
    """Moves the difference to what was paid before. Who owes pays from escrow or bond, then from what is available.

    What two meters differ about stays the buyer's, and held, as far as he has it. Returns what debtors could not pay,
    and the postings. Revision 1 always finds the money in escrow and bond. [D-9]
    """
    entry = market.entry(asset)
    entry.hold(position.buyer, -(position.escrow_micros if position.revision == 1 else position.held_micros))
    parties = (position.buyer, position.operator, VENUE)
    totals = (outcome.buyer, outcome.operator, outcome.venue)
    due: dict[str, int] = {}
    for party, total, before in zip(parties, totals, position.paid, strict=True):
        due[party] = due.get(party, 0) + total - before
    position.paid = totals
    missing = {
        party: -amount - collect_debt(market, position, entry, party, -amount)
        for party, amount in due.items()
        if amount < 0
    }
    debts = list(claims.pair_debts(missing, {party: amount for party, amount in due.items() if amount > 0}))
    for party, amount in due.items():
        if amount > 0:
            unpaid = sum(debt.amount_micros for debt in debts if debt.creditor == party)
            payouts.receive(entry, position, party, amount - unpaid)
    position.held_micros = min(difference_micros, spendable(market, entry, position.buyer))
    entry.hold(position.buyer, position.held_micros)
    return debts, entry.post()


def spendable(market: Market, entry: Entry, party: str) -> int:
    """What a party may spend once the entry is posted."""
    return market.accounts.available(party, entry.asset) + entry.deltas.get(party, [0, 0])[0]


def collect_debt(market: Market, position: Position, entry: Entry, party: str, amount: int) -> int:
    """Takes money from a debtor: draws on the bond, then on what is available; on a payout that is held before both.
    Returns how much there was. [D-8]
    """
    from_held = 0
    if party == position.operator:
        from_held = payouts.draw_held_payout(position, amount)
        from_bond = min(amount - from_held, position.bond_left_micros)
        position.bond_left_micros -= from_bond
        from_held += from_bond
    from_available = min(amount - from_held, spendable(market, entry, party))
    entry.add(party, available=-from_available, held=-from_held)
    return from_held + from_available


def emit_settled(
    market: Market,
    position: Position,
    terms: DefineProduct,
    index_micros: int,
    command: SettlePosition,
    outcome: Settlement,
    postings: tuple[Posting, ...],
) -> None:
    market.emit(
        PositionSettled,
        position_id=position.id,
        revision=command.revision,
        contract=position.contract,
        node=position.node,
        buyer=position.buyer,
        operator=position.operator,
        block_id=position.block_id,
        qty=position.qty,
        period_s=terms.period_s,
        price_micros=position.price_micros,
        index_micros=index_micros,
        excused_gpu_s=command.excused_gpu_s,
        delivered_gpu_s=command.delivered_gpu_s,
        used_gpu_s=command.used_gpu_s,
        reservation_permille=reservation_permille(terms),
        dead_band_permille=terms.dead_band_permille,
        full_damage_permille=terms.full_damage_permille,
        bond_micros=position.bond_micros,
        fee_bps=terms.settlement_fee_bps,
        gross_micros=outcome.gross,
        damages_micros=outcome.ld,
        fee_micros=outcome.fee,
        buyer_micros=outcome.buyer,
        operator_micros=outcome.operator,
        venue_micros=outcome.venue,
        refund_micros=position.escrow_micros - outcome.gross - position.held_micros,
        meter_digest=command.meter_digest,
        postings=postings,
    )


def emit_difference_held(market: Market, position: Position, command: SettleDisputed) -> None:
    market.emit(
        DifferenceHeld,
        position_id=position.id,
        revision=command.revision,
        buyer=position.buyer,
        operator=position.operator,
        disputed_gpu_s=command.disputed_gpu_s,
        disputed_used_gpu_s=command.disputed_used_gpu_s,
        held_micros=position.held_micros,
    )


def finalize(market: Market, position_id: int) -> None:
    """The time for disputes is over: the position is closed, unless its contract was void, or it is disputed still.
    [D-10]
    """
    position = market.state.positions.get(position_id)
    if position is None:
        return
    position.final_due = is_disputed(position)
    if position.final_due:
        return
    contract = position.contract
    close(market, position_id)
    if not market.state.contracts[contract].positions:
        del market.state.contracts[contract]


def is_disputed(position: Position) -> bool:
    """Whether a dispute is open, or what two meters differ about is still held."""
    return position.disputed or position.held_micros > 0


def finalize_if_due(market: Market, position: Position) -> None:
    """Where only a dispute was waited for, and that is over, the position is final."""
    if position.final_due:
        finalize(market, position.id)


def close(market: Market, position_id: int) -> None:
    """What is left of the bond is returned, and a payout that was held is paid."""
    position = market.state.positions.pop(position_id)
    market.state.voucher_escrows.pop(position_id, None)
    entry = market.entry(market.terms_of(position.contract).currency)
    entry.hold(position.operator, -position.bond_left_micros - position.payout_held_micros)
    market.emit(PositionFinalized, position_id=position_id, postings=entry.post())
    market.state.contracts[position.contract].positions.remove(position_id)
