"""Vouchers: restricted money that an issuer has paid in, held first, used up in proportion, restored where not used."""

from typing import Any

from schemas.vouchers import PositionVouchers, VoucherPart, asset_of, is_cash
from tests.oracle.world import RESERVED, Thing, World, fee, held, need, terms_of

Parts = dict[str, int]

# -- parts of several programmes


def share(parts: Parts, part: int, whole: int) -> Parts:
    """floor(all · part / whole) of all together, cut at the programmes' running sums."""
    shares, total = {}, 0
    for name in sorted(parts):
        before, total = total, total + parts[name]
        shares[name] = total * part // whole - before * part // whole
    return {name: amount for name, amount in shares.items() if amount}


def less(parts: Parts, off: Parts) -> Parts:
    left = {name: amount - off.get(name, 0) for name, amount in parts.items()}
    return {name: amount for name, amount in left.items() if amount}


def told(parts: Parts) -> tuple[VoucherPart, ...]:
    return tuple(VoucherPart(programme=name, amount_micros=parts[name]) for name in sorted(parts))


def issuer(w: World, name: str) -> str:
    return w.programmes[name].terms.issuer


def hold(w: World, name: str, account: str, amount: int, asset: str) -> list[tuple]:
    """A holder's vouchers are held, and their money comes from the issuer."""
    money = [(account, asset, amount, 0), (issuer(w, name), asset, 0, -amount)]
    return [held(account, asset_of(name), amount), *money]


def back(w: World, name: str, account: str, amount: int, asset: str) -> list[tuple]:
    """Held vouchers are free again, the programme's where it has lapsed, and their money is the issuer's."""
    owner = account if w.now < w.programmes[name].terms.expires_ms else issuer(w, name)
    units = [(account, asset_of(name), 0, -amount), (owner, asset_of(name), amount, 0)]
    return [*units, (account, asset, -amount, 0), (issuer(w, name), asset, 0, amount)]


def use(w: World, name: str, account: str, amount: int) -> list[tuple]:
    return [(account, asset_of(name), 0, -amount), (issuer(w, name), asset_of(name), 0, amount)]


# -- programmes


def define(w: World, command: Any) -> None:
    need(command.programme not in w.programmes, "wrong_state")
    need(command.issuer not in RESERVED and is_cash(command.currency), "bad_terms")
    need(max(command.starts_ms, w.now) < command.expires_ms, "bad_terms")
    w.programmes[command.programme] = Thing(terms=command, issued={})
    w.deadlines[10, command.programme] = command.expires_ms
    w.emit("programme_defined", terms=command)


def affiliate(w: World, command: Any) -> None:
    w.groups[command.account] = command.group
    w.emit("affiliation_set", account=command.account, group=command.group)


def find(w: World, command: Any) -> tuple[Thing, str]:
    need(command.transfer_id not in w.transfers, "transfer_exists")
    need(command.programme in w.programmes, "unknown_programme")
    programme = w.programmes[command.programme]
    need(programme.terms.issuer == command.issuer, "not_the_owner")
    return programme, asset_of(command.programme)


def fund(w: World, command: Any) -> None:
    """The issuer's money is held, and as many vouchers come into being. [C-14]"""
    programme, units = find(w, command)
    need(w.now < programme.terms.expires_ms, "programme_lapsed")
    money, amount = programme.terms.currency, command.amount_micros
    w.need_money(command.issuer, money, amount)
    w.transfers.add(command.transfer_id)
    postings = w.post(held(command.issuer, money, amount), (command.issuer, units, amount, 0))
    w.emit("programme_funded", **command.model_dump(exclude={"type"}), asset=units, postings=postings)


def defund(w: World, command: Any) -> None:
    programme, units = find(w, command)
    amount = command.amount_micros
    w.need_money(command.issuer, units, amount)
    w.transfers.add(command.transfer_id)
    postings = w.post(held(command.issuer, programme.terms.currency, -amount), held(command.issuer, units, amount))
    w.emit("programme_defunded", **command.model_dump(exclude={"type"}), postings=postings)


