"""What an owner does with what rests: other terms under the same ids, another price for capacity, cancels."""

from typing import Any

from tests.oracle import blocks, orders, vouchers
from tests.oracle.limits import check, count_order, need_pace
from tests.oracle.trading import cancel, is_resale, match, rest_or_end, unback, why, would_cross
from tests.oracle.world import (
    AMOUNT_MAX,
    Refused,
    Thing,
    World,
    bid_unit,
    bond_unit,
    gate_ms,
    held,
    live_of,
    need,
    need_trading,
    product_of,
    start_of,
    terms_of,
    unit,
)

# -- changing


def named_parts(w: World, command: Any) -> list[Thing]:
    """What is live under our id or the client's: the order, or the asks of an order of many periods."""
    need((command.order_id is None) != (command.client_order_id is None), "bad_terms")
    order_id = command.order_id
    if order_id is None:
        bound = w.bindings.get((command.account, command.client_order_id))
        need(bound is not None and bound.order_id is not None, "unknown_order")
        order_id = bound.order_id
    live = parts_under(w, order_id)
    if not live:
        raise Refused("order_closed" if order_id <= w.last["order"] else "unknown_order", order_id)
    if live[0].account != command.account:
        raise Refused("not_the_owner", order_id)
    return live


def parts_under(w: World, order_id: int) -> list[Thing]:
    if order_id in w.live:
        return [w.live[order_id]]
    parts = [each for each in w.live.values() if each.kind != "block" and each.parent == order_id]
    return sorted(parts, key=lambda each: each.id)


def replaceable(w: World, command: Any) -> Thing:
    order, *others = named_parts(w, command)
    need(not others and order.kind == "limit", "not_replaceable")
    return order


def replace(w: World, command: Any) -> int:
    """Gives a resting order other terms. [M-19]"""
    order = replaceable(w, command)
    need((command.qty, command.price_micros, command.expires_ms) != (None, None, None), "bad_terms")
    terms, product, start = terms_of(w, order.contract), product_of(w, order.contract), start_of(order.contract)
    qty, price = command.qty or order.qty, command.price_micros or order.price
    left = qty - (order.qty - order.left)
    need(left > 0, "bad_quantity")
    need(qty % terms.lot == 0, "off_lot")
    need(price % terms.tick_micros == 0, "off_tick")
    if command.expires_ms is not None:
        need(w.now < command.expires_ms <= gate_ms(product, start), "bad_expiry")
    expires = command.expires_ms or order.expires
    later = order.expires is not None and expires > order.expires
    kept = price == order.price and left <= order.left and not later
    if not (product.state == "CANCEL_ONLY" and kept):
        need_trading(product, not order.post_only)
    if not kept:
        cost = left * unit(terms, price)
        check(w, product, order.account, order.side, left, {order.contract: price}, cost, 0, order.left)
    unit_micros = order.unit if kept else unit_of(w, order, terms, price)
    need_means(w, order, terms, left, price, unit_micros, kept)
    if not kept and order.post_only and would_cross(w, order, price):
        raise Refused("post_only_cross", order.id, why(w, order, "post_only", left))
    change(w, command.command_id, command.replace_id, order, left, price, unit_micros, expires, kept)
    if kept:
        order.shown = min(order.shown, order.left)
        return order.id
    del w.live[order.id]
    order.shown, order.rank = 0, w.next("order")
    orders.send(w, order)
    return order.id


def unit_of(w: World, order: Thing, terms: Any, price: int) -> int:
    if order.side == "buy":
        return bid_unit(terms, price)
    return 0 if is_resale(order) else bond_unit(w, terms, w.nodes[order.node], price)


def need_means(w: World, order: Thing, terms: Any, left: int, price: int, unit_micros: int, kept: bool) -> None:
    """The money and the GPUs for the new terms, beside those that the order has."""
    need(left * unit_micros <= AMOUNT_MAX, "amount_overflow")
    if order.node is not None and not kept:
        orders.backing_node(w, order.node, order.account, terms)
        orders.need_capacity(w, order.node, start_of(order.contract), left - order.left)
    elif is_resale(order):
        named = order.of_position, order.of_block
        more = orders.find_backing(w, order.account, order.contract, max(0, left - order.left), *named)
        need(vouchers.covers(w, [*order.backing, *more], unit(terms, price)), "below_voucher_part")
    if left * unit_micros > order.hold:
        w.need_money(order.account, terms.currency, left * unit_micros - order.hold)


