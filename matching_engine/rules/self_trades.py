"""What happens where an order would trade with one of its own account: the arriving order's instruction decides."""

from matching_engine.rules import cancels
from matching_engine.rules.market import Market
from matching_engine.rules.state import Order
from schemas.orders import SelfTradePrevention


def instruction(order: Order) -> SelfTradePrevention:
    """What the order says about meeting its own account's."""
    return order.conditions.stp if order.conditions is not None else "cancel_newest"


def prevent(market: Market, maker: Order, taker: Order) -> bool:
    """Takes the resting order out of the way, or both orders by the same quantity. Returns whether the taker goes on;
    where it does not, what is left of it is still to be cancelled. [M-15]
    """
    match instruction(taker):
        case "cancel_newest":
            return False
        case "cancel_oldest":
            cancels.cancel_order(market, maker, "stp")
            return True
        case "cancel_both":
            cancels.cancel_order(market, maker, "stp")
            return False
    both = min(maker.left, taker.left)
    cancels.reduce_order(market, maker, both, "stp")
    if both < taker.left:
        cancels.reduce_order(market, taker, both, "stp")
        return True
    return False


def left_after(taker: Order, maker: Order, left: int) -> int | None:
    """What `prevent` would leave of a taker that has `left` GPUs to go; None where it would go no further."""
    match instruction(taker):
        case "cancel_oldest":
            return left
        case "decrement_and_cancel" if maker.left < left:
            return left - maker.left
    return None
