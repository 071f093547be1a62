"""Orders of which the book shows a part: the part trades, then the next one stands at the back of its price level."""

from collections import deque
from collections.abc import Iterator
from itertools import groupby

from matching_engine.rules.market import Market
from matching_engine.rules.state import Order
from schemas.events import OrderDisplayed


def is_iceberg(order: Order) -> bool:
    """Whether the book shows a part of the order only."""
    return order.conditions is not None and order.conditions.display_qty is not None


def shown(order: Order) -> int:
    """What stands in the book of a resting order, and is the most that one fill takes of it."""
    return order.conditions.shown if is_iceberg(order) else order.left


def show_next(market: Market, order: Order) -> None:
    """Shows the next part of an iceberg, which has just come to rest in its book."""
    order.conditions.shown = min(order.conditions.display_qty, order.left)
    market.emit(
        OrderDisplayed,
        order_id=order.id,
        account=order.account,
        client_order_id=order.client_order_id,
        contract=order.contract,
        side=order.side,
        price_micros=order.price_micros,
        qty_shown=order.conditions.shown,
        qty_left=order.left,
    )


def reduce_shown(order: Order, qty: int) -> None:
    """A resting order traded."""
    if is_iceberg(order):
        order.conditions.shown -= qty


def hide_excess(order: Order) -> None:
    """After a part was taken away, or traded in an auction: the hidden one went first, and no more is shown than there
    is.
    """
    if is_iceberg(order):
        order.conditions.shown = min(order.conditions.shown, order.left)


def refill(market: Market, order: Order) -> None:
    """What an iceberg showed has traded: the next part goes to the back of its price level. [M-14]"""
    if is_iceberg(order) and order.left and not order.conditions.shown:
        market.store.remove_order(order)
        order.conditions.rank = market.next_rank()
        market.store.rest(order)
        show_next(market, order)


def walk_parts(market: Market, contract: str, side: str) -> Iterator[tuple[Order, int]]:
    """Walks one side in the order in which takers would trade with it: a resting order and the part shown of it."""
    for _, level in groupby(market.store.resting(contract, side), key=lambda order: order.price_micros):
        queue = deque((order, order.left, shown(order)) for order in level)
        while queue:
            order, left, part = queue.popleft()
            yield order, part
            if left > part:
                queue.append((order, left - part, min(order.conditions.display_qty, left - part)))
