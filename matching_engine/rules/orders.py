"""Limit and market orders: checked, held for, matched, and what is left rests."""

from matching_engine.rules import (
    blocks,
    cancels,
    counts,
    deadlines,
    identity,
    limits,
    products,
    resale,
    throttle,
    vouchers,
)
from matching_engine.rules.market import Market
from matching_engine.rules.matching import (
    RESTING,
    crosses,
    dry_match,
    match,
    opposite,
    settle_remainder,
    why_unfilled,
)
from matching_engine.rules.money import RESERVED, bond_unit_micros, hold_unit_micros, unit_micros
from matching_engine.rules.refusals import RuleBroken, require
from matching_engine.rules.state import Conditions, Node, Order, Product
from schemas.events import OrderAccepted, RejectCode
from schemas.ids import product_of
from schemas.orders import PlaceOrder
from schemas.venue import DefineProduct


def place_order(market: Market, command: PlaceOrder) -> None:
    """Takes a bid or an ask for one contract."""
    identity.once(market, command, decide_order)


def decide_order(market: Market, command: PlaceOrder) -> int:
    try:
        return decide(market, command)
    finally:
        market.drawing = None


def decide(market: Market, command: PlaceOrder) -> int:
    start_s, terms = check_order(market, command)
    order = draft(market, command, terms, start_s)
    if command.use_vouchers:
        market.drawing = vouchers.plan(market, command.account, terms, order.hold_micros, command.qty)
    else:
        market.accounts.require_available(command.account, terms.currency, order.hold_micros)
    if resale.is_resale(order) and order.kind == "limit":
        backing = resale.find_backing(market, order.account, order.contract, order.qty)
        resale.require_price(market, order, order.price_micros, backing)
    if command.tif == "FOK":
        require_fillable(market, order, order.qty, "fok_not_filled")
    elif command.min_qty is not None:
        require_fillable(market, order, command.min_qty, "min_qty_not_filled")
    crossing = command.post_only and would_cross(market, order)
    if market.drawing is not None:
        vouchers.lend(market, market.drawing, terms.currency)
    accept(market, order, start_s, command.command_id, command.min_qty)
    if crossing:
        cancels.cancel_order(market, order, "post_only_cross", why_unfilled(market, order, "post_only", order.left))
    else:
        trade_or_rest(market, order, start_s)
    if market.drawing is not None:
        vouchers.assign(market, market.drawing, order.id, terms.currency)
    return order.id


def trade_or_rest(market: Market, order: Order, start_s: int) -> None:
    """Sends an order through its book; what rests of an ask goes to the blocks that wait."""
    if settle_remainder(market, order, match(market, order)) and order.side == "sell":
        blocks.serve_new_asks(market, market.state.contracts[order.contract].product, [start_s])


def check_order(market: Market, command: PlaceOrder) -> tuple[int, DefineProduct]:
    require(command.account not in RESERVED, "not_permitted")
    start_s = products.find_contract(market, command.contract)
    product = market.product_of(command.contract)
    require(products.is_open(product, start_s), "gate_closed")
    products.require_trading(product, waits(command))
    terms = product.terms(start_s)
    check_terms(command)
    check_parts(command, terms)
    if command.expires_ms is not None:
        require_expiry(market, product, start_s, command.expires_ms)
    require(command.price_micros is None or command.price_micros % terms.tick_micros == 0, "off_tick")
    if command.side == "sell" and command.node is None:
        resale.find_backing(market, command.account, command.contract, command.qty)
    elif command.side == "sell":
        node = backing_node(market, command.node, command.account, terms)
        require_capacity(market, node, start_s, command.qty)
    check_limits(market, command, terms)
    return start_s, terms


def check_limits(market: Market, command: PlaceOrder, terms: DefineProduct) -> None:
    notional = command.max_cost_micros or 0
    if command.kind == "limit":
        notional = command.qty * unit_micros(terms, command.price_micros)
    elif command.side == "sell":
        notional = 0
    prices = {command.contract: command.price_micros}
    resold_qty = command.qty if command.side == "sell" and command.node is None else 0
    intent = limits.Intent(command.account, command.side, command.qty, prices, notional, 1, resold_qty)
    limits.check(market, market.product_of(command.contract).newest.trading, intent)


def waits(command: PlaceOrder) -> bool:
    """Whether an order may rest untraded until an auction ends."""
    return command.kind == "limit" and command.tif in ("GTG", "GTD") and not (command.post_only or command.min_qty)


def check_terms(command: PlaceOrder) -> None:
    """A limit has a price, a market order a bound and never rests; a buy names no node, nor does a sell at market.
    [M-10]
    """
    vouchers.check_terms(command)
    if command.kind == "market":
        require(command.price_micros is None and command.max_cost_micros is not None, "bad_terms")
        require(command.node is None and not command.post_only and command.tif != "GTD", "bad_terms")
    else:
        require(command.price_micros is not None and command.max_cost_micros is None, "bad_terms")
        require(not command.post_only or command.tif in RESTING, "bad_terms")
    require(command.side == "sell" or command.node is None, "bad_terms")
    require((command.expires_ms is not None) == (command.tif == "GTD"), "bad_terms")
    require(command.display_qty is None or (command.kind == "limit" and command.tif in RESTING), "bad_terms")
    require(command.min_qty is None or not command.post_only, "bad_terms")