def issue(w: World, command: Any) -> None:
    """A holder gets vouchers out of the budget, up to the cap. [C-15]"""
    programme, units = find(w, command)
    need(w.now < programme.terms.expires_ms, "programme_lapsed")
    need(command.account != command.issuer and command.account not in RESERVED, "not_permitted")
    amount, cap = command.amount_micros, programme.terms.holder_cap_micros
    issued = programme.issued.get(command.account, 0) + amount
    need(cap is None or issued <= cap, "holder_cap")
    w.need_money(command.issuer, units, amount)
    w.transfers.add(command.transfer_id)
    programme.issued[command.account] = issued
    postings = w.post((command.issuer, units, -amount, 0), (command.account, units, amount, 0))
    w.emit("voucher_issued", **command.model_dump(exclude={"type"}), postings=postings)


def lapse(w: World, name: str) -> None:
    """What holders have available returns to the programme. [C-21]"""
    programme, units = w.programmes[name], asset_of(name)
    for account in sorted(programme.issued):
        left = w.available(account, units)
        if left:
            postings = w.post((account, units, -left, 0), (programme.terms.issuer, units, left, 0))
            w.emit("voucher_lapsed", programme=name, account=account, amount_micros=left, postings=postings)
    w.emit("programme_lapsed", programme=name, issuer=programme.terms.issuer)


# -- an order that draws on them


def check_terms(command: Any) -> None:
    if command.use_vouchers:
        need(command.tif in ("IOC", "FOK") and getattr(command, "side", "buy") == "buy", "bad_terms")


