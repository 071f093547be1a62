"""The velocity halt: a trade too far from any price of the last seconds does not happen, an auction finds the price."""

from collections.abc import Sequence

from matching_engine.rules.market import Market
from matching_engine.rules.products import enter_state


def breaks(market: Market, contract: str, price_micros: int, own_micros: Sequence[int] = ()) -> bool:
    """Whether a trade at this price would move the market too fast; `own_micros` are the order's before. [M-42]"""
    rules = market.product_of(contract).newest.trading
    if not rules.velocity_permille or contract not in market.state.contracts:
        return False
    since_ms = market.now_ms - rules.velocity_window_s * 1000
    recent = market.state.contracts[contract].recent_trades
    prices = [*(price for ts_ms, price in recent if ts_ms > since_ms), *own_micros]
    return any(abs(price_micros - price) * 1000 > rules.velocity_permille * price for price in prices)


def note_trade(market: Market, contract: str, price_micros: int) -> None:
    """Remembers a trade for as long as it matters."""
    rules = market.product_of(contract).newest.trading
    known = market.state.contracts[contract]
    if rules.velocity_permille:
        since_ms = market.now_ms - rules.velocity_window_s * 1000
        last = (market.now_ms, price_micros)
        known.recent_trades = [each for each in known.recent_trades if each[0] > since_ms and each != last] + [last]
    elif known.recent_trades:
        known.recent_trades = []


def halt(market: Market, contract: str) -> None:
    """Sends the contract's product to an auction that opens by itself."""
    name = contract.rpartition("-")[0]
    rules = market.state.products[name].newest.trading
    enter_state(market, name, "AUCTION", "velocity_halt", rules.velocity_auction_s)
