"""Orders of traders and operators: checked, held for, sent through the book; changed and cancelled by their owner."""

from typing import Any

from tests.oracle import blocks, vouchers
from tests.oracle.limits import check
from tests.oracle.trading import (
    cancel,
    copy_of,
    is_resale,
    match,
    rest_or_end,
    why,
    would_cross,
)
from tests.oracle.world import (
    RESERVED,
    RESTING,
    Refused,
    Thing,
    World,
    bid_unit,
    bond_unit,
    find_contract,
    gate_ms,
    held,
    name_at,
    need,
    need_open,
    need_trading,
    product_of,
    start_of,
    terms_at,
    terms_of,
    touch,
    unit,
)

# -- what stands behind an ask


def rentable(w: World, node: Thing) -> int:
    return sum(uuid not in w.for_sale for uuid in node.gpus)


def committed(w: World, name: str, start: int) -> int:
    """GPUs that a node has promised in a period: sold ones, and those in asks; a split node's two asks are one.
    [M-17]
    """
    sold = [each for each in w.positions.values() if each.node == name]
    ongoing = ("OPEN", "LOCKED", "DELIVERING")
    known = [(each, w.contracts[each.contract]) for each in sold]
    gpus = sum(each.qty for each, its in known if its.start == start and its.state in ongoing)
    for each in w.live.values():
        if each.node == name and start_of(each.contract) == start:
            twin = w.live.get(each.twin)
            if twin is None or (each.left, each.id) > (twin.left, twin.id):
                gpus += each.left
    return gpus


def backing_node(w: World, name: str, account: str, terms: Any) -> Thing:
    """The node behind an ask, fit to sell. [M-16]"""
    need(name in w.nodes, "unknown_node")
    node = w.nodes[name]
    need(node.account == account, "not_the_owner")
    need(node.alive and w.now < node.until, "node_not_alive")
    need((node.grade, node.hub) == (terms.grade, terms.hub), "wrong_product_for_node")
    return node


def need_capacity(w: World, name: str, start: int, gpus: int) -> None:
    need(committed(w, name, start) + gpus <= rentable(w, w.nodes[name]), "insufficient_capacity")


def find_backing(
    w: World, account: str, contract: str, qty: int, position: int | None = None, block: int | None = None
) -> dict[int, int]:
    """The account's positions in a contract, oldest first: GPUs that no other ask offers. [M-32]"""
    backing = {}
    for each in positions_in(w, account, contract, position, block):
        in_asks = sum(order.backing.get(each.id, 0) for order in w.live.values())
        free = min(qty, each.qty - in_asks)
        if free > 0:
            backing[each.id] = free
            qty -= free
    need(qty == 0, "unbacked_ask")
    return backing


def positions_in(w: World, account: str, contract: str, position: int | None, block: int | None) -> list[Thing]:
    own = [each for each in w.positions.values() if (each.buyer, each.contract) == (account, contract)]
    return [each for each in own if position in (None, each.id) and block in (None, each.block_id)]


# -- placing


def make(**fields: Any) -> Thing:
    """An order that has nothing out of the ordinary but what is given."""
    usual = {"id": 0, "parent": None, "coid": None, "max_cost": None, "tif": "GTG", "post_only": False, "node": None}
    usual |= {"unit": 0, "expires": None, "display": None, "shown": 0, "rank": 0, "stp": "cancel_newest", "twin": None}
    usual |= {"backing": {}, "of_position": None, "of_block": None, "kind": "limit", "side": "sell"}
    order = Thing(**usual | fields)
    order.left, order.hold = order.qty, order.qty * order.unit
    return order


def accept(w: World, order: Thing, command_id: str, min_qty: int | None = None) -> None:
    """Gives an order its id and holds its money; what backs it is counted from its being there."""
    order.id = w.next("order")
    touch(w, order.contract)
    if order.kind != "capacity" and order.expires is not None:
        w.deadlines[8, order.id] = order.expires
    names = {"order_id": order.id, "parent_id": order.parent, "command_id": command_id, "account": order.account}
    names |= {"client_order_id": order.coid, "contract": order.contract, "side": order.side, "kind": order.kind}
    terms = {"qty": order.qty, "price_micros": order.price, "max_cost_micros": order.max_cost, "tif": order.tif}
    terms |= {"post_only": order.post_only, "node": order.node, "expires_ms": order.expires, "stp": order.stp}
    money = terms_of(w, order.contract).currency
    postings = w.post(held(order.account, money, order.hold))
    w.emit("order_accepted", **names, **terms, display_qty=order.display, min_qty=min_qty, postings=postings)


