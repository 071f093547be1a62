"""The price of a call auction: most volume, then least surplus, then nearest to the reference, then the lowest."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate, pairwise

from schemas.orders import Side

Level = tuple[int, int]


@dataclass(frozen=True)
class Equilibrium:
    """A price, the GPUs that trade at it, and those that one side would have traded beyond."""

    price_micros: int
    qty: int
    surplus_qty: int
    surplus_side: Side | None


class Curve:
    """GPUs wanted or offered, by price."""

    def __init__(self, levels: Iterable[Level]):
        levels = sorted(levels)
        self.prices = [price for price, _ in levels]
        self.sums = [0, *accumulate(qty for _, qty in levels)]

    def up_to(self, price: int) -> int:
        """GPUs at this price and below."""
        return self.sums[bisect_right(self.prices, price)]

    def from_on(self, price: int) -> int:
        """GPUs at this price and above."""
        return self.sums[-1] - self.sums[bisect_left(self.prices, price)]


def find_equilibrium(
    bids: list[Level], asks: list[Level], tick: int, reference: int | None, at_any_price: int = 0
) -> Equilibrium | None:
    """Finds the price for levels (price, GPUs); `at_any_price` GPUs are wanted besides. None where nothing trades.
    [M-36]
    """
    wanted, offered = Curve(bids), Curve(asks)
    best = None
    for price in candidates(wanted.prices, offered.prices, tick, reference):
        demand, supply = wanted.from_on(price) + at_any_price, offered.up_to(price)
        distance = 0 if reference is None else abs(price - reference)
        rank = (-min(demand, supply), abs(demand - supply), distance, price)
        if best is None or rank < best[0]:
            best = (rank, demand, supply)
    if best is None or best[0][0] == 0:
        return None
    (_, surplus, _, price), demand, supply = best
    side = None if not surplus else "buy" if demand > supply else "sell"
    return Equilibrium(price, min(demand, supply), surplus, side)


def candidates(bids: list[int], asks: list[int], tick: int, reference: int | None) -> Iterator[int]:
    """The prices of orders, and in each gap between two of them the tick nearest to the reference, else the lowest.

    Between two prices volume and surplus stay the same, so no other tick can be better.
    """
    prices = sorted({*bids, *asks})
    yield from prices
    below = 0 if reference is None else reference // tick * tick
    for low, high in pairwise(prices):
        first, last = low + tick, high - tick
        if first <= last:
            yield max(first, min(below, last))
            yield max(first, min(below + tick, last))
