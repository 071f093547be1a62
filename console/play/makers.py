"""Market makers: they bid below what they think a GPU-hour is worth, and offer what they bought above it."""

from dataclasses import dataclass
from random import Random

from console.play.value import down_to_tick, part, up_to_tick
from console.play.view import Order, Point, View
from console.play.wishes import Cancel, Limit, Wish

STEP_PPM = 5_000
PATIENCE_PPM = 4_000
LEVELS = 3
PERIODS = 6
HELD_LOTS_MAX = 12


@dataclass(frozen=True)
class Maker:
    """One maker: its products, one of which it looks after at each step, and half of the spread it quotes."""

    products: tuple[str, ...]
    half_spread_ppm: int
    lots: int
    step: int = 2

    def product_at(self, turn: int) -> str:
        """Returns the product whose turn it is."""
        return self.products[turn % len(self.products)]

    def decide(self, view: View, turn: int, chance: Random) -> list[Wish]:
        """Returns what brings the maker's quotes in one product to where its value is."""
        wishes: list[Wish] = []
        for point in view.points(self.product_at(turn))[:PERIODS]:
            wishes += self._bids(view, point, chance)
            wishes += self._offers(view, point)
        return wishes

    def _bids(self, view: View, point: Point, chance: Random) -> list[Wish]:
        tick, lot, value = view.terms[point.product].tick_micros, view.terms[point.product].lot, view.value(point)
        standing = [order for order in view.orders if order.contract == point.contract and order.side == "buy"]
        if view.held(point.contract) >= HELD_LOTS_MAX * lot:
            return [Cancel(order.order_id) for order in standing]
        targets = [
            down_to_tick(value - part(value, self.half_spread_ppm + level * STEP_PPM), tick) for level in range(LEVELS)
        ]
        if point.ask_micros is not None:  # whoever asks less than the maker's own bid is for takers to find
            targets = [min(target, max(point.ask_micros - tick, tick)) for target in targets]
        kept, stale = _sort_out(standing, targets, part(value, PATIENCE_PPM) + tick)
        wishes: list[Wish] = [Cancel(order.order_id) for order in stale]
        wishes += [
            Limit(point.contract, "buy", lot * chance.randint(1, self.lots), target)
            for target in sorted(set(targets) - kept, reverse=True)
        ]
        return wishes

    def _offers(self, view: View, point: Point) -> list[Wish]:
        tick, value = view.terms[point.product].tick_micros, view.value(point)
        price = up_to_tick(value + part(value, self.half_spread_ppm), tick)
        if point.bid_micros is not None:
            price = max(price, point.bid_micros + tick)
        standing = [order for order in view.orders if order.contract == point.contract and order.side == "sell"]
        kept, stale = _sort_out(standing, [price], part(value, PATIENCE_PPM) + tick)
        if stale:
            return [Cancel(order.order_id) for order in stale]  # offered again once the books show them gone
        free = view.held(point.contract) - view.offered(point.contract)
        return [Limit(point.contract, "sell", free, price)] if free > 0 and not kept else []


def _sort_out(standing: list[Order], targets: list[int], patience_micros: int) -> tuple[set[int], list[Order]]:
    """Returns the targets near which an order already stands, and the orders that stand near none."""
    kept: set[int] = set()
    stale: list[Order] = []
    for order in standing:
        near = [
            target for target in targets if target not in kept and abs(target - order.price_micros) <= patience_micros
        ]
        if near:
            kept.add(min(near, key=lambda target: abs(target - order.price_micros)))
        else:
            stale.append(order)
    return kept, stale
