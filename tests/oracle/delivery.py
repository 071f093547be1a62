"""From the gate to the bill: GPUs nominated, the index fixed, positions settled, corrected, disputed, void, final."""

from typing import Any

from tests.oracle import vouchers
from tests.oracle.trading import cancel, is_resale
from tests.oracle.world import Thing, World, find_contract, held, need, product_of, resting, terms_at, terms_of


def nominate(w: World, command: Any) -> None:
    """Names the GPUs that serve positions of a locked contract. [D-2]"""
    find_contract(w, command.contract)
    known = w.contracts.get(command.contract)
    need(known and known.state in ("LOCKED", "DELIVERING"), "wrong_state")
    need(command.node in w.nodes, "unknown_node")
    positions = []
    for each in command.nominations:
        need(each.position_id in w.positions, "unknown_position")
        position = w.positions[each.position_id]
        need((position.contract, position.node) == (command.contract, command.node), "bad_nomination")
        need(len(each.gpus) == position.qty, "bad_nomination")
        positions.append(position)
    need(0 < len(positions) == len({each.id for each in positions}), "bad_nomination")
    others = [each for each in w.positions.values() if each.node == command.node and each not in positions]
    same_hour = [each for each in others if w.contracts[each.contract].start == known.start]
    taken = {uuid for each in same_hour for uuid in each.gpus}
    for each in command.nominations:
        for uuid in each.gpus:
            need(w.gpu_nodes.get(uuid) == command.node, "unknown_gpu")
            need(uuid not in w.for_sale, "gpu_not_free")
            need(uuid not in taken, "bad_nomination")
            taken.add(uuid)
    for position, each in zip(positions, command.nominations, strict=True):
        position.gpus = list(each.gpus)
    w.emit("gpus_nominated", contract=command.contract, node=command.node, nominations=command.nominations)


def fix_index(w: World, command: Any) -> None:
    """The first index of a contract wins, between its gate and its being metered. [D-3]"""
    start, product = find_contract(w, command.contract), product_of(w, command.contract)
    terms = terms_at(product, start)
    metered_ms = (start + terms.period_s + terms.grace_s) * 1000
    need(w.now < metered_ms, "too_late")
    need(start not in product.open, "wrong_state")
    known = w.contracts.get(command.contract)
    need(known is None or known.index is None, "already_fixed")
    if known is None:
        fields = {"product": product.name, "start": start, "state": "EXPIRED", "positions": [], "last": None}
        known = Thing(name=command.contract, **fields, indicated=None, recent=[])
        w.contracts[command.contract] = known
        w.deadlines[3, command.contract] = metered_ms
    known.index = command.index_micros
    if start > product.index_start:
        product.index_start, product.index = start, command.index_micros
    w.emit("index_set", **command.model_dump(exclude={"type"}))


# -- what is due


def outcome(position: Thing, terms: Any, index: int, command: Any, delivered: int, used: int) -> Thing:
    """The settlement function, in whole micro-units. [D-4] [D-5] [D-6]"""
    gpu_s, excused, price = position.qty * terms.period_s, command.excused_gpu_s, position.price
    base = gpu_s - excused
    need(base >= 0 and 0 <= used <= delivered <= base, "bad_meter_values")
    share = terms.reservation_permille if terms.tier == "M" else 1000
    gross = price * (share * delivered + (1000 - share) * used) // 3_600_000
    high, low = terms.dead_band_permille, terms.full_damage_permille
    num, den = min(high * base - 1000 * delivered, (high - low) * base), (high - low) * base
    damages = 0
    if terms.tier == "I":
        damages = 0 if command.noticed else 120 * price * command.recalled_gpus // 3600
    elif num > 0:
        damages = (base - delivered) * (max(index - price, 0) * den + price * num) // (3600 * den)
    fees = gross * terms.settlement_fee_bps // 10_000
    return Thing(gross=gross, damages=min(damages, position.bond), fee=fees)


