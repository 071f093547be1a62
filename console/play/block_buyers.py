"""Block buyers: they need the same GPUs over several periods, now and then wherever it is cheapest."""

from dataclasses import dataclass
from random import Random

from console.play.value import down_to_tick, part, up_to_tick
from console.play.view import Point, View
from console.play.wishes import Block, Wish

FIRST_MAX, PERIODS_MAX = 5, 4
FLEX_ODDS, PATIENT_ODDS = 0.3, 0.25
PREMIUM_PPM, DISCOUNT_PPM = 15_000, 20_000
LATER_PERIODS = 6


@dataclass(frozen=True)
class BlockBuyer:
    """One buyer of blocks."""

    products: tuple[str, ...]
    odds: float
    step: int = 10

    def decide(self, view: View, turn: int, chance: Random) -> list[Wish]:
        """Returns one block or flex bid, or none: most take what is offered, some wait below it."""
        product = chance.choice(self.products)
        first, periods = chance.randint(0, FIRST_MAX), chance.randint(2, PERIODS_MAX)
        window = view.points(product)[first : first + periods]
        if chance.random() >= self.odds or len(window) < periods:
            return []
        patient = chance.random() < PATIENT_ODDS
        price = _waiting(view, window) if patient else _taking(view, window)
        if price is None:
            return []
        start_s, terms = window[0].start_s, view.terms[product]
        latest_s = start_s + LATER_PERIODS * terms.period_s if chance.random() < FLEX_ODDS else None
        return [Block(product, start_s, periods, terms.lot, price, "GTG" if patient else "IOC", latest_s)]


def _taking(view: View, window: tuple[Point, ...]) -> int | None:
    """Returns a price at which every period of the window has an ask, unless that is far above its value."""
    asks = [point.ask_micros for point in window]
    if None in asks:
        return None
    worth = max(view.value(point) for point in window)
    price = up_to_tick(max(asks), view.terms[window[0].product].tick_micros)
    return price if price <= worth + part(worth, 4 * PREMIUM_PPM) else None


def _waiting(view: View, window: tuple[Point, ...]) -> int:
    worth = min(view.value(point) for point in window)
    return down_to_tick(worth - part(worth, DISCOUNT_PPM), view.terms[window[0].product].tick_micros)