def check_parts(command: PlaceOrder, terms: DefineProduct) -> None:
    """What is shown and what must trade at once are parts of the quantity, in whole lots as it is."""
    parts = [part for part in (command.display_qty, command.min_qty) if part is not None]
    require(all(qty % terms.lot == 0 for qty in (command.qty, *parts)), "off_lot")
    require(all(part <= command.qty for part in parts), "bad_quantity")


def require_expiry(market: Market, product: Product, start_s: int, expires_ms: int) -> None:
    """An order's own end lies ahead, and not behind the gate."""
    require(market.now_ms < expires_ms <= products.gate_ms(product, start_s), "bad_expiry")


def backing_node(market: Market, name: str, account: str, terms: DefineProduct) -> Node:
    """Returns the node behind an ask: the account's own, heartbeat-fresh, of the product's grade and hub. [M-16]"""
    node = counts.find_node(market, name)
    require(node.account == account, "not_the_owner")
    require(node.alive and market.now_ms < node.until_ms, "node_not_alive")
    require((node.grade, node.hub) == (terms.grade, terms.hub), "wrong_product_for_node")
    return node


def require_capacity(market: Market, node: Node, start_s: int, gpus: int) -> None:
    """A node never promises more GPUs than it has for rent in a period. [M-17]"""
    require(node.committed.get(start_s, 0) + gpus <= counts.rentable(market.state, node), "insufficient_capacity")


def draft(market: Market, command: PlaceOrder, terms: DefineProduct, start_s: int) -> Order:
    """Makes the order and what it will hold; nothing changes yet, its id is given when it is accepted."""
    unit_micros = 0
    is_bounded_buy = command.kind == "market" and command.side == "buy"
    if command.node is not None:
        node = market.state.nodes[command.node]
        unit_micros = ask_bond_unit(market, terms, node, command.price_micros)
    elif command.side == "buy" and command.kind == "limit":
        unit_micros = hold_unit_micros(terms, command.price_micros)
    return Order(
        id=0,
        parent_id=None,
        account=command.account,
        client_order_id=command.client_order_id,
        contract=command.contract,
        side=command.side,
        kind=command.kind,
        price_micros=command.price_micros,
        max_cost_micros=command.max_cost_micros,
        qty=command.qty,
        left=command.qty,
        tif=command.tif,
        post_only=command.post_only,
        node=command.node,
        hold_unit_micros=unit_micros,
        hold_micros=command.max_cost_micros if is_bounded_buy else command.qty * unit_micros,
        conditions=conditions_of(command),
    )


def conditions_of(command: PlaceOrder) -> Conditions | None:
    """What is out of the ordinary about the order; most have nothing."""
    conditions = Conditions(command.expires_ms, command.display_qty, stp=command.stp)
    return None if conditions == Conditions() else conditions


def ask_bond_unit(market: Market, terms: DefineProduct, node: Node, price_micros: int) -> int:
    last_index_micros = market.state.products[terms.product].last_index_micros
    return bond_unit_micros(terms, node.level, price_micros, last_index_micros)


def require_fillable(market: Market, order: Order, qty: int, code: RejectCode) -> None:
    """So much of it now, or a refusal that says what was missing. [M-12]"""
    filled, reason = dry_match(market, order)
    if filled < qty:
        raise RuleBroken(code, why=why_unfilled(market, order, reason, qty - filled))


def would_cross(market: Market, order: Order) -> bool:
    """Whether the order would meet another one, be it the account's own. [M-13]"""
    best = market.store.best(order.contract, opposite(order.side))
    return best is not None and crosses(order, best)


def accept(
    market: Market,
    order: Order,
    start_s: int,
    command_id: str,
    min_qty: int | None = None,
    backing: resale.Backing | None = None,
) -> None:
    """Gives the order its id, holds its money and its node's capacity or the positions it resells, and sets its end."""
    if resale.is_resale(order):
        backing = backing or resale.find_backing(market, order.account, order.contract, order.qty)
    market.state.last_order_id += 1
    order.id = market.state.last_order_id
    market.store.touch(order.contract)
    if backing:
        resale.back(market, order, backing)
    if order.node is not None and order.twin_id is None:
        counts.commit(market.state.nodes[order.node], start_s, order.qty)
    conditions = order.conditions or Conditions()
    if conditions.expires_ms is not None:
        market.at(conditions.expires_ms, deadlines.EXPIRY, order.id)
    throttle.watch_accepted(market, order.account, product_of(order.contract))
    entry = market.entry(market.terms_of(order.contract).currency).hold(order.account, order.hold_micros)
    market.emit(
        OrderAccepted,
        order_id=order.id,
        parent_id=order.parent_id,
        command_id=command_id,
        account=order.account,
        client_order_id=order.client_order_id,
        contract=order.contract,
        side=order.side,
        kind=order.kind,
        qty=order.qty,
        price_micros=order.price_micros,
        max_cost_micros=order.max_cost_micros,
        tif=order.tif,
        post_only=order.post_only,
        node=order.node,
        expires_ms=conditions.expires_ms,
        display_qty=conditions.display_qty,
        min_qty=min_qty,
        stp=conditions.stp,
        postings=entry.post(),
    )
