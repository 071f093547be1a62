"""A reseller: buys far ahead where it is cheap, offers it again dearer, and lets go what nobody took near the gate."""

from dataclasses import dataclass
from random import Random

from console.play.value import part, up_to_tick
from console.play.view import Holding, Point, View
from console.play.wishes import Limit, Resell, Wish

FAR_PERIODS = (6, 18)
PROFIT_PPM = 12_000
CHEAP_PPM = 5_000
LET_GO_S = 45
HELD_MAX = 12


@dataclass(frozen=True)
class Reseller:
    """One reseller and its products."""

    products: tuple[str, ...]
    odds: float
    step: int = 7

    def decide(self, view: View, turn: int, chance: Random) -> list[Wish]:
        """Returns what to offer, what to let go, and perhaps one purchase."""
        points = {point.contract: point for product in self.products for point in view.points(product)}
        wishes: list[Wish] = []
        for holding in view.holdings:
            if point := points.get(holding.contract):
                wishes += self._offer(view, holding, point)
        if len(view.holdings) < HELD_MAX and chance.random() < self.odds:
            wishes += self._buy(view, chance)
        return wishes

    def _offer(self, view: View, holding: Holding, point: Point) -> list[Wish]:
        terms = view.terms[point.product]
        if point.gate_s - view.now_s < LET_GO_S:
            if point.bid_micros is None or view.offered(point.contract):
                return []
            return [Limit(point.contract, "sell", min(holding.qty, point.bid_qty), point.bid_micros, "IOC")]
        if view.offered(point.contract) >= view.held(point.contract):
            return []
        worth = max(view.value(point), holding.price_micros)
        price = up_to_tick(worth + part(worth, PROFIT_PPM), terms.tick_micros)
        end_s = point.start_s + terms.period_s
        return [Resell(point.product, holding.position_id, point.start_s, end_s, holding.qty, price)]

    def _buy(self, view: View, chance: Random) -> list[Wish]:
        product = chance.choice(self.products)
        far = [point for point in view.points(product)[slice(*FAR_PERIODS)] if point.ask_micros is not None]
        cheap = [p for p in far if p.ask_micros <= view.value(p) + part(view.value(p), CHEAP_PPM)]
        if not cheap:
            return []
        point = chance.choice(cheap)
        qty = min(view.terms[product].lot * chance.randint(1, 2), point.ask_qty)
        return [Limit(point.contract, "buy", qty, point.ask_micros, "IOC")]
