"""How an arriving order meets a book: the best price first, the oldest first, at the resting order's price."""

import copy
from typing import Any

from schemas.events import Resale, WhyUnfilled
from tests.oracle import vouchers
from tests.oracle.limits import band, breaks, watch
from tests.oracle.world import (
    RESTING,
    Thing,
    World,
    best,
    enter_state,
    fee,
    held,
    product_of,
    resting,
    terms_of,
    unit,
)

# -- how orders end


def named(order: Thing) -> dict[str, Any]:
    """What every event about an order says of it."""
    names = {"order_id": order.id, "account": order.account, "client_order_id": order.coid, "kind": order.kind}
    return names | {"contract": order.contract, "side": order.side, "price_micros": order.price}


def take_away(w: World, order: Thing, qty: int) -> tuple:
    """Returns the hold of `qty` GPUs, with the last one all of it; positions behind an ask are free again."""
    product = w.products[order.product] if order.kind == "block" else product_of(w, order.contract)
    released = order.hold if qty == order.left else qty * order.unit
    unback(order, qty)
    if qty == order.left:
        forget(w, order)
    order.hold -= released
    order.left -= qty
    return w.post(held(order.account, product.newest.currency, -released))


def forget(w: World, order: Thing) -> None:
    w.live.pop(order.id, None)
    if order.kind == "block" and order.id in w.pending.get(order.product, ()):
        w.pending[order.product].remove(order.id)


def cancel(w: World, order: Thing, reason: str, why: WhyUnfilled | None = None) -> None:
    left = {"qty_left": order.left, "reason": reason, "why_unfilled": why}
    w.emit("order_canceled", **named(order), **left, postings=take_away(w, order, order.left))


def expire(w: World, order: Thing, reason: str) -> None:
    left = {"qty_left": order.left, "reason": reason}
    w.emit("order_expired", **named(order), **left, postings=take_away(w, order, order.left))


def reduce(w: World, order: Thing, off: int, reason: str) -> None:
    """The order stands for fewer GPUs; it keeps its place."""
    if off == order.left:
        cancel(w, order, reason)
        return
    left = {"qty_off": off, "qty_left": order.left - off, "reason": reason}
    w.emit("order_reduced", **named(order), **left, postings=take_away(w, order, off))
    order.qty -= off
    order.shown = min(order.shown, order.left)


# -- icebergs


def offered(order: Thing) -> int:
    return order.left if order.display is None else order.shown


def show_next(w: World, order: Thing) -> None:
    order.shown = min(order.display, order.left)
    head = {name: value for name, value in named(order).items() if name != "kind"}
    w.emit("order_displayed", **head, qty_shown=order.shown, qty_left=order.left)


def refill(w: World, order: Thing) -> None:
    """What an iceberg showed has traded: its next part goes behind the others. [M-14]"""
    if order.display is not None and order.left and not order.shown:
        order.rank = w.next("order")
        show_next(w, order)


# -- asks that resell positions: `backing` has the GPUs of each, oldest first


def is_resale(order: Thing) -> bool:
    return order.side == "sell" and order.node is None


def unback(order: Thing, qty: int) -> None:
    """What an ask no longer offers is free of its newest position first."""
    for each in sorted(order.backing, reverse=True):
        part = min(qty, order.backing[each])
        qty -= part
        order.backing[each] -= part
    order.backing = {each: gpus for each, gpus in order.backing.items() if gpus}


# -- matching


def opposite(side: str) -> str:
    return "sell" if side == "buy" else "buy"


def meets(taker: Thing, maker: Thing) -> bool:
    if taker.kind == "market":
        return True
    return maker.price <= taker.price if taker.side == "buy" else maker.price >= taker.price


def first_maker(w: World, taker: Thing) -> Thing | None:
    rows = resting(w, taker.contract, opposite(taker.side))
    return next((each for each in rows if not vouchers.passes_over(w, each)), None)


def why(w: World, order: Thing, reason: str | None, missing: int) -> WhyUnfilled:
    maker = first_maker(w, order)
    return WhyUnfilled(reason=reason, best_price_micros=maker.price if maker else None, missing_gpus=missing)


def match(w: World, taker: Thing, is_trial: bool = False) -> str | None:
    """Trades an arriving order. Returns why it stopped; None where nothing is left of it. A trial ends with a halt."""
    may_trade_at = band(w, taker.contract) if taker.kind == "market" else lambda price: True
    while taker.left:
        maker, qty, reason = next_fill(w, taker, may_trade_at)
        if reason == "velocity_halt" and is_trial:
            return reason
        if reason in ("auction", "velocity_halt"):
            rows = resting(w, taker.contract, opposite(taker.side))
            maker = next((each for each in rows if meets(taker, each) and each.account == taker.account), None)
        if reason == "self_trade" or (maker and reason in ("auction", "velocity_halt")):
            if not gives_way(w, maker, taker):
                return "self_trade"
        elif reason:
            return reason
        else:
            fill(w, maker, taker, qty)
            refill(w, maker)
    return None