def place_order(w: World, command: Any) -> int:
    """Takes a bid or an ask for one contract. [M-10]"""
    need(command.account not in RESERVED, "not_permitted")
    start = find_contract(w, command.contract)
    product = product_of(w, command.contract)
    need(start in product.open, "gate_closed")
    is_plain = not (command.post_only or command.min_qty)
    need_trading(product, command.kind == "limit" and command.tif in RESTING and is_plain)
    terms = terms_at(product, start)
    check_terms(command)
    parts = [part for part in (command.display_qty, command.min_qty) if part is not None]
    need(all(qty % terms.lot == 0 for qty in (command.qty, *parts)), "off_lot")
    need(all(part <= command.qty for part in parts), "bad_quantity")
    if command.expires_ms is not None:
        need(w.now < command.expires_ms <= gate_ms(product, start), "bad_expiry")
    need(command.price_micros is None or command.price_micros % terms.tick_micros == 0, "off_tick")
    order = draft(w, command, terms, start)
    if command.use_vouchers:
        w.drawing = vouchers.plan(w, command.account, terms, order.hold, command.qty)
    else:
        w.need_money(command.account, terms.currency, order.hold)
    if is_resale(order) and order.kind == "limit":
        need(vouchers.covers(w, order.backing, unit(terms, order.price)), "below_voucher_part")
    at_least = command.qty if command.tif == "FOK" else command.min_qty
    if at_least is not None:
        need_fillable(w, order, at_least, "fok_not_filled" if command.tif == "FOK" else "min_qty_not_filled")
    crossing = command.post_only and would_cross(w, order, order.price)
    if w.drawing:
        vouchers.lend(w, terms.currency)
    accept(w, order, command.command_id, command.min_qty)
    if crossing:
        cancel(w, order, "post_only_cross", why(w, order, "post_only", order.left))
    else:
        send(w, order)
    if w.drawing:
        vouchers.assign(w, order.id, terms.currency)
    return order.id


def check_terms(command: Any) -> None:
    vouchers.check_terms(command)
    rests = command.tif in RESTING
    if command.kind == "market":
        need(command.price_micros is None and command.max_cost_micros is not None, "bad_terms")
        need(command.node is None and not command.post_only and command.tif != "GTD", "bad_terms")
    else:
        need(command.price_micros is not None and command.max_cost_micros is None, "bad_terms")
        need(rests or not command.post_only, "bad_terms")
    need(command.side == "sell" or command.node is None, "bad_terms")
    need((command.expires_ms is not None) == (command.tif == "GTD"), "bad_terms")
    need(command.display_qty is None or (command.kind == "limit" and rests), "bad_terms")
    need(command.min_qty is None or not command.post_only, "bad_terms")


def draft(w: World, command: Any, terms: Any, start: int) -> Thing:
    """Makes the order with what it holds, once its backing and the limits allow it."""
    backing, unit_micros, resells = {}, 0, command.side == "sell" and command.node is None
    if resells:
        backing = find_backing(w, command.account, command.contract, command.qty)
    elif command.side == "sell":
        node = backing_node(w, command.node, command.account, terms)
        need_capacity(w, command.node, start, command.qty)
        unit_micros = bond_unit(w, terms, node, command.price_micros)
    elif command.kind == "limit":
        unit_micros = bid_unit(terms, command.price_micros)
    cost = (command.max_cost_micros or 0) if command.side == "buy" else 0
    if command.kind == "limit":
        cost = command.qty * unit(terms, command.price_micros)
    prices, known = {command.contract: command.price_micros}, command.qty if resells else 0
    check(w, product_of(w, command.contract), command.account, command.side, command.qty, prices, cost, 1, known)
    names = {"account": command.account, "coid": command.client_order_id, "contract": command.contract}
    asked = {"side": command.side, "kind": command.kind, "qty": command.qty, "price": command.price_micros}
    asked |= {"max_cost": command.max_cost_micros, "tif": command.tif, "post_only": command.post_only}
    asked |= {"node": command.node, "display": command.display_qty, "expires": command.expires_ms, "stp": command.stp}
    order = make(**names, **asked, unit=unit_micros, backing=backing)
    if command.kind == "market" and command.side == "buy":
        order.hold = command.max_cost_micros
    return order


def need_fillable(w: World, order: Thing, qty: int, code: str) -> None:
    """Tries the order in a copy of the world: so much of it now, or a refusal that says what was missing. [M-12]"""
    w.hand = order
    trial = copy_of(w)
    first = len(trial.events)
    trial.post((order.account, terms_of(w, order.contract).currency, order.hold, 0))  # vouchers come later
    accept(trial, trial.hand, "trial")
    reason = match(trial, trial.hand, is_trial=True)
    trades = [fields for event, fields in trial.events[first:] if event.__name__ == "Trade"]
    filled = sum(each["qty"] for each in trades)
    if filled < qty:
        raise Refused(code, why=why(w, order, reason or "self_trade", qty - filled))


def send(w: World, order: Thing) -> None:
    """Sends an order through its book; an ask that rests is offered to the blocks that wait."""
    if rest_or_end(w, order, match(w, order)) and order.side == "sell":
        blocks.serve(w, order.contract.rpartition("-")[0], [start_of(order.contract)])


# -- orders of many periods