def settle_position(w: World, command: Any) -> None:
    """Settles a position, or corrects what was settled. [D-7]"""
    position = find(w, command.position_id)
    known = w.contracts[position.contract]
    need(known.state == "METERED", "not_metered")
    need(command.revision > position.revision, "already_settled")
    need(command.revision == position.revision + 1, "wrong_state")
    need(command.recalled_gpus <= position.qty, "bad_meter_values")
    carry_out(w, position, command, command.type == "settle_disputed")
    if command.revision == 1:
        w.deadlines[5, position.id] = final_ms(w, position)
    if position.final_due:
        finalize(w, position.id)


def find(w: World, position_id: int) -> Thing:
    need(position_id in w.positions, "too_late" if position_id <= w.last["position"] else "unknown_position")
    return w.positions[position_id]


def final_ms(w: World, position: Thing) -> int:
    terms, start = terms_of(w, position.contract), w.contracts[position.contract].start
    return (start + terms.period_s + terms.final_after_s) * 1000


def carry_out(w: World, position: Thing, command: Any, disputed: bool) -> None:
    """Settles or corrects: the gross of the lower figures, the damages of the higher ones; the difference moves.
    [D-9]
    """
    terms, known = terms_of(w, position.contract), w.contracts[position.contract]
    index, money = position.price if known.index is None else known.index, terms.currency
    due = high = outcome(position, terms, index, command, command.delivered_gpu_s, command.used_gpu_s)
    if disputed:
        delivered = command.delivered_gpu_s + command.disputed_gpu_s
        high = outcome(position, terms, index, command, delivered, command.used_gpu_s + command.disputed_used_gpu_s)
        due = Thing(gross=due.gross, damages=high.damages, fee=due.fee)
    totals = (due.damages - due.gross, due.gross - due.fee - due.damages, due.fee)
    position.revision = command.revision
    vouchers.draw_again(w, position, money, high.gross)
    before = w.available(position.buyer, money)
    debts, postings = pay(w, position, money, totals, high.gross - due.gross)
    names = {"position_id": position.id, "revision": position.revision}
    parties = {"buyer": position.buyer, "operator": position.operator}
    fields = {"contract": position.contract, "node": position.node, "block_id": position.block_id, "qty": position.qty}
    fields |= {"period_s": terms.period_s, "price_micros": position.price, "index_micros": index}
    fields |= command.model_dump(include={"excused_gpu_s", "delivered_gpu_s", "used_gpu_s", "meter_digest"})
    fields |= {"reservation_permille": terms.reservation_permille if terms.tier == "M" else 1000}
    fields |= {"dead_band_permille": terms.dead_band_permille, "full_damage_permille": terms.full_damage_permille}
    fields |= {"bond_micros": position.bond, "fee_bps": terms.settlement_fee_bps, "gross_micros": due.gross}
    fields |= {"damages_micros": due.damages, "fee_micros": due.fee}
    fields |= dict(zip(("buyer_micros", "operator_micros", "venue_micros"), totals, strict=True))
    refund = position.escrow - due.gross - position.differs
    w.emit("position_settled", **names, **parties, **fields, refund_micros=refund, postings=postings)
    if disputed:
        differ = command.model_dump(include={"disputed_gpu_s", "disputed_used_gpu_s"})
        w.emit("difference_held", **names, **parties, **differ, held_micros=position.differs)
    for debtor, creditor, amount in debts:
        cover(w, position, money, debtor, creditor, amount)
    if position.waits:
        fields = {"operator": position.operator, "held_micros": position.payout}
        w.emit("payout_held", **names, **fields, until_ms=final_ms(w, position))
    vouchers.settle(w, position, money, high.gross, w.available(position.buyer, money) - before)