def next_fill(w: World, taker: Thing, may_trade_at: Any) -> tuple[Thing | None, int, str | None]:
    """The order that the taker meets first and the GPUs it takes from it, or why none."""
    if product_of(w, taker.contract).state != "OPEN":
        return None, 0, "auction"
    maker, terms = first_maker(w, taker), terms_of(w, taker.contract)
    if maker is None:
        return None, 0, "no_liquidity"
    qty = min(taker.left, offered(maker))
    if not may_trade_at(maker.price):
        return None, 0, "price_band"
    if not meets(taker, maker):
        return None, 0, "price"
    if maker.account == taker.account:
        return maker, 0, "self_trade"
    if breaks(w, taker.contract, maker.price):
        return None, 0, "velocity_halt"
    if taker.kind == "market" and taker.side == "sell":
        return (maker, qty, None) if bears(w, taker, maker.price) else (None, 0, "max_cost")
    if taker.kind == "market":
        cost = unit(terms, maker.price)
        qty = min(qty, taker.hold // (cost + fee(cost, terms.taker_fee_bps)) // terms.lot * terms.lot)
    return maker, qty, None if qty else "max_cost"


def gives_way(w: World, maker: Thing, taker: Thing) -> bool:
    """Two orders of one account met: the arriving one's instruction decides. Returns whether it goes on. [M-15]"""
    if taker.stp == "decrement_and_cancel":
        both = min(maker.left, taker.left)
        goes_on = both < taker.left
        reduce(w, maker, both, "stp")
        if goes_on:
            reduce(w, taker, both, "stp")
        return goes_on
    if taker.stp in ("cancel_oldest", "cancel_both"):
        cancel(w, maker, "stp")
    return taker.stp == "cancel_oldest"


def bears(w: World, ask: Thing, price: int) -> bool:
    """Whether a market sell may go at a price: no GPU loses more than its part of `max_cost`, nor of its vouchers.
    [M-35]
    """
    terms = terms_of(w, ask.contract)
    paid = max(unit(terms, w.positions[each].price) for each in ask.backing)
    covered = vouchers.covers(w, ask.backing, unit(terms, price))
    return covered and paid - unit(terms, price) <= ask.max_cost // ask.qty


def fill(w: World, maker: Thing, taker: Thing, qty: int) -> None:
    """Fills both orders at the maker's price; a resale trades position by position. [M-9]"""
    buyer, seller = (taker, maker) if taker.side == "buy" else (maker, taker)
    terms = terms_of(w, maker.contract)
    bps = terms.taker_fee_bps if taker.side == "buy" else terms.maker_fee_bps
    cost = unit(terms, maker.price) + fee(unit(terms, maker.price), bps)
    for position_id, part in parts_of(seller, qty):

        def release(part: int = part) -> int:
            return take_bid(buyer, part, cost)

        maker.shown -= part if maker.display is not None else 0
        deal(w, seller, buyer, part, maker.price, bps, release, maker, taker, taker.side, position_id)


def parts_of(ask: Thing, qty: int) -> list[tuple[int | None, int]]:
    """The GPUs of a fill by the positions they come from, oldest first; those of a node are of none."""
    if not is_resale(ask):
        return [(None, qty)]
    taken = []
    for each, gpus in sorted(ask.backing.items()):
        part = min(qty, gpus)
        qty -= part
        if part:
            taken.append((each, part))
    return taken


def take_bid(bid: Thing, qty: int, cost: int) -> int:
    """Fills a bid. Returns how much of its hold is needed no more."""
    bid.left -= qty
    needed = bid.left * bid.unit
    if bid.kind == "market":
        needed = bid.hold - qty * cost if bid.left else 0
    released, bid.hold = bid.hold - needed, needed
    return released


def deal(
    w: World, ask: Thing, bid: Thing, qty: int, price: int, bps: int, release: Any, maker: Thing, taker: Thing,
    taker_side: str | None, position_id: int | None, bid_extra: int = 0,
) -> None:  # fmt: skip
    """One trade. Of an operator's ask a position comes into being; of a reseller's GPUs split off from his position.

    `release` fills the bid and returns what leaves its hold: cost, fee and improvement. [D-1] [M-34]
    """
    known, terms = w.contracts[ask.contract], terms_of(w, ask.contract)
    cost = unit(terms, price)
    fees, paid = qty * fee(cost, bps), qty * cost
    ask.left -= qty
    block_id = bid.id if bid.kind == "block" else None
    fields = {"contract": ask.contract, "buyer": bid.account, "qty": qty, "block_id": block_id}
    new = Thing(**fields, gpus=[], revision=0, paid=(0, 0, 0), differs=0, disputed=False, final_due=False, waits=False)
    new.payout, new.vouchers, new.used, new.gross, resale, parts = 0, {}, {}, 0, None, {}
    if position_id is None:
        new.operator, new.node, new.price = ask.account, ask.node, price
        new.escrow, new.bond, new.fees = paid, qty * ask.unit, fees
        ask.hold -= new.bond
        shrink_twin(w, ask, qty)
        seller_moves = []
    else:
        ask.backing[position_id] -= qty
        ask.backing = {each: gpus for each, gpus in ask.backing.items() if gpus}
        source = w.positions[position_id]
        new.operator, new.node, new.price = source.operator, source.node, source.price
        new.escrow, new.bond = source.escrow // source.qty * qty, source.bond // source.qty * qty
        moved = source.fees * qty // source.qty
        parts = vouchers.split_off(source, new.escrow)
        new.fees, source.fees = moved + fees, source.fees - moved
        source.qty, source.escrow = source.qty - qty, source.escrow - new.escrow
        source.bond, source.bond_left = source.bond - new.bond, source.bond_left - new.bond
        told = {"operator": source.operator, "settlement_price_micros": source.price, "paid_micros": paid}
        resale = Resale(from_position_id=position_id, **told)
        seller_moves = [(ask.account, terms.currency, paid, -new.escrow), (bid.account, terms.currency, -paid, 0)]
    new.bond_left, new.id = new.bond, w.next("position")
    w.positions[new.id] = new
    known.positions.append(new.id)
    if position_id is not None and not source.qty:
        known.positions.remove(position_id)
        del w.positions[position_id]
    released = release()
    for order in (maker, taker):
        if not order.left and order.kind != "block":
            w.live.pop(order.id, None)
    out = released - fees - (0 if resale else new.escrow)
    postings = w.post(
        (bid.account, terms.currency, out, new.escrow - released),
        ("venue", terms.currency, fees, 0),
        *seller_moves,
    )
    lefts = {"maker_left": maker.left, "taker_left": taker.left + bid_extra}
    ids = {"trade_id": w.next("trade"), "position_id": new.id, "maker_order_id": maker.id, "taker_order_id": taker.id}
    amounts = {"escrow_micros": new.escrow, "bond_micros": new.bond, "buyer_fee_micros": fees, "price_micros": price}
    ends = {"seller": ask.account, "node": new.node, "taker_side": taker_side, "resale": resale}
    w.emit("trade", **ids, **fields, **amounts, **lefts, **ends, postings=postings)
    if parts:
        vouchers.return_resold(w, position_id, ask.account, terms.currency, parts)
    watch(w, ask.contract, price, qty, bid.account, ask.account, taker_side)


def shrink_twin(w: World, ask: Thing, qty: int) -> None:
    """A split node's other ask offers only what is left of both, in whole lots. [M-26]"""
    twin = w.live.get(ask.twin)
    if twin is not None:
        left = max(ask.left + qty, twin.left) - qty
        lot = terms_of(w, twin.contract).lot
        if left // lot * lot < twin.left:
            reduce(w, twin, twin.left - left // lot * lot, "split_sold")


def rest_or_end(w: World, order: Thing, reason: str | None) -> bool:
    """Decides what becomes of what did not trade. Returns whether it rests. [M-11]"""
    rests = False
    if order.left and reason == "self_trade":
        cancel(w, order, "stp", why(w, order, reason, order.left))
    elif order.left and (order.kind == "market" or order.tif not in RESTING):
        cancel(w, order, "ioc_remainder", why(w, order, reason, order.left))
    elif order.left:
        rests = True
        w.live[order.id] = order
        if order.display is not None:
            show_next(w, order)
    if reason == "velocity_halt":
        product = product_of(w, order.contract)
        enter_state(w, product, "AUCTION", reason, product.newest.trading.velocity_auction_s)
    return rests


def copy_of(w: World) -> World:
    """A world to try something in. What never changes is shared."""
    fixed = [*w.bindings.values(), *w.events, *(terms for each in w.products.values() for _, terms in each.versions)]
    fixed += [each.terms for each in (*w.programmes.values(), *w.limits.values())]
    return copy.deepcopy(w, {id(each): each for each in fixed})


def would_cross(w: World, order: Thing, price: int) -> bool:
    """Whether an order would meet another one at a price. [M-13]"""
    other = best(w, order.contract, opposite(order.side))
    return other is not None and (other.price <= price if order.side == "buy" else other.price >= price)