def plan(w: World, account: str, terms: Any, hold_micros: int, gpu_periods: int) -> Thing:
    """Chooses an order's vouchers: the earliest expiry first, within the co-pay, for what GPUs cost without fees.
    [C-16]
    """
    bps = max(terms.maker_fee_bps, terms.taker_fee_bps)
    whole = hold_micros * 10_000 // (10_000 + bps)
    room = whole - (gpu_periods if bps else 0)
    parts, operators, apart = {}, None, False
    usable = [(each.terms.expires_ms, name) for name, each in w.programmes.items() if may_pay(w, each, account, terms)]
    for _, name in sorted(usable):
        its = w.programmes[name].terms
        both = operators if not its.operators else {*its.operators} & (operators or {*its.operators})
        if its.operators and operators is not None and not both:
            continue
        capped = min(room, whole * (1000 - its.copay_permille) // 1000)
        amount = min(w.available(account, asset_of(name)), capped - sum(parts.values()))
        if amount > 0:
            parts[name], room, operators, apart = amount, capped, both, apart or its.unaffiliated
    need(parts, "no_voucher")
    w.need_money(account, terms.currency, hold_micros - sum(parts.values()))
    group = w.groups.get(account) if apart else None
    fields = {"account": account, "parts": parts, "hold": hold_micros, "whole": whole, "operators": operators}
    return Thing(**fields, group=group, last=w.last["position"])


def may_pay(w: World, programme: Thing, account: str, terms: Any) -> bool:
    its = programme.terms
    in_time = its.starts_ms <= w.now < its.expires_ms and its.currency == terms.currency
    scopes = ((its.grades, terms.grade), (its.hubs, terms.hub), (its.tiers, terms.tier))
    return in_time and account in programme.issued and all(not scope or one in scope for scope, one in scopes)


def lend(w: World, asset: str) -> None:
    drawing = w.drawing
    moves = [move for name, amount in drawing.parts.items() for move in hold(w, name, drawing.account, amount, asset)]
    fields = {"order_id": w.last["order"] + 1, "account": drawing.account, "parts": told(drawing.parts)}
    w.emit("vouchers_held", **fields, postings=w.post(*moves))


def passes_over(w: World, ask: Thing) -> bool:
    """Whether the order in hand draws on vouchers that may not be spent on an ask. [C-17]"""
    if w.drawing is None:
        return False
    foreign = w.drawing.operators is not None and ask.account not in w.drawing.operators
    akin = w.drawing.group is not None and w.groups.get(ask.account) == w.drawing.group
    return ask.node is None or foreign or akin


def assign(w: World, order_id: int, asset: str) -> None:
    """Says which positions the vouchers stand in, in proportion to their cost; the rest goes back. [C-18]"""
    drawing = w.drawing
    positions = [each for each in w.positions.values() if each.id > drawing.last]
    left, whole, spent = drawing.parts, drawing.whole, 0
    for each in positions:
        cost = min(each.escrow, whole)
        each.vouchers = share(left, cost, whole) if cost else {}
        left, whole = less(left, each.vouchers), whole - cost
        spent += each.escrow + each.qty * fee(each.escrow // each.qty, terms_of(w, each.contract).taker_fee_bps)
    for each in reversed(
        positions
    ):  # cash that should go back was taken by fees: as much more of the escrow is vouchers
        for name in sorted(left):
            short = sum(left.values()) - (drawing.hold - spent)
            more = min(short, each.escrow - sum(each.vouchers.values()), left[name])
            if more > 0:
                each.vouchers[name] = each.vouchers.get(name, 0) + more
                left = less(left, {name: more})
    moves = [move for name, amount in left.items() for move in back(w, name, drawing.account, amount, asset)]
    rows = ((each.id, told(each.vouchers)) for each in positions if each.vouchers)
    told_rows = tuple(PositionVouchers(position_id=each, parts=parts) for each, parts in rows)
    fields = {"order_id": order_id, "account": drawing.account, "positions": told_rows, "returned": told(left)}
    w.emit("vouchers_assigned", **fields, postings=w.post(*moves))


# -- a position that was paid with them


def emit_settled(
    w: World, position_id: int, revision: int, account: str, used: Parts, back_: Parts, moves: list
) -> None:
    fields = {"position_id": position_id, "revision": revision, "account": account}
    w.emit("vouchers_settled", **fields, used=told(used), returned=told(back_), postings=w.post(*moves))


def split_off(source: Thing, escrow: int) -> Parts:
    """The vouchers in a part of a position that is resold."""
    parts = share(source.vouchers, escrow, source.escrow) if source.vouchers else {}
    source.vouchers = less(source.vouchers, parts)
    return parts


def return_resold(w: World, position_id: int, seller: str, asset: str, parts: Parts) -> None:
    moves = [move for name, amount in parts.items() for move in back(w, name, seller, amount, asset)]
    emit_settled(w, position_id, 0, seller, {}, parts, moves)


def covers(w: World, backing: Any, unit_micros: int) -> bool:
    """Whether a price per GPU pays for the vouchers in the positions behind an ask. [C-20]"""
    positions = [w.positions[each] for each in backing]
    return all(sum(each.vouchers.values()) <= unit_micros * each.qty for each in positions)


def draw_again(w: World, position: Thing, asset: str, gross: int) -> None:
    """A correction that bills more is paid by vouchers too, as far as their holder has some."""
    if not position.vouchers or position.revision == 1 or gross <= position.gross:
        return
    due, before = (share(position.vouchers, each, position.escrow) for each in (gross, position.gross))
    most = {name: min(due[name] - before.get(name, 0), w.available(position.buyer, asset_of(name))) for name in due}
    drawn = {name: amount for name, amount in most.items() if amount > 0}
    if drawn:
        moves = []
        for name, amount in drawn.items():
            position.used[name] = position.used.get(name, 0) + amount
            moves += [*hold(w, name, position.buyer, amount, asset), *use(w, name, position.buyer, amount)]
        emit_settled(w, position.id, position.revision, position.buyer, drawn, {}, moves)


def settle(w: World, position: Thing, asset: str, gross: int, received: int) -> None:
    """Gross is drawn in proportion; what it leaves is restored, in a correction as far as its money came back.
    [C-19]
    """
    if not position.vouchers:
        return
    due, moves, used = share(position.vouchers, gross, position.escrow), [], {}
    position.gross = gross
    if position.revision == 1:
        used, restored, position.used = due, less(position.vouchers, due), dict(due)
        for name, amount in used.items():
            moves += use(w, name, position.buyer, amount)
    else:
        excess = {name: amount - due.get(name, 0) for name, amount in position.used.items()}
        excess = {name: amount for name, amount in excess.items() if amount > 0}
        total = sum(excess.values())
        restored = share(excess, min(total, max(0, received)), total) if total else {}
        position.used = less(position.used, restored)
        for name, amount in restored.items():
            moves += use(w, name, position.buyer, -amount)
    for name, amount in restored.items():
        moves += back(w, name, position.buyer, amount, asset)
    if used or restored:
        emit_settled(w, position.id, position.revision, position.buyer, used, restored, moves)


def give_all_back(w: World, position: Thing, asset: str) -> None:
    if position.vouchers:
        moves = [move for name, n in position.vouchers.items() for move in back(w, name, position.buyer, n, asset)]
        emit_settled(w, position.id, position.revision, position.buyer, {}, position.vouchers, moves)