def pay(w: World, position: Thing, money: str, totals: tuple, differs: int) -> tuple[list, tuple]:
    """Moves what is due beyond what was paid: out of escrow, a held payout and the bond, then what is available.
    [D-8]
    """
    moves = [held(position.buyer, money, -(position.escrow if position.revision == 1 else position.differs))]
    due: dict[str, int] = {}
    for party, total, before in zip((position.buyer, position.operator, "venue"), totals, position.paid, strict=True):
        due[party] = due.get(party, 0) + total - before
    position.paid, missing = totals, {}

    def spendable(party: str) -> int:
        return w.available(party, money) + sum(move[2] for move in moves if move[0] == party)

    for party, amount in due.items():
        if amount < 0:
            from_held = 0
            if party == position.operator:
                from_payout = min(-amount, position.payout)
                from_bond = min(-amount - from_payout, position.bond_left)
                position.payout -= from_payout
                position.bond_left -= from_bond
                from_held = from_payout + from_bond
            free = min(-amount - from_held, spendable(party))
            moves.append((party, money, -free, -from_held))
            missing[party] = -amount - free - from_held
    debts, unpaid = [], {party: amount for party, amount in due.items() if amount > 0}
    for debtor, lacking in missing.items():
        for creditor in unpaid:
            part = min(lacking, unpaid[creditor])
            if part:
                unpaid[creditor] -= part
                lacking -= part
                debts.append((debtor, creditor, part))
    for party, amount in due.items():
        if amount > 0:
            owed = sum(part for _, creditor, part in debts if creditor == party)
            moves.append(receive(position, party, money, amount - owed))
    position.differs = min(differs, spendable(position.buyer))
    moves.append(held(position.buyer, money, position.differs))
    return debts, w.post(*moves)


def receive(position: Thing, party: str, money: str, amount: int) -> tuple:
    """Money that a party may spend; on a node of level T0 at the gate the operator's stays held until it is final.
    [D-12]
    """
    if position.waits and party == position.operator:
        position.payout += amount
        return party, money, 0, amount
    return party, money, amount, 0


def cover(w: World, position: Thing, money: str, debtor: str, creditor: str, amount: int) -> None:
    """The guarantee pays for a debtor; what it lacks is a claim. [C-11]"""
    drawn = min(amount, w.available("guarantee", money))
    names = {"position_id": position.id, "revision": position.revision, "asset": money}
    names |= {"debtor": debtor, "creditor": creditor}
    if drawn:
        postings = w.post(("guarantee", money, -drawn, 0), receive(position, creditor, money, drawn))
        w.emit("guarantee_drawn", **names, amount_micros=drawn, postings=postings)
    if amount > drawn:
        claim = Thing(id=w.next("claim"), debtor=debtor, creditor=creditor, asset=money, left=amount - drawn)
        w.claims.append(claim)
        w.emit("claim_recorded", claim_id=claim.id, **names, amount_micros=claim.left)


def pay_claims(w: World, debtor: str, asset: str) -> None:
    """A credit pays the debtor's claims, the oldest first. [C-12]"""
    for claim in [each for each in w.claims if (each.debtor, each.asset) == (debtor, asset)]:
        paid = min(claim.left, w.available(debtor, asset))
        if not paid:
            return
        claim.left -= paid
        postings = w.post((debtor, asset, -paid, 0), (claim.creditor, asset, paid, 0))
        names = {"claim_id": claim.id, "debtor": debtor, "creditor": claim.creditor, "asset": asset}
        w.emit("claim_paid", **names, amount_micros=paid, left_micros=claim.left, postings=postings)
        if not claim.left:
            w.claims.remove(claim)


# -- the end of a position


def finalize(w: World, position_id: int) -> None:
    """The time for disputes is over: unless one is open, or a difference held, the position is final. [D-10]"""
    position = w.positions.get(position_id)
    if position is None:
        return
    position.final_due = position.disputed or position.differs > 0
    if not position.final_due:
        close(w, position)
        if not w.contracts[position.contract].positions:
            del w.contracts[position.contract]


def close(w: World, position: Thing) -> None:
    del w.positions[position.id]
    money = terms_of(w, position.contract).currency
    postings = w.post(held(position.operator, money, -position.bond_left - position.payout))
    w.emit("position_finalized", position_id=position.id, postings=postings)
    w.contracts[position.contract].positions.remove(position.id)


