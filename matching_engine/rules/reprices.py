"""Repricing capacity: one command for all asks of a capacity order, all of it or nothing.

An ask whose price changes keeps its id but not its place: it goes behind the others at its new price, holds anew, and
may trade at once. An ask whose price stays keeps its place and its bond.
"""

from matching_engine.rules import blocks, cancels, limits, products, replaces, throttle
from matching_engine.rules.capacity import floor_at
from matching_engine.rules.market import Market
from matching_engine.rules.matching import match, settle_remainder
from matching_engine.rules.money import unit_micros
from matching_engine.rules.orders import ask_bond_unit
from matching_engine.rules.refusals import require
from matching_engine.rules.replaces import Wanted
from matching_engine.rules.state import Block, Conditions, Order
from matching_engine.rules.store import start_of
from schemas.events import CapacityRepriced
from schemas.orders import RepriceCapacity


def reprice_capacity(market: Market, command: RepriceCapacity) -> None:
    """Gives every ask of a capacity order its price anew; for the account's throttle it is one order. [M-25]"""
    throttle.require_pace(market, command.account)
    asks = cancels.named_parts(market, command)
    require(all(not isinstance(each, Block) and each.kind == "capacity" for each in asks), "not_replaceable")
    require((command.floor_price_micros is None) != (command.floor_curve_micros is None), "bad_terms")
    for ask in asks:
        products.require_trading(market.product_of(ask.contract))
    wanted = {ask.id: want(market, command, ask) for ask in asks}
    changing = [ask for ask in asks if wanted[ask.id].price_micros != ask.price_micros]
    check_limits(market, command.account, changing, wanted)
    require_means(market, command.account, changing, wanted)
    product = asks[0].contract.rpartition("-")[0]
    market.emit(
        CapacityRepriced,
        order_id=asks[0].parent_id,
        command_id=command.command_id,
        account=command.account,
        client_order_id=command.client_order_id,
        floor_price_micros=command.floor_price_micros,
        floor_curve_micros=command.floor_curve_micros,
        changed=len(changing),
    )
    for ask in changing:
        if ask.id in market.state.orders:
            move(market, command, ask, wanted[ask.id])
    starts: dict[str, list[int]] = {}
    for ask in changing:
        if ask.id in market.state.orders:
            starts.setdefault(ask.contract.rpartition("-")[0], []).append(start_of(ask.contract))
    for name in sorted(starts):
        blocks.serve_new_asks(market, name, starts[name])
    throttle.count_order(market, command.account, product)


def want(market: Market, command: RepriceCapacity, ask: Order) -> Wanted:
    terms = market.terms_of(ask.contract)
    price_micros = floor_at(command, terms, market.state.contracts[ask.contract].start_s)
    unit_micros = ask_bond_unit(market, terms, market.state.nodes[ask.node], price_micros)
    return Wanted(ask.left, price_micros, None, unit_micros, False)


def check_limits(market: Market, account: str, asks: list[Order], wanted: dict[int, Wanted]) -> None:
    """Each ask is held against its product's limits as a new one would be; the account offers no more than before."""
    for ask in asks:
        price_micros = wanted[ask.id].price_micros
        notional = ask.left * unit_micros(market.terms_of(ask.contract), price_micros)
        intent = limits.Intent(account, "sell", ask.left, {ask.contract: price_micros}, notional, 0, ask.left)
        limits.check(market, market.product_of(ask.contract).newest.trading, intent)


def require_means(market: Market, account: str, asks: list[Order], wanted: dict[int, Wanted]) -> None:
    """The money for every bond that grows; what others release comes later."""
    needed: dict[str, int] = {}
    for ask in asks:
        currency = market.terms_of(ask.contract).currency
        more_micros = max(0, ask.left * wanted[ask.id].hold_unit_micros - ask.hold_micros)
        needed[currency] = needed.get(currency, 0) + more_micros
    for currency, more_micros in sorted(needed.items()):
        market.accounts.require_available(account, currency, more_micros)


def move(market: Market, command: RepriceCapacity, ask: Order, wanted: Wanted) -> None:
    """Takes an ask out of its place and sends it through the book again; of a pair the first may have sold by now."""
    now = Wanted(ask.left, wanted.price_micros, None, wanted.hold_unit_micros, False)
    market.store.remove_order(ask)
    replaces.change(market, command.command_id, None, ask, now)
    ask.conditions = ask.conditions or Conditions()
    ask.conditions.rank = market.next_rank()
    settle_remainder(market, ask, match(market, ask))
