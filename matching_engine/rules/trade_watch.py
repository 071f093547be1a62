"""Who looks at a trade: the contract's last price, the velocity halt, throttles, and makers' protections."""

from matching_engine.rules import protection, throttle, velocity
from matching_engine.rules.market import Market
from matching_engine.rules.state import Position, Product, State


def is_watched(state: State, product: Product) -> bool:
    """Whether orders or trades of a product are held against more than the ordinary rules."""
    rules = product.newest.trading
    limits = (rules.max_order_qty, rules.max_order_notional_micros, rules.price_band_permille, rules.velocity_permille)
    return any(limits) or product.watched or product.newest.product in state.protections


def watch(market: Market, position: Position, price_micros: int, seller: str, taker_side: str | None) -> None:
    """Tells everyone of a trade; in an auction both sides were resting."""
    market.store.note_price(position.contract, price_micros)
    if not is_watched(market.state, market.product_of(position.contract)):
        return
    velocity.note_trade(market, position.contract, price_micros)
    for side, account in (("sell", position.buyer), ("buy", seller)):
        throttle.count_trade(market, account)
        if taker_side in (side, None):
            protection.count_fill(market, position.contract, account, position.qty)