def open_dispute(w: World, command: Any) -> None:
    """Keeps a settled position from becoming final. [D-11]"""
    position = find(w, command.position_id)
    need(position.revision > 0, "not_settled")
    need(not position.disputed, "already_disputed")
    need(not position.final_due, "too_late")
    position.disputed = True
    w.emit("dispute_opened", revision=position.revision, **command.model_dump(exclude={"type"}))


def close_dispute(w: World, command: Any) -> None:
    position = find(w, command.position_id)
    need(position.disputed, "not_disputed")
    need(not position.differs, "difference_held")
    position.disputed = False
    w.emit("dispute_closed", revision=position.revision, **command.model_dump(exclude={"type"}))
    if position.final_due:
        finalize(w, position.id)


def end_block(w: World, command: Any) -> None:
    """A buyer ends his block after an outage: periods whose gate is open cost nothing. [D-13]"""
    need(command.block_id not in w.live or w.live[command.block_id].kind != "block", "wrong_state")
    block = [each for each in w.positions.values() if each.block_id == command.block_id]
    need(block, "unknown_order")
    own = [each for each in block if each.buyer == command.account]
    need(own, "not_the_owner")
    ending = [each for each in own if w.contracts[each.contract].state == "OPEN"]
    need(ending, "gate_closed")
    w.emit("block_ended", **command.model_dump(exclude={"type"}), positions=len(ending))
    for each in ending:
        for ask in [ask for ask in resting(w, each.contract, "sell") if is_resale(ask) and each.id in ask.backing]:
            cancel(w, ask, "block_ended")
        money = terms_of(w, each.contract).currency
        names = {"position_id": each.id, "block_id": each.block_id, "contract": each.contract, "node": each.node}
        names |= {"buyer": each.buyer, "operator": each.operator, "qty": each.qty}
        amounts = {"escrow_micros": each.escrow, "bond_micros": each.bond_left}
        postings = w.post(held(each.buyer, money, -each.escrow), held(each.operator, money, -each.bond_left))
        w.emit("position_ended", **names, **amounts, postings=postings)
        vouchers.give_all_back(w, each, money)
        w.contracts[each.contract].positions.remove(each.id)
        del w.positions[each.id]


def void_contract(w: World, command: Any) -> None:
    """By the venue's fault nothing counts: positions settle on nothing, fees go back, all is final. [D-14]"""
    find_contract(w, command.contract)
    known = w.contracts.get(command.contract)
    need(known and known.state in ("LOCKED", "DELIVERING", "METERED"), "wrong_state")
    was_metered, known.state, positions = known.state == "METERED", "VOID", [*known.positions]
    w.emit("contract_voided", contract=command.contract, reason=command.reason)
    terms = terms_of(w, command.contract)
    for position in [w.positions[each] for each in positions]:
        nothing = {"delivered_gpu_s": 0, "used_gpu_s": 0, "meter_digest": "0" * 64}
        meter = Meter(excused_gpu_s=position.qty * terms.period_s, **nothing, noticed=False, recalled_gpus=0)
        meter.revision = position.revision + 1
        carry_out(w, position, meter, False)
        paid = min(position.fees, w.available("venue", terms.currency))
        if paid:
            postings = w.post(("venue", terms.currency, -paid, 0), (position.buyer, terms.currency, paid, 0))
            fields = {"account": position.buyer, "asset": terms.currency, "amount_micros": paid}
            w.emit("fee_returned", position_id=position.id, **fields, postings=postings)
        if position.fees > paid:
            cover(w, position, terms.currency, "venue", position.buyer, position.fees - paid)
        close(w, position)
    w.emit("contract_state_changed", contract=command.contract, state="VOID", positions=len(positions))
    if was_metered:
        del w.contracts[command.contract]


class Meter(Thing):
    """Figures of no meter."""

    def model_dump(self, include: set[str]) -> dict[str, Any]:
        return {name: getattr(self, name) for name in include}
