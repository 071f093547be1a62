"""Call auctions: orders rest without matching, ticks tell what they would come to, leaving them trades at one price."""

from matching_engine.rules import day_ahead
from matching_engine.rules.auction_price import Equilibrium, find_equilibrium
from matching_engine.rules.market import Market
from matching_engine.rules.store import start_of
from matching_engine.rules.uncrossing import Clearing, levels_of, trade_clearing
from schemas.events import AuctionIndicated

NOTHING = (None, 0, 0, None)


def is_crossed(market: Market, contract: str) -> bool:
    bid, ask = market.store.best(contract, "buy"), market.store.best(contract, "sell")
    return bid is not None and ask is not None and bid.price_micros >= ask.price_micros


def open_contracts(market: Market, name: str) -> list[str]:
    """The contracts of a product in which orders may rest, earliest first."""
    known = market.state.contracts.items()
    return sorted((each for each, of in known if of.product == name and of.state == "OPEN"), key=start_of)


def equilibrium_of(market: Market, contract: str) -> Equilibrium | None:
    """Where a contract's book would clear now, without blocks."""
    if not is_crossed(market, contract):
        return None
    bids, asks = (levels_of(market, contract, side) for side in ("buy", "sell"))
    tick = market.terms_of(contract).tick_micros
    return find_equilibrium(bids, asks, tick, market.reference_micros(contract))


# -- leaving it


def uncross_product(market: Market, name: str) -> None:
    """Trades every book of the product at its own price; with blocks, where the product's rules let them take part.
    [M-37]
    """
    contracts = open_contracts(market, name)
    if market.state.products[name].newest.trading.auction_block_rounds:
        day_ahead.clear(market, name, contracts)
        return
    for contract in contracts:
        found = equilibrium_of(market, contract)
        if found is not None:
            trade_clearing(market, Clearing(contract, found, {}))


# -- what it would come to


def indicate(market: Market) -> None:
    """At a tick: tells the price and volume of every book in auction that would now clear otherwise than last told.
    [M-38]
    """
    for name, product in sorted(market.state.products.items()):
        if product.state == "AUCTION":
            for contract in open_contracts(market, name):
                indicate_contract(market, contract)


def indicate_contract(market: Market, contract: str) -> None:
    known = market.state.contracts[contract]
    found = equilibrium_of(market, contract)
    indication = (found.price_micros, found.qty, found.surplus_qty, found.surplus_side) if found else NOTHING
    if indication == (known.indicated or NOTHING):
        return
    known.indicated = indication if found else None
    price_micros, qty, surplus_qty, surplus_side = indication
    market.emit(
        AuctionIndicated,
        contract=contract,
        price_micros=price_micros,
        qty=qty,
        surplus_qty=surplus_qty,
        surplus_side=surplus_side,
        reference_micros=market.reference_micros(contract),
    )


def forget_indications(market: Market, name: str) -> None:
    """The auction is over: what was told counts no more."""
    for contract in open_contracts(market, name):
        market.state.contracts[contract].indicated = None
