"""Which capacity to offer and which to withdraw: what should stand in the books against what does, period by period."""

from dataclasses import dataclass, field

from agents.node.policy import PriceRule
from schemas.money import MICROS, parse_micros

HOUR_S = 3600


@dataclass(frozen=True)
class Terms:
    """A product as far as posting needs it; prices must be whole ticks."""

    product: str
    period_s: int
    horizon_periods: int
    gate_lead_s: int
    tick_micros: int


@dataclass(frozen=True)
class Ask:
    """What one capacity order still offers in one period; `product` where it is known."""

    order_id: int
    start_s: int
    gpus: int
    price_micros: int
    product: str = field(default="", compare=False)


@dataclass(frozen=True)
class Offer:
    """A capacity order to post: so many GPUs in every period of [from_s, to_s)."""

    from_s: int
    to_s: int
    gpus: int


@dataclass(frozen=True)
class Plan:
    """What to do now; withdrawals come first, then orders get their prices anew."""

    withdraw: tuple[int, ...] = ()
    reprice: tuple[int, ...] = ()
    offer: tuple[Offer, ...] = ()


def open_periods(terms: Terms, now_s: int, periods_ahead: int, margin_s: int) -> range:
    """Returns the starts of the periods that can be sold: gate not near, listed, not further ahead than the policy."""
    first_s = -(-(now_s + terms.gate_lead_s + margin_s + 1) // terms.period_s) * terms.period_s
    listed_until_s = now_s + (terms.horizon_periods - 1) * terms.period_s
    return range(first_s, min(first_s + periods_ahead * terms.period_s, listed_until_s), terms.period_s)


def without_small_tail(starts: range, standing: tuple[Ask, ...], extend_by: int) -> range:
    """Returns the periods to look at: new ones at the far end wait until `extend_by` of them make one order."""
    last_s = max((ask.start_s for ask in standing), default=None)
    if last_s is None or len([start_s for start_s in starts if start_s > last_s]) >= extend_by:
        return starts
    return range(starts.start, last_s + starts.step, starts.step)


def price_at(start_s: int, prices: PriceRule, tick_micros: int) -> int:
    """Returns the least price of a period, rounded up to a whole tick."""
    curve = prices.floor_curve
    text = curve[start_s % (24 * HOUR_S) // HOUR_S] if curve else prices.floor
    return round_up_to_tick(parse_micros(text), tick_micros)


def round_up_to_tick(micros: int, tick_micros: int) -> int:
    """Rounds a price up to a whole tick."""
    return -(-micros // tick_micros) * tick_micros


def price_text(micros: int) -> str:
    """Writes a price as the REST API takes it."""
    whole, part = divmod(micros, MICROS)
    return f"{whole}.{part:06d}"


def make_plan(
    starts: range, gpus: int, sold: dict[int, int], standing: tuple[Ask, ...], prices: dict[int, int], lot: int
) -> Plan:
    """Compares what should stand in each period (`gpus` less those `sold`, at the period's price) with what does.

    An order that offers too much is withdrawn whole, and what that leaves open is offered next time, when the books
    show it gone; one at another price is repriced; a period that offers too little is topped up. Neighbours that miss
    the same go into one order.
    """
    priced = {ask.order_id for ask in standing if ask.start_s in prices and ask.price_micros != prices[ask.start_s]}
    wrong: set[int] = set()
    missing: dict[int, int] = {}
    for start_s in starts:
        wanted = max(gpus - sold.get(start_s, 0), 0) // lot * lot
        asks = [ask for ask in standing if ask.start_s == start_s and ask.order_id not in wrong]
        surplus = sum(ask.gpus for ask in asks) - wanted
        if surplus > 0:
            wrong |= {ask.order_id for ask in asks}
        elif surplus < 0:
            missing[start_s] = -surplus // lot * lot
    touched = {ask.start_s for ask in standing if ask.order_id in wrong}
    open_now = {start_s: count for start_s, count in missing.items() if count and start_s not in touched}
    return Plan(tuple(sorted(wrong)), tuple(sorted(priced - wrong)), _runs(open_now, starts.step))


def _runs(missing: dict[int, int], period_s: int) -> tuple[Offer, ...]:
    runs: list[Offer] = []
    for start_s, gpus in sorted(missing.items()):
        if runs and runs[-1].to_s == start_s and runs[-1].gpus == gpus:
            runs[-1] = Offer(runs[-1].from_s, start_s + period_s, gpus)
        else:
            runs.append(Offer(start_s, start_s + period_s, gpus))
    return tuple(runs)
