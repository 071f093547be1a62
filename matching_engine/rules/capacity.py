"""An operator's capacity: one order that stands as an ask in the book of every period of its window."""

from matching_engine.rules import blocks, deadlines, identity, limits, products, splits
from matching_engine.rules.market import Market
from matching_engine.rules.matching import match, settle_remainder
from matching_engine.rules.money import RESERVED, unit_micros
from matching_engine.rules.orders import accept, ask_bond_unit, backing_node, require_capacity
from matching_engine.rules.refusals import require
from matching_engine.rules.state import Order
from schemas.events import CapacityAccepted
from schemas.orders import PostCapacity, RepriceCapacity
from schemas.venue import DefineProduct


def post_capacity(market: Market, command: PostCapacity) -> None:
    """Takes an ask for every period of a window. [M-24]"""
    identity.once(market, command, decide_capacity)


def decide_capacity(market: Market, command: PostCapacity) -> int:
    asks, twins = draft_capacity(market, command)
    terms = market.state.products[command.product].newest
    hold_micros = sum(ask.hold_micros for ask in (*asks.values(), *twins.values()))
    market.accounts.require_available(command.account, terms.currency, hold_micros)
    market.state.last_order_id += 1
    capacity_id = market.state.last_order_id
    expires_ms = None if command.ttl_s is None else market.now_ms + command.ttl_s * 1000
    if expires_ms is not None:
        market.at(expires_ms, deadlines.EXPIRY, capacity_id)
    terms_asked = command.model_dump(exclude={"type"})
    market.emit(CapacityAccepted, order_id=capacity_id, **terms_asked, expires_ms=expires_ms)
    for start_s, ask in asks.items():
        ask.parent_id = capacity_id
        send(market, ask, start_s, command.command_id)
        if start_s in twins and ask.left:
            twin = splits.pair_asks(market, ask, twins[start_s])
            send(market, twin, start_s, command.command_id)
    for name, sent in ((command.product, asks), (splits.single_product(command.product), twins)):
        resting = [start_s for start_s, ask in sent.items() if ask.id in market.state.orders]
        if resting:
            blocks.serve_new_asks(market, name, resting)
    return capacity_id


def send(market: Market, ask: Order, start_s: int, command_id: str) -> None:
    """Accepts an ask and sends it through its book."""
    accept(market, ask, start_s, command_id)
    if ask.twin_id is not None:
        market.state.orders[ask.twin_id].twin_id = ask.id
    settle_remainder(market, ask, match(market, ask))


def draft_capacity(market: Market, command: PostCapacity) -> tuple[dict[int, Order], dict[int, Order]]:
    """Checks a capacity order and makes its asks, and those that stand for the same GPUs one by one, by start."""
    require(command.account not in RESERVED, "not_permitted")
    product = market.state.products.get(command.product)
    require(product is not None, "unknown_product")
    require(command.from_s < command.to_s, "bad_terms")
    require((command.to_s - command.from_s) % product.newest.period_s == 0, "unlisted_contract")
    asks = draft_asks(market, command, command.product)
    for start_s, ask in asks.items():
        terms = product.terms(start_s)
        node = backing_node(market, ask.node, ask.account, terms)
        require_capacity(market, node, start_s, ask.qty)
    if not command.split:
        return asks, {}
    splits.require_splittable(market, command.product)
    return asks, draft_asks(market, command, splits.single_product(command.product))


def draft_asks(market: Market, command: PostCapacity, name: str) -> dict[int, Order]:
    """Makes an ask for every period of the window in one product's books."""
    product = market.state.products[name]
    period_s = product.newest.period_s
    periods = (command.to_s - command.from_s) // period_s
    contracts = products.require_open(market, name, command.from_s, periods)
    products.require_trading(product)
    require((command.floor_price_micros is None) != (command.floor_curve_micros is None), "bad_terms")
    starts = range(command.from_s, command.to_s, period_s)
    asks = {
        start_s: draft_ask(market, command, product.terms(start_s), start_s, contract)
        for start_s, contract in zip(starts, contracts, strict=True)
    }
    check_limits(market, command, name, asks)
    return asks


def check_limits(market: Market, command: PostCapacity, name: str, asks: dict[int, Order]) -> None:
    """A capacity order is one of as many GPUs as it has in an hour, which makes an order for each hour."""
    prices = {ask.contract: ask.price_micros for ask in asks.values()}
    notional = sum(ask.qty * unit_micros(market.terms_of(ask.contract), ask.price_micros) for ask in asks.values())
    intent = limits.Intent(command.account, "sell", command.gpus, prices, notional, len(asks))
    limits.check(market, market.state.products[name].newest.trading, intent)


def floor_at(command: PostCapacity | RepriceCapacity, terms: DefineProduct, start_s: int) -> int:
    """The floor price, or the curve's price of the start's UTC hour; all of them whole ticks."""
    prices = command.floor_curve_micros or (command.floor_price_micros,)
    require(all(price % terms.tick_micros == 0 for price in prices), "off_tick")
    return prices[start_s // 3600 % len(prices)]


def draft_ask(market: Market, command: PostCapacity, terms: DefineProduct, start_s: int, contract: str) -> Order:
    require(command.gpus % terms.lot == 0, "off_lot")
    price_micros = floor_at(command, terms, start_s)
    require(command.node in market.state.nodes, "unknown_node")
    unit_micros = ask_bond_unit(market, terms, market.state.nodes[command.node], price_micros)
    return Order(
        id=0,
        parent_id=None,
        account=command.account,
        client_order_id=None,
        contract=contract,
        side="sell",
        kind="capacity",
        price_micros=price_micros,
        max_cost_micros=None,
        qty=command.gpus,
        left=command.gpus,
        tif="GTG",
        post_only=False,
        node=command.node,
        hold_unit_micros=unit_micros,
        hold_micros=command.gpus * unit_micros,
    )