def post_capacity(w: World, command: Any) -> int:
    """Takes an ask for every period of a window. [M-24]"""
    need(command.account not in RESERVED, "not_permitted")
    product = w.products.get(command.product)
    need(product, "unknown_product")
    need(command.from_s < command.to_s, "bad_terms")
    need((command.to_s - command.from_s) % product.newest.period_s == 0, "unlisted_contract")
    asks = draft_asks(w, command, command.product)
    for start in asks:
        backing_node(w, command.node, command.account, terms_at(product, start))
        need_capacity(w, command.node, start, command.gpus)
    grade, _, rest = command.product.partition(".")
    single, twins = f"{grade.removesuffix('X8')}.{rest}", {}
    if command.split:
        need(grade.endswith("X8"), "bad_terms")
        need(single in w.products, "unknown_product")
        other, its = w.products[single].newest, product.newest
        need((other.period_s, other.currency) == (its.period_s, its.currency), "bad_terms")
        need_trading(w.products[single])
        twins = draft_asks(w, command, single)
    w.need_money(command.account, product.newest.currency, sum(each.hold for each in [*asks.values(), *twins.values()]))
    capacity_id, expires = w.next("order"), None if command.ttl_s is None else w.now + command.ttl_s * 1000
    if expires is not None:
        w.deadlines[8, capacity_id] = expires
    w.emit("capacity_accepted", order_id=capacity_id, **command.model_dump(exclude={"type"}), expires_ms=expires)
    for start, ask in asks.items():
        ask.parent = capacity_id
        accept(w, ask, command.command_id)
        rest_or_end(w, ask, match(w, ask))
        if start in twins and ask.left:
            pair(w, ask, twins[start])
            accept(w, twins[start], command.command_id)
            ask.twin = twins[start].id
            rest_or_end(w, twins[start], match(w, twins[start]))
    for name, sent in ((command.product, asks), (single, twins)):
        resting = [start for start, ask in sent.items() if ask.id in w.live]
        if resting:
            blocks.serve(w, name, resting)
    return capacity_id


def pair(w: World, ask: Thing, twin: Thing) -> None:
    lot = terms_of(w, twin.contract).lot
    twin.qty = twin.left = ask.left // lot * lot
    twin.hold, twin.parent, twin.twin = twin.left * twin.unit, ask.parent, ask.id


def price_at(command: Any, terms: Any, start: int) -> int:
    prices = command.floor_curve_micros or (command.floor_price_micros,)
    need(all(price % terms.tick_micros == 0 for price in prices), "off_tick")
    return prices[start // 3600 % len(prices)]


def draft_asks(w: World, command: Any, name: str) -> dict[int, Thing]:
    product, asks = w.products[name], {}
    period = product.newest.period_s
    hours = need_open(w, name, command.from_s, (command.to_s - command.from_s) // period)
    need_trading(product)
    need((command.floor_price_micros is None) != (command.floor_curve_micros is None), "bad_terms")
    for step, contract in enumerate(hours):
        start = command.from_s + step * period
        terms = terms_at(product, start)
        need(command.gpus % terms.lot == 0, "off_lot")
        price = price_at(command, terms, start)
        need(command.node in w.nodes, "unknown_node")
        fields = {"account": command.account, "contract": contract, "node": command.node, "price": price}
        bond = bond_unit(w, terms, w.nodes[command.node], price)
        asks[start] = make(**fields, kind="capacity", qty=command.gpus, unit=bond)
    prices = {each.contract: each.price for each in asks.values()}
    cost = sum(each.qty * unit(terms_of(w, each.contract), each.price) for each in asks.values())
    check(w, product, command.account, "sell", command.gpus, prices, cost, len(asks))
    return asks


def resell(w: World, command: Any) -> int:
    """Takes an ask for every period of a window in which the account has positions. [M-33]"""
    need(command.account not in RESERVED, "not_permitted")
    product = w.products.get(command.product)
    need(product, "unknown_product")
    which = command.position_id, command.block_id
    need(command.from_s < command.to_s and None in which, "bad_terms")
    period = product.newest.period_s
    starts = [each for each in product.open if command.from_s <= each and each + period <= command.to_s]
    need_trading(product)
    need(starts, "gate_closed")
    asks = []
    for start in starts:
        contract, terms = name_at(product, start), terms_at(product, start)
        if not positions_in(w, command.account, contract, *which):
            continue
        need(command.qty % terms.lot == 0, "off_lot")
        need(command.price_micros % terms.tick_micros == 0, "off_tick")
        backing = find_backing(w, command.account, contract, command.qty, *which)
        fields = {"account": command.account, "contract": contract, "qty": command.qty, "price": command.price_micros}
        asks.append(make(**fields, backing=backing, of_position=which[0], of_block=which[1]))
        need(vouchers.covers(w, backing, unit(terms, command.price_micros)), "below_voucher_part")
    need(asks, "unbacked_ask")
    prices = {each.contract: each.price for each in asks}
    cost = sum(each.qty * unit(terms_of(w, each.contract), each.price) for each in asks)
    check(w, product, command.account, "sell", command.qty, prices, cost, len(asks), command.qty)
    resale_id, resting = w.next("order"), []
    w.emit("resale_accepted", order_id=resale_id, **command.model_dump(exclude={"type"}))
    for ask in asks:
        ask.parent = resale_id
        accept(w, ask, command.command_id)
        if rest_or_end(w, ask, match(w, ask)):
            resting.append(start_of(ask.contract))
    blocks.serve(w, command.product, resting)
    return resale_id
