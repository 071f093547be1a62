"""Replacing a resting order: other terms under the same ids, its hold adjusted in the same step or nothing changed."""

from dataclasses import dataclass

from matching_engine.rules import counts, deadlines, icebergs, identity, limits, orders, products, resale
from matching_engine.rules.market import Market
from matching_engine.rules.matching import why_unfilled
from matching_engine.rules.money import hold_unit_micros, in_range, unit_micros
from matching_engine.rules.refusals import RuleBroken, require
from matching_engine.rules.state import Conditions, Order
from schemas.events import OrderReplaced
from schemas.orders import ReplaceOrder
from schemas.venue import DefineProduct


@dataclass(frozen=True)
class Wanted:
    """What an order is to be: the GPUs open, their price, its end, and what it holds for each of them."""

    left: int
    price_micros: int
    expires_ms: int | None
    hold_unit_micros: int
    priority_kept: bool


def replace_order(market: Market, command: ReplaceOrder) -> None:
    """Takes other terms for a resting order; a client's id of its own makes the command idempotent."""
    if command.replace_id is None:
        identity.paced(market, command, decide_replace)
    else:
        identity.once(market, command, decide_replace)


def decide_replace(market: Market, command: ReplaceOrder) -> int:
    order = identity.replaceable(market, command)
    wanted = check_replace(market, command, order)
    products.require_replacing(market.product_of(order.contract), not order.post_only, wanted.priority_kept)
    check_limits(market, order, wanted)
    require_means(market, order, wanted)
    if wanted.priority_kept:
        change(market, command.command_id, command.replace_id, order, wanted)
        icebergs.hide_excess(order)
        return order.id
    if order.post_only and crosses_at(market, order, wanted.price_micros):
        raise RuleBroken("post_only_cross", order.id, why_unfilled(market, order, "post_only", wanted.left))
    market.store.remove_order(order)
    change(market, command.command_id, command.replace_id, order, wanted)
    order.conditions = order.conditions or Conditions()
    order.conditions.shown, order.conditions.rank = 0, market.next_rank()
    orders.trade_or_rest(market, order, market.state.contracts[order.contract].start_s)
    return order.id


# -- what it is to be


def check_replace(market: Market, command: ReplaceOrder, order: Order) -> Wanted:
    """Priority is kept when only the quantity falls, or the end comes nearer: when nothing is asked for anew.
    [M-19]
    """
    require((command.qty, command.price_micros, command.expires_ms) != (None, None, None), "bad_terms")
    terms = market.terms_of(order.contract)
    qty = order.qty if command.qty is None else command.qty
    left = qty - (order.qty - order.left)
    price_micros = command.price_micros or order.price_micros
    require(left > 0, "bad_quantity")
    require(qty % terms.lot == 0, "off_lot")
    require(price_micros % terms.tick_micros == 0, "off_tick")
    expires_before_ms = order.conditions.expires_ms if order.conditions else None
    if command.expires_ms is not None:
        start_s = market.state.contracts[order.contract].start_s
        orders.require_expiry(market, market.product_of(order.contract), start_s, command.expires_ms)
    expires_ms = command.expires_ms or expires_before_ms
    later = expires_ms is not None and expires_before_ms is not None and expires_ms > expires_before_ms
    kept = price_micros == order.price_micros and left <= order.left and not later
    unit_micros = order.hold_unit_micros if kept else unit_of(market, order, terms, price_micros)
    return Wanted(left, price_micros, expires_ms, unit_micros, kept)


def check_limits(market: Market, order: Order, wanted: Wanted) -> None:
    """What a new order would be held against; an order may always become less."""
    if not wanted.priority_kept:
        notional = wanted.left * unit_micros(market.terms_of(order.contract), wanted.price_micros)
        prices = {order.contract: wanted.price_micros}
        intent = limits.Intent(order.account, order.side, wanted.left, prices, notional, 0, order.left)
        limits.check(market, market.product_of(order.contract).newest.trading, intent)


def unit_of(market: Market, order: Order, terms: DefineProduct, price_micros: int) -> int:
    """What a new order at this price would hold per GPU."""
    if order.side == "buy":
        return hold_unit_micros(terms, price_micros)
    if resale.is_resale(order):
        return 0
    return orders.ask_bond_unit(market, terms, market.state.nodes[order.node], price_micros)


def require_means(market: Market, order: Order, wanted: Wanted) -> None:
    """The money and the GPUs for the new terms, with those that the order has already."""
    known, terms = market.state.contracts[order.contract], market.terms_of(order.contract)
    hold_micros = in_range(wanted.left * wanted.hold_unit_micros)
    if order.node is not None and not wanted.priority_kept:
        node = orders.backing_node(market, order.node, order.account, terms)
        orders.require_capacity(market, node, known.start_s, wanted.left - order.left)
    elif resale.is_resale(order):
        more = max(0, wanted.left - order.left)
        backing = order.backing + resale.find_more(market, order, more)
        resale.require_price(market, order, wanted.price_micros, backing)
    if hold_micros > order.hold_micros:
        market.accounts.require_available(order.account, terms.currency, hold_micros - order.hold_micros)


def crosses_at(market: Market, order: Order, price_micros: int) -> bool:
    """Whether the order would meet another one at this price."""
    best = market.store.best(order.contract, "sell" if order.side == "buy" else "buy")
    if best is None:
        return False
    return best.price_micros <= price_micros if order.side == "buy" else best.price_micros >= price_micros


# -- changing it


def change(market: Market, command_id: str, replace_id: str | None, order: Order, wanted: Wanted) -> None:
    """Sets the new terms and adjusts hold and capacity, with the event that says so."""
    known, terms = market.state.contracts[order.contract], market.terms_of(order.contract)
    old_left, old_price_micros = order.left, order.price_micros
    hold_micros = wanted.left * wanted.hold_unit_micros
    entry = market.entry(terms.currency).hold(order.account, hold_micros - order.hold_micros)
    if order.node is not None:
        counts.commit(market.state.nodes[order.node], known.start_s, wanted.left - old_left)
    elif resale.is_resale(order):
        resale.change_backing(market, order, wanted.left - old_left)
    order.qty += wanted.left - old_left
    order.left = wanted.left
    order.price_micros = wanted.price_micros
    order.hold_unit_micros, order.hold_micros = wanted.hold_unit_micros, hold_micros
    set_end(market, order, wanted.expires_ms)
    market.emit(
        OrderReplaced,
        order_id=order.id,
        command_id=command_id,
        account=order.account,
        client_order_id=order.client_order_id,
        replace_id=replace_id,
        contract=order.contract,
        side=order.side,
        qty=order.qty,
        qty_left=order.left,
        price_micros=order.price_micros,
        tif=order.tif,
        expires_ms=wanted.expires_ms,
        old_qty_left=old_left,
        old_price_micros=old_price_micros,
        priority_kept=wanted.priority_kept,
        postings=entry.post(),
    )


def set_end(market: Market, order: Order, expires_ms: int | None) -> None:
    """Gives the order another end; one that had none but its gate becomes GTD."""
    if expires_ms is None or (order.conditions and order.conditions.expires_ms == expires_ms):
        return
    order.conditions = order.conditions or Conditions()
    order.conditions.expires_ms = expires_ms
    order.tif = "GTD"
    market.at(expires_ms, deadlines.EXPIRY, order.id)
