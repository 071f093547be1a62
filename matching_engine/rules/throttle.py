"""The order-to-trade throttle: in every window of log time an account has some orders free, and more for its trades."""

from matching_engine.rules import rulesets
from matching_engine.rules.market import Market
from matching_engine.rules.refusals import require
from matching_engine.rules.state import AccountLimits


def throttle_of(market: Market, account: str) -> AccountLimits | None:
    """Returns the account's counters of the present window; windows follow each other from the epoch of log time on."""
    limits = market.state.limits.get(account)
    if limits is None or not limits.terms.throttle_window_s:
        return None
    window = market.now_ms // (limits.terms.throttle_window_s * 1000)
    if window != limits.window:
        limits.window, limits.orders, limits.trades = window, 0, 0
    return limits


def require_pace(market: Market, account: str) -> None:
    """Refuses an order for which the account has traded too little in this window. [M-44]"""
    limits = throttle_of(market, account)
    if limits is not None:
        earned = limits.terms.throttle_orders_per_trade * limits.trades
        require(limits.orders < limits.terms.throttle_free_orders + earned, "throttled")


def count_order(market: Market, account: str, product: str) -> None:
    """Counts an order that was taken. From now on at the latest the trades of its product are watched."""
    limits = throttle_of(market, account)
    if limits is not None:
        limits.orders += 1
        watch(market, product)


def watch_accepted(market: Market, account: str, product: str) -> None:
    """An order has its id and trades next: what a throttled account trades by it counts."""
    limits = market.state.limits.get(account)
    is_throttled = limits is not None and limits.terms.throttle_window_s > 0
    if is_throttled and rulesets.watches_from_acceptance(market):
        watch(market, product)


def watch(market: Market, product: str) -> None:
    if not market.state.products[product].watched:
        market.store.terms.set_watched(product, True)


def count_trade(market: Market, account: str) -> None:
    """Counts a trade, on whichever side."""
    limits = throttle_of(market, account)
    if limits is not None:
        limits.trades += 1
