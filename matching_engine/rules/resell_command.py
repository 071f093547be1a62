"""Reselling over a window: one ask for every period in which the account has positions and the gate is open."""

from matching_engine.rules import blocks, identity, limits, products, resale, rulesets
from matching_engine.rules.market import Market
from matching_engine.rules.matching import match, settle_remainder
from matching_engine.rules.money import RESERVED, unit_micros
from matching_engine.rules.orders import accept
from matching_engine.rules.refusals import require
from matching_engine.rules.state import Order
from schemas.events import ResaleAccepted
from schemas.ids import contract_name
from schemas.orders import Resell


def resell(market: Market, command: Resell) -> None:
    """Offers the account's own positions again."""
    identity.once(market, command, decide)


def decide(market: Market, command: Resell) -> int:
    require(command.account not in RESERVED, "not_permitted")
    starts = open_starts(market, command)
    products.require_trading(market.state.products[command.product])
    require(starts != [], "gate_closed")
    asks = {
        start_s: draft_ask(market, command, start_s) for start_s in starts if has_positions(market, command, start_s)
    }
    require(asks != {}, "unbacked_ask")
    check_limits(market, command, [ask for ask, _ in asks.values()])
    market.state.last_order_id += 1
    resale_id = market.state.last_order_id
    market.emit(ResaleAccepted, order_id=resale_id, **command.model_dump(exclude={"type"}))
    resting = []
    for start_s, (ask, backing) in asks.items():
        ask.parent_id = resale_id
        accept(market, ask, start_s, command.command_id, backing=backing)
        if settle_remainder(market, ask, match(market, ask)):
            resting.append(start_s)
    blocks.serve_new_asks(market, command.product, resting)
    return resale_id


def check_limits(market: Market, command: Resell, asks: list[Order]) -> None:
    prices = {ask.contract: ask.price_micros for ask in asks}
    notional = sum(ask.qty * unit_micros(market.terms_of(ask.contract), ask.price_micros) for ask in asks)
    intent = limits.Intent(command.account, "sell", command.qty, prices, notional, len(asks), command.qty)
    limits.check(market, market.state.products[command.product].newest.trading, intent)


def open_starts(market: Market, command: Resell) -> list[int]:
    """Returns every whole period of the window whose gate is open. [M-33]"""
    product = market.state.products.get(command.product)
    require(product is not None, "unknown_product")
    require(command.from_s < command.to_s and None in (command.position_id, command.block_id), "bad_terms")
    period_s = product.newest.period_s
    return [
        start_s
        for first_s, last_s in product.windows
        for start_s in range(first_s, last_s + 1, period_s)
        if command.from_s <= start_s and start_s + period_s <= command.to_s
    ]


def contract_at(market: Market, command: Resell, start_s: int) -> str:
    return contract_name(command.product, start_s, market.state.products[command.product].newest.period_s)


def has_positions(market: Market, command: Resell, start_s: int) -> bool:
    contract = contract_at(market, command, start_s)
    return resale.positions_in(market, command.account, contract, command.position_id, command.block_id) != []


def draft_ask(market: Market, command: Resell, start_s: int) -> tuple[Order, resale.Backing]:
    """Makes the ask of one period and finds the positions behind it."""
    contract = contract_at(market, command, start_s)
    terms = market.terms_of(contract)
    require(command.qty % terms.lot == 0, "off_lot")
    require(command.price_micros % terms.tick_micros == 0, "off_tick")
    which = command.position_id, command.block_id
    backing = resale.find_backing(market, command.account, contract, command.qty, *which)
    ask = Order(
        id=0,
        parent_id=None,
        account=command.account,
        client_order_id=None,
        contract=contract,
        side="sell",
        kind="limit",
        price_micros=command.price_micros,
        max_cost_micros=None,
        qty=command.qty,
        left=command.qty,
        tif="GTG",
        post_only=False,
        node=None,
        hold_unit_micros=0,
        hold_micros=0,
    )
    if rulesets.keeps_resales_to_what_was_named(market):
        ask.resold_position_id, ask.resold_block_id = which
    resale.require_price(market, ask, command.price_micros, backing)
    return ask, backing
