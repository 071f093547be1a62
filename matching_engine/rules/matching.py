"""How an order meets a book: price-time priority, at the resting order's price, one position for every fill."""

from collections.abc import Sequence

from matching_engine.rules import (
    cancels,
    counts,
    icebergs,
    limits,
    resale,
    rulesets,
    self_trades,
    splits,
    velocity,
    voucher_settling,
    vouchers,
)
from matching_engine.rules.fills import Fill, fill_at
from matching_engine.rules.market import Market
from matching_engine.rules.money import VENUE
from matching_engine.rules.state import Order, Position
from matching_engine.rules.trade_watch import watch
from schemas.events import Trade, WhyUnfilled

RESTING = ("GTG", "GTD")


def match(market: Market, taker: Order) -> str | None:
    """Trades an arriving order against the book. Returns why it stopped, None where nothing is left of it. [M-8]"""
    may_trade_at = limits.bound_of(market, taker)
    while taker.left:
        if market.product_of(taker.contract).state != "OPEN":
            if stop := own_or(market, taker, "auction"):
                return stop
            continue
        maker = first_maker(market, taker)
        if maker and not may_trade_at(maker.price_micros):
            return "price_band"
        offered = icebergs.shown(maker) if maker else 0
        qty, reason = next_fill(market, taker, maker, min(taker.left, offered), taker.hold_micros)
        if reason == "self_trade" and self_trades.prevent(market, maker, taker):
            continue
        if reason == "velocity_halt" and rulesets.keeps_own_orders_apart(market):
            if stop := own_or(market, taker, reason):
                return stop
            continue
        if not qty:
            return reason
        trade(market, maker, taker, qty)
        icebergs.refill(market, maker)
    return None


def dry_match(market: Market, taker: Order) -> tuple[int, str | None]:
    """Walks the book as `match` would, changing nothing. Returns the GPUs that would trade and why it would stop."""
    left, filled, budget_micros, passed, prices = taker.left, 0, taker.hold_micros, set(), []
    may_trade_at = limits.bound_of(market, taker)
    for maker, part in icebergs.walk_parts(market, taker.contract, opposite(taker.side)):
        if maker.id in passed or vouchers.passes_over(market, maker):
            continue
        if not may_trade_at(maker.price_micros):
            return filled, "price_band"
        offered = min(left, part)
        qty, reason = next_fill(market, taker, maker, offered, budget_micros, prices)
        if reason == "self_trade" and (after := self_trades.left_after(taker, maker, left)) is not None:
            left = after
            passed.add(maker.id)
            continue
        if not qty:
            return filled, reason
        left, filled = left - qty, filled + qty
        prices.append(maker.price_micros)
        budget_micros -= qty * buyer_fill(market, maker, taker).cost_micros
        if not left:
            return filled, None if filled == taker.left else "self_trade"
        if qty < offered:
            return filled, "max_cost"
    return filled, "no_liquidity"


