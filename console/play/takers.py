"""Takers: they need a GPU soon and take the best ask where it is worth it to them."""

from dataclasses import dataclass
from random import Random

from console.play.value import part
from console.play.view import Point, View
from console.play.wishes import Limit, Wish

SOON_PERIODS = 8
NEAR_ODDS = 0.45


@dataclass(frozen=True)
class Taker:
    """One taker: what it buys (the first product most of all), how much, and how much above the value it pays."""

    products: tuple[str, ...]
    lots: int
    odds: float
    premium_ppm: int
    step: int = 3
    vouchers: bool = False

    def decide(self, view: View, turn: int, chance: Random) -> list[Wish]:
        """Returns one order that takes at once what it can get, or none."""
        if chance.random() >= self.odds:
            return []
        product = self.products[min(int(chance.expovariate(0.6)), len(self.products) - 1)]
        points = [point for point in view.points(product)[:SOON_PERIODS] if point.ask_micros is not None]
        if not points:
            return []
        point = choose_near(points, chance)
        most_micros = view.value(point) + part(view.value(point), self.premium_ppm)
        qty = min(chance.randint(1, self.lots) * view.terms[product].lot, point.ask_qty)
        if point.ask_micros > most_micros or qty <= 0:
            return []
        return [Limit(point.contract, "buy", qty, point.ask_micros, "IOC", self.vouchers)]


def choose_near(points: list[Point], chance: Random) -> Point:
    """Returns one of the points, an early one more often than a late one."""
    place = 0
    while place < len(points) - 1 and chance.random() >= NEAR_ODDS:
        place += 1
    return points[place]