def change(
    w: World, command_id: str, replace_id: str | None, order: Thing, left: int, price: int, unit_micros: int,
    expires: int | None, kept: bool,
) -> None:  # fmt: skip
    """Gives a resting order its new terms."""
    if is_resale(order) and left > order.left:
        named = order.of_position, order.of_block
        for each, gpus in orders.find_backing(w, order.account, order.contract, left - order.left, *named).items():
            order.backing[each] = order.backing.get(each, 0) + gpus
    elif is_resale(order):
        unback(order, order.left - left)
    old = {"old_qty_left": order.left, "old_price_micros": order.price}
    more = left * unit_micros - order.hold
    order.qty, order.left, order.price = order.qty + left - order.left, left, price
    order.unit, order.hold = unit_micros, left * unit_micros
    if expires is not None and expires != order.expires:
        order.expires, order.tif = expires, "GTD"
        w.deadlines[8, order.id] = expires
    names = {"order_id": order.id, "command_id": command_id, "account": order.account, "client_order_id": order.coid}
    new = {"qty": order.qty, "qty_left": left, "price_micros": price, "tif": order.tif, "expires_ms": expires}
    rest = {"replace_id": replace_id, "contract": order.contract, "side": order.side, "priority_kept": kept}
    postings = w.post(held(order.account, terms_of(w, order.contract).currency, more))
    w.emit("order_replaced", **names, **new, **old, **rest, postings=postings)


def reprice(w: World, command: Any) -> None:
    """Every ask of a capacity order gets its price anew: one whose price changes goes behind the others. [M-25]"""
    need_pace(w, command.account)
    asks = named_parts(w, command)
    need(all(each.kind == "capacity" for each in asks), "not_replaceable")
    need((command.floor_price_micros is None) != (command.floor_curve_micros is None), "bad_terms")
    for ask in asks:
        need_trading(product_of(w, ask.contract))
    prices, needed = {}, {}
    for ask in asks:
        prices[ask.id] = orders.price_at(command, terms_of(w, ask.contract), start_of(ask.contract))
    changing = [ask for ask in asks if prices[ask.id] != ask.price]
    units = {}
    for ask in changing:
        terms, price = terms_of(w, ask.contract), prices[ask.id]
        units[ask.id] = unit_of(w, ask, terms, price)
        cost = ask.left * unit(terms, price)
        check(w, product_of(w, ask.contract), ask.account, "sell", ask.left, {ask.contract: price}, cost, 0, ask.left)
        more = max(0, ask.left * units[ask.id] - ask.hold)
        needed[terms.currency] = needed.get(terms.currency, 0) + more
    for money in sorted(needed):
        w.need_money(command.account, money, needed[money])
    names = {"order_id": asks[0].parent, **command.model_dump(exclude={"type", "order_id"})}
    w.emit("capacity_repriced", **names, changed=len(changing))
    for ask in changing:
        if ask.id in w.live:
            change(w, command.command_id, None, ask, ask.left, prices[ask.id], units[ask.id], None, False)
            del w.live[ask.id]
            ask.rank = w.next("order")
            rest_or_end(w, ask, match(w, ask))
    starts: dict[str, list[int]] = {}
    for ask in changing:
        if ask.id in w.live:
            starts.setdefault(ask.contract.rpartition("-")[0], []).append(start_of(ask.contract))
    for name in sorted(starts):
        blocks.serve(w, name, starts[name])
    count_order(w, command.account)


# -- cancelling


def cancel_each(w: World, each_of: list[Thing], reason: str) -> int:
    for each in each_of:
        cancel(w, each, reason)
    return len(each_of)


def cancel_one(w: World, command: Any) -> None:
    canceled = cancel_each(w, named_parts(w, command), "user")
    w.emit("cancel_done", command_id=command.command_id, account=command.account, canceled=canceled)


def withdraw(w: World, command: Any) -> None:
    parts = named_parts(w, command)
    need(all(each.kind != "block" and each.parent for each in parts), "not_replaceable")
    inside = [each for each in parts if command.from_s <= start_of(each.contract) < command.to_s]
    canceled = cancel_each(w, inside, "user")
    w.emit("cancel_done", command_id=command.command_id, account=command.account, canceled=canceled)


def mass_cancel(w: World, command: Any) -> None:
    """Cancels all orders of the account that fit. [M-20]"""
    found = [each for each in live_of(w, command.account) if blocks.touches(w, each, command)]
    if command.type == "mass_cancel":
        canceled = cancel_each(w, found, "mass")
        w.emit("cancel_done", command_id=command.command_id, account=command.account, canceled=canceled)
    else:
        canceled = cancel_each(w, found, "admin")
        w.emit("account_orders_canceled", account=command.account, reason=command.reason, canceled=canceled)