def next_fill(
    market: Market, taker: Order, maker: Order | None, offered: int, budget_micros: int, own_micros: Sequence[int] = ()
) -> tuple[int, str | None]:
    """How many of the GPUs offered the taker takes from the maker, or why none."""
    if maker is None:
        return 0, "no_liquidity"
    if not crosses(taker, maker):
        return 0, "price"
    if maker.account == taker.account:
        return 0, "self_trade"
    if velocity.breaks(market, taker.contract, maker.price_micros, own_micros):
        return 0, "velocity_halt"
    qty = offered
    if taker.kind == "market" and taker.side == "sell":
        return (qty, None) if resale.within_loss_limit(market, taker, maker.price_micros) else (0, "max_cost")
    if taker.kind == "market":
        lot = market.terms_of(taker.contract).lot
        affordable = budget_micros // buyer_fill(market, maker, taker).cost_micros
        qty = min(qty, affordable // lot * lot)
    return (qty, None) if qty else (0, "max_cost")


def first_maker(market: Market, taker: Order) -> Order | None:
    """The order that the taker meets first."""
    if market.drawing is None:
        return market.store.best(taker.contract, opposite(taker.side))
    asks = market.store.resting(taker.contract, "sell")
    return next((ask for ask in asks if not vouchers.passes_over(market, ask)), None)


def own_or(market: Market, taker: Order, reason: str) -> str | None:
    """Why an order that trades no further now stops; None where one of the account's own that it would meet gave way to
    it, or took something off it.
    """
    own = first_own(market, taker)
    if own is None:
        return reason
    return None if self_trades.prevent(market, own, taker) else "self_trade"


def first_own(market: Market, taker: Order) -> Order | None:
    """The account's own first order that the taker would trade with. Where nothing matches it meets all of them.

    So self-trade prevention acts when an order arrives, and no auction finds two orders of one account that cross.
    """
    for maker in market.store.resting(taker.contract, opposite(taker.side)):
        if not crosses(taker, maker):
            return None
        if maker.account == taker.account:
            return maker
    return None


def opposite(side: str) -> str:
    return "sell" if side == "buy" else "buy"


def crosses(taker: Order, maker: Order) -> bool:
    if taker.kind == "market":
        return True
    if taker.side == "buy":
        return maker.price_micros <= taker.price_micros
    return maker.price_micros >= taker.price_micros


def buyer_fill(market: Market, maker: Order, taker: Order) -> Fill:
    terms = market.terms_of(maker.contract)
    return fill_at(terms, maker.price_micros, terms.taker_fee_bps if taker.side == "buy" else terms.maker_fee_bps)


def trade(market: Market, maker: Order, taker: Order, qty: int) -> None:
    """Fills both orders: escrow and bond move to the position, the buyer's improvement comes back at once. [M-9]"""
    buyer, seller = (taker, maker) if taker.side == "buy" else (maker, taker)
    if resale.is_resale(seller):
        resell(market, maker, taker, qty)
        return
    fill = buyer_fill(market, maker, taker)
    bond_micros = fill_ask(market, seller, qty)
    released_micros = fill_bid(buyer, qty, fill)
    icebergs.reduce_shown(maker, qty)
    if not maker.left:
        market.store.remove_order(maker)
    escrow_micros, fee_micros = qty * fill.unit_micros, qty * fill.fee_micros
    entry = market.entry(market.terms_of(maker.contract).currency)
    entry.hold(buyer.account, escrow_micros - released_micros).add(buyer.account, available=-fee_micros)
    entry.add(VENUE, available=fee_micros)
    position = open_position(market, seller, buyer.account, qty, fill, bond_micros, None)
    emit_trade(market, position, maker.id, taker.id, taker.side, fee_micros, maker.left, taker.left, entry.post())


def resell(market: Market, maker: Order, taker: Order, qty: int) -> None:
    """Fills both orders with positions of the seller's, oldest first: one trade for each."""
    buyer, seller = (taker, maker) if taker.side == "buy" else (maker, taker)
    fill = buyer_fill(market, maker, taker)
    for position_id, part in resale.parts_of_fill(market, seller, qty):
        sold = resale.split(market, seller, position_id, buyer.account, part, fill, None)
        released_micros = fill_bid(buyer, part, fill)
        icebergs.reduce_shown(maker, part)
        if not maker.left:
            market.store.remove_order(maker)
        fee_micros = part * fill.fee_micros
        entry = market.entry(market.terms_of(maker.contract).currency).hold(buyer.account, -released_micros)
        entry.add(buyer.account, available=-sold.resale.paid_micros - fee_micros)
        postings = resale.pay_seller(entry, sold, fee_micros).post()
        left = maker.left, taker.left
        emit_trade(market, sold.position, maker.id, taker.id, taker.side, fee_micros, *left, postings, sold)


def fill_ask(market: Market, ask: Order, qty: int) -> int:
    """Fills an ask: its GPUs are sold now, its bond is the position's. Returns the bond."""
    bond_micros = qty * ask.hold_unit_micros
    ask.left -= qty
    ask.hold_micros -= bond_micros
    counts.count_sold(market.state.nodes[ask.node], market.state.contracts[ask.contract].start_s, qty)
    splits.shrink_twin(market, ask, qty)
    return bond_micros


def fill_bid(bid: Order, qty: int, fill: Fill) -> int:
    """Fills a bid. Returns how much of its hold is no longer needed for what is left of it."""
    bid.left -= qty
    if bid.kind == "market":
        needed_micros = bid.hold_micros - qty * fill.cost_micros if bid.left else 0
    else:
        needed_micros = bid.left * bid.hold_unit_micros
    released_micros = bid.hold_micros - needed_micros
    bid.hold_micros = needed_micros
    return released_micros


def open_position(
    market: Market, ask: Order, buyer: str, qty: int, fill: Fill, bond_micros: int, block_id: int | None
) -> Position:
    """Every fill opens one position, never merged with another. [D-1]"""
    state = market.state
    state.last_position_id += 1
    position = Position(
        id=state.last_position_id,
        contract=ask.contract,
        buyer=buyer,
        operator=ask.account,
        node=ask.node,
        qty=qty,
        price_micros=fill.price_micros,
        block_id=block_id,
        escrow_micros=qty * fill.unit_micros,
        bond_micros=bond_micros,
        bond_left_micros=bond_micros,
        fee_micros=qty * fill.fee_micros,
    )
    state.positions[position.id] = position
    state.contracts[ask.contract].positions.append(position.id)
    return position


def emit_trade(
    market: Market,
    position: Position,
    maker_id: int,
    taker_id: int,
    taker_side: str | None,
    fee_micros: int,
    maker_left: int,
    taker_left: int,
    postings: tuple,
    sold: resale.Split | None = None,
) -> None:
    price_micros = sold.price_micros if sold else position.price_micros
    market.state.last_trade_id += 1
    market.emit(
        Trade,
        trade_id=market.state.last_trade_id,
        position_id=position.id,
        contract=position.contract,
        price_micros=price_micros,
        qty=position.qty,
        taker_side=taker_side,
        maker_order_id=maker_id,
        taker_order_id=taker_id,
        buyer=position.buyer,
        seller=sold.seller if sold else position.operator,
        node=position.node,
        block_id=position.block_id,
        escrow_micros=position.escrow_micros,
        bond_micros=position.bond_micros,
        buyer_fee_micros=fee_micros,
        maker_left=maker_left,
        taker_left=taker_left,
        resale=sold.resale if sold else None,
        postings=postings,
    )
    if sold:
        currency = market.terms_of(position.contract).currency
        voucher_settling.return_resold(market, sold.resale.from_position_id, sold.seller, currency, sold.vouchers)
    watch(market, position, price_micros, sold.seller if sold else position.operator, taker_side)


def why_unfilled(market: Market, order: Order, reason: str, missing_gpus: int) -> WhyUnfilled:
    """What a miss is answered with."""
    best = first_maker(market, order)
    return WhyUnfilled(reason=reason, best_price_micros=best.price_micros if best else None, missing_gpus=missing_gpus)


def settle_remainder(market: Market, order: Order, reason: str | None) -> bool:
    """Decides what becomes of what did not trade. Returns whether it rests. [M-11]"""
    rests = order.left > 0 and rest_or_cancel(market, order, reason)
    if reason == "velocity_halt":
        velocity.halt(market, order.contract)
    return rests


def rest_or_cancel(market: Market, order: Order, reason: str | None) -> bool:
    if reason == "self_trade":
        cancels.cancel_order(market, order, "stp", why_unfilled(market, order, reason, order.left))
        return False
    if order.kind == "market" or order.tif not in RESTING:
        cancels.cancel_order(market, order, "ioc_remainder", why_unfilled(market, order, reason, order.left))
        return False
    market.store.rest(order)
    if icebergs.is_iceberg(order):
        icebergs.show_next(market, order)
    return True
